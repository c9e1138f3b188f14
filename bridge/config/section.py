"""What the sections of the configuration have in common: their base and the types of names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from bridge.config.mistakes import Path as KeyPath

SECRET: Final[dict[str, Any]] = {"writeOnly": True}
"""Marks an option whose value is not shown in messages or by `landbridge config`."""


def _namespace(value: str) -> str:
    if not value or len(value) > 255 or not value.isprintable():
        raise PydanticCustomError("refused", "must be 1 to 255 printable characters")
    return value


def _path(value: Path) -> Path:
    if "\0" in str(value):
        raise PydanticCustomError("refused", "must not contain a null character")
    return value


@dataclass(frozen=True, slots=True)
class Form:
    """What the pattern of an option asks for, in words that follow on "must be"."""

    words: str


FilePath = Annotated[Path, Field(strict=False), AfterValidator(_path)]
Name = Annotated[str, Field(min_length=1, max_length=255)]
Namespace = Annotated[str, AfterValidator(_namespace)]


class Section(BaseModel):
    """A mapping of the file: unknown keys are mistakes, types are not guessed, nothing changes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)

    def changes_to(self, new: Section, path: KeyPath = ()) -> Iterator[KeyPath]:
        """The paths of the options that have other values in `new`."""
        for name in type(self).model_fields:
            before, after = getattr(self, name), getattr(new, name)
            if isinstance(before, Section) and isinstance(after, Section):
                yield from before.changes_to(after, (*path, name))
            elif before != after:
                yield (*path, name)

    def given_options(self, path: str = "") -> Iterator[str]:
        """The options that somebody has written down, as `queues.priority_max`: without names of
        listeners and without indexes.
        """
        for name in self.model_fields_set:
            key = f"{path}.{name}" if path else name
            yield key
            value = getattr(self, name)
            items = value.values() if isinstance(value, dict) else value
            for item in items if isinstance(value, list | dict) else [value]:
                if isinstance(item, Section):
                    yield from item.given_options(key)

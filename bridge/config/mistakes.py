"""What is wrong with a configuration, and where: `file:line: key.path: what (what was allowed)`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, NamedTuple, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""

VALUE_CHARACTERS_MAX: Final = 80
"""What a message shows of a value."""


class Mistake(NamedTuple):
    """One thing to mend. `place` is `file:line`, `--set ...` or the file's name alone."""

    place: str
    path: Path
    message: str

    def __str__(self) -> str:
        path = path_text(self.path)
        parts = (self.place, "" if self.place == f"--set {path}" else path, self.message)
        return ": ".join(part for part in parts if part)


class Finding(NamedTuple):
    """A mistake whose place is not known yet.

    `values` are the paths of the values that it comes from: where one of those is wrong itself,
    nobody can tell whether this is a mistake.
    """

    path: Path
    message: str
    values: tuple[Path, ...] = ()


class ConfigInvalid(Exception):
    """The configuration cannot be used; carries every mistake that was found."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = list(dict.fromkeys(mistakes))
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


def path_text(path: Path) -> str:
    """A path as users write it: `listeners.mqtts.tls.key`, `routes[0].to`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def shown(value: object) -> str:
    """A value as a message names it: in the file's words, and not at length."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"the mapping of {', '.join(map(str, value)) or 'nothing'}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= VALUE_CHARACTERS_MAX else f"{text[: VALUE_CHARACTERS_MAX - 3]}..."


def suggestion(word: str, known: Sequence[str]) -> str:
    """`did you mean ...?` with the closest known word, or the known words themselves."""
    if close := get_close_matches(word, known, n=1, cutoff=0.6):
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(known)}"

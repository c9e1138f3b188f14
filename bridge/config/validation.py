"""Pydantic's findings as mistakes in the configuration's words, placed and with suggestions."""

from __future__ import annotations

import re
from types import UnionType
from typing import Any, Final, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.config.document import Document
from bridge.config.mistakes import Mistake, Path, shown, suggestion
from bridge.config.schema import Config
from bridge.config.section import Form

_KINDS: Final = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text (in quotes where YAML sees something else)",
    "path_type": "must be the path of a file or directory",
    "list_type": "must be a list (`[a, b]`, or lines that begin with `- `)",
    "dict_type": "must be a mapping (`{name: value}`, or lines of `name: value`)",
    "model_type": "must be a mapping of options",
    "model_attributes_type": "must be a mapping of options",
    "missing": "is missing",
}
_OF_SECTIONS: Final = frozenset({"model_type", "model_attributes_type"})
_OPTIONS_SHOWN_MAX: Final = 5
_NEVER: Final = re.compile(r"(?!)")
_QUOTED: Final = {
    "int_type": re.compile(r"-?\d+"),
    "float_type": re.compile(r"-?\d+(\.\d+)?"),
    "bool_type": re.compile("true|false"),
}
"""Text that would be right if it were not in quotes."""
_BOUNDS: Final = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "too_short": "must have at least {min_length} item",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
}


class _Found(NamedTuple):
    """What a finding is about. `section` is the one that has the option, `wanted` what the value
    should be, where that is a section itself.
    """

    path: Path
    section: type[BaseModel] | None
    option: FieldInfo | None
    wanted: type[BaseModel] | None


def mistakes_from(error: ValidationError, document: Document) -> list[Mistake]:
    """One mistake for each value, at its place; what `document` knows to be wrong is left out."""
    known = {mistake.path for mistake in document.mistakes}
    mistakes: dict[Path, Mistake] = {}
    for details in error.errors(include_url=False):
        found = _resolve(details["loc"])
        path = found.path
        if path in known or path in mistakes:
            continue
        mistakes[path] = Mistake(document.place(path), path, _message(details, found))
    return list(mistakes.values())


def _message(details: ErrorDetails, found: _Found) -> str:
    kind, value, option = details["type"], details["input"], found.option
    if kind == "extra_forbidden" and found.section is not None:
        return f"is no option{_instead(str(found.path[-1]), found.section)}"
    if kind == "missing":
        return f"is missing: {_help(option)}"
    if kind == "refused":
        return details["msg"]
    if value is None and kind in _KINDS:
        return f"has no value; it {_demand(details, found)}"
    text = _demand(details, found)
    if isinstance(value, str) and _QUOTED.get(kind, _NEVER).fullmatch(value):
        text += ", without quotes"
    if option is not None and is_secret(option):
        return text
    return f"{text}, not {shown(value)}"


def _instead(name: str, section: type[BaseModel]) -> str:
    """Where an option belongs that the section has not, or what else may be meant."""
    for around, option in options_of(section).items():
        for inner in _sections(_alternatives(option.annotation)):
            if name in options_of(inner):
                return f" here; it belongs under {around}"
    return f"; {suggestion(name, list(options_of(section)))}"


def _demand(details: ErrorDetails, found: _Found) -> str:
    """What the value must be."""
    kind, option = details["type"], found.option
    if kind in _OF_SECTIONS and found.wanted is not None:
        return f"must be a mapping of options ({_first_options(found.wanted)})"
    if kind in {"greater_than_equal", "less_than_equal"} and option is not None:
        return f"must be {_range(option)}"
    if kind == "string_pattern_mismatch" and option is not None:
        return f"must be {next(each.words for each in option.metadata if isinstance(each, Form))}"
    if kind in _BOUNDS:
        return _BOUNDS[kind].format(**details.get("ctx", {}))
    return _KINDS.get(kind) or details["msg"].lower()


def _first_options(section: type[BaseModel]) -> str:
    names = list(options_of(section))
    more = ", ..." if len(names) > _OPTIONS_SHOWN_MAX else ""
    return ", ".join(names[:_OPTIONS_SHOWN_MAX]) + more


def options_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """A section's options by their keys in the file."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def is_secret(option: FieldInfo) -> bool:
    """True for options whose values are never shown."""
    extra = option.json_schema_extra
    return isinstance(extra, dict) and bool(extra.get("writeOnly"))


def bounds_of(option: FieldInfo) -> tuple[Any, Any]:
    """The least and the greatest value that an option takes; None where there is no bound."""
    least = next((item.ge for item in option.metadata if hasattr(item, "ge")), None)
    greatest = next((item.le for item in option.metadata if hasattr(item, "le")), None)
    return least, greatest


def _range(option: FieldInfo) -> str:
    least, greatest = bounds_of(option)
    return f"at least {least}" if greatest is None else f"{least} to {greatest}"


def _help(option: FieldInfo | None) -> str:
    description = option.description if option is not None else None
    sentence = (description or "it has no default").split(". ")[0].rstrip(".")
    return sentence[0].lower() + sentence[1:]


def _resolve(location: Path) -> _Found:
    """The path of a finding without pydantic's own marks, and what it leads to."""
    path: list[str | int] = []
    section: type[BaseModel] | None = Config
    option: FieldInfo | None = None
    kinds: list[Any] = [Config]
    for part in location:
        models = _sections(kinds)
        inside = [argument for kind in kinds for argument in _items(kind)]
        if models:
            section = models[0]
            option = options_of(section).get(str(part))
            kinds = _alternatives(option.annotation) if option is not None else []
        elif inside:
            kinds = [kind for argument in inside for kind in _alternatives(argument)]
        path.append(part)
    return _Found(tuple(path), section, option, next(iter(_sections(kinds)), None))


def _sections(kinds: list[Any]) -> list[type[BaseModel]]:
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _alternatives(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    if hasattr(annotation, "__metadata__"):
        return _alternatives(get_args(annotation)[0])
    return [] if annotation is type(None) else [annotation]


def _items(annotation: Any) -> list[Any]:
    """What a list or a mapping holds."""
    origin = get_origin(annotation)
    return [get_args(annotation)[-1]] if origin in {list, dict} else []

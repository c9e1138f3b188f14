"""Pydantic's findings as mistakes in the configuration's words, placed and with suggestions."""

from __future__ import annotations

from types import UnionType
from typing import Any, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from bridge.config.document import Document
from bridge.config.mistakes import Mistake, Path, shown, suggestion
from bridge.config.schema import Config

_KINDS: Final = {
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be text (in quotes where YAML sees something else)",
    "path_type": "must be the path of a file or directory",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "missing": "is missing",
}
_BOUNDS: Final = {
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must have at least {min_length} characters",
    "too_short": "must have at least {min_length} item",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must look like {pattern}",
}


def mistakes_from(error: ValidationError, document: Document) -> list[Mistake]:
    """One mistake for each value, at its place; what `document` knows to be wrong is left out."""
    known = {mistake.path for mistake in document.mistakes}
    mistakes: dict[Path, Mistake] = {}
    for found in error.errors(include_url=False):
        path, model, option = _resolve(found["loc"])
        if path in known or path in mistakes:
            continue
        message = _message(found, path, model, option)
        mistakes[path] = Mistake(document.place(path), path, message)
    return list(mistakes.values())


def _message(
    found: ErrorDetails, path: Path, model: type[BaseModel] | None, option: FieldInfo | None
) -> str:
    kind, context, value = found["type"], found.get("ctx", {}), found["input"]
    if kind == "extra_forbidden" and model is not None:
        return f"is no option; {suggestion(str(path[-1]), list(options_of(model)))}"
    if kind == "missing":
        return f"is missing: {_help(option)}"
    if kind == "refused":
        return found["msg"]
    if value is None and kind in _KINDS:
        return f"has no value; it {_KINDS[kind]}"
    text = _KINDS.get(kind) or _BOUNDS.get(kind, found["msg"].lower()).format(**context)
    if kind in {"greater_than_equal", "less_than_equal"} and option is not None:
        text = f"must be {_range(option)}"
    if option is not None and is_secret(option):
        return text
    return f"{text}, not {shown(value)}"


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


def _resolve(location: Path) -> tuple[Path, type[BaseModel] | None, FieldInfo | None]:
    """The path of a finding without pydantic's own marks, the section it is in, and its option."""
    path: list[str | int] = []
    section: type[BaseModel] | None = Config
    option: FieldInfo | None = None
    kinds: list[Any] = [Config]
    for part in location:
        models = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        inside = [argument for kind in kinds for argument in _items(kind)]
        if models:
            section = models[0]
            option = options_of(section).get(str(part))
            kinds = _alternatives(option.annotation) if option is not None else []
        elif inside:
            kinds = [kind for argument in inside for kind in _alternatives(argument)]
        path.append(part)
    return tuple(path), section, option


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

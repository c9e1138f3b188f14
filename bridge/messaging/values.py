"""Typed values as message attributes, and as JSON where an attribute cannot hold them.

An attribute's type says which value it holds, with a label where SQS's three do not: `String`,
`Number` (int or float), `Binary`, `String.Boolean`, `String.Timestamp`, `String.Array`,
`Number.Decimal`. In JSON, what JSON has no form for is an object with one key: `$bytes`, `$time`,
`$decimal`, `$float`, `$int`, `$text` (base64 of what UTF-8 or SQS forbid); `$object` is a list of
pairs, for an object whose own keys cannot stand in JSON or begin with "$".
"""

from __future__ import annotations

import json
import math
import re
from base64 import b64decode, b64encode
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from bridge.messaging.attributes import Attribute, base_type, is_legal_number, is_legal_text
from bridge.messaging.model import Value

DEPTH_MAX: Final = 200
"""Levels of lists and dicts in one value; what decodes deeper ones must not get to a message."""

_NUMBER_BITS_MAX: Final = 126
"""Integers of more bits may have more than the 38 digits that a Number holds."""

_JSON_BITS_MAX: Final = 63

_NOT_IN_JSON = re.compile("[\ud800-\udfff\ufffe\uffff]")

_TRUE = Attribute("String.Boolean", "true")
_FALSE = Attribute("String.Boolean", "false")


def attribute_from_value(value: Value) -> Attribute | None:
    """The attribute that `value_from_attribute` reads as `value`; None where there is none."""
    if isinstance(value, str):
        return Attribute("String", value) if value and is_legal_text(value) else None
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        return Attribute("Number", str(value)) if value.bit_length() <= _NUMBER_BITS_MAX else None
    if isinstance(value, float):
        text = repr(value)
        return Attribute("Number", text) if is_legal_number(text) else None
    if isinstance(value, bytes):
        return Attribute("Binary", None, value) if value else None
    if isinstance(value, Decimal):
        text = str(value)
        return Attribute("Number.Decimal", text) if is_legal_number(text) else None
    if isinstance(value, datetime):
        return Attribute("String.Timestamp", value.isoformat())
    if isinstance(value, list) and all(_fits_array(element) for element in value):
        return Attribute("String.Array", json.dumps(value))
    return None


def value_from_attribute(attribute: Attribute) -> Value:
    """What an attribute holds; its plain text or bytes where that is not what its type says."""
    if attribute.binary_value is not None:
        return attribute.binary_value
    text = attribute.string_value or ""
    match attribute.data_type:
        case "String":
            return text
        case "String.Boolean":
            return text == "true" if text in ("true", "false") else text
        case "Number.Boolean":
            # As the JMS library for SQS writes them.
            return text == "1" if text in ("0", "1") else text
        case "String.Timestamp":
            return _timestamp(text)
        case "String.Array":
            return _array(text)
        case "Number.Decimal":
            return Decimal(text) if is_legal_number(text) else text
        case data_type:
            return _number(text) if base_type(data_type) == "Number" else text


def is_canonical(attribute: Attribute, value: Value) -> bool:
    """Whether `attribute_from_value` makes of `value`, which it holds, the same attribute again."""
    if attribute.data_type == "String" and value:
        return True
    return attribute_from_value(value) == attribute


def same_value(one: Value, other: Value) -> bool:
    """Whether two values are equal and of equal types, also inside of lists."""
    return type(one) is type(other) and (one == other) and repr(one) == repr(other)


def json_from_value(value: Value) -> object:  # noqa: PLR0911 - one for each type
    """`value` as what JSON can hold."""
    if isinstance(value, str):
        if value.isascii() or _NOT_IN_JSON.search(value) is None:
            return value
        return {"$text": b64encode(value.encode("utf-8", "surrogatepass")).decode()}
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _JSON_BITS_MAX else {"$int": hex(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$float": repr(value)}
    if isinstance(value, list):
        return [json_from_value(element) for element in value]
    if isinstance(value, dict):
        if any(key.startswith("$") or _NOT_IN_JSON.search(key) for key in value):
            pairs = [[json_from_value(key), json_from_value(held)] for key, held in value.items()]
            return {"$object": pairs}
        return {key: json_from_value(held) for key, held in value.items()}
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode()}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    return {"$decimal": str(value)}


def value_from_json(held: object, depth: int = 0) -> Value:
    """What `json_from_value` was given.

    Raises `ValueError` for what it never makes, and below `DEPTH_MAX` levels.
    """
    if depth > DEPTH_MAX:
        raise ValueError(f"more than {DEPTH_MAX} levels")
    if isinstance(held, list):
        return [value_from_json(element, depth + 1) for element in held]
    if isinstance(held, dict):
        tag = next(iter(held), "")
        if tag.startswith("$") and len(held) == 1:
            return _untagged(tag, held[tag], depth)
        return {key: value_from_json(each, depth + 1) for key, each in held.items()}
    if held is None or isinstance(held, str | int | float):
        return held
    raise ValueError(f"{held!r} is not a value")


def _untagged(tag: str, held: object, depth: int) -> Value:
    if tag == "$object" and isinstance(held, list):
        return _object(held, depth)
    if not isinstance(held, str):
        raise ValueError(f"{tag} of {held!r}")
    match tag:
        case "$bytes":
            return b64decode(held, validate=True)
        case "$text":
            return b64decode(held, validate=True).decode("utf-8", "surrogatepass")
        case "$time":
            return datetime.fromisoformat(held)
        case "$float":
            return float(held)
        case "$int":
            return int(held, 16)
        case "$decimal":
            try:
                return Decimal(held)
            except InvalidOperation:
                raise ValueError(f"{held!r} is not a decimal") from None
        case _:
            raise ValueError(f"unknown tag {tag!r}")


def _object(pairs: list[object], depth: int) -> dict[str, Value]:
    members: dict[str, Value] = {}
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise ValueError(f"{pair!r} is not a pair")
        key = value_from_json(pair[0])
        if not isinstance(key, str):
            raise ValueError(f"{key!r} is not a key")
        members[key] = value_from_json(pair[1], depth + 1)
    return members


def _fits_array(element: Value) -> bool:
    if isinstance(element, float):
        return math.isfinite(element)
    if isinstance(element, int):
        return element.bit_length() <= _NUMBER_BITS_MAX
    return element is None or isinstance(element, str)


def _array(text: str) -> Value:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(value, list) or not all(_fits_array(element) for element in value):
        return text
    return value


def _number(text: str) -> Value:
    """An int, a float or a decimal, the first of them that is written just so."""
    if not is_legal_number(text):
        return text
    if len(text) <= 40 and text.removeprefix("-").isdigit() and str(int(text)) == text:
        return int(text)
    number = float(text)
    return number if repr(number) == text else Decimal(text)


def _timestamp(text: str) -> Value:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return text

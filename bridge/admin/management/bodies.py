"""The JSON bodies of requests that change something, read as RabbitMQ reads them.

Keys that mean nothing are ignored, null is as if it were not there, and numbers and truths may be
written as text. Raises `Refused` with RabbitMQ's reasons.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from adapters.amqp091.limits import TABLE_DEPTH_MAX
from adapters.amqp091.properties import Properties, decode_properties, encode_properties
from adapters.amqp091.tables import Long
from bridge.admin.management.refusals import bad_request
from bridge.admin.management.sources import Json

SHORT_STRING_MAX: Final = 255
"""Bytes of a name or a key, in AMQP."""
_LINE_LENGTH: Final = 80
_INTEGER_MAX: Final = 2**63 - 1
_TRUTHS: Final = {"true": True, "false": False}
_TEXTS: Final = (
    "content_type",
    "content_encoding",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "type",
    "user_id",
    "app_id",
    "cluster_id",
)
_NUMBERS: Final = ("delivery_mode", "priority", "timestamp")


class Body:
    """The object in a request's body; an empty body is an empty object."""

    def __init__(self, text: bytes) -> None:
        self._values = _object_in(text)

    def get(self, name: str, default: Any = None) -> Any:
        """A value as it came."""
        value = self._values.get(name)
        return default if value is None else value

    @property
    def values(self) -> Json:
        """All of it."""
        return self._values

    def require(self, *names: str) -> list[Any]:
        """The values of all `names`."""
        return values_of(self._values, *names)

    def truth(self, name: str) -> bool:
        """A truth; false where it is not given."""
        value = self.get(name, False)
        truth = _TRUTHS.get(value) if isinstance(value, str) else value
        if not isinstance(truth, bool):
            raise bad_request(["not_boolean", value])
        return truth

    def text(self, name: str, default: str = "") -> str:
        """A text that AMQP carries as a short string."""
        value = self.get(name, default)
        if not isinstance(value, str):
            raise bad_request(["not_string", name])
        require_short(name, value)
        return value

    def arguments(self) -> dict[str, Any]:
        """The `x-` arguments of a declaration or a binding."""
        value = self.get("arguments", {})
        if value == []:
            # How some languages write an empty table.
            value = {}
        return _table(value, "arguments")


def values_of(values: Mapping[str, Any], *names: str) -> list[Any]:
    """The values of all `names`; raises `Refused` where some are missing."""
    missing = [f"{{key_missing,{name}}}" for name in names if values.get(name) is None]
    if missing:
        line = f"[{','.join(missing)}]"
        if len(line) > _LINE_LENGTH:
            line = line.replace("},{", "},\n {")
        raise bad_request(line)
    return [values[name] for name in names]


def tag_list(given: Any) -> list[str]:
    """Tags, which come as a list or as text with commas."""
    tags = given.split(",") if isinstance(given, str) else given
    if not isinstance(tags, list):
        raise bad_request(["not_string", "tags"])
    named = [str(tag).strip() for tag in tags]
    return [tag for tag in named if tag]


def require_short(what: str, text: str) -> None:
    """Raise `Refused` for what is too long for AMQP, in RabbitMQ's words."""
    size = len(text.encode(errors="replace"))
    if size > SHORT_STRING_MAX:
        raise bad_request(f"{what} should be less than 255 bytes, actually was {size}\n")


def whole_number(value: Any) -> int:
    """An integer, as a number or as text."""
    if isinstance(value, float):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lstrip("+-").isdecimal() and len(value) < 20:
        return int(value)
    raise bad_request(["not_integer", value])


def payload_from(payload: Any, encoding: Any) -> bytes:
    """The body of a message to publish."""
    if not isinstance(payload, str):
        raise bad_request("payload_not_string")
    if encoding == "string":
        return payload.encode(errors="replace")
    if encoding != "base64":
        raise bad_request(["unsupported_encoding", encoding])
    return octets_from(payload)


def octets_from(text: str) -> bytes:
    """What base64 stands for."""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise bad_request(["not_base64", text]) from None


def properties_from(given: Any) -> Properties:
    """The properties of a message to publish; those that AMQP does not know are ignored."""
    values = _table({} if given == [] else given, "properties", nulls=True)
    fields: dict[str, Any] = {}
    for name in _TEXTS:
        if name in values:
            if not isinstance(values[name], str):
                raise bad_request(["not_string", name])
            fields[name] = values[name]
    for name in _NUMBERS:
        if name in values:
            if not isinstance(values[name], int) or isinstance(values[name], bool):
                raise bad_request(["not_int", name])
            fields[name] = values[name]
    headers = values.get("headers")
    if headers:
        fields["headers"] = _with_long_integers(_table(headers, "headers"))
    try:
        return decode_properties(encode_properties(**fields))
    except ValueError as error:
        raise bad_request(str(error)) from None


def _object_in(text: bytes) -> Json:
    if text in {b"", b"null", b"undefined"}:
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise bad_request("not_json") from None
    if isinstance(value, str):
        raise bad_request(
            "invalid payload: the request body JSON-decoded to a string."
            " Is the input doubly-JSON-encoded?"
        )
    if not isinstance(value, dict):
        raise bad_request("not_json")
    return value


def _table(value: Any, name: str, *, nulls: bool = False, depth: int = 0) -> dict[str, Any]:
    """A table that AMQP can carry; `nulls`: at its own level they are for the caller."""
    if not isinstance(value, dict):
        raise bad_request(f"{name} must be an object")
    for key, each in value.items():
        require_short("key", key)
        if not (nulls and each is None):
            _check_field(each, depth + 1)
    return value


def _check_field(value: Any, depth: int) -> None:
    if depth > TABLE_DEPTH_MAX:
        raise bad_request(f"tables nest deeper than {TABLE_DEPTH_MAX}")
    match value:
        case None:
            raise bad_request("null_not_allowed")
        case int() if not -_INTEGER_MAX <= value <= _INTEGER_MAX:
            raise bad_request(["not_integer", str(value)])
        case list():
            for each in value:
                _check_field(each, depth + 1)
        case dict():
            _table(value, "table", depth=depth)


def _with_long_integers(value: Any) -> Any:
    """RabbitMQ makes long integers of all that JSON has, and typed clients see the difference."""
    match value:
        case bool():
            return value
        case int():
            return Long(value)
        case list():
            return [_with_long_integers(each) for each in value]
        case dict():
            return {key: _with_long_integers(each) for key, each in value.items()}
    return value

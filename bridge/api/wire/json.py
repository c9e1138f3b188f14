"""AWS JSON 1.0: bodies to typed requests and results to bodies.

Decoding is msgspec's, straight into the operation's request type, since Send, Receive and Delete
spend most of their time here. Its complaints are turned into AWS's: a missing member, or
a null for one, is MissingParameter, anything else that does not fit is a SerializationException.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from bridge.api import errors

T = TypeVar("T")

_MISSING = re.compile(r"missing required field `(?P<field>\w+)`(?: - at `\$\.?(?P<path>.*)`)?")
_NULL = re.compile(r"Expected `\w+`, got `null` - at `\$\.(?:(?P<path>.*)\.)?(?P<field>\w+)`$")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NOT_ALLOWED_IN_MESSAGES = "\uffff"

encode = msgspec.json.Encoder().encode


def decode_request(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The request in `body`, which may be empty where nothing is required."""
    try:
        return decoder.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise request_error(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _decode_with_surrogates(decoder, body, error)


def _decode_with_surrogates(decoder: msgspec.json.Decoder[T], body: bytes, error: Exception) -> T:
    """Lone surrogates are JSON, though not Unicode: SQS then complains of the message, not of the
    request.
    """
    try:
        text = json.dumps(json.loads(body), ensure_ascii=False)
    except (ValueError, RecursionError):
        raise errors.SERIALIZATION(f"The request is not valid JSON: {error}") from error
    if not _SURROGATES.search(text):
        raise errors.SERIALIZATION(f"The request is not valid JSON: {error}") from error
    try:
        return decoder.decode(_SURROGATES.sub(_NOT_ALLOWED_IN_MESSAGES, text))
    except msgspec.MsgspecError as again:
        raise request_error(again) from again


def missing_parameter(name: str) -> errors.ApiError:
    """SQS's error for a parameter that has to be there."""
    return errors.MISSING_PARAMETER(f"The request must contain the parameter {name}.")


def request_error(
    error: Exception, missing: Callable[[str], errors.ApiError] = missing_parameter
) -> errors.ApiError:
    """AWS's error for what msgspec did not accept; `missing` makes it for a path that is absent."""
    text = str(error)
    if found := _MISSING.search(text) or _NULL.search(text):
        name = found["field"]
        if path := found["path"]:
            name = f"{_wire_path(path)}.{name}"
        return missing(name)
    return errors.SERIALIZATION(text)


def _wire_path(path: str) -> str:
    return re.sub(r"\[(\.\.\.|\d+)\]", "", path)


def error_body(error: errors.ApiError) -> bytes:
    """The JSON answer of a failed request."""
    return encode({"__type": error.kind.type, "message": error.message})


def to_builtins(result: Any) -> Any:
    """A result as plain dictionaries and lists with the wire's names, blobs in base64."""
    return msgspec.to_builtins(result)

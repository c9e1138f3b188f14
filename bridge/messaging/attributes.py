"""Message attributes as SQS and SNS have them: what is legal, and what it weighs.

Texts of refusals belong to the API; here are the questions it asks. SQS developer guide, "Amazon
SQS message metadata" and "message quotas"; SQS API reference, SendMessage.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from bridge.messaging.limits import ServiceLimits

_LIMITS: Final = ServiceLimits()
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ILLEGAL_BYTES: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\r")
_NAME_CHARACTERS = re.compile(r"[\w.-]*")
"""SQS was recorded to take letters of every script."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_NUMBER_DIGITS_MAX = 38
_NUMBER_EXPONENT_MAX = 126
_NUMBER_EXPONENT_MIN = -128


class Attribute(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One message attribute, exactly as it was sent; one of the two values is there."""

    data_type: str
    string_value: str | None = None
    binary_value: bytes | None = None


def is_legal_text(text: str) -> bool:
    """Whether SQS takes `text` as a body or a string value, apart from its being empty."""
    # Printable text holds nothing illegal, and this is answered fifty times faster.
    return text.isprintable() or _ILLEGAL.search(text) is None


def legal_text_of(body: bytes) -> str | None:
    """`body` as text that SQS takes; None where it is not UTF-8 or holds what SQS forbids."""
    if len(body.translate(None, _ILLEGAL_BYTES)) != len(body):
        return None
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if text.isascii() or _ILLEGAL.search(text) is None else None


def is_legal_name(name: str) -> bool:
    """Whether SQS takes `name` for a user's attribute."""
    return (
        0 < len(name) <= _LIMITS.attribute_name_length_max
        and _NAME_CHARACTERS.fullmatch(name) is not None
        and name[0] != "."
        and name[-1] != "."
        and ".." not in name
        and not is_reserved_name(name)
    )


def is_reserved_name(name: str) -> bool:
    """Whether `name` begins as AWS's own do."""
    return name[:7].lower() == "amazon." or name[:4].lower() == "aws."


def first_illegal_name_character(name: str) -> str | None:
    """The first character of an attribute's name that SQS and SNS do not take."""
    end = _NAME_CHARACTERS.match(name)
    at = end.end() if end else 0
    return name[at] if at < len(name) else None


def base_type(data_type: str) -> str | None:
    """`String`, `Number` or `Binary`, with or without a label behind a dot; None for others."""
    base = data_type.partition(".")[0]
    return base if base in ("String", "Number", "Binary") else None


def is_legal_number(text: str) -> bool:
    """Whether SQS takes `text` as the value of a Number: 38 digits, from 1E-128 to 1E+126."""
    if _NUMBER.fullmatch(text) is None:
        return False
    number = Decimal(text)
    if not number:
        return True
    digits = "".join([str(digit) for digit in number.as_tuple().digits]).strip("0")
    return (
        len(digits) <= _NUMBER_DIGITS_MAX
        and _NUMBER_EXPONENT_MIN <= number.adjusted() <= _NUMBER_EXPONENT_MAX
    )


def message_size(body: str, attributes: Mapping[str, Attribute]) -> int:
    """Bytes that count against size limits: the body, and names, types and values of attributes."""
    size = len(body) if body.isascii() else len(body.encode("utf-8", "surrogatepass"))
    for name, attribute in attributes.items():
        size += attribute_size(name, attribute)
    return size


def attribute_size(name: str, attribute: Attribute) -> int:
    """Bytes that one attribute adds to its message."""
    size = len(name.encode("utf-8", "surrogatepass")) + len(attribute.data_type)
    if attribute.string_value is not None:
        size += len(attribute.string_value.encode("utf-8", "surrogatepass"))
    if attribute.binary_value is not None:
        size += len(attribute.binary_value)
    return size

"""The MD5 sums by which clients check what SQS stored (SQS developer guide, message metadata)."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import md5
from struct import Struct

from bridge.messaging.attributes import Attribute

try:
    # CPython's own, without what OpenSSL 3 does before and after a sum.
    from _md5 import md5 as _short_md5  # type: ignore[import-not-found]
except ImportError:
    _short_md5 = md5

SHORT_BYTES_MAX = 1024
"""Up to this, the sum itself takes no longer than what OpenSSL does around it."""
_LENGTH = Struct(">I").pack
_STRING = b"\x01"
_BINARY = b"\x02"


def md5_of_body(body: bytes) -> str:
    """MD5OfMessageBody: of the body's UTF-8, in lower-case hexadecimal digits."""
    make = _short_md5 if len(body) <= SHORT_BYTES_MAX else md5
    digits: str = make(body, usedforsecurity=False).hexdigest()
    return digits


def md5_of_attributes(attributes: Mapping[str, Attribute]) -> str:
    """MD5OfMessageAttributes: names, types and values, each behind its length, ordered by name.

    System attributes are summed alike. Where there are none, SQS sends no sum.
    """
    parts: list[bytes] = []
    for name in sorted(attributes):
        attribute = attributes[name]
        for text in (name, attribute.data_type):
            encoded = text.encode("utf-8", "surrogatepass")
            parts += (_LENGTH(len(encoded)), encoded)
        if attribute.binary_value is not None:
            parts += (_BINARY, _LENGTH(len(attribute.binary_value)), attribute.binary_value)
        else:
            encoded = (attribute.string_value or "").encode("utf-8", "surrogatepass")
            parts += (_STRING, _LENGTH(len(encoded)), encoded)
    return md5(b"".join(parts), usedforsecurity=False).hexdigest()

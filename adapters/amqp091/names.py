"""Names that the broker makes, in RabbitMQ's form: 16 octets in base64url, 22 characters.

Clients' own tests look at the form and at the length.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from hashlib import blake2b

_OCTETS = 16


def name_from_octets(octets: bytes) -> str:
    """16 octets as a name."""
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def name_of(source: str) -> str:
    """The name that always belongs to `source`."""
    return name_from_octets(blake2b(source.encode(), digest_size=_OCTETS).digest())

"""Which methods each path of the API has, as its `Allow` header says.

What the configuration owns is only shown here, though RabbitMQ would change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

Methods: TypeAlias = tuple[str, ...]

SHOWN: Final[Methods] = ("HEAD", "GET", "OPTIONS")
_DECLARED: Final[Methods] = ("HEAD", "GET", "PUT", "DELETE", "OPTIONS")
_ADDED_TO: Final[Methods] = ("HEAD", "GET", "POST", "OPTIONS")
_ENDED: Final[Methods] = ("HEAD", "GET", "DELETE", "OPTIONS")
_DONE: Final[Methods] = ("POST", "OPTIONS")
_EMPTIED: Final[Methods] = ("DELETE", "OPTIONS")


def methods_of(path: Sequence[str]) -> Methods:
    """The methods that a path below `/api/` answers to."""
    match path:
        case ["queues" | "exchanges", _, _]:
            return _DECLARED
        case ["queues", _, _, "contents"]:
            return _EMPTIED
        case ["queues", _, _, "get"] | ["exchanges", _, _, "publish"]:
            return _DONE
        case ["bindings", _, "e", _, "q" | "e", _]:
            return _ADDED_TO
        case ["bindings", _, "e", _, "q" | "e", _, _] | ["connections", _]:
            return _ENDED
        case ["connections", "username", _]:
            return _ENDED
    return SHOWN

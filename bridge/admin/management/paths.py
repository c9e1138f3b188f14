"""Which methods each path of the API has, as its `Allow` header says.

What is set elsewhere is only shown here, though RabbitMQ would change it.
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
        case ["users", "bulk-delete"]:
            return _DONE
        case ["users", "without-permissions"]:
            return SHOWN
        case ["queues" | "exchanges" | "permissions", _, _] | ["vhosts" | "users", _]:
            return _DECLARED
        case ["topic-permissions", _, _] | ["topic-permissions", _, _, _]:
            return _DECLARED
        case ["queues", _, _, "contents"]:
            return _EMPTIED
        case ["queues", _, _, "get"] | ["exchanges", _, _, "publish"]:
            return _DONE
        case ["bindings", _, "e", _, "q" | "e", _] | ["definitions"] | ["definitions", _]:
            return _ADDED_TO
        case ["bindings", _, "e", _, "q" | "e", _, _] | ["connections", _]:
            return _ENDED
        case ["connections", "username", _]:
            return _ENDED
    return SHOWN


def is_provisioning(path: Sequence[str]) -> bool:
    """Whether it is a user, a permission or a virtual host."""
    return path[0] in {"vhosts", "users", "permissions", "topic-permissions"}

"""Users and namespaces that the state store keeps, besides those of the configuration.

`landbridge import rabbitmq` and the management API put them there. A user of the configuration wins
over a stored one of the same name.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import msgspec

from bridge.auth.accounts import Account
from bridge.messaging.ports import StateStore

KIND_USER: Final = "user"
KIND_NAMESPACE: Final = "namespace"
_REMEMBERED_MAX: Final = 10_000
"""Users that are kept decoded."""


class StoredNamespace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A namespace of the state store, as its owner describes it."""

    description: str = ""
    tags: tuple[str, ...] = ()
    leaving: bool = False
    """It is being deleted: nobody comes in any more, and what is in it goes."""


def encode_account(account: Account) -> bytes:
    """The user as the state store keeps it, under its name."""
    return msgspec.msgpack.encode(account, order="deterministic")


@lru_cache(_REMEMBERED_MAX)
def decode_account(value: bytes) -> Account:
    """What `encode_account` wrote; remembered, since one change has all users read again."""
    return msgspec.msgpack.decode(value, type=Account)


def stored_account(state: StateStore, name: str) -> Account | None:
    """One user of the state store."""
    value = state.get(KIND_USER, name)
    return None if value is None else decode_account(value)


def stored_accounts(state: StateStore) -> list[Account]:
    """All users of the state store."""
    return [decode_account(value) for _, value in state.scan(KIND_USER)]


def encode_namespace(namespace: StoredNamespace) -> bytes:
    """The namespace as the state store keeps it, under its name; nothing where it says nothing."""
    plain = namespace == StoredNamespace()
    return b"" if plain else msgspec.msgpack.encode(namespace)


def stored_namespace(state: StateStore, name: str) -> StoredNamespace | None:
    """One namespace of the state store."""
    value = state.get(KIND_NAMESPACE, name)
    return None if value is None else _decode_namespace(value)


def stored_namespaces(state: StateStore, *, leaving: bool = False) -> list[str]:
    """All namespaces of the state store that are there, or those that are being deleted."""
    return [
        name
        for name, value in state.scan(KIND_NAMESPACE)
        if _decode_namespace(value).leaving is leaving
    ]


def _decode_namespace(value: bytes) -> StoredNamespace:
    return msgspec.msgpack.decode(value, type=StoredNamespace) if value else StoredNamespace()

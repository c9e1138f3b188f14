"""Users and namespaces that the state store keeps, besides those of the configuration.

`landbridge import rabbitmq` puts them there. A user of the configuration wins over a stored one of
the same name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bridge.auth.accounts import Account
from bridge.messaging.ports import StateStore

KIND_USER: Final = "user"
KIND_NAMESPACE: Final = "namespace"


def encode_account(account: Account) -> bytes:
    """The user as the state store keeps it, under its name."""
    return msgspec.msgpack.encode(account, order="deterministic")


def stored_accounts(state: StateStore) -> list[Account]:
    """All users of the state store."""
    return [msgspec.msgpack.decode(value, type=Account) for _, value in state.scan(KIND_USER)]


def stored_namespaces(state: StateStore) -> list[str]:
    """All namespaces of the state store."""
    return [key for key, _ in state.scan(KIND_NAMESPACE)]

"""What the store of a configuration keeps besides it, read without opening the backend."""

from __future__ import annotations

import msgspec

from bridge.auth import Account
from bridge.auth.stored import KIND_NAMESPACE, KIND_USER
from bridge.config import BackendSection, StoredNames
from bridge.storage.peek import state_keys, state_value


def stored_names(backend: BackendSection) -> StoredNames:
    """The users and namespaces in a data directory; none where there is nothing to look into."""
    if not _keeps_a_store(backend):
        return StoredNames()
    return StoredNames(
        users=tuple(state_keys(backend.path, KIND_USER)),
        namespaces=tuple(state_keys(backend.path, KIND_NAMESPACE)),
    )


def stored_account(backend: BackendSection, name: str) -> Account | None:
    """A user of the data directory."""
    value = state_value(backend.path, KIND_USER, name) if _keeps_a_store(backend) else None
    return None if value is None else msgspec.msgpack.decode(value, type=Account)


def _keeps_a_store(backend: BackendSection) -> bool:
    return backend.kind == "embedded" and backend.durability != "memory"

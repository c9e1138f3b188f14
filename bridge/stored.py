"""What the store of a configuration keeps besides it, read without opening the backend."""

from __future__ import annotations

from bridge.auth.stored import KIND_NAMESPACE, KIND_USER
from bridge.config import BackendSection, StoredNames
from bridge.storage.peek import state_keys


def stored_names(backend: BackendSection) -> StoredNames:
    """The users and namespaces in a data directory; none where there is nothing to look into."""
    if backend.kind != "embedded" or backend.durability == "memory":
        return StoredNames()
    return StoredNames(
        users=tuple(state_keys(backend.path, KIND_USER)),
        namespaces=tuple(state_keys(backend.path, KIND_NAMESPACE)),
    )

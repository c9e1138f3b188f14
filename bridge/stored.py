"""What the store of a configuration keeps besides it, read without opening the backend."""

from __future__ import annotations

from bridge.auth import Account
from bridge.auth.stored import KIND_NAMESPACE, KIND_USER, decode_account
from bridge.config import BackendSection, StoredNames
from bridge.messaging.model import QueueName, TopicName
from bridge.routing.catalogue import KIND_TOPIC, topic_key
from bridge.storage import peek


def stored_names(backend: BackendSection) -> StoredNames:
    """The users and namespaces in a data directory; none where there is nothing to look into."""
    if not _keeps_a_store(backend):
        return StoredNames()
    return StoredNames(
        users=tuple(peek.state_keys(backend.path, KIND_USER)),
        namespaces=tuple(peek.state_keys(backend.path, KIND_NAMESPACE)),
    )


def stored_account(backend: BackendSection, name: str) -> Account | None:
    """A user of the data directory."""
    value = peek.state_value(backend.path, KIND_USER, name) if _keeps_a_store(backend) else None
    return None if value is None else decode_account(value)


def has_queue(backend: BackendSection, name: QueueName) -> bool:
    """Whether the data directory has the queue."""
    return _keeps_a_store(backend) and peek.has_queue(backend.path, *name)


def has_topic(backend: BackendSection, name: TopicName) -> bool:
    """Whether the data directory has the topic, which is not built in."""
    key = topic_key(name)
    return _keeps_a_store(backend) and peek.state_value(backend.path, KIND_TOPIC, key) is not None


def _keeps_a_store(backend: BackendSection) -> bool:
    return backend.kind == "embedded" and backend.durability != "memory"

"""MQTT's topics and sessions as subjects, patterns and queue names.

A topic name is a subject of the topic tree; a filter is a pattern over the same levels. A session
has one queue, a shared subscription one that its members take turns at.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import Final

from bridge.messaging.model import QueueName
from bridge.messaging.subjects import (
    pattern_from_slashed,
    slashed_from_subject,
    subject_from_slashed,
)

SESSION_QUEUE: Final = "mqtt-session-"
SHARED_QUEUE: Final = "mqtt-share-"
SYS_PREFIX: Final = "$SYS"
REMEMBERED_LENGTH_MAX: Final = 256
"""Characters of a topic or subject worth remembering: a client makes them up to 65,535 long."""
_REMEMBERED_MAX: Final = 16_384
_READABLE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,59}")

pattern_from_filter = pattern_from_slashed
_short_subject = lru_cache(_REMEMBERED_MAX)(subject_from_slashed)
_short_topic = lru_cache(_REMEMBERED_MAX)(slashed_from_subject)


def subject_from_topic(topic: str) -> str:
    """The subject of a topic name."""
    if len(topic) > REMEMBERED_LENGTH_MAX:
        return subject_from_slashed(topic)
    return _short_subject(topic)


def topic_from_subject(subject: str) -> str:
    """The topic name that MQTT clients see for a subject."""
    if len(subject) > REMEMBERED_LENGTH_MAX:
        return slashed_from_subject(subject)
    return _short_topic(subject)


def digest_of(*parts: str) -> str:
    """A short name for a combination of strings of any length and characters."""
    data = "\0".join(parts).encode("utf-8", "surrogatepass")
    return base64.b32encode(hashlib.sha256(data).digest()[:15]).decode().lower()


def session_queue_name(namespace: str, client_id: str) -> QueueName:
    """The queue of a session that outlives its connection; different for different client ids."""
    if _READABLE.fullmatch(client_id):
        return QueueName(namespace, SESSION_QUEUE + client_id)
    return QueueName(namespace, f"{SESSION_QUEUE}-{digest_of(client_id)}")


def transient_queue_name(namespace: str, unique: str) -> QueueName:
    """The queue of a session that ends with its connection."""
    return QueueName(namespace, f"{SESSION_QUEUE}-gen-{unique}")


def shared_queue_name(namespace: str, share_name: str, pattern: str) -> QueueName:
    """The queue of a shared subscription."""
    return QueueName(namespace, f"{SHARED_QUEUE}{digest_of(share_name, pattern)}")


def hidden_from_wildcards(subject: str) -> bool:
    """Whether filters that begin with a wildcard leave the topic out (MQTT 5, 4.7.2)."""
    return subject.startswith("$")


def begins_with_wildcard(pattern: str) -> bool:
    """Whether a pattern leaves out what is hidden from wildcards."""
    return pattern.startswith(("*", "#"))

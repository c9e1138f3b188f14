"""Names of queues and topics, as legacy clients call them and as SQS and SNS do.

What SQS or SNS allow stays as it is. Any other name is encoded: illegal characters become `-`, then
`--` and ten base32 characters of SHA-256 over namespace and name. Legal names that already look so
are encoded too, and so is everything outside of the default namespace, so two names never share a
form. The `amq.*` topics have fixed ones. Originals stand in the catalogue and, base64url, in tags.

This encoding is frozen: `tests/vectors/names.json` holds what users' queues are already called.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Final

from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import DEFAULT_NAMESPACE, QueueName, TopicName

CLOUD_NAMESPACE: Final = ""
"""Where queues and topics live that cloud code made under a name that looks encoded."""

INTERNAL_NAMESPACE: Final = "(landbridge)"
"""Where queues are that Landbridge has for itself; no client sees them."""

FIFO_SUFFIX: Final = ".fifo"

NAMESPACE_TAG: Final = "landbridge-namespace"
NAME_TAG: Final = "landbridge-name"
"""Tags of the original; long ones go on in `landbridge-name-2` and so on."""

NAME_TAGS_MAX: Final = 8
"""Tags that one original may fill; a longer one stands in the catalogue only."""

_LIMITS = ServiceLimits()
_TAG_VALUE_MAX = 256
_HASH_LENGTH = 10

_ILLEGAL = re.compile(r"[^A-Za-z0-9_-]")
_LOOKS_ENCODED = re.compile(r".*--[a-z2-7]{10}", re.DOTALL)

_FIXED_TOPICS: Final = {
    "amq.topic": "amq-topic",
    "amq.direct": "amq-direct",
    "amq.fanout": "amq-fanout",
    "amq.headers": "amq-headers",
    "amq.match": "amq-match",
}
_FIXED_TOPICS_BACK: Final = {form: name for name, form in _FIXED_TOPICS.items()}


def sqs_name(name: QueueName, *, fifo: bool = False, prefix: str = "") -> str:
    """What `name` is called in SQS; with `prefix` in front, inside of the same limit."""
    return prefix + _form(
        name.namespace, name.name, fifo, _LIMITS.queue_name_length_max - len(prefix)
    )


def sns_name(name: TopicName, *, fifo: bool = False, prefix: str = "") -> str:
    """What `name` is called in SNS; with `prefix` in front, inside of the same limit."""
    length_max = _LIMITS.topic_name_length_max - len(prefix)
    if name.namespace == DEFAULT_NAMESPACE and not fifo:
        fixed = _FIXED_TOPICS.get(name.name)
        if fixed is not None:
            return prefix + fixed
        if name.name in _FIXED_TOPICS_BACK:
            return prefix + _encoded(name.namespace, name.name, fifo, length_max)
    return prefix + _form(name.namespace, name.name, fifo, length_max)


def queue_from_sqs_name(name: str) -> QueueName:
    """The queue that cloud code means by a name which is not in the catalogue."""
    return QueueName(_namespace_of(name), name)


def topic_from_sns_name(name: str) -> TopicName:
    """The topic that cloud code means by a name which is not in the catalogue."""
    fixed = _FIXED_TOPICS_BACK.get(name)
    return TopicName(DEFAULT_NAMESPACE, fixed) if fixed else TopicName(_namespace_of(name), name)


def is_legal_queue_name(name: str, *, fifo: bool) -> bool:
    """Whether SQS takes `name` for a queue of that type."""
    return _is_legal(name, fifo, _LIMITS.queue_name_length_max)


def is_legal_topic_name(name: str, *, fifo: bool) -> bool:
    """Whether SNS takes `name` for a topic of that type."""
    return _is_legal(name, fifo, _LIMITS.topic_name_length_max)


def looks_encoded(name: str) -> bool:
    """Whether `name` has the form that encoded names have."""
    return _LOOKS_ENCODED.fullmatch(name.removesuffix(FIFO_SUFFIX)) is not None


def tags_of_original(name: QueueName | TopicName) -> dict[str, str]:
    """Tags that carry an encoded name's original; none where it is too long for tags."""
    tags: dict[str, str] = {}
    for key, text in ((NAMESPACE_TAG, name.namespace), (NAME_TAG, name.name)):
        encoded = base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode()
        pieces = range(0, max(len(encoded), 1), _TAG_VALUE_MAX)
        if len(pieces) > NAME_TAGS_MAX:
            return {}
        for number, start in enumerate(pieces, 1):
            tags[_tag_key(key, number)] = encoded[start : start + _TAG_VALUE_MAX]
    return tags


def original_from_tags(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """Namespace and name that `tags_of_original` wrote; None where they are missing or spoilt."""
    if NAMESPACE_TAG not in tags and NAME_TAG not in tags:
        return None
    texts: list[str] = []
    for key in (NAMESPACE_TAG, NAME_TAG):
        pieces = [tags.get(_tag_key(key, number), "") for number in range(1, NAME_TAGS_MAX + 1)]
        try:
            encoded = base64.b64decode("".join(pieces), altchars=b"-_", validate=True)
            texts.append(encoded.decode("utf-8", "surrogatepass"))
        except ValueError:
            return None
    return texts[0], texts[1]


def _form(namespace: str, name: str, fifo: bool, length_max: int) -> str:
    if namespace == _namespace_of(name) and _is_legal(name, fifo, length_max):
        return name
    return _encoded(namespace, name, fifo, length_max)


def _namespace_of(name: str) -> str:
    """The one namespace in which a legal name stays as it is."""
    return CLOUD_NAMESPACE if looks_encoded(name) else DEFAULT_NAMESPACE


def _is_legal(name: str, fifo: bool, length_max: int) -> bool:
    if not 0 < len(name) <= length_max or name.endswith(FIFO_SUFFIX) is not fifo:
        return False
    stem = name.removesuffix(FIFO_SUFFIX)
    return bool(stem) and _ILLEGAL.search(stem) is None


def _encoded(namespace: str, name: str, fifo: bool, length_max: int) -> str:
    suffix = FIFO_SUFFIX if fifo else ""
    stem = _ILLEGAL.sub("-", name.removesuffix(suffix))
    room = length_max - len(suffix) - 2 - _HASH_LENGTH
    return f"{stem[:room]}--{_hash(namespace, name)}{suffix}"


def _hash(namespace: str, name: str) -> str:
    # The length in front keeps ("a", "bc") and ("ab", "c") apart.
    first = namespace.encode("utf-8", "surrogatepass")
    second = name.encode("utf-8", "surrogatepass")
    digest = hashlib.sha256(b"%d:%b%b" % (len(first), first, second)).digest()
    return base64.b32encode(digest).decode()[:_HASH_LENGTH].lower()


def _tag_key(key: str, number: int) -> str:
    return key if number == 1 else f"{key}-{number}"

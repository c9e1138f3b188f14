"""Names in a configuration that nothing answers to: legal, since clients, an import and the
management API make queues, exchanges and namespaces later, and often a slip of the pen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from functools import cache
from typing import Final

from bridge.config import Loaded, Mistake, Queue
from bridge.config.mistakes import Path, suggestion
from bridge.messaging.model import DEFAULT_NAMESPACE, QueueName, TopicName
from bridge.routing.catalogue import BUILT_IN
from bridge.stored import has_queue, has_topic

TAGS: Final = ("administrator", "monitoring", "policymaker", "management")
"""RabbitMQ's user tags that the management API goes by."""
FILTER_PLACEHOLDERS: Final = ("{user}", "{client_id}")
_PLACEHOLDER: Final = re.compile(r"\{[A-Za-z_]+\}|%[uc](?![0-9A-Za-z])")
_RESERVED: Final = "amq."
_COMPARED_MAX: Final = 1_000
"""Names up to which one is looked for that was meant."""


def unknown_names(loaded: Loaded) -> Iterator[Mistake]:
    """What is named and not there, section by section."""
    yield from _namespaces(loaded)
    yield from _tags(loaded)
    yield from _exchanges(loaded)
    yield from _placeholders(loaded)
    queues = _Queues(loaded)
    for index, queue in enumerate(loaded.config.queues):
        path = ("queues", index)
        for key, problem in (
            ("dead_letter", queues.problem_of_dead_letter(queue)),
            ("redrive", queues.problem_of_redrive(queue)),
        ):
            if problem is not None:
                yield loaded.mistake((*path, key), problem)


def _namespaces(loaded: Loaded) -> Iterator[Mistake]:
    known = [DEFAULT_NAMESPACE, *loaded.config.namespaces, *loaded.stored.namespaces]
    for path, name in _namespaces_of_users(loaded):
        if name not in known:
            yield loaded.mistake(
                path,
                f"{name!r} is no namespace{_meant(name, known)}; until it is one (under namespaces,"
                " or by an import or the management API), this permits nothing",
            )


def _namespaces_of_users(loaded: Loaded) -> Iterator[tuple[Path, str]]:
    for index, user in enumerate(loaded.config.users):
        path = ("users", index)
        for at, name in enumerate(user.namespaces or ()):
            yield (*path, "namespaces", at), name
        for at, permission in enumerate(user.permissions or ()):
            yield (*path, "permissions", at, "namespace"), permission.namespace
        for at, each in enumerate(user.topic_permissions):
            yield (*path, "topic_permissions", at, "namespace"), each.namespace


def _tags(loaded: Loaded) -> Iterator[Mistake]:
    for index, user in enumerate(loaded.config.users):
        for at, tag in enumerate(user.tags or ()):
            if tag not in TAGS:
                problem = f"{tag!r} opens nothing of the management API; {suggestion(tag, TAGS)}"
                yield loaded.mistake(("users", index, "tags", at), problem)


def _exchanges(loaded: Loaded) -> Iterator[Mistake]:
    """Only names that no client can declare: an exchange without an entry is open to the user."""
    for index, user in enumerate(loaded.config.users):
        for at, each in enumerate(user.topic_permissions):
            name = each.exchange
            if name.startswith(_RESERVED) and name not in BUILT_IN:
                yield loaded.mistake(
                    ("users", index, "topic_permissions", at, "exchange"),
                    f"{name!r} is no exchange{_meant(name, BUILT_IN)}, and clients cannot declare"
                    f" names that begin with {_RESERVED}",
                )


def _placeholders(loaded: Loaded) -> Iterator[Mistake]:
    """RabbitMQ's and Mosquitto's placeholders where others hold, as text permitting nothing."""
    for index, user in enumerate(loaded.config.users):
        for key in ("publish", "subscribe"):
            for at, text in enumerate(getattr(user.topics, key) or ()):
                found = _PLACEHOLDER.findall(text)
                other = [each for each in found if each not in FILTER_PLACEHOLDERS]
                if other:
                    yield loaded.mistake(
                        ("users", index, "topics", key, at),
                        f"{other[0]} stands for itself; known: {', '.join(FILTER_PLACEHOLDERS)}",
                    )


class _Queues:
    """Answers about what queues name, each name being looked for in the store once."""

    def __init__(self, loaded: Loaded) -> None:
        config = loaded.config
        self._backend = config.backend
        self._last_resort = config.dead_letters.queue
        self._topics = loaded.rules.topics()
        self._queues = loaded.rules.queues() | {
            QueueName(each.namespace, each.name) for each in config.queues
        }
        self._no_queue = cache(self._find_no_queue)
        self._no_topic = cache(self._find_no_topic)

    def problem_of_dead_letter(self, queue: Queue) -> str | None:
        target = queue.dead_letter
        missing = None
        if target is not None and target.queue is not None:
            missing = self._no_queue(QueueName(queue.namespace, target.queue))
        elif target is not None and target.topic is not None:
            missing = self._no_topic(TopicName(queue.namespace, target.topic))
        return missing and (
            f"{missing}; until somebody makes it, what is rejected or returned too often goes to"
            f" queue {self._last_resort!r}, and what expires or does not fit is gone"
        )

    def problem_of_redrive(self, queue: Queue) -> str | None:
        if queue.redrive is None:
            return None
        missing = self._no_queue(QueueName(queue.namespace, queue.redrive.queue))
        if self._backend.kind == "aws":
            return missing and f"{missing}; unless SQS has it, the broker does not start"
        return missing and f"{missing}; until somebody makes it, messages stay where they are"

    def _find_no_queue(self, name: QueueName) -> str | None:
        pinned = name.namespace == DEFAULT_NAMESPACE and name.name in self._backend.queues
        if name in self._queues or pinned or has_queue(self._backend, name):
            return None
        meant = _meant(name.name, [each.name for each in self._queues])
        return f"there is no queue {name.name!r} in namespace {name.namespace!r}{meant}"

    def _find_no_topic(self, name: TopicName) -> str | None:
        if name.name in BUILT_IN or name in self._topics or has_topic(self._backend, name):
            return None
        meant = _meant(name.name, BUILT_IN)
        return f"there is no exchange {name.name!r} in namespace {name.namespace!r}{meant}"


def _meant(word: str, known: Collection[str]) -> str:
    if len(known) > _COMPARED_MAX:
        return ""
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""

"""Retained messages: one for each topic, in the state store; here only which topics have one.

The index is a tree of dicts keyed by levels, since a wildcard reads it from the top: a million
topics are matched by visiting what a filter covers. A topic that nothing lies below costs an entry
in its parent's dict, about 150 bytes with its name; 350 where each has a level of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from bridge.messaging.matcher import LEVELS_MAX, matches
from bridge.messaging.model import Message, StateChange
from bridge.messaging.ports import StateStore
from bridge.messaging.subjects import subject_from_slashed
from mappings.mqtt.addresses import pattern_from_filter
from mappings.mqtt.filters import covers

KIND_RETAINED: Final = "retained"
DEPTH_MAX: Final = 32
"""Levels that the tree tells apart; what a topic has beyond them stands in one piece, so that no
topic costs more than a few times its own length.
"""
_Node = dict[str | None, Any]
_HERE: Final = None
"""The key under which a node that also has levels below says that its own topic has a message."""

_encoder = msgspec.msgpack.Encoder()


class _Record(msgspec.Struct, array_like=True):
    """A retained message as it is stored; MQTT clients alone make them, with text and bytes."""

    message_id: str
    body: bytes
    sent_at: int
    properties: dict[str, Any]
    headers: dict[str, Any]
    topic: str | None
    subject: str | None
    sender: str | None
    expires_at: int | None
    original: tuple[str, bytes] | None


_decoder = msgspec.msgpack.Decoder(_Record)


class TopicTree:
    """Which topics there are; `add` and `remove` in the slashed form of MQTT."""

    __slots__ = ("_root", "count")

    def __init__(self) -> None:
        self._root: _Node = {}
        self.count = 0

    def add(self, topic: str) -> bool:
        """False if it was there."""
        *parents, last = topic.split("/", DEPTH_MAX)
        node = self._root
        for level in parents:
            below = node.get(level)
            if below is None:
                below = node[level] = {}
            elif below is True:
                below = node[level] = {_HERE: True}
            node = below
        found = node.get(last)
        if found is None:
            node[last] = True
        elif found is not True and _HERE not in found:
            found[_HERE] = True
        else:
            return False
        self.count += 1
        return True

    def remove(self, topic: str) -> bool:
        """False if it was not there."""
        levels = topic.split("/", DEPTH_MAX)
        path: list[_Node] = [self._root]
        for level in levels[:-1]:
            below = path[-1].get(level)
            if not isinstance(below, dict):
                return False
            path.append(below)
        found = path[-1].get(levels[-1])
        if found is True:
            del path[-1][levels[-1]]
        elif found is not None and _HERE in found:
            del found[_HERE]
        else:
            return False
        self.count -= 1
        for index in range(len(path) - 1, 0, -1):
            if path[index]:
                break
            del path[index - 1][levels[index - 1]]
        return True

    def find(self, pattern: str) -> Iterator[str]:
        """The topics that a filter covers (MQTT 5, 4.7), in the order of the tree.

        What is added or removed while this runs may or may not be among them.
        """
        levels = pattern.split("/")
        if len(levels) > LEVELS_MAX:
            return
        hidden = levels[0] in ("+", "#")
        stack: list[tuple[Any, int, str]] = [(self._root, 0, "")]
        while stack:
            node, at, prefix = stack.pop()
            if at == len(levels):
                if node is True or _HERE in node:
                    yield prefix[1:]
                continue
            level = levels[at]
            if at == DEPTH_MAX and level != "#":
                yield from _tails(node, levels[at:], prefix)
            elif level == "#":
                if prefix and (node is True or _HERE in node):
                    yield prefix[1:]
                if node is not True:
                    stack.extend(_below(node, at, prefix, hidden=hidden and not prefix))
            elif node is True:
                continue
            elif level == "+":
                stack.extend(_below(node, at + 1, prefix, hidden=hidden and not prefix))
            elif (below := node.get(level)) is not None:
                stack.append((below, at + 1, f"{prefix}/{level}"))


def _below(node: _Node, at: int, prefix: str, *, hidden: bool) -> list[tuple[Any, int, str]]:
    """A node's children; `hidden` leaves out what begins with `$`."""
    return [
        (below, at, f"{prefix}/{level}")
        for level, below in node.items()
        if level is not None and not (hidden and level.startswith("$"))
    ]


def _tails(node: Any, levels: list[str], prefix: str) -> Iterator[str]:
    """The topics among those cut at `DEPTH_MAX` whose rest is covered by the rest of a filter."""
    if node is True:
        return
    pattern = pattern_from_filter("/".join(levels))
    for rest in node:
        if rest is not None and matches(pattern, subject_from_slashed(rest)):
            yield f"{prefix}/{rest}"[1:]


class Arrivals:
    """The topics whose retained message a new subscription gets as it is published, while what was
    retained before is still to be sent: it is not sent those again.
    """

    __slots__ = ("namespace", "pattern", "topics")

    def __init__(self, namespace: str, pattern: str) -> None:
        self.namespace = namespace
        self.pattern = pattern
        self.topics: set[str] = set()


class RetainedMessages:
    """The retained messages of all namespaces."""

    def __init__(self, state: StateStore, retained_max: int) -> None:
        self._state = state
        self._max = retained_max
        self._trees: dict[str, TopicTree] = {}
        self._arrivals: set[Arrivals] = set()

    def load(self) -> None:
        """Read what is stored, once, and follow what other nodes change."""
        self._state.watch([KIND_RETAINED], self._follow)
        for key in self._state.keys(KIND_RETAINED):
            namespace, topic = _split(key)
            self._tree(namespace).add(topic)

    def _follow(self, changes: Iterable[StateChange]) -> None:
        for _, key, value in changes:
            namespace, topic = _split(key)
            if value is None:
                self._tree(namespace).remove(topic)
            else:
                self._tree(namespace).add(topic)

    @property
    def count(self) -> int:
        return sum(tree.count for tree in self._trees.values())

    def _tree(self, namespace: str) -> TopicTree:
        tree = self._trees.get(namespace)
        if tree is None:
            tree = self._trees[namespace] = TopicTree()
        return tree

    def change(self, namespace: str, topic: str, message: Message) -> StateChange | None:
        """What to store for a publish with RETAIN; an empty body clears (MQTT 5, 3.3.1.3).

        None where there is no room for more. What is cleared may stand at another node only.
        """
        for arrivals in self._arrivals:
            if arrivals.namespace == namespace and covers(arrivals.pattern, message.subject or ""):
                arrivals.topics.add(topic)
        tree = self._tree(namespace)
        key = _key(namespace, topic)
        if not message.body:
            tree.remove(topic)
            return StateChange(KIND_RETAINED, key, None)
        if tree.add(topic) and self.count > self._max:
            tree.remove(topic)
            return None
        return StateChange(KIND_RETAINED, key, _value_from(message))

    def expect(self, namespace: str, pattern: str) -> Arrivals:
        """A subscription is routed to from now on; until `sent` note what it gets."""
        arrivals = Arrivals(namespace, pattern)
        self._arrivals.add(arrivals)
        return arrivals

    def sent(self, arrivals: Arrivals) -> None:
        """Nothing retained is to be sent any more."""
        self._arrivals.discard(arrivals)

    def topics(self, namespace: str, pattern: str) -> Iterator[str]:
        """The topics with a retained message that a filter covers."""
        tree = self._trees.get(namespace)
        return iter(()) if tree is None else tree.find(pattern)

    def message(self, namespace: str, topic: str, now_ms: int) -> Message | None:
        """A topic's retained message; None if it has expired or was cleared meanwhile."""
        value = self._state.get(KIND_RETAINED, _key(namespace, topic))
        if value is None:
            return None
        message = _message_from(value)
        if message.expires_at is not None and message.expires_at <= now_ms:
            return None
        return message

    def forget_expired(self, namespace: str, topic: str, now_ms: int) -> StateChange | None:
        """The change that removes a message which has expired."""
        if self.message(namespace, topic, now_ms) is None and self._tree(namespace).remove(topic):
            return StateChange(KIND_RETAINED, _key(namespace, topic), None)
        return None


def _key(namespace: str, topic: str) -> str:
    """Different for different pairs: the length tells where the namespace ends."""
    return f"{len(namespace)}:{namespace}{topic}"


def _split(key: str) -> tuple[str, str]:
    length, _, rest = key.partition(":")
    return rest[: int(length)], rest[int(length) :]


def _value_from(message: Message) -> bytes:
    return _encoder.encode(
        _Record(
            message.message_id,
            message.body,
            message.sent_at,
            message.properties,
            message.headers,
            message.topic,
            message.subject,
            message.sender,
            message.expires_at,
            message.original,
        )
    )


def _message_from(value: bytes) -> Message:
    record = _decoder.decode(value)
    return Message(
        record.message_id,
        record.body,
        record.sent_at,
        record.properties,
        record.headers,
        record.topic,
        record.subject,
        record.sender,
        expires_at=record.expires_at,
        original=record.original,
    )

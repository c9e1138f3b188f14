"""From a chunk's publishes to the sends of its unit of work: rules first, then the default mapping.

This is the hot path: one pass for each call, a dict lookup for each publish to a known destination;
all else is in `_route_slowly`. What a subject resolves to is remembered until the catalogue
changes. A body is stored once: all queues get the same `Message`, unless a subscription wraps it or
a rule sets attributes. Measured (CPython 3.11, one core, batches of 100): 0.22 us for a publish to
a queue, 0.25 us to a topic with one queue, 2.5 us to a topic with ten, 4 us through a rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import msgspec

from bridge.messaging.errors import InvalidAddress, MessagingError, TopicDoesNotExist
from bridge.messaging.limits import Limits
from bridge.messaging.model import Message, Publish, QueueName, TopicName, UnitOfWork
from bridge.messaging.ports import Queue, Store
from bridge.routing.addresses import Destination
from bridge.routing.catalogue import Subscription
from bridge.routing.resolution import Resolution, resolve
from bridge.routing.rules import NO_RULES, CompiledRule, Match, Rules, Target
from bridge.routing.templates import MissingValue, Values
from bridge.routing.topology import Topology

DEAD_LETTER_QUEUE = "landbridge-dead-letters"
"""The default dead-letter queue of a namespace; also where what a rule cannot send goes."""

REASON_HEADER = "landbridge-dead-letter-reason"

DeliverElsewhere: TypeAlias = Callable[[Subscription, Message], Iterable[tuple[Queue, Message]]]
"""Says which sends carry a message towards a subscription that is not a queue's; part of the same
unit of work.
"""

Wrap: TypeAlias = Callable[[Subscription, Message], Message]
"""Makes the message that a subscription without raw delivery gets."""


class Routed:
    """What became of one call's publishes.

    `missing` queues have to be created first: then nothing was appended, and the call is to be made
    again. `unrouted` are the indexes of publishes that reached nothing, `failed` those that were
    refused and why. `count` publishes were routed: all, unless their sends were limited.
    """

    __slots__ = ("count", "failed", "irregular", "missing", "start", "unrouted")

    def __init__(self, start: int) -> None:
        self.count = 0
        self.missing: frozenset[QueueName] = frozenset()
        self.unrouted: list[int] = []
        self.failed: dict[int, MessagingError] = {}
        self.start = start
        self.irregular: list[tuple[int, int]] = []

    def publish_of(self, send_index: int) -> int:
        """The index of the publish that made `unit.sends[send_index]`; for
        `UnitOfWork.failures`.
        """
        previous, end = -1, self.start
        for publish_index, publish_end in self.irregular:
            # Every publish between two irregular ones made exactly one send.
            if send_index < end + publish_index - previous - 1:
                break
            if send_index < publish_end:
                return publish_index
            previous, end = publish_index, publish_end
        return previous + 1 + send_index - end


class Router:
    """Finds the queues of publishes. One for the process; used on the event loop only."""

    def __init__(
        self,
        topology: Topology,
        store: Store,
        rules: Rules = NO_RULES,
        *,
        limits: Limits | None = None,
        dead_letter_queue: str = DEAD_LETTER_QUEUE,
        wrap: Wrap | None = None,
        deliver_elsewhere: DeliverElsewhere | None = None,
    ) -> None:
        """Without `wrap` messages stay as they are; without `deliver_elsewhere` such subscriptions
        get nothing.
        """
        self.topology = topology
        self.store = store
        self.dead_letter_queue = dead_letter_queue
        self.rules = rules
        self._wrap = wrap
        self._deliver_elsewhere = deliver_elsewhere
        self._entries_max = (limits or Limits()).routing_cache_entries_max
        self._version = topology.version
        self._resolutions: dict[tuple[str, str, str | None], Resolution] = {}
        self._queues: dict[tuple[str, str | None], Queue] = {}

    def use_rules(self, rules: Rules) -> None:
        """Apply other rules from the next call on."""
        self.rules = rules

    def use_wrap(self, wrap: Wrap) -> None:
        """Say who makes what subscriptions without raw delivery get."""
        self._wrap = wrap

    def use_deliver_elsewhere(self, deliver_elsewhere: DeliverElsewhere) -> None:
        """Say who carries messages to subscriptions that are not queues'."""
        self._deliver_elsewhere = deliver_elsewhere

    def route(
        self, publishes: Sequence[Publish], unit: UnitOfWork, sends_max: int | None = None
    ) -> Routed:
        """Append the sends of `publishes` to `unit`, all or, where queues are missing, none.

        With `sends_max` it stops behind the publish with many queues that goes beyond it.
        """
        if self._version != self.topology.version:
            self._resolutions.clear()
            self._version = self.topology.version
        sends = unit.sends
        routed = Routed(len(sends))
        routed.count = len(publishes)
        end = None if sends_max is None else len(sends) + sends_max
        rules = self.rules
        with_rules = rules.protocols
        queues = self._queues
        resolutions = self._resolutions
        missing: set[QueueName] = set()
        for index, publish in enumerate(publishes):
            message = publish.message
            matches: Sequence[Match] = ()
            if with_rules and publish.origin.protocol in with_rules:
                matches = rules.matching(publish.origin)
            if not matches:
                topic = message.topic
                if topic:
                    resolution = resolutions.get((publish.namespace, topic, message.subject))
                    queue = None if resolution is None else resolution.only
                else:
                    queue = queues.get((publish.namespace, publish.queue))
                if queue is not None and not queue.deleted:
                    sends.append((queue, message))
                    continue
            self._route_slowly(_Pass(index, publish, sends, missing, routed), matches)
            if end is not None and len(sends) > end:
                routed.count = index + 1
                break
        if missing:
            del sends[routed.start :]
            routed = Routed(len(sends))
            routed.missing = frozenset(missing)
        return routed

    def sends_to_topic(
        self, topic: TopicName, message: Message, also: Sequence[str] = ()
    ) -> list[tuple[Queue, Message]]:
        """What publishing `message` to a topic sends, past all rules; for dead letters and
        wills. Under the subjects in `also`, too, at every topic that it comes to.
        """
        sends: list[tuple[Queue, Message]] = []
        self._send_to_topic(topic, message, sends, also=also)
        return sends

    # -- everything that is not one known queue

    def _route_slowly(self, state: _Pass, matches: Sequence[Match]) -> None:
        start = len(state.sends)
        if not matches or not self._apply_rules(matches, state):
            self._send_by_default(state, state.publish.message)
        state.finish(start)

    def _apply_rules(self, matches: Sequence[Match], state: _Pass) -> bool:
        """Apply what matches; False where every filter refused, so that the default mapping
        stands.
        """
        message, origin = state.publish.message, state.publish.origin
        applied = False
        for rule, captures in matches:
            if not rule.accepts(message):
                continue
            applied = True
            try:
                changed = rule.with_attributes(Values(captures, message, origin))
            except MissingValue as error:
                self._send_to_errors(state, message, rule, error)
                continue
            values = Values(captures, changed, origin)
            for target in rule.targets:
                self._send_to_target(state, rule, target, values)
        return applied

    def _send_to_target(
        self, state: _Pass, rule: CompiledRule, target: Target, values: Values
    ) -> None:
        message = values.message
        if target.template is None:
            self._send_by_default(state, message)
            return
        try:
            to = target.destination(values, state.publish.namespace)
        except (MissingValue, InvalidAddress) as error:
            self._send_to_errors(state, message, rule, error)
            return
        if to.queue is not None:
            self._send_to_queue(state, to.queue, message, create=True)
        elif to.topic is not None:
            if self.topology.topic(to.topic) is None:
                absent = TopicDoesNotExist(f"topic {to.topic.name!r} does not exist")
                self._send_to_errors(state, message, rule, absent)
            else:
                moved = moved_to(message, to)
                start = len(state.sends)
                state.reached |= self._send_to_topic(to.topic, moved, state.sends, state.missing)
                if target.protocol == "sns":
                    self._send_to_face(state, to.topic, moved, start)

    def _send_to_errors(
        self, state: _Pass, message: Message, rule: CompiledRule, error: Exception
    ) -> None:
        """What a rule cannot send goes to the namespace's dead-letter queue, with the reason."""
        reason = f"route {rule.rule.name!r}: {error}"
        failed = msgspec.structs.replace(
            message, headers={**message.headers, REASON_HEADER: reason}
        )
        name = QueueName(state.publish.namespace, self.dead_letter_queue)
        self._send_to_queue(state, name, failed, create=True)

    def _send_by_default(self, state: _Pass, message: Message) -> None:
        publish = state.publish
        if not message.topic:
            if publish.queue is not None:
                name = QueueName(publish.namespace, publish.queue)
                self._send_to_queue(state, name, message, create=publish.create)
            return
        topic = TopicName(publish.namespace, message.topic)
        if self.topology.topic(topic) is None:
            state.routed.failed[state.index] = TopicDoesNotExist(
                f"topic {topic.name!r} does not exist in namespace {topic.namespace!r}"
            )
            return
        state.reached |= self._send_to_topic(topic, message, state.sends, state.missing)

    def _send_to_queue(
        self, state: _Pass, name: QueueName, message: Message, *, create: bool
    ) -> None:
        queue = self.store.queue(name)
        if queue is not None:
            if len(self._queues) >= self._entries_max:
                self._queues.clear()
            self._queues[name.namespace, name.name] = queue
            state.send(queue, message)
        elif create:
            state.missing.add(name)

    def _send_to_topic(
        self,
        topic: TopicName,
        message: Message,
        sends: list[tuple[Queue, Message]],
        missing: set[QueueName] | None = None,
        *,
        also: Sequence[str] = (),
    ) -> bool:
        """True where it reached anything. What has to be known first is added to `missing`, or,
        without it, sent to whatever it turns out to be.
        """
        if also:
            resolution = resolve(self.topology, self.store, topic, message, also)
        else:
            resolution = self._resolved(topic, message)
        if resolution.unknown:
            if missing is not None:
                missing.update([face.name for face in resolution.unknown])
            else:
                sends += [(face, message) for face in resolution.unknown]
        if resolution.delayed:
            message = _delayed(message)
        sends += [(queue, message) for queue in resolution.queues]
        reached = bool(resolution.queues)
        if not resolution.conditions:
            return reached
        taken: set[QueueName] = set()
        for entry, target in resolution.conditions:
            if not entry.accepts(message):
                continue
            if target is None:
                if self._deliver_elsewhere is not None:
                    sends.extend(self._deliver_elsewhere(entry.subscription, message))
                    reached = True
            elif target.name not in taken:
                taken.add(target.name)
                reached = True
                if entry.subscription.raw or self._wrap is None:
                    sends.append((target, message))
                else:
                    sends.append((target, self._wrap(entry.subscription, message)))
        return reached

    def _send_to_face(self, state: _Pass, topic: TopicName, message: Message, start: int) -> None:
        """Send to the face of a topic that a rule names, unless it was sent there just now."""
        faces = self.topology.faces
        if faces is None:
            return
        found = self.topology.topic(topic)
        face = faces.face(topic, fifo=found is not None and found.fifo, always=True)
        if face is not None and all(queue.name != face.name for queue, _ in state.sends[start:]):
            state.send(face, message)

    def _resolved(self, topic: TopicName, message: Message) -> Resolution:
        key = (topic.namespace, topic.name, message.subject)
        if self._version != self.topology.version:
            self._resolutions.clear()
            self._version = self.topology.version
        resolution = self._resolutions.get(key)
        if resolution is None or not resolution.current(self.store):
            resolution = resolve(self.topology, self.store, topic, message)
            if not resolution.dynamic:
                if len(self._resolutions) >= self._entries_max:
                    self._resolutions.clear()
                self._resolutions[key] = resolution
        return resolution


class _Pass:
    """One publish on its slow way."""

    __slots__ = ("_sent", "index", "missing", "publish", "reached", "routed", "sends")

    def __init__(
        self,
        index: int,
        publish: Publish,
        sends: list[tuple[Queue, Message]],
        missing: set[QueueName],
        routed: Routed,
    ) -> None:
        self.index = index
        self.publish = publish
        self.sends = sends
        self.missing = missing
        self.routed = routed
        self.reached = False
        self._sent: set[tuple[QueueName, int]] = set()

    def send(self, queue: Queue, message: Message) -> None:
        """Send once, though two rules may say so; what a rule changed is another message."""
        self.reached = True
        key = (queue.name, id(message))
        if key not in self._sent:
            self._sent.add(key)
            self.sends.append((queue, message))

    def finish(self, start: int) -> None:
        if len(self.sends) - start != 1:
            self.routed.irregular.append((self.index, len(self.sends)))
        if not self.reached and self.index not in self.routed.failed:
            self.routed.unrouted.append(self.index)


def moved_to(message: Message, to: Destination) -> Message:
    """The message as published to another topic; its subject stays where the destination names
    none.
    """
    assert to.topic is not None
    subject = to.subject if to.subject is not None else message.subject
    if subject is None:
        subject = to.topic.name
    if message.topic == to.topic.name and message.subject == subject:
        return message
    return msgspec.structs.replace(message, topic=to.topic.name, subject=subject)


def _delayed(message: Message) -> Message:
    """The message, to become visible when its `x-delay` is over."""
    delay = message.headers.get("x-delay")
    if not isinstance(delay, int) or isinstance(delay, bool) or delay <= 0:
        return message
    return msgspec.structs.replace(message, visible_at=message.sent_at + delay)

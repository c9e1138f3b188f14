"""Dead letters: what leaves a queue unconsumed is published where the queue says, with the history
in its headers.

The headers are RabbitMQ's (`x-death`, `x-first-death-*`, `x-last-death-*`), one entry for each
queue and reason, the latest first; `landbridge-dead-letter-reason` says it in one word or sentence.
A queue that names no target uses the default dead-letter queue of its namespace for what was
rejected or returned too often; what expired or did not fit was limited by those who set it up, and
goes away. The sends and the deletes are one unit of work.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec

from bridge.messaging.clock import Clock
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import (
    DeadLetterReason,
    Delivery,
    Message,
    QueueName,
    TopicName,
    UnitOfWork,
    Value,
)
from bridge.messaging.ports import Queue
from bridge.messaging.subjects import dotted_from_subject, subject_from_dotted
from bridge.routing.router import REASON_HEADER, Router

DEATHS_HEADER: Final = "x-death"

COPIES_HEADER: Final = "CC"
"""Further keys that an AMQP client published with."""

DEFAULT_FOR: Final = frozenset({DeadLetterReason.REJECTED, DeadLetterReason.DELIVERY_LIMIT})
"""The reasons for which a queue without a dead-letter target uses the default dead-letter queue."""

Death = dict[str, Value]
Spawn = Callable[[Coroutine[Any, Any, None]], object]
"""Runs a coroutine in a task group that outlives the call."""
Watcher = Callable[[Queue, int, DeadLetterReason], None]
"""Is told of a queue, how many messages leave it, and why."""


class DeadLetters:
    """Makes the units of work that dead-letter deliveries; a `ports.DeadLetterer`."""

    def __init__(
        self,
        router: Router,
        clock: Clock,
        spawn: Spawn,
        *,
        default_for: frozenset[DeadLetterReason] = DEFAULT_FOR,
    ) -> None:
        self._router = router
        self._clock = clock
        self._spawn = spawn
        self._default_for = default_for
        self._watchers: list[Watcher] = []

    def watch(self, watcher: Watcher) -> None:
        """Tell `watcher` of all that leaves a queue because it expired or did not fit."""
        self._watchers.append(watcher)

    def __call__(
        self, queue: Queue, deliveries: Sequence[Delivery], reason: DeadLetterReason
    ) -> UnitOfWork:
        """The unit of work that moves `deliveries` of `queue` to where they belong, to be
        submitted.

        Where the default dead-letter queue has to be created first, the unit leaves out what
        waits for it; those deliveries stay held and follow in a unit of their own.
        """
        unit = self.reject(deliveries, reason)
        for watcher in self._watchers:
            watcher(queue, len(deliveries), reason)
        return unit

    def reject(
        self,
        deliveries: Sequence[Delivery],
        reason: DeadLetterReason = DeadLetterReason.REJECTED,
        detail: str | None = None,
    ) -> UnitOfWork:
        """As `__call__`, for deliveries of any queues; `detail` says more than the reason does.

        A gateway that answers for the settling creates what `missing` names first.
        """
        unit = UnitOfWork()
        waiting: dict[QueueName, list[Delivery]] = {}
        for delivery in deliveries:
            absent = self._add(unit, delivery, reason, detail)
            if absent is not None:
                waiting.setdefault(absent, []).append(delivery)
        for name, late in waiting.items():
            self._spawn(self._reject_later(name, late, reason, detail))
        return unit

    def missing(
        self,
        deliveries: Sequence[Delivery],
        reason: DeadLetterReason = DeadLetterReason.REJECTED,
    ) -> frozenset[QueueName]:
        """The queues to create (`Topology.ensure_queue`) for `reject` to move all at once."""
        scratch = UnitOfWork()
        names = [self._add(scratch, delivery, reason, None) for delivery in deliveries]
        return frozenset(name for name in names if name is not None)

    def over_return_limit(self, delivery: Delivery) -> bool:
        """Whether one more return is too many; reject it with `DELIVERY_LIMIT` instead."""
        limit = delivery.queue.settings.return_limit
        return limit is not None and delivery.return_count >= limit

    async def _reject_later(
        self,
        name: QueueName,
        deliveries: Sequence[Delivery],
        reason: DeadLetterReason,
        detail: str | None,
    ) -> None:
        try:
            await self._router.topology.ensure_queue(name)
        except MessagingError:
            # Nothing is lost: they become visible again, and are rejected or expire again.
            unit = UnitOfWork()
            unit.releases += deliveries
        else:
            unit = self.reject(deliveries, reason, detail)
        self._router.store.submit(unit)

    def _add(
        self,
        unit: UnitOfWork,
        delivery: Delivery,
        reason: DeadLetterReason,
        detail: str | None,
    ) -> QueueName | None:
        """Add one delivery's sends and its delete; or return the queue that has to exist first."""
        queue = delivery.queue
        dead = self._dead(queue, delivery.message, reason, detail)
        sends, dropped = self._to_target(queue, dead, reason)
        if not sends and not dropped and reason in self._default_for:
            name = QueueName(queue.name.namespace, self._router.dead_letter_queue)
            if name != queue.name:
                default = self._router.store.queue(name)
                if default is None:
                    return name
                sends = [(default, dead)]
        unit.sends += sends
        unit.deletes.append(delivery)
        return None

    def _to_target(
        self, queue: Queue, dead: Message, reason: DeadLetterReason
    ) -> tuple[list[tuple[Queue, Message]], bool]:
        """Publish to the queue's target; True where all that it reached was dropped as a cycle."""
        target = queue.settings.dead_letter
        if target is None:
            return [], False
        namespace = queue.name.namespace
        copies = _copies_of(dead) if target.subject is None else []
        subject = dead.subject if target.subject is None else target.subject
        if subject is None:
            # Sent to the queue directly: its name is the key that RabbitMQ keeps.
            subject = subject_from_dotted(queue.name.name)
        if target.topic:
            moved = msgspec.structs.replace(dead, topic=target.topic, subject=subject)
            also = [subject_from_dotted(key) for key in copies]
            sends = self._router.sends_to_topic(TopicName(namespace, target.topic), moved, also)
        else:
            moved = msgspec.structs.replace(dead, topic=None, subject=None)
            names = dict.fromkeys([dotted_from_subject(subject), *copies])
            queues = [self._router.store.queue(QueueName(namespace, key)) for key in names]
            sends = [(found, moved) for found in queues if found is not None]
        if reason is DeadLetterReason.REJECTED:
            return sends, False
        deaths = _deaths_of(dead)
        kept = [(to, message) for to, message in sends if not _is_cycle(to.name.name, deaths)]
        return kept, bool(sends) and not kept

    def _dead(
        self, queue: Queue, message: Message, reason: DeadLetterReason, detail: str | None
    ) -> Message:
        """The message as it leaves `queue`: its history extended, without expiry or delay.

        Nor with a deduplication id: a second death is not the first one sent twice.
        """
        now = self._clock.epoch_ms()
        headers = dict(message.headers)
        deaths = _recorded(_deaths_of(message), queue, message, reason, now)
        latest = deaths[0]
        headers[DEATHS_HEADER] = cast("Value", deaths)
        for position in ("first", "last"):
            if position == "first" and "x-first-death-reason" in headers:
                continue
            headers[f"x-{position}-death-reason"] = latest["reason"]
            headers[f"x-{position}-death-queue"] = latest["queue"]
            headers[f"x-{position}-death-exchange"] = latest["exchange"]
        headers[REASON_HEADER] = detail or reason.value
        if (
            queue.settings.dead_letter is not None
            and queue.settings.dead_letter.subject is not None
        ):
            # The new key takes the place of all those that it was published with.
            headers.pop(COPIES_HEADER, None)
        return msgspec.structs.replace(
            message,
            headers=headers,
            sent_at=now,
            expires_at=None,
            visible_at=None,
            deduplication_id=None,
            dead_letter_source=queue.name.name,
        )


def _deaths_of(message: Message) -> list[Death]:
    """The entries of `x-death`, one for each queue and reason; whatever else a client put there
    does not count. Those of brokers that wrote one for each death are counted together.
    """
    deaths = message.headers.get(DEATHS_HEADER)
    if not isinstance(deaths, list):
        return []
    grouped: dict[tuple[Value, Value], Death] = {}
    for each in deaths:
        if not isinstance(each, dict):
            continue
        key = (_hashable(each.get("queue")), _hashable(each.get("reason")))
        known = grouped.get(key)
        before = 0 if known is None else _count(known)
        grouped[key] = {**(known or each), "count": before + _count(each)}
    return list(grouped.values())


def _count(death: Death) -> int:
    """Brokers that wrote one entry for each death counted nothing; what is no number is none."""
    count = death.get("count", 1)
    return count if isinstance(count, int) else 0


def _hashable(value: Value) -> Value:
    return value if isinstance(value, str) else str(value)


def _copies_of(message: Message) -> list[str]:
    """The further keys in an AMQP message's CC; the gateway took those in BCC away."""
    keys = message.headers.get(COPIES_HEADER)
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []


def _recorded(
    deaths: list[Death], queue: Queue, message: Message, reason: DeadLetterReason, now: int
) -> list[Death]:
    """The deaths with this one counted and in front; the first time stays the entry's time."""
    subject = message.subject
    key = queue.name.name if subject is None else dotted_from_subject(subject)
    first: Death = {
        "count": 1,
        "reason": reason.value,
        "queue": queue.name.name,
        "time": datetime.fromtimestamp(now // 1000, UTC),
        "exchange": message.topic or "",
        "routing-keys": [key, *_copies_of(message)],
    }
    if message.expires_at is not None:
        first["original-expiration"] = str(max(0, message.expires_at - message.sent_at))
    for position, death in enumerate(deaths):
        if death.get("queue") == queue.name.name and death.get("reason") == reason.value:
            again = {**first, **death, "count": _count(death) + 1}
            return [again, *deaths[:position], *deaths[position + 1 :]]
    return [first, *deaths]


def _is_cycle(queue_name: str, deaths: list[Death]) -> bool:
    """Whether the message was in that queue before and came back without anybody rejecting it.

    RabbitMQ's rule: such a message would go round for ever, and is dropped.
    """
    for position, death in enumerate(deaths):
        if death.get("queue") == queue_name:
            rejected = DeadLetterReason.REJECTED.value
            return all(each.get("reason") != rejected for each in deaths[: position + 1])
    return False

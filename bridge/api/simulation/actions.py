"""What may happen to any call of an action: refused, failed, slow, done without an answer.

Codes as AWS has them: `RequestThrottled` (403, botocore's table of retries), `ThrottlingException`
above the quota of FIFO queues, `Throttled` (429, SNS); 500 and 503 at any time.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bridge.api.errors import (
    INTERNAL_FAILURE,
    QUEUE_DOES_NOT_EXIST,
    QUEUE_DOES_NOT_EXIST_TEXT,
    REQUEST_THROTTLED,
    SERVICE_UNAVAILABLE,
    SNS_FILTER_POLICY_LIMIT_EXCEEDED,
    SNS_THROTTLED,
    THROTTLING,
    ReplyLost,
)
from bridge.api.simulation.batches import BATCHES, failures_of, split
from bridge.api.simulation.faults import Dice

if TYPE_CHECKING:
    from bridge.api.call import Call
    from bridge.api.operation import Handler, Operation
    from bridge.messaging.clock import Clock
    from bridge.routing.topology import Topology

NEW_QUEUE_RATE: Final = 0.5
"""Calls for a queue that is younger than `new_queue_seconds` which do not find it."""
_PLACES: Final = ("queue_url", "queue_name", "topic_arn", "subscription_arn", "source_arn", "name")
_LIMITED: Final = frozenset({"SendMessage", "ReceiveMessage", "DeleteMessage", "Publish"})
_MESSAGES_PER_CALL: Final = 10
"""SNS counts messages where SQS counts calls: 3,000 to 300."""
_WITHOUT_QUEUE: Final = frozenset({"CreateQueue", "DeleteQueue"})


class Turbulence:
    """Wraps the handlers of all actions."""

    def __init__(self, dice: Dice, clock: Clock, topology: Topology) -> None:
        self._dice = dice
        self._clock = clock
        self._topology = topology
        self._second = 0
        self._calls: Counter[tuple[str, str]] = Counter()
        """Of the current second, by action and FIFO queue or topic."""

    def around(
        self, operation: Operation[Any], handler: Handler[Any], *, sns: bool
    ) -> Handler[Any]:
        """A handler that does what `handler` does, mostly."""
        action = operation.name

        async def handle(service: Any, call: Call, request: Any) -> Any:
            name = place_of(request)
            place = f"{action} {name}"
            self._check_quotas(action, name, request, sns=sns)
            self._check_mood(place, sns=sns)
            if not sns:
                self._check_age(service, action, name, place)
            result = await self._run(service, call, request, action, place, handler, sns=sns)
            dice = self._dice
            if dice.happens("slow_rate", place):
                await asyncio.sleep(dice.throw("slow_seconds", place) * dice.faults.slow_seconds)
            if dice.happens("lost_reply_rate", place):
                if dice.throw("lost_reply", place) < 0.5:
                    raise ReplyLost
                raise SERVICE_UNAVAILABLE("The answer was lost on its way. (simulated)")
            return result

        return handle

    async def _run(
        self,
        service: Any,
        call: Call,
        request: Any,
        action: str,
        place: str,
        handler: Handler[Any],
        *,
        sns: bool,
    ) -> Any:
        batch = BATCHES.get(action)
        failing: list[Any] = []
        if batch is not None and self._dice.faults.batch_failure_rate:
            kept, failing = split(getattr(request, batch.entries), self._dice, place)
            if failing and not kept:
                result = batch.nothing_done()
                result.failed.extend(failures_of(failing, sns=sns))
                return result
            request = msgspec.structs.replace(request, **{batch.entries: kept})
        result = handler(service, call, request)
        if isawaitable(result):
            result = await result
        if failing:
            result.failed.extend(failures_of(failing, sns=sns))
        return result

    # -- what is refused

    def _check_mood(self, place: str, *, sns: bool) -> None:
        dice = self._dice
        if dice.happens("throttle_rate", place):
            raise (SNS_THROTTLED if sns else REQUEST_THROTTLED)("Rate exceeded (simulated)")
        if dice.happens("error_rate", place):
            if dice.throw("error", place) < 0.5:
                raise INTERNAL_FAILURE("We encountered an internal error. (simulated)")
            raise SERVICE_UNAVAILABLE("Service is unable to handle request. (simulated)")

    def _check_quotas(self, action: str, name: str, request: Any, *, sns: bool) -> None:
        """The throughput of FIFO queues and topics; filter policies of all topics."""
        faults = self._dice.faults
        kind = action.removesuffix("Batch")
        if faults.fifo_calls_per_second and kind in _LIMITED and name.endswith(".fifo"):
            self._count_call(kind, name, request, faults.fifo_calls_per_second, sns=sns)
        if faults.filter_policies_max and sns and _adds_policy(action, request):
            topics = list(self._topology.topics())
            count = sum(
                bool(each.attributes.get("FilterPolicy"))
                for topic in topics
                for each in self._topology.subscriptions_of(topic.name)
            )
            if count >= faults.filter_policies_max:
                raise SNS_FILTER_POLICY_LIMIT_EXCEEDED(
                    f"Filter policy limit of {faults.filter_policies_max} for the account is"
                    " reached."
                )

    def _count_call(self, kind: str, name: str, request: Any, most: int, *, sns: bool) -> None:
        second = int(self._clock.monotonic())
        if second != self._second:
            self._second = second
            self._calls.clear()
        weight = 1
        if sns:
            weight = len(getattr(request, "publish_batch_request_entries", (request,)))
            most *= _MESSAGES_PER_CALL
        self._calls[kind, name] += weight
        if self._calls[kind, name] > most:
            raise (SNS_THROTTLED if sns else THROTTLING)("Rate exceeded")

    def _check_age(self, service: Any, action: str, name: str, place: str) -> None:
        """A new queue is not known everywhere at once: SQS asks to wait a second."""
        seconds = self._dice.faults.new_queue_seconds
        if not seconds or not name or action in _WITHOUT_QUEUE:
            return
        queue = service.directory.by_name(name)
        if queue is None or self._clock.epoch_ms() - queue.created_at >= seconds * 1000:
            return
        if self._dice.throw("new_queue", place) < NEW_QUEUE_RATE:
            raise QUEUE_DOES_NOT_EXIST(QUEUE_DOES_NOT_EXIST_TEXT)


def place_of(request: Any) -> str:
    """The queue, topic or subscription that a request is for."""
    for field in _PLACES:
        value = getattr(request, field, None)
        if value:
            return str(value).rpartition("/")[2].rpartition(":")[2]
    return ""


def _adds_policy(action: str, request: Any) -> bool:
    if action == "Subscribe":
        return bool((request.attributes or {}).get("FilterPolicy"))
    return (
        action == "SetSubscriptionAttributes"
        and request.attribute_name == "FilterPolicy"
        and bool(request.attribute_value)
    )

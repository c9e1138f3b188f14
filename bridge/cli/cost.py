"""What a publish costs on AWS, target by target: for `landbridge explain`.

Everything goes through SQS once: sent, received, deleted. Under load that is done ten at a time,
else one by one; what state, empty polls and tries again cost besides, `/metrics` counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bridge.chosen_backend import StartRefused, aws_options
from bridge.config import BackendSection
from bridge.messaging.attributes import message_size
from bridge.messaging.envelope import attributes_from_message
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Publish, QueueName, TopicName
from bridge.messaging.names import FIFO_SUFFIX
from bridge.messaging.prices import NOTHING, MessageCost, cost_in_queue, cost_in_topic

if TYPE_CHECKING:
    from bridge.backends.aws import AwsOptions
    from bridge.routing.explain import Explanation, TargetStep

BATCH_MAX = ServiceLimits().batch_entries_max


def cost_lines(section: BackendSection, explanation: Explanation, publish: Publish) -> list[str]:
    """Calls and dollars of a million such messages; nothing where no AWS is asked."""
    if section.kind != "aws":
        return []
    try:
        options = aws_options(section)
    except StartRefused as refused:
        return [f"cost on AWS: unknown, since {refused}"]
    body, attributes = attributes_from_message(publish.message)
    size = message_size(body, attributes)
    counting = _Counting(options, size, explanation.namespace)
    lines = [f"cost on AWS of a million such messages of {size} bytes, ten at a time or one by one"]
    totals = (NOTHING, NOTHING)
    for name, step in _steps(explanation):
        costs = counting.of(step)
        totals = (totals[0].plus(costs[0]), totals[1].plus(costs[1]))
        lines.append(f"  {name}: {_text(*costs)}{counting.remark(step)}")
    if len(lines) != 2:
        lines.append(f"  in all: {_text(*totals)}")
    return lines


def _steps(explanation: Explanation) -> Iterator[tuple[str, TargetStep]]:
    for rule in explanation.rules:
        for step in rule.targets:
            yield f"route {rule.name!r} to {step.target}", step
    if explanation.default is not None:
        yield "default mapping", explanation.default


def _text(batched: MessageCost, single: MessageCost) -> str:
    return "nothing" if batched == NOTHING else f"{batched}; or {single}"


class _Counting:
    def __init__(self, options: AwsOptions, size: int, namespace: str) -> None:
        self._options = options
        self._size = size
        self._namespace = namespace

    def of(self, step: TargetStep) -> tuple[MessageCost, MessageCost]:
        """In full batches, and one by one."""
        batched, single = self._for_batches(step, BATCH_MAX), self._for_batches(step, 1)
        return batched, single

    def _for_batches(self, step: TargetStep, batch_max: int) -> MessageCost:
        from bridge.backends.aws.ordering import rule_for

        options = self._options
        claim = None if options.payload_bucket is None else options.payload_bytes_max
        cost = NOTHING
        for name in [*step.queues, *step.created]:
            rule = rule_for(options.ordering, QueueName(self._namespace, name))
            fifo = rule is not None or name.endswith(FIFO_SUFFIX)
            cost = cost.plus(
                cost_in_queue(
                    self._size,
                    options.prices,
                    fifo=fifo,
                    batch_max=batch_max,
                    claim_bytes=claim,
                )
            )
        if self._published(step) == "always":
            cost = cost.plus(cost_in_topic(self._size, options.prices, batch_max=batch_max))
        return cost

    def remark(self, step: TargetStep) -> str:
        if self._published(step) != "auto":
            return ""
        cost = cost_in_topic(self._size, self._options.prices, batch_max=BATCH_MAX)
        return f"; {cost} more while others are subscribed to the topic in SNS"

    def _published(self, step: TargetStep) -> str:
        """Whether the step publishes to SNS: `always`, `auto` or `never`."""
        if step.problem is not None or step.address is None:
            return "never"
        if not step.address.startswith("topic "):
            return "never"
        if step.target.startswith("sns:"):
            return "always"
        name = step.address.removeprefix("topic ").rpartition(", subject ")[0]
        return self._options.publish_of(TopicName(self._namespace, name)).value

"""What connections of this node hold: visibility renewed in batches until it is settled. Hot path.

One ordered map and one timer for all queues; whatever was settled in the meantime has left the map,
so a renewal costs nothing for messages that are settled quickly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bridge.backends.aws.messages import AwsDelivery
from bridge.backends.aws.node import Node

if TYPE_CHECKING:
    from bridge.backends.aws.receiving import Receiver


class Holder:
    """Deliveries that are renewed, the next one due first."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._held: dict[str, AwsDelivery] = {}
        """By message id, which is unique among what can be held: a message is in one queue."""
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, deliveries: Iterable[AwsDelivery]) -> None:
        """Renew deliveries that were just received, until `drop`."""
        now = self._node.clock.monotonic()
        renew_at = now + self._node.limits.renew_after_seconds
        held = self._held
        for delivery in deliveries:
            delivery.held = True
            delivery.received_at = now
            delivery.renew_at = renew_at
            held[delivery.message.message_id] = delivery
        if self._timer is None and held:
            self._arm(self._node.limits.renew_after_seconds)

    def drop(self, delivery: AwsDelivery) -> bool:
        """Stop renewing; False if it was not held."""
        if not delivery.held:
            return False
        delivery.held = False
        message_id = delivery.message.message_id
        if self._held.get(message_id) is delivery:
            del self._held[message_id]
        return True

    def renew_handle(self, delivery: AwsDelivery) -> bool:
        """Give a message that is held the handle of its latest receive; False if it is not held."""
        held = self._held.get(delivery.message.message_id)
        if held is None or held.queue is not delivery.queue:
            return False
        if delivery.receive_count >= held.receive_count:
            held.handle = delivery.handle
        return True

    def close(self) -> list[AwsDelivery]:
        """Let go of everything; returns what was held."""
        if self._timer is not None:
            self._timer.cancel()
        held, self._held = list(self._held.values()), {}
        for delivery in held:
            delivery.held = False
        return held

    def _arm(self, seconds: float) -> None:
        self._timer = self._node.loop.call_later(max(seconds, 0.0), self._renew)

    def _renew(self) -> None:
        self._timer = None
        node = self._node
        now = node.clock.monotonic()
        deadline = now + node.limits.hold_seconds - node.limits.renew_after_seconds
        oldest = now - node.limits.hold_seconds_max
        overdue: set[Receiver] = set()
        while self._held:
            message_id = next(iter(self._held))
            delivery = self._held[message_id]
            if delivery.renew_at > now:
                self._arm(delivery.renew_at - now)
                break
            del self._held[message_id]
            if delivery.received_at < oldest and delivery.receiver is not None:
                overdue.add(delivery.receiver)
            delivery.renew_at = now + node.limits.renew_after_seconds
            self._held[message_id] = delivery
            delivery.queue.visibility.change(delivery, node.limits.hold_seconds, None, deadline)
        for receiver in overdue:
            receiver.overdue(node.limits.hold_seconds_max)

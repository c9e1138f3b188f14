"""What connections of this node hold: visibility renewed in batches until it is settled.

One ordered map and one timer for all queues; whatever was settled in the meantime has left the map,
so a renewal costs nothing for messages that are settled quickly.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.backends.aws.messages import AwsDelivery
from bridge.backends.aws.node import Node

if TYPE_CHECKING:
    from bridge.backends.aws.receiving import Receiver


class Holder:
    """Deliveries that are renewed, the next one due first."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._held: dict[AwsDelivery, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._held)

    def hold(self, delivery: AwsDelivery) -> None:
        """Renew a delivery that was just received, until `drop`."""
        now = self._node.clock.monotonic()
        delivery.held = True
        delivery.received_at = now
        delivery.renew_at = now + self._node.limits.renew_after_seconds
        self._held[delivery] = None
        if self._timer is None:
            self._arm(self._node.limits.renew_after_seconds)

    def drop(self, delivery: AwsDelivery) -> bool:
        """Stop renewing; False if it was not held."""
        if not delivery.held:
            return False
        delivery.held = False
        self._held.pop(delivery, None)
        return True

    def close(self) -> list[AwsDelivery]:
        """Let go of everything; returns what was held."""
        if self._timer is not None:
            self._timer.cancel()
        held, self._held = list(self._held), {}
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
            delivery = next(iter(self._held))
            if delivery.renew_at > now:
                self._arm(delivery.renew_at - now)
                break
            del self._held[delivery]
            if delivery.received_at < oldest and delivery.receiver is not None:
                overdue.add(delivery.receiver)
            delivery.renew_at = now + node.limits.renew_after_seconds
            self._held[delivery] = None
            delivery.queue.visibility.change(delivery, node.limits.hold_seconds, None, deadline)
        for receiver in overdue:
            receiver.overdue(node.limits.hold_seconds_max)

"""The subscriptions of one STOMP connection: by the client's id, and by what ACK and NACK name.

The versions differ in that (1.0 and 1.1 name the message, 1.2 the header `ack` of its MESSAGE). An
ACK may cross an UNSUBSCRIBE, so the last closed subscriptions are remembered for a while.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from adapters.stomp.codec import Frame
from adapters.stomp.frames import FrameError, Version
from adapters.stomp.subscription import AckMode, Subscription

CLOSED_SUBSCRIPTIONS_MAX: Final = 64
"""Closed subscriptions of a connection for which late ACKs are still understood."""


class Subscriptions:
    """Raises `FrameError` for what the client may not do."""

    __slots__ = ("_by_id", "_by_number", "_closed", "_count_max", "_opened")

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._by_id: dict[str, Subscription] = {}
        self._by_number: dict[str, Subscription] = {}
        self._closed: list[Subscription] = []
        self._opened = 0

    def add(
        self,
        subscription_id: str,
        destination: str,
        ack_mode: AckMode,
        version: Version,
        *,
        named: bool,
    ) -> Subscription:
        if subscription_id in self._by_id:
            raise FrameError(
                "Duplicated subscription identifier",
                f"A subscription identified by '{subscription_id}' already exists.",
            )
        if len(self._by_id) >= self._count_max:
            raise FrameError(
                "Subscription limit exceeded",
                f"{self._count_max} subscriptions allowed in a connection\n",
            )
        self._opened += 1
        subscription = Subscription(
            subscription_id, destination, ack_mode, version, self._opened, named=named
        )
        self._by_id[subscription_id] = subscription
        self._by_number[str(self._opened)] = subscription
        return subscription

    def remove(self, subscription: Subscription) -> None:
        if self._by_id.get(subscription.id) is subscription:
            subscription.closed = True
            self._closed.append(subscription)
            del self._closed[:-CLOSED_SUBSCRIPTIONS_MAX]
            del self._by_id[subscription.id]
            del self._by_number[str(subscription.number)]

    def named(self, subscription_id: str) -> Subscription | None:
        return self._by_id.get(subscription_id)

    def at(self, destination: str) -> Subscription | None:
        """The oldest one at a destination."""
        for subscription in self._by_id.values():
            if subscription.destination == destination:
                return subscription
        return None

    def find_unsettled(self, frame: Frame, version: Version) -> tuple[Subscription, str]:
        """The subscription that an ACK or NACK means, and the key in it."""
        headers = frame.headers
        if version is Version.V1_2:
            key = headers.get("id")
            if key is None:
                raise _missing(frame, "id")
            number = key.partition("-")[0]
            subscription = self._by_number.get(number)
            if subscription is None:
                subscription = self._find_closed(lambda closed: str(closed.number) == number)
        else:
            key = headers.get("message-id")
            if key is None:
                raise _missing(frame, "message-id")
            subscription_id = headers.get("subscription")
            if subscription_id is None:
                if version is Version.V1_1:
                    raise _missing(frame, "subscription")
                subscription = self._find_by_message(key)
            else:
                subscription = self._by_id.get(subscription_id)
                if subscription is None:
                    subscription = self._find_closed(lambda closed: closed.id == subscription_id)
        if subscription is None:
            raise not_found(frame, key)
        return subscription, key

    def _find_by_message(self, key: str) -> Subscription | None:
        """STOMP 1.0: ACK names the message alone."""
        for subscription in self._by_id.values():
            if key in subscription.unsettled:
                return subscription
        return self._find_closed(lambda _: True)

    def _find_closed(self, matches: Callable[[Subscription], bool]) -> Subscription | None:
        return next(filter(matches, self._closed), None)


def not_found(frame: Frame, key: str) -> FrameError:
    """There is nothing to settle under `key`."""
    return FrameError(
        "Message not found",
        f"{frame.command} of '{key[:100]}', which is not an unacknowledged message\n",
    )


def _missing(frame: Frame, header: str) -> FrameError:
    return FrameError("Missing header", f"{frame.command} must include the '{header}' header\n")

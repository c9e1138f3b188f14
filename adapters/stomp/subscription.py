"""One subscription of a STOMP connection: which deliveries are unsettled, and MESSAGE frames.

Hot path: `message` runs once per delivery (0.9 us), `settle` once per ACK. A delivery is known to
the client by a key: in 1.2 the `ack` header (the subscription's number and a counter), before that
the message-id, which is unique within a subscription. Unsettled deliveries stay in a dictionary by
that key, in order of delivery, as a cumulative ACK needs them.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from adapters.stomp.frames import Version, encode_headers

HEADS_MAX = 256
"""Destinations of one wildcard subscription whose frame heads are kept."""


class AckMode(Enum):
    """The header `ack` of SUBSCRIBE."""

    AUTO = "auto"
    CLIENT = "client"
    CLIENT_INDIVIDUAL = "client-individual"


class Subscription:
    """Made by the connection at SUBSCRIBE; `message` encodes deliveries for it.

    `id` is the client's, or in 1.0 the destination where it gave none. `number` tells the
    connection's subscriptions apart in ack ids.
    """

    __slots__ = (
        "_auto",
        "_count",
        "_cumulative",
        "_heads",
        "_named",
        "_own_keys",
        "ack_mode",
        "closed",
        "destination",
        "id",
        "number",
        "unsettled",
        "version",
    )

    def __init__(
        self,
        subscription_id: str,
        destination: str,
        ack_mode: AckMode,
        version: Version,
        number: int,
        *,
        named: bool = True,
    ) -> None:
        self.id = subscription_id
        self.destination = destination
        self.ack_mode = ack_mode
        self.version = version
        self.number = number
        self.unsettled: dict[str, Any] = {}
        self.closed = False
        self._named = named
        self._auto = ack_mode is AckMode.AUTO
        self._cumulative = ack_mode is AckMode.CLIENT
        self._own_keys = version is Version.V1_2
        self._count = 0
        self._heads: dict[str, str] = {}

    def message(
        self,
        token: Any,
        message_id: str,
        destination: str,
        headers: str,
        body: bytes,
        *,
        redelivered: bool,
    ) -> bytes:
        """Encode a MESSAGE frame and, unless mode is auto, remember `token` until it is settled.

        `headers` are the message's own, as `encode_headers` writes them for this version.
        """
        head = self._heads.get(destination)
        if head is None:
            head = self._head_for(destination)
        if self._auto:
            ack = ""
        elif self._own_keys:
            self._count += 1
            key = f"{self.number}-{self._count}"
            self.unsettled[key] = token
            ack = f"ack:{key}\n"
        else:
            if message_id in self.unsettled:
                # A copy that came back another way, as dead letters do.
                self._count += 1
                message_id = f"{message_id}-{self._count}"
            self.unsettled[message_id] = token
            ack = ""
        flag = "true" if redelivered else "false"
        return b"%b%b\0\n" % (
            f"{head}{message_id}\nredelivered:{flag}\n{ack}{headers}"
            f"content-length:{len(body)}\n\n".encode(),
            body,
        )

    def _head_for(self, destination: str) -> str:
        """The frame up to the value of message-id, kept per destination."""
        headers = [("destination", destination)]
        if self._named:
            headers.insert(0, ("subscription", self.id))
        head = f"MESSAGE\n{encode_headers(headers, self.version)}message-id:"
        if len(self._heads) >= HEADS_MAX:
            self._heads.clear()
        self._heads[destination] = head
        return head

    def settle(self, key: str) -> list[Any] | None:
        """Forget the deliveries that an ACK or NACK of `key` settles; None where it is unknown.

        After UNSUBSCRIBE an ACK that was under way is late, not wrong: it settles nothing.
        """
        unsettled = self.unsettled
        if not self._cumulative:
            try:
                return [unsettled.pop(key)]
            except KeyError:
                return [] if self.closed else None
        if key not in unsettled:
            return [] if self.closed else None
        keys: list[str] = []
        for other in unsettled:
            keys.append(other)
            if other == key:
                break
        return [unsettled.pop(other) for other in keys]

    def give_back(self, deliveries: list[Any]) -> None:
        """Hold deliveries again that `settle` gave out and that were not settled after all."""
        for delivery in deliveries:
            self._count += 1
            self.unsettled[f"{self.number}-{self._count}"] = delivery

    def take_unsettled(self) -> list[Any]:
        """Forget all unsettled deliveries and return them, oldest first."""
        deliveries = list(self.unsettled.values())
        self.unsettled.clear()
        return deliveries

"""Deliveries of what the client itself has published with QoS 2 and not yet released.

They wait until it has: clients that know Mosquitto do not expect their own message in the middle of
its handshake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from adapters.mqtt.packets import Publish
from bridge.messaging.model import Delivery

Ready: TypeAlias = tuple[Publish, Delivery]
"""A delivery, and what is sent for it."""


class Unreleased:
    """One for each connection, while there is something to wait for."""

    __slots__ = ("_by_message", "_by_packet")

    def __init__(self) -> None:
        self._by_message: dict[str, list[Ready]] = {}
        """By message id."""
        self._by_packet: dict[int, str] = {}
        """Message ids by the packet ids of the client's handshakes."""

    def __len__(self) -> int:
        """Publishes that the client has not released."""
        return len(self._by_message)

    def hold(self, packet_id: int, message_id: str) -> None:
        """What is delivered of this message waits for the packet id."""
        self._by_message[message_id] = []
        self._by_packet[packet_id] = message_id

    def let_go(self, packet_ids: Iterable[int]) -> list[Ready]:
        """What has waited for these packet ids."""
        ready: list[Ready] = []
        for packet_id in packet_ids:
            ready += self._by_message.pop(self._by_packet.pop(packet_id, ""), ())
        return ready

    def set_aside(
        self, publishes: Sequence[Publish], deliveries: Sequence[Delivery]
    ) -> tuple[list[Publish], list[Delivery]]:
        """Take in what has to wait; returns the others."""
        ready: list[Publish] = []
        tokens: list[Delivery] = []
        for publish, delivery in zip(publishes, deliveries, strict=True):
            waiting = self._by_message.get(delivery.message.message_id)
            if waiting is not None:
                waiting.append((publish, delivery))
            else:
                ready.append(publish)
                tokens.append(delivery)
        return ready, tokens

    def waiting(self) -> Iterable[list[Ready]]:
        """The lists of what waits, for the caller to take from."""
        return self._by_message.values()

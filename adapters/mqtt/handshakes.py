"""The QoS handshakes of both roles: what a packet id that comes in means. Partly on the hot path.

No bytes here: packet ids move through the session's state, and what the gateway has to know becomes
an event. Acknowledgements mostly come in runs of which each is as it should be; these take a short
way, and all others are looked at one by one.
"""

from __future__ import annotations

from itertools import repeat
from typing import Final

from adapters.mqtt.errors import MqttError, protocol_error
from adapters.mqtt.events import (
    DeliveriesAcknowledged,
    DeliveriesCompleted,
    DeliveriesReceived,
    DeliveryRejected,
    Event,
    ReleasesReceived,
    Token,
)
from adapters.mqtt.limits import ConnectionLimits
from adapters.mqtt.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.sending import Sender
from adapters.mqtt.session import Inbound

MISSING: Final = object()
"""Stands for the token of a packet id that nobody waits for."""


class Handshakes(Sender):
    """See the head of this file; the events wait here for `next_events`."""

    __slots__ = ("_events", "_receive_maximum")

    def __init__(self, limits: ConnectionLimits) -> None:
        super().__init__(limits)
        self._events: list[Event] = []
        self._receive_maximum = 0xFFFF

    def next_events(self) -> list[Event]:
        events = self._events
        self._events = []
        return events

    # -- what the peer publishes

    def _room(self) -> int:
        """How many more publishes the peer may leave open (MQTT 5, 3.3.4 [MQTT-3.3.4-7])."""
        open_count = self._unacknowledged + len(self._exactly_once_open or ())
        return self._receive_maximum - open_count

    def _receive_maximum_exceeded(self) -> MqttError:
        return MqttError(
            ReasonCode.RECEIVE_MAXIMUM_EXCEEDED,
            f"more than {self._receive_maximum} publishes without an answer",
        )

    def _receive_exactly_once(self, run: list[Publish], publishes: list[Publish]) -> None:
        """Note QoS 2 publishes (MQTT 5, 4.3.3, receiver); those not here before are appended."""
        received = self.session.received
        opened = self._exactly_once_open
        if opened is None:
            opened = self._exactly_once_open = set()
        new = dict.fromkeys([publish.packet_id for publish in run], Inbound.RECEIVED)
        if (
            len(new) == len(run)
            and received.keys().isdisjoint(new)
            and (not self._version_5 or self._room() >= len(run))
        ):
            # As below, for what is new and allowed.
            opened.update(new)
            received.update(new)
            publishes += run
            return
        for publish in run:
            packet_id = publish.packet_id
            state = received.get(packet_id)
            if state is Inbound.RELEASED:
                if not self._version_5:
                    raise protocol_error(f"packet identifier {packet_id} is in use")
                self._send_packet(Pubrec(packet_id, ReasonCode.PACKET_IDENTIFIER_IN_USE))
                continue
            opened.add(packet_id)
            if self._version_5 and self._room() < 0:
                raise self._receive_maximum_exceeded()
            if state is None:
                received[packet_id] = Inbound.RECEIVED
                publishes.append(publish)
            elif state is Inbound.STORED:
                self._send_packet(Pubrec(packet_id))

    def _on_pubrels(self, packet_ids: list[int]) -> None:
        received = self.session.received
        released: list[int] = []
        for packet_id in packet_ids:
            state = received.get(packet_id)
            if state is None:  # MQTT 5, 3.7.2.1; MQTT 3.1.1, 4.4
                self._send_packet(Pubcomp(packet_id, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
            elif state is not Inbound.RELEASED:
                received[packet_id] = Inbound.RELEASED
                released.append(packet_id)
        if released:
            self._events.append(ReleasesReceived(released))

    # -- the answers of the peer

    def _settle(self, tokens: list[Token]) -> None:
        self._restore_quota(len(tokens))
        self._events.append(DeliveriesAcknowledged(tokens))

    def _take_pubacks(self, packet_ids: list[int], acknowledged: list[Token]) -> None:
        """Append the tokens of the deliveries that are done."""
        tokens = list(map(self.session.awaiting_puback.pop, packet_ids, repeat(MISSING)))
        if MISSING not in tokens:
            acknowledged += tokens
            return
        acknowledged += [token for token in tokens if token is not MISSING]
        for packet_id, token in zip(packet_ids, tokens, strict=True):
            if token is MISSING:
                self._check_unexpected(packet_id)

    def _on_puback(self, packet: Puback) -> None:
        token = self.session.awaiting_puback.pop(packet.packet_id, MISSING)
        if token is MISSING:
            self._check_unexpected(packet.packet_id)
        elif packet.reason_code < 0x80:
            self._settle([token])
        else:
            self._reject(packet, token, 1)

    def _check_unexpected(self, packet_id: int) -> None:
        """A PUBACK that nobody waits for may be left from a lost session."""
        session = self.session
        if packet_id in session.awaiting_pubrec or packet_id in session.awaiting_pubcomp:
            raise protocol_error(f"PUBACK for the QoS 2 publish {packet_id}")

    def _take_handshakes(self, first: int, packet_ids: list[int]) -> None:
        """A run of packets that say nothing but their ids, as nearly all of them are."""
        if first == 0x50:
            self._on_pubrecs(packet_ids)
        elif first == 0x62:
            self._on_pubrels(packet_ids)
        else:
            self._on_pubcomps(packet_ids)

    def _on_pubrec(self, packet: Pubrec) -> None:
        packet_id = packet.packet_id
        awaiting = self.session.awaiting_pubrec
        if packet.reason_code < 0x80:
            self._on_pubrecs([packet_id])
        elif packet_id in awaiting:
            self._reject(packet, awaiting.pop(packet_id), 2)
        elif packet_id in self.session.awaiting_puback:
            raise protocol_error(f"PUBREC for the QoS 1 publish {packet_id}")

    def _on_pubrecs(self, packet_ids: list[int]) -> None:
        session = self.session
        awaiting, awaiting_release = session.awaiting_pubrec, session.awaiting_release
        if _all_in(packet_ids, awaiting):
            tokens = list(map(awaiting.pop, packet_ids))
            awaiting_release.update(zip(packet_ids, tokens, strict=True))
            self._events.append(DeliveriesReceived(packet_ids, tokens))
            return
        received: list[int] = []
        tokens = []
        try:
            for packet_id in packet_ids:
                if packet_id in awaiting:
                    token = awaiting_release[packet_id] = awaiting.pop(packet_id)
                    received.append(packet_id)
                    tokens.append(token)
                elif packet_id in session.awaiting_pubcomp:
                    self._send_packet(Pubrel(packet_id))
                elif packet_id in session.awaiting_puback:
                    raise protocol_error(f"PUBREC for the QoS 1 publish {packet_id}")
                elif packet_id not in awaiting_release:
                    # MQTT 5, 3.6.2.1; in 3.x this lets the peer forget the id as well.
                    self._send_packet(Pubrel(packet_id, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND))
        finally:
            if received:
                self._events.append(DeliveriesReceived(received, tokens))

    def _on_pubcomps(self, packet_ids: list[int]) -> None:
        session = self.session
        awaiting = session.awaiting_pubcomp
        if _all_in(packet_ids, awaiting):
            tokens = list(map(awaiting.pop, packet_ids))
            self._restore_quota(len(tokens))
            self._events.append(DeliveriesCompleted(packet_ids, tokens))
            return
        completed: list[int] = []
        tokens = []
        try:
            for packet_id in packet_ids:
                if packet_id in awaiting:
                    completed.append(packet_id)
                    tokens.append(awaiting.pop(packet_id))
                elif packet_id in session.awaiting_puback or packet_id in session.awaiting_pubrec:
                    raise protocol_error(f"PUBCOMP for {packet_id}, which was not released")
        finally:
            if completed:
                self._restore_quota(len(completed))
                self._events.append(DeliveriesCompleted(completed, tokens))

    def _reject(self, packet: Puback | Pubrec, token: Token, qos: int) -> None:
        self._restore_quota(1)
        self._events.append(
            DeliveryRejected(
                packet.packet_id, token, qos, packet.reason_code, packet.properties.reason_string
            )
        )


def _all_in(packet_ids: list[int], awaiting: dict[int, Token]) -> bool:
    """Whether each of them is awaited, and stands there once."""
    different = set(packet_ids)
    return len(different) == len(packet_ids) and awaiting.keys() >= different

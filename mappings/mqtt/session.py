"""One MQTT session: its filters, its queue and its packet ids; and what of it is stored.

A session outlives connections; one with an expiry outlives the process too: its record, the packet
ids of QoS 2 in both directions, and its subscriptions in the catalogue. Its messages are in its
queue, where they are until the client has them: a message that was sent and not acknowledged is
released when the connection goes, comes first when the next one starts, and is known by its id.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from adapters.mqtt.session import Inbound, SessionState
from bridge.messaging.model import StateChange
from bridge.messaging.ports import Queue
from mappings.mqtt.addresses import digest_of
from mappings.mqtt.filters import Filter, SessionFilters

if TYPE_CHECKING:
    from mappings.mqtt.gateway import MqttGateway

KIND_SESSION: Final = "mqtt-session"
KIND_RECEIVED: Final = "mqtt-received"
"""Packet ids of QoS 2 publishes that the broker has taken and the client has not let go."""
KIND_SENT: Final = "mqtt-sent"
"""Packet ids of QoS 2 publishes on their way to a client."""
NEVER_SECONDS: Final = 0xFFFFFFFF
"""Session expiry interval that means no end (MQTT 5, 3.1.2.11.2)."""

SENT: Final = 0
RELEASED: Final = 1


class WillRecord(msgspec.Struct, array_like=True, omit_defaults=True):
    """A will, as it is stored; `properties` are those of the PUBLISH, encoded."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    delay_seconds: int = 0
    properties: bytes = b""
    expiry_seconds: int | None = None


class SessionRecord(msgspec.Struct, omit_defaults=True):
    """What is stored of a session. Times are epoch milliseconds; `disconnected_at` 0: connected."""

    namespace: str
    client_id: str
    expiry_seconds: int
    user: str | None = None
    disconnected_at: int = 0
    will: WillRecord | None = None
    will_at: int = 0
    shared: list[Filter] = []


class SentRecord(msgspec.Struct, array_like=True):
    """One outbound packet id: whose message, and how far it is."""

    phase: int
    message_id: str


_encoder = msgspec.msgpack.Encoder()
_session_decoder = msgspec.msgpack.Decoder(SessionRecord)
_sent_decoder = msgspec.msgpack.Decoder(SentRecord)


class Session:
    """See the head of this file. `gateway` is its connection, None while there is none."""

    __slots__ = (
        "client_id",
        "discarded",
        "disconnected_at",
        "ended",
        "expiry_seconds",
        "filters",
        "gateway",
        "namespace",
        "outlives_process",
        "queue",
        "resumed",
        "shared",
        "state",
        "state_key",
        "user",
        "will",
        "will_at",
    )

    def __init__(self, namespace: str, client_id: str, expiry_seconds: int) -> None:
        self.namespace = namespace
        self.client_id = client_id
        self.expiry_seconds = expiry_seconds
        self.outlives_process = expiry_seconds > 0
        """Stored; fixed when the session begins, since its queue is one kind or the other."""
        self.user: str | None = None
        self.state_key = digest_of(namespace, client_id)
        self.filters = SessionFilters()
        self.shared: dict[str, Filter] = {}
        self.state = SessionState()
        self.resumed: dict[str, int] = {}
        """Packet ids by message id, of what was sent over an earlier connection."""
        self.discarded: dict[str, None] = {}
        """Message ids that the client has already, though they still come from the queue."""
        self.queue: Queue | None = None
        self.gateway: MqttGateway | None = None
        self.will: WillRecord | None = None
        self.will_at = 0
        self.disconnected_at = 0
        self.ended = False

    @property
    def expires_at(self) -> int | None:
        """Epoch milliseconds at which a session without a connection ends."""
        if self.gateway is not None or self.expiry_seconds == NEVER_SECONDS:
            return None
        return self.disconnected_at + self.expiry_seconds * 1000

    # -- stored

    def record(self) -> StateChange:
        """The change that stores how things are."""
        record = SessionRecord(
            self.namespace,
            self.client_id,
            self.expiry_seconds,
            self.user,
            self.disconnected_at,
            self.will,
            self.will_at,
            list(self.shared.values()),
        )
        return StateChange(KIND_SESSION, self.state_key, _encoder.encode(record))

    def received(self, packet_id: int, *, free: bool = False) -> StateChange:
        """The change that stores an inbound packet id, or that it is free again."""
        return StateChange(KIND_RECEIVED, f"{self.state_key}/{packet_id}", None if free else b"1")

    def sent(self, packet_id: int, phase: int, message_id: str) -> StateChange:
        """The change that stores an outbound packet id."""
        value = _encoder.encode(SentRecord(phase, message_id))
        return StateChange(KIND_SENT, f"{self.state_key}/{packet_id}", value)

    def completed(self, packet_id: int) -> StateChange:
        """The change that frees an outbound packet id."""
        return StateChange(KIND_SENT, f"{self.state_key}/{packet_id}", None)

    def restore_received(self, packet_id: int) -> None:
        self.state.received[packet_id] = Inbound.STORED

    def settle_received(self, stored: Callable[[str], bool]) -> None:
        """Before a session is resumed: see what became of ids whose connection went too soon.

        `stored` says whether a key of `KIND_RECEIVED` is there; all that was submitted is answered.
        """
        received = self.state.received
        for packet_id, step in list(received.items()):
            if step is Inbound.RECEIVED and not stored(f"{self.state_key}/{packet_id}"):
                del received[packet_id]
            else:
                # A PUBREL that was not answered comes again.
                received[packet_id] = Inbound.STORED

    def restore_sent(self, packet_id: int, value: bytes) -> None:
        record = _sent_decoder.decode(value)
        if record.phase == RELEASED:
            self.state.awaiting_pubcomp[packet_id] = None
            self.discarded[record.message_id] = None
        else:
            self.state.awaiting_pubrec[packet_id] = None
            self.resumed[record.message_id] = packet_id
        self.state.last_packet_id = max(self.state.last_packet_id, packet_id)


NO_SESSION: Final = Session("", "", 0)
"""What a connection has before it has a session."""


def session_from_record(value: bytes) -> Session:
    """A session as it was stored, without what other kinds hold of it."""
    record = _session_decoder.decode(value)
    session = Session(record.namespace, record.client_id, record.expiry_seconds)
    session.outlives_process = True
    session.user = record.user
    session.disconnected_at = record.disconnected_at
    session.will = record.will
    session.will_at = record.will_at
    session.shared = {each.text: each for each in record.shared}
    return session

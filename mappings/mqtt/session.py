"""One MQTT session: its filters, its queue and its packet ids; and what of it is stored.

A session outlives connections; one with an expiry outlives the process too: its record, the packet
ids of QoS 2 in both directions, and its subscriptions in the catalogue. Its messages are in its
queue, where they are until the client has them: a message that was sent and not acknowledged is
released when the connection goes, comes first when the next one starts, and is known by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from adapters.mqtt.session import Inbound, SessionState
from bridge.messaging.model import StateChange
from bridge.messaging.ports import Queue
from mappings.mqtt.addresses import digest_of
from mappings.mqtt.filters import Filter, SessionFilters

if TYPE_CHECKING:
    from bridge.messaging.ports import Lease
    from mappings.mqtt.gateway import MqttGateway

KIND_SESSION: Final = "mqtt-session"
KIND_RECEIVED: Final = "mqtt-received"
"""Packet ids of QoS 2 publishes that the broker has taken and the client has not let go."""
KIND_SENT: Final = "mqtt-sent"
"""Packet ids of QoS 2 publishes on their way to a client."""
NEVER_SECONDS: Final = 0xFFFFFFFF
"""Session expiry interval that means no end (MQTT 5, 3.1.2.11.2)."""

_RECEIVED_SHIFT: Final = 7
_RECEIVED_MASK: Final = 127
_RECEIVED_BYTES: Final = 16
"""Inbound packet ids are stored as bits, 128 in a row: a chunk of publishes changes one or two."""
_SENT_SHIFT: Final = 5
"""Outbound ones have 32 to a row, each with its phase and its message's id."""
_HAD_ROW: Final = "had"
"""The row of `KIND_SENT` with the ids of messages of which the client has freed the packet ids,
though they may still come from the queue.
"""
HAD_MAX: Final = 1_000
"""How many of these are remembered of one session, the latest."""

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
    epoch: int = 0
    """Of the lease by which the session was owned; rows of packet ids stand under it."""


_encoder = msgspec.msgpack.Encoder()
_session_decoder = msgspec.msgpack.Decoder(SessionRecord)
_sent_decoder = msgspec.msgpack.Decoder(dict[int, tuple[int, str]])
_had_decoder = msgspec.msgpack.Decoder(list[str])


class Session:
    """See the head of this file. `gateway` is its connection, None while there is none."""

    __slots__ = (
        "client_id",
        "discarded",
        "disconnected_at",
        "disowned",
        "ended",
        "epoch",
        "expiry_seconds",
        "filters",
        "gateway",
        "given",
        "had",
        "lease",
        "leftover",
        "namespace",
        "outlives_process",
        "queue",
        "resumed",
        "shared",
        "state",
        "state_key",
        "taken",
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
        self.taken: dict[int, int] = {}
        """Inbound packet ids as they are stored: bits by row."""
        self.given: dict[int, dict[int, tuple[int, str]]] = {}
        """Outbound packet ids as they are stored, by row: phase and message id."""
        self.resumed: dict[str, int] = {}
        """Packet ids by message id, of what was sent over an earlier connection."""
        self.discarded: dict[str, None] = {}
        """Message ids that the client has already, though they still come from the queue: whoever
        sent them before may not have got to deleting them. Those whose packet ids are in use, and
        `HAD_MAX` others.
        """
        self.had = False
        """Whether some of them are stored though no packet id is theirs any more."""
        self.queue: Queue | None = None
        self.gateway: MqttGateway | None = None
        self.will: WillRecord | None = None
        self.will_at = 0
        self.disconnected_at = 0
        self.ended = False
        self.epoch = 0
        self.lease: Lease | None = None
        """By which the session is this node's, where there are several."""
        self.disowned = False
        """It may be another node's by now: nothing is to be done for it."""
        self.leftover: list[tuple[str, str]] = []
        """Rows of former owners, by kind and key."""

    @property
    def expires_at(self) -> int | None:
        """Epoch milliseconds at which a session without a connection ends."""
        if self.gateway is not None or self.expiry_seconds == NEVER_SECONDS:
            return None
        return self.disconnected_at + self.expiry_seconds * 1000

    def lost_at(self, now_ms: int) -> None:
        """The node to which the client was connected is gone since then."""
        if not self.disconnected_at:
            self.disconnected_at = now_ms
            if self.will is not None:
                self.will_at = now_ms + self.will.delay_seconds * 1000

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
            self.epoch,
        )
        return StateChange(KIND_SESSION, self.state_key, _encoder.encode(record))

    def entered(self) -> list[StateChange]:
        """The changes that store that somebody is connected, under the epoch of the lease."""
        changes = [StateChange(kind, key, None) for kind, key in self.leftover]
        self.leftover = []
        if self.lease is not None and self.epoch != self.lease.epoch:
            changes += self._rows_forgotten()
            self.epoch = self.lease.epoch
            changes += [self._taken_change(row) for row in self.taken]
            changes += self._given_changes(list(self.given))
            if self.had:
                changes.append(self._had_change())
        return [self.record(), *changes]

    def _row_key(self, row: int | str) -> str:
        return f"{self.state_key}/{self.epoch}/{row}" if self.epoch else f"{self.state_key}/{row}"

    def _taken_change(self, row: int) -> StateChange:
        value = self.taken[row].to_bytes(_RECEIVED_BYTES, "big")
        return StateChange(KIND_RECEIVED, self._row_key(row), value)

    def _had_change(self) -> StateChange:
        latest = list(self.discarded)[-HAD_MAX:]
        self.had = bool(latest)
        value = _encoder.encode(latest) if latest else None
        return StateChange(KIND_SENT, self._row_key(_HAD_ROW), value)

    def _rows_forgotten(self) -> list[StateChange]:
        had = [StateChange(KIND_SENT, self._row_key(_HAD_ROW), None)] if self.had else []
        return [
            *had,
            *(StateChange(KIND_RECEIVED, self._row_key(row), None) for row in self.taken),
            *(StateChange(KIND_SENT, self._row_key(row), None) for row in self.given),
        ]

    def received(self, packet_ids: Iterable[int], *, free: bool = False) -> list[StateChange]:
        """The changes that store inbound packet ids, or that they are free again."""
        taken = self.taken
        rows: set[int] = set()
        for packet_id in packet_ids:
            row = packet_id >> _RECEIVED_SHIFT
            bit = 1 << (packet_id & _RECEIVED_MASK)
            bits = taken.get(row, 0)
            taken[row] = bits & ~bit if free else bits | bit
            rows.add(row)
        changes = []
        for row in rows:
            if taken[row]:
                changes.append(self._taken_change(row))
            else:
                del taken[row]
                changes.append(StateChange(KIND_RECEIVED, self._row_key(row), None))
        return changes

    def sent(
        self, phase: int, packet_ids: Sequence[int], message_ids: Sequence[str]
    ) -> list[StateChange]:
        """The changes that store outbound packet ids, with their phase and message id, which is
        empty for what will not come again.
        """
        rows: set[int] = set()
        current = -1
        held: dict[int, tuple[int, str]] = {}
        for packet_id, message_id in zip(packet_ids, message_ids, strict=True):
            row = packet_id >> _SENT_SHIFT
            if row != current:
                current = row
                rows.add(row)
                held = self.given.setdefault(row, {})
            held[packet_id] = (phase, message_id)
        return self._given_changes(rows)

    def completed(self, packet_ids: Iterable[int]) -> list[StateChange]:
        """The changes that free outbound packet ids."""
        rows: set[int] = set()
        may_come = False
        given, discarded = self.given, self.discarded
        for packet_id in packet_ids:
            row = packet_id >> _SENT_SHIFT
            held = given.get(row)
            if held is not None and packet_id in held:
                rows.add(row)
                _, message_id = held.pop(packet_id)
                may_come = may_come or message_id in discarded
        changes = self._given_changes(rows)
        if may_come or (self.had and not self.discarded):
            changes.append(self._had_change())
        return changes

    def discard(self, message_ids: Iterable[str]) -> None:
        """The client has these already: they are settled when they come from the queue again."""
        discarded = self.discarded
        discarded.update(dict.fromkeys(message_ids))
        if len(discarded) > HAD_MAX:
            surplus = len(discarded) - HAD_MAX - sum(map(len, self.given.values()))
            for message_id in list(islice(discarded, max(surplus, 0))):
                del discarded[message_id]

    def _given_changes(self, rows: Iterable[int]) -> list[StateChange]:
        changes = []
        for row in rows:
            held = self.given[row]
            value = _encoder.encode(held) if held else None
            if value is None:
                del self.given[row]
            changes.append(StateChange(KIND_SENT, self._row_key(row), value))
        return changes

    def forgetting(self) -> list[StateChange]:
        """The changes that remove all that is stored under this session."""
        return [
            StateChange(KIND_SESSION, self.state_key, None),
            *(StateChange(kind, key, None) for kind, key in self.leftover),
            *self._rows_forgotten(),
        ]

    def restore(self, kind: str, key: str, value: bytes) -> None:
        """Take up a stored row; one of another epoch was written by who was no longer the owner."""
        where, _, row = key.rpartition("/")
        _, _, epoch = where.partition("/")
        if int(epoch or 0) != self.epoch:
            self.leftover.append((kind, key))
        elif kind == KIND_RECEIVED:
            self.restore_received(int(row), value)
        elif row == _HAD_ROW:
            self.had = True
            self.discard(_had_decoder.decode(value))
        else:
            self.restore_sent(int(row), value)

    def restore_received(self, row: int, value: bytes) -> None:
        """Take up a stored row of inbound packet ids."""
        self.taken[row] = bits = int.from_bytes(value, "big")
        for offset in range(_RECEIVED_MASK + 1):
            if bits >> offset & 1:
                self.state.received[(row << _RECEIVED_SHIFT) + offset] = Inbound.STORED

    def restore_sent(self, row: int, value: bytes) -> None:
        """Take up a stored row of outbound packet ids."""
        self.given[row] = held = _sent_decoder.decode(value)
        for packet_id, (phase, message_id) in held.items():
            if phase == RELEASED:
                self.state.awaiting_pubcomp[packet_id] = None
                if message_id:
                    self.discard((message_id,))
            else:
                self.state.awaiting_pubrec[packet_id] = None
                self.resumed[message_id] = packet_id
            self.state.last_packet_id = max(self.state.last_packet_id, packet_id)

    def settle_received(self, stored: Callable[[str], bytes | None]) -> None:
        """Before a session is resumed: see what became of ids whose connection went too soon.

        `stored` reads `KIND_RECEIVED`; all that was submitted is answered by now. A PUBLISH that
        was not stored is as if it never came; a PUBREL that was not answered comes again.
        """
        rows = {packet_id >> _RECEIVED_SHIFT for packet_id in self.state.received}
        self.state.received.clear()
        self.taken.clear()
        for row in sorted(rows):
            value = stored(self._row_key(row))
            if value is not None:
                self.restore_received(row, value)


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
    session.epoch = record.epoch
    session.shared = {each.text: each for each in record.shared}
    return session

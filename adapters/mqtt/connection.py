"""What both roles share: packets out of chunks, publishes out of packets, failing. On the hot path.

One loop takes every complete packet out of a chunk; a run of publishes that differ in packet id and
payload alone, and a run of packets that are nothing but an id, have shorter loops of their own
(`runs.py`). A client that waits for each answer sends such publishes one in a chunk, so the last
run is remembered, and `take_one` takes a chunk that is one more of it, or one PUBACK.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Final

from adapters.connection import ConnectionFailed
from adapters.mqtt.codec import decode_packet
from adapters.mqtt.connect import check_response_topic
from adapters.mqtt.errors import MqttError, malformed, protocol_error
from adapters.mqtt.events import DeliveriesAcknowledged, PublishesReceived, Token
from adapters.mqtt.handshakes import MISSING, Handshakes
from adapters.mqtt.limits import PACKET_ID_MAX, ConnectionLimits
from adapters.mqtt.packets import (
    Packet,
    ProtocolVersion,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    Carrier,
    Properties,
    decode_property_values,
)
from adapters.mqtt.publishes import known_topic, received_topics
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.runs import Run, take_run_of_ids, take_run_of_qos_0
from adapters.mqtt.wire import Reader

_PUBACK_HEAD: Final = b"\x40\x02"
_HANDSHAKE: Final = frozenset({0x50, 0x62, 0x70})
"""First bytes of the packets of the QoS 2 handshake."""
_PATIENCE_BYTES: Final = 1_000
"""A packet that has more than this to come counts as a sign of life while it arrives."""


class MqttConnection(Handshakes, ABC):
    """A connection of either role; the subclass says what each other packet means to it."""

    __slots__ = (
        "_aliases_in",
        "_aliases_in_max",
        "_last_received",
        "_needed",
        "_open",
        "_packet_size_max",
        "_partial",
        "_prefix",
        "_run",
    )

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        super().__init__(limits)
        self._partial: bytearray | None = None
        """What came of a packet that is not complete, or what waits for `accept`."""
        self._needed = 0
        """How many bytes `_partial` must have before it is worth looking at."""
        self._open = False
        """CONNECT was answered well: everything but CONNECT and CONNACK is allowed."""
        self._last_received = now
        self._packet_size_max = limits.connect_size_max
        self._aliases_in_max = 0
        self._aliases_in: dict[int, str] | None = None
        self._prefix = b""
        """How the last publish of QoS 1 or 2 that might begin a run began."""
        self._run: Run | None = None
        """The last one."""

    def receive_data(self, data: bytes, now: float) -> None:
        if self.closed:
            return
        partial = self._partial
        if partial is None:
            self._last_received = now
            self._read(data)
            return
        if not data:
            # A sign of life, though nothing was read.
            self._last_received = now
            return
        partial += data
        if len(partial) < self._needed:
            if self._needed - len(partial) > _PATIENCE_BYTES:
                self._last_received = now
            self._check_held(len(partial))
            return
        self._last_received = now
        self._partial = None
        self._read(bytes(partial))

    def take_one(
        self, data: bytes, now: float
    ) -> PublishesReceived | DeliveriesAcknowledged | None:
        """Take in a chunk that is one packet of the kind that comes again and again: a publish of
        QoS 1 like the last one, without properties, or a PUBACK. Returns its event, past
        `next_events`.

        None, with nothing done, where it is anything else, or where anything is to be said about
        it: it is for `receive_data` then. Events may not be waiting.
        """
        if self._partial is not None or self.closed or not self._open:
            return None
        event: PublishesReceived | DeliveriesAcknowledged
        size = len(data)
        if size == 4:
            if not data.startswith(_PUBACK_HEAD):
                return None
            token = self.session.awaiting_puback.pop(data[2] << 8 | data[3], MISSING)
            if token is MISSING:
                return None
            self._restore_quota(1)
            event = DeliveriesAcknowledged([token])
        else:
            run = self._run
            if run is None or size != run.size or run.qos != 1 or not data.startswith(run.prefix):
                return None
            publish = run.only(data)
            if publish is None or (self._version_5 and self._room() < 1):
                return None
            self._unacknowledged += 1
            event = PublishesReceived([publish])
        self._last_received = now
        return event

    def receive_eof(self, now: float) -> None:
        self._partial = None
        self.closed = True

    def _read(self, data: bytes) -> None:
        """Decode what is complete and keep the rest."""
        try:
            position = self._decode(data)
        except MqttError as error:
            self._fail(error)
            return
        if position < len(data) and not self.closed:
            self._partial = bytearray(data[position:])

    def _check_held(self, size: int) -> None:
        """Called while bytes are only collected; a role that holds them back bounds them here."""

    def _decode(self, data: bytes) -> int:  # noqa: C901, PLR0912, PLR0915 - hot path, see the head
        """Take the complete packets out of `data`; returns where an incomplete one begins."""
        topics = received_topics
        publishes: list[Publish] = []
        acknowledged: list[Token] = []
        version_5 = self._version_5
        size_max = self._packet_size_max
        is_open = self._open
        lenient = self.version is ProtocolVersion.V3_1
        position = 0
        size = len(data)
        self._needed = 2
        try:
            while position + 1 < size:
                first = data[position]
                if not is_open:
                    self._check_first(first)
                length = data[position + 1]
                start = position + 2
                if length > 0x7F:
                    if start < size and 0 < data[start] < 0x80:
                        length = length & 0x7F | data[start] << 7
                        start += 1
                    else:
                        header = self._long_length(data, position)
                        if header is None:
                            self._needed = size - position + 1
                            break
                        length, start = header
                end = start + length
                if end - position > size_max:
                    raise MqttError(
                        ReasonCode.PACKET_TOO_LARGE,
                        f"a packet of {end - position} bytes, at most {size_max} are allowed",
                    )
                if end > size:
                    self._needed = end - position
                    break

                if first & 0xF0 == 0x30 and is_open:
                    topic_at = start + 2
                    if topic_at > end:
                        raise malformed("PUBLISH ends inside of its topic name")
                    topic_end = topic_at + (data[start] << 8 | data[start + 1])
                    qos = first >> 1 & 3
                    body = topic_end + 2 if qos else topic_end
                    if body > end:
                        raise malformed("PUBLISH ends inside of its topic name")
                    raw = data[topic_at:topic_end]
                    if version_5:
                        if body == end:
                            raise malformed("PUBLISH ends before its properties")
                        if data[body] or not raw:
                            topic, properties, body = self._publish_properties(data, body, end, raw)
                        else:
                            topic, properties = topics.get(raw) or known_topic(raw), NO_PROPERTIES
                            body += 1
                    else:
                        topic, properties = topics.get(raw) or known_topic(raw), NO_PROPERTIES
                    publish = Publish(
                        topic, data[body:end], qos, first & 1 == 1, first & 8 == 8, 0, properties
                    )
                    if not qos:
                        if publish.dup and not lenient:  # MQTT 5, 3.3.1.1 [MQTT-3.3.1-2]
                            raise malformed("DUP with QoS 0")
                        publishes.append(publish)
                        if first == 0x30 and raw and properties is NO_PROPERTIES:
                            end = take_run_of_qos_0(data, publish, position, body, end, publishes)
                        position = end
                        continue
                    if qos == 3:  # MQTT 5, 3.3.1.2 [MQTT-3.3.1-4]
                        raise malformed("QoS is 3")
                    packet_id = publish.packet_id = data[topic_end] << 8 | data[topic_end + 1]
                    if not packet_id:  # MQTT 5, 2.2.1 [MQTT-2.2.1-3]
                        raise protocol_error("packet identifier 0")
                    if qos == 2:
                        self._receive_exactly_once([publish], publishes)
                    else:
                        self._unacknowledged += 1
                        if version_5 and self._room() < 0:
                            raise self._receive_maximum_exceeded()
                        publishes.append(publish)
                    if body == topic_end + 2 + version_5:
                        prefix = data[position:topic_end]
                        resumed = data.startswith(prefix, end)
                        if resumed or prefix == self._prefix:
                            run = self._run
                            if run is None or run.prefix != prefix:
                                run = self._run = Run(prefix, publish, version_5=version_5)
                            if resumed:
                                end = self._take_run(run, data, end, publishes)
                        self._prefix = prefix
                    position = end
                    continue

                if first == 0x40 and length == 2 and is_open:
                    packet_ids, position = take_run_of_ids(data, position)
                    self._take_pubacks(packet_ids, acknowledged)
                    if position >= end:
                        continue

                if publishes:
                    self._events.append(PublishesReceived(publishes))
                    publishes = []
                if acknowledged:
                    self._settle(acknowledged)
                    acknowledged = []
                if first in _HANDSHAKE and length == 2 and is_open:
                    packet_ids, position = take_run_of_ids(data, position)
                    self._take_handshakes(first, packet_ids)
                if position < end:
                    position = end
                    self._packet(first, data[start:end])
                if self.closed or not self._open:
                    break
                if not is_open:
                    is_open, version_5 = True, self._version_5
                    size_max = self._packet_size_max
        finally:
            if publishes:
                self._events.append(PublishesReceived(publishes))
            if acknowledged:
                self._settle(acknowledged)
        return position

    def _long_length(self, data: bytes, position: int) -> tuple[int, int] | None:
        """A remaining length of several bytes and where it ends; None if it is not all there."""
        length = 0
        for index in range(1, 5):
            if position + index >= len(data):
                return None
            byte = data[position + index]
            length |= (byte & 0x7F) << 7 * (index - 1)
            if byte < 0x80:
                # MQTT 5, 1.5.5 [MQTT-1.5.5-1]; small devices pad it in 3.x, which does not forbid
                # it.
                if not byte and self._version_5:
                    raise malformed("the remaining length is longer than needed")
                return length, position + index + 1
        raise malformed("the remaining length has more than 4 bytes")  # MQTT 5, 1.5.5

    def _publish_properties(
        self, data: bytes, position: int, end: int, raw: bytes
    ) -> tuple[str, Properties, int]:
        """Topic, properties and the payload's place of a PUBLISH that has properties (MQTT 5,
        3.3.2.3).
        """
        reader = Reader(data, position, end)
        size = reader.variable_byte_integer()
        values = decode_property_values(
            reader.part(size), Carrier.PUBLISH, self._limits.user_properties_max
        )
        alias: int | None = values.pop("topic_alias", None)
        topic = self._resolve(raw, alias)
        properties = Properties(**values) if values else NO_PROPERTIES
        check_response_topic(properties)
        self._check_publish(properties)
        return topic, properties, reader.position

    def _resolve(self, raw: bytes, alias: int | None) -> str:
        """The topic that name and alias stand for (MQTT 5, 3.3.2.3.4)."""
        if alias is None:
            if not raw:  # MQTT 5, 3.3.2.1
                raise protocol_error("neither a topic name nor a topic alias")
            return known_topic(raw)
        if not 0 < alias <= self._aliases_in_max:  # [MQTT-3.3.2-8], [MQTT-3.3.2-9]
            raise MqttError(
                ReasonCode.TOPIC_ALIAS_INVALID,
                f"topic alias {alias}, 1 to {self._aliases_in_max} are allowed",
            )
        aliases = self._aliases_in
        if aliases is None:
            aliases = self._aliases_in = {}
        if raw:
            topic = aliases[alias] = known_topic(raw)
            return topic
        if alias not in aliases:  # MQTT 5, 3.3.4
            raise protocol_error(f"topic alias {alias} was never set")
        return aliases[alias]

    def _check_publish(self, properties: Properties) -> None:
        """What only one role must not send."""

    def _take_run(self, run: Run, data: bytes, position: int, publishes: list[Publish]) -> int:
        """Append the publishes at `position` that go on with a run; returns where they end."""
        room = self._room() if self._version_5 else PACKET_ID_MAX
        if run.qos == 2:
            alike: list[Publish] = []
            end = run.take(data, position, alike, room)
            self._receive_exactly_once(alike, publishes)
        else:
            count = len(publishes)
            end = run.take(data, position, publishes, room)
            self._unacknowledged += len(publishes) - count
        return end

    # -- all other packets

    def _packet(self, first: int, body: bytes) -> None:
        """Take in a packet that the loop does not know by itself."""
        packet = decode_packet(first, body, self.version, self._limits)
        match packet:
            case Puback():
                self._on_puback(packet)
            case Pubrec():
                self._on_pubrec(packet)
            case Pubrel():
                self._on_pubrels([packet.packet_id])
            case Pubcomp():
                self._on_pubcomps([packet.packet_id])
            case _:
                self._on_packet(packet)

    @abstractmethod
    def _check_first(self, first: int) -> None:
        """Raise unless the packet of this first byte may open the conversation."""

    @abstractmethod
    def _on_packet(self, packet: Packet) -> None:
        """Take in a packet whose meaning depends on the role."""

    # -- the end

    def _fail(self, error: MqttError) -> None:
        """Tell the peer what it did wrong, as far as its version can be told, and stop."""
        self._say_error(error)
        self._stop()
        self._events.append(ConnectionFailed(f"{error} (0x{error.reason:02x})"))

    @abstractmethod
    def _say_error(self, error: MqttError) -> None:
        """Tell the peer, in the words of the role."""

    def _stop(self) -> None:
        self.closed = True
        self._partial = None

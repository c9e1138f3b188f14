"""The sending half of a connection: publishes, acknowledgements and their windows; on the hot path.

Everything here only queues bytes and moves packet ids through the session's state; `data_to_send`
takes the bytes. Once the connection is closed nothing is queued any more, but packet ids still
move, since what the gateway has stored is stored.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from adapters.errors import LocalProtocolError
from adapters.mqtt.aliases import OutboundAliases
from adapters.mqtt.codec import encode_packet
from adapters.mqtt.events import Token
from adapters.mqtt.limits import PACKET_SIZE_MAX, ConnectionLimits
from adapters.mqtt.packets import (
    Connack,
    Disconnect,
    Packet,
    ProtocolVersion,
    Puback,
    Publish,
    Pubrec,
    Suback,
    Unsuback,
)
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    Carrier,
    Properties,
    encode_property_values,
)
from adapters.mqtt.publishes import (
    EncodedPublish,
    encode_publish,
    encode_publishes,
    publish_head,
)
from adapters.mqtt.session import Inbound, SessionState
from adapters.mqtt.wire import variable_byte_integer

_PUBACK: Final = 0x4002_0000
_PUBREC: Final = 0x5002_0000
_PUBREL: Final = 0x6202_0000
_PUBCOMP: Final = 0x7002_0000
_FAILURE: Final = 0x80
_LITTLE_ENDIAN: Final = sys.byteorder == "little"


class Sender:
    """What both roles can send. `version` and the peer's bounds are set when it has introduced
    itself.
    """

    __slots__ = (
        "_aliases_out",
        "_answers_only",
        "_exactly_once_open",
        "_limits",
        "_out",
        "_peer_packet_size_max",
        "_problem_information",
        "_send_quota_max",
        "_unacknowledged",
        "_version_5",
        "closed",
        "send_quota",
        "session",
        "version",
    )

    def __init__(self, limits: ConnectionLimits) -> None:
        self.version = ProtocolVersion.V3_1_1
        self.session = SessionState()
        self._version_5 = False
        self._limits = limits
        self._out: list[bytes] = []
        self.closed = False
        """Nothing more is read or sent; what is queued still leaves. For others to read."""
        self._answers_only = False
        """The peer took its leave: it is still answered what it asked for before."""
        self._aliases_out: OutboundAliases | None = None
        self._peer_packet_size_max = PACKET_SIZE_MAX
        self._problem_information = True
        self.send_quota = self._send_quota_max = limits.send_maximum
        """How many QoS 1 and 2 publishes may be sent now (MQTT 5, 4.9). For others to read."""
        self._unacknowledged = 0
        """Received QoS 1 publishes that were not answered."""
        self._exactly_once_open: set[int] | None = None
        """QoS 2 publishes that this connection has received and not completed."""

    def data_to_send(self) -> list[bytes]:
        out = self._out
        self._out = []
        return out

    @property
    def shares_encodings(self) -> bool:
        """Whether `send_encoded` may be used, which knows no topic aliases."""
        return self._aliases_out is None

    @property
    def sends_alike(self) -> bool:
        """Whether `send_alike` may be used, which knows no aliases and no bound on sizes either."""
        return self._aliases_out is None and self._peer_packet_size_max >= PACKET_SIZE_MAX

    # -- publishes

    def send_alike(
        self,
        topic: str,
        payloads: Sequence[bytes],
        tokens: Sequence[Token],
        retain: bool,
    ) -> None:
        """Send publishes of QoS 1 that differ in their payload alone and have no properties.

        At most `send_quota`, and only while `sends_alike`.
        """
        if self.closed:
            return
        first = 0x33 if retain else 0x32
        # In MQTT 5 a property length of zero stands behind the packet id.
        shift, id_size = (8, 3) if self._version_5 else (0, 2)
        packet_ids = self._give_ids(tokens, self.session.awaiting_puback)
        out = self._out
        size = -1
        head = b""
        for packet_id, payload in zip(packet_ids, payloads, strict=True):
            if len(payload) != size:
                size = len(payload)
                head = publish_head(topic, first, id_size + size)
            out += (head, (packet_id << shift).to_bytes(id_size, "big"), payload)

    def send_alone(self, topic: str, payload: bytes, token: Token, retain: bool) -> None:
        """The same for a single one, in one piece."""
        if self.closed:
            return
        if self.send_quota < 1:
            raise self._quota_exceeded()
        session = self.session
        packet_id = session.next_packet_id()
        session.awaiting_puback[packet_id] = token
        self.send_quota -= 1
        shift, id_size = (8, 3) if self._version_5 else (0, 2)
        head = publish_head(topic, 0x33 if retain else 0x32, id_size + len(payload))
        self._out.append(head + (packet_id << shift).to_bytes(id_size, "big") + payload)

    def _give_ids(self, tokens: Sequence[Token], awaiting: dict[int, Token]) -> Sequence[int]:
        """Give packet ids to deliveries within the quota, and put them into `awaiting`."""
        count = len(tokens)
        if count > self.send_quota:
            raise self._quota_exceeded()
        self.send_quota -= count
        packet_ids = self.session.next_packet_ids(count)
        awaiting.update(zip(packet_ids, tokens, strict=True))
        return packet_ids

    def _quota_exceeded(self) -> LocalProtocolError:
        return LocalProtocolError(f"the send quota is {self.send_quota}")

    def send(self, publishes: Sequence[Publish], tokens: Sequence[Token]) -> list[Token]:
        """Send publishes of QoS 0 and 1; returns the tokens of those too large for the peer.

        `tokens` come back when they are acknowledged; for QoS 0 they do not. At most `send_quota`
        of QoS 1.
        """
        too_large: list[Token] = []
        version_5 = self._version_5
        for publish, token in zip(publishes, tokens, strict=True):
            if self._aliases_out is not None:
                encoded, new_alias = self._encode_with_alias(publish, self._aliases_out)
            else:
                encoded, new_alias = encode_publish(publish, version_5=version_5), 0
            if self.send_encoded((encoded,), (token,), publish.qos):
                too_large.append(token)
            elif new_alias and self._aliases_out is not None:
                self._aliases_out.told(publish.topic, new_alias)
        return too_large

    def send_encoded(
        self, encoded: Sequence[EncodedPublish], tokens: Sequence[Token], qos: int
    ) -> list[Token]:
        """Like `send`, for publishes of one QoS that `encode_publish` made for this version."""
        if self.closed:
            return []
        too_large: list[Token] = []
        if self._peer_packet_size_max < PACKET_SIZE_MAX:
            encoded, tokens, too_large = self._fitting(encoded, tokens, 2 if qos else 0)
        if qos:
            self._send_at_least_once(encoded, tokens, qos)
        else:
            out = self._out
            for pieces in encoded:
                out += pieces
        return too_large

    def _send_at_least_once(
        self, encoded: Sequence[EncodedPublish], tokens: Sequence[Token], qos: int
    ) -> None:
        if qos != 1:
            raise LocalProtocolError("QoS 2 goes through reserve and send_reserved")
        packet_ids = self._give_ids(tokens, self.session.awaiting_puback)
        self._queue_with_ids(encoded, packet_ids)

    def _queue_with_ids(self, encoded: Sequence[EncodedPublish], packet_ids: Sequence[int]) -> None:
        out = self._out
        for (head, tail), packet_id in zip(encoded, packet_ids, strict=True):
            out += (head, packet_id.to_bytes(2, "big"), tail)

    def _fitting(
        self, encoded: Sequence[EncodedPublish], tokens: Sequence[Token], id_size: int
    ) -> tuple[list[EncodedPublish], list[Token], list[Token]]:
        """What is within the peer's Maximum Packet Size, and the tokens of the rest.

        MQTT 5, 3.1.2.11.4 [MQTT-3.1.2-24].
        """
        size_max = self._peer_packet_size_max - id_size
        fitting: list[EncodedPublish] = []
        fitting_tokens: list[Token] = []
        too_large: list[Token] = []
        for each, token in zip(encoded, tokens, strict=True):
            if len(each[0]) + len(each[1]) > size_max:
                too_large.append(token)
            else:
                fitting.append(each)
                fitting_tokens.append(token)
        return fitting, fitting_tokens, too_large

    def fits(self, size: int) -> bool:
        """Whether the peer takes a packet of `size` bytes."""
        return size <= self._peer_packet_size_max

    def reserve(self, tokens: Sequence[Token]) -> list[int]:
        """Give packet ids to QoS 2 deliveries, to be stored before `send_reserved`."""
        return list(self._give_ids(tokens, self.session.awaiting_pubrec))

    def send_reserved(self, publishes: Sequence[Publish], packet_ids: Sequence[int]) -> list[int]:
        """Send QoS 2 publishes under ids from `reserve`.

        Returns the ids of those too large for the peer; they are free again.
        """
        if self.sends_alike:
            if not self.closed:
                encoded = encode_publishes(publishes, version_5=self._version_5)
                self._queue_with_ids(encoded, packet_ids)
            return []
        too_large = []
        for publish, packet_id in zip(publishes, packet_ids, strict=True):
            if not self._send_again(publish, packet_id):
                self.session.awaiting_pubrec.pop(packet_id, None)
                self._restore_quota(1)
                too_large.append(packet_id)
        return too_large

    def resend(self, publishes: Sequence[Publish], packet_ids: Sequence[int]) -> list[int]:
        """Send publishes of a resumed session again, in their first order, each with `dup` set by
        the caller.

        At most `send_quota`. Returns the ids of those too large for the peer; they are free again.
        (PUBRELs of a resumed session are sent when it is accepted.)
        """
        if len(publishes) > self.send_quota:
            raise self._quota_exceeded()
        too_large = []
        for publish, packet_id in zip(publishes, packet_ids, strict=True):
            if self._send_again(publish, packet_id):
                self.send_quota -= 1
                continue
            self.session.awaiting_puback.pop(packet_id, None)
            self.session.awaiting_pubrec.pop(packet_id, None)
            too_large.append(packet_id)
        return too_large

    def _send_again(self, publish: Publish, packet_id: int) -> bool:
        """Queue one publish under its id; False if it is too large."""
        new_alias = 0
        if self._aliases_out is not None:
            encoded, new_alias = self._encode_with_alias(publish, self._aliases_out)
        else:
            encoded = encode_publish(publish, version_5=self._version_5)
        head, tail = encoded
        if len(head) + 2 + len(tail) > self._peer_packet_size_max:
            return False
        if not self.closed:
            self._out += (head, packet_id.to_bytes(2, "big"), tail)
            if new_alias and self._aliases_out is not None:
                self._aliases_out.told(publish.topic, new_alias)
        return True

    def _encode_with_alias(
        self, publish: Publish, aliases: OutboundAliases
    ) -> tuple[EncodedPublish, int]:
        """The encoded publish, and the alias that it tells the peer of, or 0."""
        found = aliases.alias(publish.topic)
        if found is None:
            return encode_publish(publish, version_5=True), 0
        number, known = found
        values = encode_property_values(publish.properties, Carrier.PUBLISH)
        values += b"\x23" + number.to_bytes(2, "big")
        encoded = encode_publish(
            publish,
            version_5=True,
            properties=variable_byte_integer(len(values)) + values,
            without_topic=known,
        )
        return encoded, 0 if known else number

    # -- acknowledgements

    def acknowledge(
        self, publishes: Sequence[Publish], reason_codes: Sequence[int] | None = None
    ) -> None:
        """Answer received publishes with PUBACK or PUBREC, in the given order; QoS 0 is passed
        over.

        Without `reason_codes` all were successful. 3.x cannot refuse: there every answer is
        positive.
        """
        if reason_codes is None or not self._version_5:
            self._out += self.acknowledgements(publishes)
            return
        for publish, reason_code in zip(publishes, reason_codes, strict=True):
            self._acknowledge_with_reason(publish, reason_code)

    def acknowledgements(self, publishes: Sequence[Publish]) -> list[bytes]:
        """Positive answers like those of `acknowledge`, which are not queued here but returned."""
        if len(publishes) == 1 and publishes[0].qos == 1 and not self.closed:
            # As below, without the calls.
            self._unacknowledged -= 1
            return [(_PUBACK | publishes[0].packet_id).to_bytes(4, "big")]
        words = [_PUBACK | publish.packet_id for publish in publishes if publish.qos == 1]
        self._unacknowledged -= len(words)
        if len(words) < len(publishes):
            words = self._words_of(publishes)
        return self._packed(words)

    def _words_of(self, publishes: Sequence[Publish]) -> list[int]:
        """The answers to publishes of different QoS."""
        received = self.session.received
        words: list[int] = []
        for publish in publishes:
            packet_id = publish.packet_id
            if publish.qos == 1:
                words.append(_PUBACK | packet_id)
            elif publish.qos:
                if received.get(packet_id) is Inbound.RECEIVED:
                    received[packet_id] = Inbound.STORED
                words.append(_PUBREC | packet_id)
        return words

    def _acknowledge_with_reason(self, publish: Publish, reason_code: int) -> None:
        packet_id = publish.packet_id
        if publish.qos == 1:
            self._unacknowledged -= 1
            self._send_packet(Puback(packet_id, reason_code))
        elif publish.qos:
            if reason_code >= _FAILURE:  # MQTT 5, 4.3.3: that ends it
                self.session.received.pop(packet_id, None)
                self._close_exactly_once(packet_id)
            else:
                self._stored(packet_id)
            self._send_packet(Pubrec(packet_id, reason_code))

    def _stored(self, packet_id: int) -> None:
        received = self.session.received
        if received.get(packet_id) is Inbound.RECEIVED:
            received[packet_id] = Inbound.STORED

    def complete(self, packet_ids: Sequence[int]) -> None:
        """Answer PUBRELs with PUBCOMP: it is stored that the ids are free."""
        received = self.session.received
        words = []
        for packet_id in packet_ids:
            received.pop(packet_id, None)
            words.append(_PUBCOMP | packet_id)
        if self._exactly_once_open is not None:
            self._exactly_once_open.difference_update(packet_ids)
        self._out += self._packed(words)

    def release(self, packet_ids: Iterable[int]) -> None:
        """Answer PUBRECs with PUBREL: it is stored that the peer has the messages."""
        session = self.session
        words = []
        for packet_id in packet_ids:
            if packet_id in session.awaiting_release:
                session.awaiting_pubcomp[packet_id] = session.awaiting_release.pop(packet_id)
                words.append(_PUBREL | packet_id)
        self._out += self._packed(words)

    def _close_exactly_once(self, packet_id: int) -> None:
        if self._exactly_once_open is not None:
            self._exactly_once_open.discard(packet_id)

    def _restore_quota(self, count: int) -> None:
        # MQTT 5, 4.9: an acknowledgement of something older never raises it beyond the start.
        self.send_quota = min(self.send_quota + count, self._send_quota_max)

    # -- packets

    def _packed(self, words: list[int]) -> list[bytes]:
        """Acknowledgements that are four bytes each, in one piece; none where nobody hears them."""
        if not words or (self.closed and not self._answers_only):
            return []
        if len(words) == 1:
            return [words[0].to_bytes(4, "big")]
        packed = array("I", words)
        if _LITTLE_ENDIAN:
            packed.byteswap()
        return [packed.tobytes()]

    def _send_packet(self, packet: Packet) -> None:
        if self._answers_only or not self.closed:
            self._out.append(encode_packet(packet, self.version))

    def _send_explained(self, packet: Connack | Suback | Unsuback | Disconnect) -> bool:
        """Queue a packet without what the peer does not want or has no room for.

        Reason strings and user properties are the first to go (MQTT 5, 3.1.2.11.7 [MQTT-3.1.2-29]
        and 3.2.2.3.9); what is too large even then is not sent (3.1.2.11.4), which is False.
        """
        if self.closed and not self._answers_only:
            return False
        keep = self._problem_information or isinstance(packet, Connack | Disconnect)
        if keep:
            encoded = encode_packet(packet, self.version)
            if len(encoded) <= self._peer_packet_size_max:
                self._out.append(encoded)
                return True
        packet.properties = without_explanation(packet.properties)
        encoded = encode_packet(packet, self.version)
        if len(encoded) > self._peer_packet_size_max:
            return False
        self._out.append(encoded)
        return True


def without_explanation(properties: Properties) -> Properties:
    """The properties without reason string and user properties."""
    bare = msgspec.structs.replace(properties, reason_string=None, user_properties=())
    return NO_PROPERTIES if bare == NO_PROPERTIES else bare

"""The frames that come by the thousand: publish with its content, ack, deliver, confirms.

Hot path. Everything else is decoded by `methods`, which costs 4 us and more per method. Measured
with 256-byte bodies: a publish (three frames) 1.0 us, in a run 0.4 us, an ack 0.3 us, a delivery
0.3 us. What makes it cheap: one loop per run of equal frames, one unpack per frame head, and
bounded caches from the octets of a method or of properties to what they mean, since most messages
of a connection repeat them. The decoders here never raise: at anything unusual they stop in front
of it, and the connection takes that one frame the slow way, which knows all errors.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from adapters.amqp091.methods import FRAME_BODY, FRAME_END, FRAME_HEAD, FRAME_HEADER, FRAME_METHOD
from adapters.amqp091.properties import Properties, decode_properties
from adapters.amqp091.tables import encode_short_string

if TYPE_CHECKING:
    from adapters.amqp091.channel import Channel
    from adapters.amqp091.events import PublishReceived

PUBLISH: Final = 0x003C0028
ACK: Final = 0x003C0050
NACK: Final = 0x003C0078
DELIVER: Final = 0x003C003C
BASIC: Final = 0x003C0000
"""Class 60 and the weight 0 of a content header."""

CONTENT_HEADER_MIN: Final = 14
"""Class, weight, body size and flags."""
KNOWN_MAX: Final = 1024
"""Entries of each cache; a full one starts again empty."""
KNOWN_BYTES_MAX: Final = 512
"""Octets of an entry's key; longer ones are decoded each time."""

_METHOD_HEAD = struct.Struct(">BHII")
_CONTENT_HEAD = struct.Struct(">BHIIQ")
_SETTLEMENT = struct.Struct(">BHIIQBB")
_ACK_TAIL = struct.Struct(">QBB")
_TAG = struct.Struct(">QB")
_BEHIND_PROPERTIES = struct.Struct(">BBHI")
_END: Final = b"\xce"
_MISSING: Final = object()

Target: TypeAlias = tuple[str, str, bool]
"""Exchange, routing key and the mandatory bit of a publish."""

Outgoing: TypeAlias = tuple[Any, bool, str, str, bytes, bytes]
"""A delivery to encode: token, redelivered, exchange, routing key, raw properties, body."""


class Content:
    """A content under way on a channel: its method, then its header, then its body."""

    __slots__ = ("body_size", "chunks", "method", "properties", "received")

    def __init__(self, method: Any) -> None:
        self.method = method
        self.properties: Properties | None = None
        self.body_size = 0
        self.received = 0
        self.chunks: list[bytes] = []


class PublishDecoder:
    """Decodes runs of complete publishes; one per connection, with what it has learnt."""

    __slots__ = ("_event", "_properties", "_targets", "body_size_max")

    def __init__(self, event: type[PublishReceived]) -> None:
        self._event = event
        self._properties: dict[bytes, Properties] = {}
        self._targets: dict[bytes, Target] = {}
        self.body_size_max = 0

    def decode(self, data: bytes, position: int, channel: Channel, events: list[Any]) -> int:
        """Append the publishes of `channel` from `position` on; return where they end."""
        end = len(data)
        number = channel.number
        body_size_max = self.body_size_max
        known_properties, known_targets = self._properties, self._targets
        event = self._event
        published = channel.published
        step = 1 if channel.confirming else 0
        while end - position >= 34:
            kind, on, size, index = _METHOD_HEAD.unpack_from(data, position)
            stop = position + 7 + size
            if index != PUBLISH or kind != FRAME_METHOD or on != number or stop + 22 > end:
                break
            target = known_targets.get(data[position + 11 : stop])
            if target is None:
                target = self._learn_target(data[position + 11 : stop])
                if target is None:
                    break
            kind, on, size, index, body_size = _CONTENT_HEAD.unpack_from(data, stop + 1)
            header_stop = stop + 8 + size
            if (
                kind != FRAME_HEADER
                or on != number
                or index != BASIC
                or body_size > body_size_max
                or header_stop >= end
            ):
                break
            raw = data[stop + 20 : header_stop]
            properties = known_properties.get(raw)
            if properties is None:
                properties = self.learn_properties(raw)
                if properties is None:
                    break
            if data[stop] != FRAME_END or data[header_stop] != FRAME_END:
                break
            if body_size:
                stop = header_stop + 8 + body_size
                if stop >= end or data[stop] != FRAME_END:
                    break
                kind, on, size = FRAME_HEAD.unpack_from(data, header_stop + 1)
                if kind != FRAME_BODY or on != number or size != body_size:
                    break
                start, position = position, stop + 1
                published += step
                body = data[header_stop + 8 : stop]
                first = event(number, published, *target, properties, body)
                events.append(first)
                head = header_stop + 8 - start
                if data.startswith(data[start : start + head], position):
                    position = _take_alike(data, first, head, position, step, events)
                    published = events[-1].sequence
            else:
                position = header_stop + 1
                published += step
                events.append(event(number, published, *target, properties, b""))
        channel.published = published
        return position

    def _learn_target(self, raw: bytes) -> Target | None:
        """Decode the fields of basic.publish; None leaves them and their errors to the slow way."""
        try:
            exchange_end = 3 + raw[2]
            key_end = exchange_end + 1 + raw[exchange_end]
            bits = raw[key_end]
            if len(raw) != key_end + 1 or bits > 1:
                return None
            exchange = raw[3:exchange_end].decode()
            target = exchange, raw[exchange_end + 1 : key_end].decode(), bits == 1
        except (IndexError, UnicodeDecodeError):
            return None
        if len(self._targets) >= KNOWN_MAX:
            self._targets.clear()
        self._targets[raw] = target
        return target

    def learn_properties(self, raw: bytes) -> Properties | None:
        """Decode properties, and remember them; None where they are malformed."""
        try:
            properties = decode_properties(raw)
        except ValueError:
            return None
        if len(raw) <= KNOWN_BYTES_MAX:
            if len(self._properties) >= KNOWN_MAX:
                self._properties.clear()
            self._properties[raw] = properties
        return properties


def _take_alike(
    data: bytes, first: PublishReceived, head: int, position: int, step: int, events: list[Any]
) -> int:
    """Append what differs from the publish before `position` in its body alone.

    `head` octets are before the body. A publish of a run costs 0.4 us, others 1.0 us.
    """
    whole = head + len(first.body) + 1
    start = position - whole
    prefix = data[start : start + head]
    make = type(first)
    number, sequence, properties = first.channel, first.sequence, first.properties
    exchange, key, mandatory = first.exchange, first.routing_key, first.mandatory
    end = len(data) - whole
    while position <= end and data.startswith(prefix, position):
        stop = position + whole - 1
        if data[stop] != FRAME_END:
            break
        sequence += step
        body = data[position + head : stop]
        events.append(make(number, sequence, exchange, key, mandatory, properties, body))
        position = stop + 1
    return position


def decode_acks(data: bytes, position: int, channel: Channel, tokens: list[Any]) -> int:
    """Settle the run of acks at `position`, the first of which is one of `channel`'s."""
    end = len(data)
    prefix = data[position : position + 11]
    unacked = channel.unacked
    lowest = channel.lowest
    while end - position >= 21 and data[position : position + 11] == prefix:
        tag, multiple, mark = _ACK_TAIL.unpack_from(data, position + 11)
        if mark != FRAME_END or multiple > 1:
            break
        if multiple:
            if tag not in unacked:
                break
            channel.lowest = lowest
            tokens += channel.settle(tag, True, ACK)
            lowest = channel.lowest
        else:
            token = unacked.pop(tag, _MISSING)
            if token is _MISSING:
                break
            tokens.append(token)
            if tag == lowest:
                lowest = tag + 1
        position += 21
    channel.lowest = lowest
    return position


def encode_ack(channel: int, tag: int, multiple: bool) -> bytes:
    """basic.ack, which the server sends as a publisher confirm."""
    return _SETTLEMENT.pack(FRAME_METHOD, channel, 13, ACK, tag, multiple, FRAME_END)


def encode_nack(channel: int, tag: int, multiple: bool) -> bytes:
    """basic.nack: the publisher's message was not taken."""
    return _SETTLEMENT.pack(FRAME_METHOD, channel, 13, NACK, tag, multiple, FRAME_END)


class DeliveryEncoder:
    """Encodes basic.deliver with its content, for one consumer.

    A template per exchange and routing key holds the octets before and behind the delivery tag, and
    the content header of the last message, which the next one mostly shares.
    """

    __slots__ = ("_channel", "_consumer_tag", "_payload_max", "_templates")

    def __init__(self, channel: int, consumer_tag: str, payload_max: int) -> None:
        self._channel = channel
        self._consumer_tag = encode_short_string(consumer_tag)
        self._payload_max = payload_max
        self._templates: dict[tuple[str, str], _Template] = {}

    def encode(
        self,
        deliveries: Iterable[Outgoing],
        last_tag: int,
        unacked: dict[int, Any] | None,
        output: list[bytes],
    ) -> int:
        """Append the frames to `output` and the tokens to `unacked`; return the last tag used."""
        templates = self._templates
        payload_max = self._payload_max
        pack_tag = _TAG.pack
        for token, redelivered, exchange, routing_key, properties, body in deliveries:
            last_tag += 1
            if unacked is not None:
                unacked[last_tag] = token
            template = templates.get((exchange, routing_key))
            if template is None:
                template = self._template(exchange, routing_key)
            size = len(body)
            if template.size != size or template.properties != properties:
                template.renew(self._channel, properties, size, payload_max)
            if 0 < size <= payload_max:
                output += (
                    template.head,
                    pack_tag(last_tag, redelivered),
                    template.rest,
                    body,
                    _END,
                )
            else:
                output += (template.head, pack_tag(last_tag, redelivered), template.rest)
                if size:
                    append_body(output, self._channel, body, payload_max)
        return last_tag

    def _template(self, exchange: str, routing_key: str) -> _Template:
        tail = encode_short_string(exchange) + encode_short_string(routing_key) + _END
        size = 4 + len(self._consumer_tag) + 9 + len(tail) - 1
        head = _METHOD_HEAD.pack(FRAME_METHOD, self._channel, size, DELIVER) + self._consumer_tag
        template = _Template(head, tail)
        if len(self._templates) >= KNOWN_MAX:
            self._templates.clear()
        self._templates[exchange, routing_key] = template
        return template


class _Template:
    """The octets of a delivery around its tag and its body."""

    __slots__ = ("head", "properties", "rest", "size", "tail")

    def __init__(self, head: bytes, tail: bytes) -> None:
        self.head = head
        self.tail = tail
        self.properties = b""
        self.size = -1
        self.rest = b""

    def renew(self, channel: int, properties: bytes, size: int, payload_max: int) -> None:
        """Make `rest`: from behind the tag to the first octet of a body in one frame."""
        self.properties, self.size = properties, size
        header = _CONTENT_HEAD.pack(FRAME_HEADER, channel, 12 + len(properties), BASIC, size)
        if 0 < size <= payload_max:
            behind = _BEHIND_PROPERTIES.pack(FRAME_END, FRAME_BODY, channel, size)
        else:
            behind = _END
        self.rest = b"".join((self.tail, header, properties, behind))


def append_content(
    output: list[bytes], channel: int, properties: bytes, body: bytes, payload_max: int
) -> None:
    """Append content header and body frames (for the contents that are not delivered in bulk)."""
    size = len(body)
    output.append(_CONTENT_HEAD.pack(FRAME_HEADER, channel, 12 + len(properties), BASIC, size))
    output.append(properties)
    output.append(_END)
    append_body(output, channel, body, payload_max)


def append_body(output: list[bytes], channel: int, body: bytes, payload_max: int) -> None:
    """Append `body` in frames of at most `payload_max` octets each."""
    if 0 < len(body) <= payload_max:
        output += (FRAME_HEAD.pack(FRAME_BODY, channel, len(body)), body, _END)
        return
    view = memoryview(body)
    for start in range(0, len(body), payload_max):
        piece = bytes(view[start : start + payload_max])
        output += (FRAME_HEAD.pack(FRAME_BODY, channel, len(piece)), piece, _END)


def decode_content_header(payload: bytes) -> tuple[int, int, bytes]:
    """(class << 16 | weight, body size, raw properties) of a content header's payload."""
    index, body_size = struct.unpack_from(">IQ", payload)
    return index, body_size, payload[12:]


def capability(client_properties: Mapping[str, Any], name: str) -> bool:
    """Whether the peer's properties list a capability."""
    capabilities = client_properties.get("capabilities")
    return isinstance(capabilities, dict) and capabilities.get(name) is True

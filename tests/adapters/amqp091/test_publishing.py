"""basic.publish and its content: by the fast path, in pieces, and malformed."""

from __future__ import annotations

import struct

import pytest

from adapters.amqp091 import events
from adapters.amqp091.errors import ReplyCode
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import FRAME_HEAD, encode_method
from adapters.amqp091.properties import encode_properties

from .conversation import Conversation, opened

PERSISTENT = encode_properties(delivery_mode=2)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return FRAME_HEAD.pack(kind, channel, len(payload)) + payload + b"\xce"


def publish(channel: int = 1, exchange: str = "", routing_key: str = "q", **bits: bool) -> bytes:
    fields = {"exchange": exchange, "routing_key": routing_key, **bits}
    return encode_method(channel, "Basic.Publish", fields)


def header(size: int, properties: bytes = PERSISTENT, channel: int = 1) -> bytes:
    return frame(2, channel, struct.pack(">HHQ", 60, 0, size) + properties)


def message(body: bytes, channel: int = 1, exchange: str = "", routing_key: str = "q") -> bytes:
    content = header(len(body), channel=channel) + (frame(3, channel, body) if body else b"")
    return publish(channel, exchange, routing_key) + content


def seen(happened: list[events.Event]) -> list[tuple[int, str, str, bytes]]:
    return [
        (event.channel, event.exchange, event.routing_key, event.body)
        for event in happened
        if isinstance(event, events.PublishReceived)
    ]


def test_a_chunk_of_publishes() -> None:
    conversation = opened()
    chunk = b"".join(message(b"%d" % n, exchange="ex", routing_key="k") for n in range(50))
    happened = conversation.raw(chunk)
    assert seen(happened) == [(1, "ex", "k", b"%d" % n) for n in range(50)]
    assert {id(event.properties) for event in happened} == {id(happened[0].properties)}
    assert happened[0].properties.delivery_mode == 2
    assert [event.sequence for event in happened] == [0] * 50


@pytest.mark.parametrize("body", [b"", b"x", b"x" * 300])
def test_a_publish_cut_anywhere(body: bytes) -> None:
    chunk = message(body, exchange="ex") + message(b"next")
    for cut in range(1, len(chunk)):
        conversation = opened()
        happened = conversation.raw(chunk[:cut]) + conversation.raw(chunk[cut:])
        assert seen(happened) == [(1, "ex", "q", body), (1, "", "q", b"next")]


def test_a_publish_octet_by_octet() -> None:
    conversation = opened()
    conversation.ask(1, "Confirm.Select", nowait=True)
    happened = []
    for octet in message(b"hello") + message(b""):
        happened += conversation.raw(bytes((octet,)))
    assert seen(happened) == [(1, "", "q", b"hello"), (1, "", "q", b"")]
    assert [event.sequence for event in happened] == [1, 2]


def test_a_body_over_several_frames() -> None:
    conversation = opened(frame_max=4096)
    body = bytes(range(256)) * 100
    conversation.client.publish(1, body, routing_key="q")
    assert seen(conversation.up()) == [(1, "", "q", body)]


def test_contents_of_channels_interleave() -> None:
    conversation = opened(2)
    happened = conversation.raw(
        publish(1)
        + publish(2)
        + header(4, channel=2)
        + header(2, channel=1)
        + frame(3, 2, b"ab")
        + frame(3, 1, b"xy")
        + frame(3, 2, b"cd")
    )
    assert seen(happened) == [(1, "", "q", b"xy"), (2, "", "q", b"abcd")]


def test_sequences_count_from_confirm_select() -> None:
    conversation = opened(2)
    conversation.raw(message(b"before"))
    conversation.ask(1, "Confirm.Select", nowait=True)
    happened = conversation.raw(message(b"1") + message(b"2", 2) + message(b"3"))
    assert [event.sequence for event in happened] == [1, 0, 2]


def test_publishes_that_differ_in_their_bodies_alone_have_their_own_sequences() -> None:
    conversation = opened(2)
    conversation.ask(1, "Confirm.Select", nowait=True)
    bodies = [b"aa", b"bb", b"cc", b"longer", b"dd", b"ee"]
    chunk = b"".join(map(message, bodies)) + message(b"ff", 2) + message(b"gg")
    happened = conversation.raw(chunk)
    assert [event.body for event in happened] == [*bodies, b"ff", b"gg"]
    assert [event.sequence for event in happened] == [1, 2, 3, 4, 5, 6, 0, 7]


def test_mandatory() -> None:
    conversation = opened()
    (event,) = conversation.raw(publish(mandatory=True) + header(0))
    assert event.mandatory is True
    conversation.server.return_message(event, ReplyCode.NO_ROUTE)
    (returned,) = conversation.down()
    assert returned.name == "Basic.Return"
    assert returned.fields == {
        "reply_code": 312,
        "reply_text": "NO_ROUTE",
        "exchange": "",
        "routing_key": "q",
    }
    assert returned.properties is not None
    assert returned.properties.delivery_mode == 2


FAULTS = {
    "immediate": (publish(immediate=True), 540, "NOT_IMPLEMENTED - immediate=true"),
    "header without a method": (header(1), 505, "expected method frame, got non method"),
    "body without a header": (publish() + frame(3, 1, b"x"), 505, "expected content header"),
    "method instead of a header": (publish() + publish(), 505, "expected content header"),
    "method instead of a body": (publish() + header(1) + publish(), 505, "expected content body"),
    "second header": (publish() + header(1) + header(1), 505, "expected content body"),
    "more body than announced": (publish() + header(1) + frame(3, 1, b"xy"), 505, "announced"),
    "header of another class": (
        publish() + frame(2, 1, struct.pack(">HHQH", 10, 0, 1, 0)),
        505,
        "got one for class 10",
    ),
    "short header": (publish() + frame(2, 1, b"\0\x3c\0\0"), 501, "<<0,60,0,0>>: unknown_frame"),
    "malformed properties": (publish() + header(1, b"\x80\x00\x09x"), 502, "malformed properties"),
    "unopened channel": (message(b"x", 9), 504, "expected 'channel.open'"),
    "no end of frame": (
        message(b"x")[:-1] + b"\xcd",
        501,
        'type 3, all octets = <<"x">>: {invalid_frame_end_marker,205}',
    ),
    "no end of frame in a run": (
        message(b"evil")[:-1] + b"\xcd",
        501,
        'type 3, all octets = <<"evil">>: {invalid_frame_end_marker,205}',
    ),
    "unknown frame type": (frame(7, 1, b"\0x"), 501, "type 7, all octets = <<0,120>>: unknown_f"),
    "longer one": (frame(7, 1, b"x" * 17), 501, f'type 7, first 16 octets = <<"{"x" * 16}">>'),
    "frame too large": (
        FRAME_HEAD.pack(3, 1, 131_073),
        501,
        "type 3, all octets = <<>>: {frame_too_large,131073,131064}",
    ),
    "key that is no text": (
        publish().replace(b"\x01q", b"\x01\xff") + header(0),
        501,
        "FRAME_ERROR - Malformed UTF-8 in shortstr",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_malformed_contents_close_the_connection(name: str) -> None:
    data, code, text = FAULTS[name]
    conversation = opened()
    happened = conversation.raw(message(b"good") + data)
    assert seen(happened) == [(1, "", "q", b"good")]
    (refused,) = [event for event in happened if isinstance(event, events.ConnectionRefused)]
    method, reply_code, reply_text = conversation.refusal()
    assert (method, reply_code) == ("Connection.Close", code)
    assert text in reply_text
    assert reply_text == refused.error.reply_text
    assert reply_text.startswith(f"{ReplyCode(code).name} - ")


def small(**bounds: int) -> Conversation:
    return opened(2, limits=ConnectionLimits(**bounds))


def test_a_message_that_is_too_large_closes_its_channel() -> None:
    conversation = small(message_size_max=100)
    assert len(seen(conversation.raw(message(b"x" * 100)))) == 1
    happened = conversation.raw(message(b"x" * 101) + message(b"dropped") + message(b"other", 2))
    (refused, other) = happened
    assert isinstance(refused, events.ChannelRefused)
    assert seen([other]) == [(2, "", "q", b"other")]
    assert conversation.refusal() == (
        "Channel.Close",
        406,
        "PRECONDITION_FAILED - message size 101 is larger than configured max size 100",
    )


def test_what_is_announced_on_all_channels_is_bounded() -> None:
    conversation = small(partial_bytes_max=100)
    assert conversation.raw(publish(1) + header(100, channel=1)) == []
    conversation.raw(frame(3, 1, b"x" * 100))
    conversation.raw(publish(1) + header(60, channel=1))
    conversation.raw(publish(2) + header(41, channel=2))
    assert conversation.refusal()[:2] == ("Connection.Close", 506)


def test_known_properties_are_bounded() -> None:
    conversation = opened()
    for number in range(3000):
        fields = encode_properties(message_id=str(number))
        conversation.raw(publish(routing_key=str(number)) + header(0, fields))
    decoder = conversation.server._publishes
    assert len(decoder._properties) <= 1024
    assert len(decoder._targets) <= 1024

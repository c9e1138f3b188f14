"""Random and mutated frames: no chunk may raise, and no bound may be passed."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from adapters.amqp091 import events
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import PROTOCOL_HEADER, SPECIFICATIONS, encode_method
from adapters.amqp091.properties import encode_properties
from adapters.amqp091.server import ServerConnection
from adapters.connection import ConnectionFailed

LIMITS = ConnectionLimits(
    frame_size_max=4096, channel_max=4, message_size_max=2000, partial_bytes_max=5000
)
CHUNK_MAX = 600
PROPERTIES = [
    b"\0\0",
    encode_properties(delivery_mode=2),
    encode_properties(headers={"a": [1, {"b": None}], "c": "d"}, correlation_id="1"),
]
HANDSHAKE = [
    encode_method(0, "Connection.StartOk", {"mechanism": "PLAIN", "response": b"\0a\0b"}),
    encode_method(0, "Connection.TuneOk", {"channel_max": 4, "frame_max": 4096}),
    encode_method(0, "Connection.Open", {"virtual_host": "/"}),
    encode_method(1, "Channel.Open"),
    encode_method(2, "Channel.Open"),
]


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def message(dice: random.Random) -> bytes:
    channel = dice.choice([1, 1, 1, 2, 3])
    body = dice.randbytes(dice.choice([0, 1, 100, 100, 1999, 2001]))
    header = struct.pack(">HHQ", 60, 0, len(body)) + dice.choice(PROPERTIES)
    cut = dice.randint(0, len(body))
    pieces = [body] if dice.random() < 0.7 else [body[:cut], body[cut:]]
    return (
        encode_method(channel, "Basic.Publish", {"exchange": "x", "routing_key": "k"})
        + frame(2, channel, header)
        + b"".join(frame(3, channel, piece) for piece in pieces if piece)
    )


def method(dice: random.Random) -> bytes:
    specification = dice.choice(list(SPECIFICATIONS.values()))
    fields = {
        name: {"table": {"x": 1}, "shortstr": "q", "longstr": b"z"}.get(kind, dice.randint(0, 3))
        for name, kind in specification.fields
    }
    return encode_method(dice.choice([0, 1, 1, 1, 2, 5]), specification.name, fields)


def conversation(dice: random.Random) -> bytes:
    frames = [PROTOCOL_HEADER, *HANDSHAKE]
    frames += [
        message(dice) if dice.random() < 0.7 else method(dice) for _ in range(dice.randint(1, 15))
    ]
    wire = bytearray(b"".join(frames))
    for _ in range(dice.choice([0, 0, 0, 1, 2, 5])):
        place = dice.randrange(8, len(wire))
        match dice.randrange(4):
            case 0:
                wire[place] ^= 1 << dice.randrange(8)
            case 1:
                del wire[place : place + dice.randint(1, 5)]
            case 2:
                wire[place:place] = dice.randbytes(dice.randint(1, 8))
            case _:
                wire[place : place + 4] = dice.choice([b"\0\0\0\0", b"\xff\xff\xff\xff"])
    return bytes(wire)


def happened(server: ServerConnection) -> Iterator[events.Event]:
    """The events of a chunk, with those that answering them brought about."""
    while batch := server.next_events():
        yield from batch


def drive(wire: bytes, dice: random.Random) -> int:
    server = ServerConnection(LIMITS, 0.0, name="f", server_properties={})
    now, failed, closed, published = 0.0, False, False, 0
    # A client waits for tune before it goes on, so that its start-ok ends a chunk.
    if wire.startswith(PROTOCOL_HEADER + HANDSHAKE[0]):
        sizes = [len(PROTOCOL_HEADER), len(HANDSHAKE[0])]
    else:
        sizes = []
    while wire:
        size = sizes.pop(0) if sizes else dice.randint(1, CHUNK_MAX)
        chunk, wire = wire[:size], wire[size:]
        now += 0.01
        server.receive_data(chunk, now)
        for event in happened(server):
            assert not failed, "an event after the last one"
            if isinstance(event, events.AuthenticationRequested):
                server.authenticated()
            elif isinstance(event, events.PublishReceived):
                published += 1
                assert len(event.body) <= LIMITS.message_size_max
            elif isinstance(event, events.CloseRequested):
                closed = True
                server.closed(now)
            elif isinstance(event, events.ConnectionRefused):
                assert not closed, "an error behind the client's own close"
                server.refuse(event.error, now)
            elif isinstance(event, events.ChannelRefused):
                server.refuse_channel(event.channel, event.error)
            elif isinstance(event, events.ChannelCloseRequested):
                server.channel_closed(event.channel)
            elif isinstance(event, events.ConsumeRequested):
                server.answer(event)
                event.consumer.deliver([("t", False, "x", "k", b"\0\0", b"b")])
            failed = failed or isinstance(event, ConnectionFailed)
        assert server._held <= LIMITS.frame_size_max + CHUNK_MAX
        assert server._contents._announced <= LIMITS.partial_bytes_max
        assert len(server.channels) <= LIMITS.channel_max
        server.data_to_send()
        deadline = server.next_deadline()
        assert failed == (deadline is None) or server.running
    return published


def test_mutated_conversations() -> None:
    dice = random.Random(91)
    published = sum(drive(conversation(dice), dice) for _ in range(1500))
    assert published > 500


def test_noise() -> None:
    dice = random.Random(1)
    for _ in range(300):
        drive(PROTOCOL_HEADER + dice.randbytes(300), dice)
        drive(dice.randbytes(100), dice)

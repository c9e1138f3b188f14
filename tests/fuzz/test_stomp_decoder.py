"""Random and mutated bytes: no chunk may raise, and no bound may be passed."""

from __future__ import annotations

import random

from adapters.connection import ConnectionFailed
from adapters.stomp.codec import DecoderLimits
from adapters.stomp.events import ConnectRequested
from adapters.stomp.server import ServerConnection, ServerOptions

LIMITS = DecoderLimits(header_bytes_max=512, headers_max=20, body_bytes_max=1_024)
OPTIONS = ServerOptions(decoder=LIMITS, subscriptions_max=10)
CHUNK_MAX = 256
FRAMES = [
    b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:/\nheart-beat:100,100\n\n\0",
    b"STOMP\naccept-version:1.1\nlogin:a\npasscode:b\n\n\0\n",
    b"SEND\ndestination:/queue/a\nreceipt:1\ncontent-length:5\n\na\0b\0c\0",
    b"SEND\r\ndestination:/topic/a.b\r\nfoo:a\\nb\\cc\r\n\r\nbody\0",
    b"SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\n\n\0",
    b"SUBSCRIBE\nid:1\ndestination:/topic/>\nack:client-individual\nreceipt:s\n\n\0",
    b"ACK\nid:1-1\n\n\0",
    b"NACK\nid:1-1\nmessage-id:m\nsubscription:0\nrequeue:false\n\n\0",
    b"ACK\nmessage-id:m\nsubscription:0\ntransaction:t\n\n\0",
    b"BEGIN\ntransaction:t\n\n\0",
    b"COMMIT\ntransaction:t\n\n\0",
    b"ABORT\ntransaction:t\n\n\0",
    b"UNSUBSCRIBE\nid:0\n\n\0",
    b"DISCONNECT\nreceipt:bye\n\n\0",
    b"\n\r\n\0",
]
SPICE = [
    b"\0",
    b"\n",
    b"\r\n",
    b"\n\n",
    b":",
    b"\\",
    b"\\t",
    b"\xff",
    b"content-length:",
    b"9" * 30,
]


def mutated(dice: random.Random) -> bytes:
    wire = bytearray(b"".join(dice.choices(FRAMES, k=dice.randint(1, 12))))
    for _ in range(dice.choice([0, 0, 1, 2, 10])):
        place = dice.randrange(len(wire) + 1)
        match dice.randrange(4):
            case 0:
                wire[place:place] = dice.choice(SPICE)
            case 1:
                del wire[place : place + dice.randint(1, 5)]
            case 2:
                wire[place:place] = dice.randbytes(dice.randint(1, 8))
            case _:
                wire[place:place] = bytes(dice.choices(b"abc:\n", k=dice.randint(1, 900)))
    return bytes(wire)


def drive(wire: bytes, dice: random.Random) -> None:
    connection = ServerConnection(OPTIONS, 0.0)
    now = 0.0
    failures = 0
    while wire:
        cut = dice.randint(1, CHUNK_MAX)
        now += 0.01
        connection.receive_data(wire[:cut], now)
        wire = wire[cut:]
        for event in connection.next_events():
            assert failures == 0, "an event after the connection had failed"
            if isinstance(event, ConnectRequested):
                connection.accept("session", None, now)
            failures += isinstance(event, ConnectionFailed)
        output = b"".join(connection.data_to_send())
        if failures:
            assert b"ERROR\n" in output or not output
        pending = len(connection._decoder._pending)
        assert pending <= LIMITS.header_bytes_max + LIMITS.body_bytes_max + CHUNK_MAX
    connection.handle_deadline(now + 100)


def test_mutated_frames() -> None:
    dice = random.Random(61613)
    for _ in range(3_000):
        drive(mutated(dice), dice)


def test_random_bytes() -> None:
    dice = random.Random(61614)
    for _ in range(500):
        drive(FRAMES[0] + dice.randbytes(dice.randint(1, 4_000)), dice)
        drive(dice.randbytes(dice.randint(1, 4_000)), dice)

"""Random and mutated bytes: no chunk may raise, and no bound may be passed."""

from __future__ import annotations

import random

from adapters.connection import ConnectionFailed
from adapters.mqtt.events import ConnectRequested, PublishesReceived, ReleasesReceived
from adapters.mqtt.limits import ConnectionLimits
from adapters.mqtt.packets import Publish
from adapters.mqtt.server import ServerConnection
from tests.vectors.mqtt_packets import CONNECTS, PACKETS, PUBLISHES
from tests.vectors.mqtt_violations import AFTER_CONNECT

LIMITS = ConnectionLimits(
    packet_size_max=2_000,
    connect_size_max=500,
    receive_maximum=20,
    send_maximum=20,
    user_properties_max=10,
    filters_per_packet_max=10,
)
CHUNK_MAX = 256
ROUNDS = 400
VECTORS = [vector.data for vector in PACKETS + PUBLISHES] + [
    bytes.fromhex(violation.hex) for violation in AFTER_CONNECT
]


def mutated(dice: random.Random) -> bytes:
    connect = dice.choice(CONNECTS).data
    wire = bytearray(b"".join(dice.choices(VECTORS, k=dice.randint(1, 12))))
    if dice.random() < 0.9:
        wire[0:0] = connect
    for _ in range(dice.choice([0, 0, 1, 2, 10])):
        place = dice.randrange(len(wire) or 1)
        match dice.randrange(4):
            case 0:
                wire[place : place + 1] = dice.randbytes(1)
            case 1:
                del wire[place : place + dice.randint(1, 5)]
            case 2:
                wire[place:place] = dice.randbytes(dice.randint(1, 8))
            case _:
                wire[place:place] = b"\x80" * dice.randint(1, 900)
    return bytes(wire)


def feed(connection: ServerConnection, wire: bytes, dice: random.Random) -> None:
    """Play a gateway that answers at once, now and then a little later."""
    failed = False
    now = 0.0
    while wire:
        size = dice.randint(1, CHUNK_MAX)
        now += dice.random()
        one = connection.take_one(wire[:size], now)
        if one is None:
            connection.receive_data(wire[:size], now)
        wire = wire[size:]
        events = connection.next_events() if one is None else [one]
        while events:
            assert not failed, "a failure is the last event"
            event = events.pop(0)
            match event:
                case ConnectRequested():
                    connection.accept()
                    assert not events
                    events = connection.next_events()
                case PublishesReceived() if dice.random() < 0.9:
                    connection.acknowledge(event.publishes)
                case ReleasesReceived():
                    connection.complete(event.packet_ids)
                case ConnectionFailed():
                    failed = True
                case _:
                    pass
        if connection.accepted and not connection.closed and connection.send_quota:
            connection.send([Publish("out", b"x", 1)], ["token"])
        check_bounds(connection)
    connection.receive_eof(now)
    connection.next_deadline()
    connection.handle_deadline(now + 1e6)


def check_bounds(connection: ServerConnection) -> None:
    held = 0 if connection._partial is None else len(connection._partial)
    assert held <= LIMITS.packet_size_max + CHUNK_MAX
    assert connection.session.in_flight <= LIMITS.send_maximum
    assert len(connection._aliases_in or ()) <= LIMITS.topic_aliases_in_max
    assert sum(map(len, connection.data_to_send())) <= 40 * CHUNK_MAX
    if connection.closed:
        assert connection._partial is None


def test_mutated_packets() -> None:
    for seed in range(ROUNDS):
        dice = random.Random(seed)
        feed(ServerConnection(LIMITS, 0.0), mutated(dice), dice)


def test_random_bytes() -> None:
    for seed in range(ROUNDS):
        dice = random.Random(seed)
        wire = dice.choice(CONNECTS).data + dice.randbytes(dice.randint(1, 2_000))
        feed(ServerConnection(LIMITS, 0.0), wire, dice)
        feed(ServerConnection(LIMITS, 0.0), dice.randbytes(100), dice)

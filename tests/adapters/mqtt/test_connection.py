"""Packets out of chunks, as transcripts."""

from __future__ import annotations

from adapters.connection import ConnectionFailed
from adapters.mqtt.events import (
    PublishesReceived,
)
from adapters.mqtt.limits import DEFAULT_LIMITS, ConnectionLimits
from adapters.mqtt.packets import ProtocolVersion
from adapters.mqtt.properties import Properties
from adapters.mqtt.server import ServerConnection
from tests.adapters.mqtt.transcript import Transcript, connected, publishes_in

V3_1, V3_1_1, V5 = ProtocolVersion.V3_1, ProtocolVersion.V3_1_1, ProtocolVersion.V5


# -- chunks


def test_a_chunk_of_publishes_is_one_event() -> None:
    transcript = connected()
    received = transcript.send_one(
        PublishesReceived,
        "30 04 0001 61 31",
        "30 04 0001 61 32",
        "31 04 0001 61 33",
        "32 06 0001 61 0001 34",
        "32 06 0001 61 0002 35",
        "32 06 0001 61 0003 36",
        "30 05 0002 6162 37",
    )
    assert [publish.payload for publish in received.publishes] == [b"%d" % n for n in range(1, 8)]
    assert [publish.topic for publish in received.publishes] == ["a"] * 6 + ["ab"]
    assert [publish.packet_id for publish in received.publishes] == [0, 0, 0, 1, 2, 3, 0]
    assert [publish.retain for publish in received.publishes] == [False, False, True] + [False] * 4


def test_a_run_of_mqtt_5_ends_where_properties_begin() -> None:
    transcript = connected(V5)
    received = transcript.send_one(
        PublishesReceived,
        "32 0a 0001 61 0001 00 31323334",
        "32 0a 0001 61 0002 00 31323334",
        "32 0a 0001 61 0003 02 0101 3132",
        "32 0a 0001 61 0004 00 31323334",
        "30 08 0001 61 00 31323334",
        "30 08 0001 61 02 0101 3132",
    )
    text = Properties(payload_format_indicator=1)
    assert [publish.payload for publish in received.publishes] == [
        b"1234",
        b"1234",
        b"12",
        b"1234",
        b"1234",
        b"12",
    ]
    assert received.publishes[2].properties == received.publishes[5].properties == text


def test_a_run_ends_at_packet_identifier_0() -> None:
    transcript = connected()
    received, failed = transcript.send("32 05 0001 61 0001", "32 05 0001 61 0000")
    assert len(publishes_in([received])) == 1
    assert isinstance(failed, ConnectionFailed)


def test_a_large_packet_is_looked_at_twice_however_many_chunks_it_has() -> None:
    looked_at: list[int] = []

    class Counting(ServerConnection):
        def _decode(self, data: bytes) -> int:
            looked_at.append(len(data))
            return super()._decode(data)

    transcript = Transcript()
    transcript.connection = Counting(DEFAULT_LIMITS, 0.0)
    transcript.connect(V3_1_1)
    looked_at.clear()
    wire = b"\x30\xc3\x84\x3d" + b"\x00\x01a" + b"x" * 1_000_000
    at = 0
    for at in range(0, len(wire) - 1_000, 1_000):
        assert transcript.send(wire[at : at + 1_000].hex()) == []
    (publish,) = publishes_in(transcript.send(wire[at + 1_000 :].hex()))
    assert len(publish.payload) == 1_000_000
    assert looked_at == [1_000, len(wire)]


def test_packet_size_bound() -> None:
    limits = ConnectionLimits(packet_size_max=100)
    for version, ends in ((V3_1_1, ""), (V5, "e0")):
        transcript = Transcript(limits)
        transcript.connect(version)
        at_bound = "30 62 0001 61" + "00" * (98 - 3)
        assert len(publishes_in(transcript.send(at_bound))) == 1
        transcript.send_one(ConnectionFailed, "30 63 0001")  # one past it, and not even all there
        answer = transcript.answers()
        assert answer[:2] == ends
        if ends:
            assert bytes.fromhex(answer)[2] == 0x95


def test_mqtt_3_pads_the_remaining_length() -> None:
    assert len(publishes_in(connected().send("30 84 80 80 00 0001 61 21"))) == 1


def test_mqtt_3_1_has_dup_where_it_likes() -> None:
    transcript = connected(V3_1)
    assert len(publishes_in(transcript.send("38 04 0001 61 21"))) == 1
    transcript.send("8a 06 0001 0001 61 01", "6a 02 0001")
    assert transcript.answers() == "70 02 00 01"


# -- topic aliases (MQTT 5, 3.3.2.3.4)


def test_topic_aliases() -> None:
    transcript = connected(V5)
    received = publishes_in(
        transcript.send(
            "30 07 0001 61 03 230001",
            "30 06 0000 03 230001",
            "30 06 0000 03 230001",
            "30 07 0001 62 03 230001",
            "30 0d 0000 0a 230001 26 0001 6b 0001 76",
        )
    )
    assert [publish.topic for publish in received] == ["a", "a", "a", "b", "b"]
    assert received[4].properties == Properties(user_properties=(("k", "v"),))
    assert received[0].properties.topic_alias is None


def test_topic_aliases_are_bounded_by_what_was_announced() -> None:
    transcript = Transcript(ConnectionLimits(topic_aliases_in_max=2))
    transcript.connect(V5)
    assert len(publishes_in(transcript.send("30 07 0001 61 03 230002"))) == 1
    transcript.send_one(ConnectionFailed, "30 07 0001 61 03 230003")
    assert transcript.answers()[6:8] == "94"

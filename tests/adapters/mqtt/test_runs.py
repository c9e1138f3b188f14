from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.connection import ConnectionFailed
from adapters.mqtt.events import DeliveriesAcknowledged, Event, PublishesReceived
from adapters.mqtt.packets import ProtocolVersion, Publish
from adapters.mqtt.properties import NO_PROPERTIES, Properties
from adapters.mqtt.publishes import encode_publish
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.runs import take_run_of_ids
from tests.adapters.mqtt.transcript import Transcript, publishes_in
from tests.vectors.mqtt_packets import V3_1_1, V5

ALIKE = st.builds(
    Publish,
    st.sampled_from(["a", "b", "abc"]),
    st.sampled_from([b"", b"\0", b"\0\0\1", b"abc", b"x" * 130]),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    properties=st.sampled_from([NO_PROPERTIES, NO_PROPERTIES, Properties(content_type="a")]),
)


def encoded(publish: Publish, version: ProtocolVersion) -> bytes:
    head, tail = encode_publish(publish, version_5=version is V5)
    return head + (publish.packet_id.to_bytes(2, "big") if publish.qos else b"") + tail


def chunk_to(transcript: Transcript, wire: str) -> list[Event]:
    """Send one chunk as gateways do."""
    data, connection = bytes.fromhex(wire), transcript.connection
    event = connection.take_one(data, transcript.now)
    if event is None:
        return transcript.send(wire)
    assert connection.next_events() == []
    return [event]


@given(
    st.lists(st.tuples(ALIKE, st.integers(1, 6)), max_size=8),
    st.sampled_from(ProtocolVersion),
    st.integers(1, 2_000),
)
def test_publishes_that_resemble_one_another(
    runs: list[tuple[Publish, int]], version: ProtocolVersion, chunk_size: int
) -> None:
    packets: list[bytes] = []
    expected: list[Publish] = []
    for publish, count in runs:
        publish.dup = publish.dup and publish.qos > 0
        if version is not V5:
            publish.properties = NO_PROPERTIES
        for _ in range(count):
            packet_id = len(packets) + 1 if publish.qos else 0
            one = Publish(publish.topic, publish.payload, publish.qos, publish.retain, publish.dup)
            one.packet_id, one.properties = packet_id, publish.properties
            packets.append(encoded(one, version))
            expected.append(one)
    wire = b"".join(packets)
    cut = [wire[at : at + chunk_size] for at in range(0, len(wire), chunk_size)]
    for chunks in ([wire], packets, cut):
        transcript = Transcript()
        transcript.connect(version)
        received: list[Publish] = []
        for chunk in chunks:
            received += publishes_in(chunk_to(transcript, chunk.hex()))
        assert received == expected


def test_the_payload_behind_a_topic_alias_is_whole() -> None:
    transcript = Transcript()
    transcript.connect(V5)
    # The same topic and length: one with an alias, one with a longer payload.
    received = publishes_in(
        transcript.send("32 0b 0001 74 0001 03 23 0001 6162", "32 0b 0001 74 0002 00 6162636465")
    )
    assert [publish.payload for publish in received] == [b"ab", b"abcde"]


def test_a_run_ends_where_too_many_are_open() -> None:
    transcript = Transcript()
    transcript.connect(V5, properties=Properties(receive_maximum=3))
    for packet_id in (1, 2, 3):
        (publish,) = publishes_in(chunk_to(transcript, f"32 07 0001 74 {packet_id:04x} 00 61"))
        assert publish.packet_id == packet_id
    (failed,) = chunk_to(transcript, "32 07 0001 74 0004 00 61")
    assert isinstance(failed, ConnectionFailed)
    assert "more than 3 publishes" in failed.reason


def test_one_packet_is_taken_where_nothing_is_to_be_said() -> None:
    transcript = Transcript()
    take_one = transcript.connection.take_one
    publish = bytes.fromhex("32 06 0001 74 0001 61")
    assert take_one(bytes.fromhex("4002 0001"), 0) is None
    transcript.connect(V3_1_1)
    assert take_one(publish, 1) is None
    transcript.send(publish.hex(), publish.hex())
    event = take_one(publish, 5)
    assert isinstance(event, PublishesReceived)
    assert transcript.connection.next_deadline() == 5 + 15
    # What began before comes first.
    transcript.send("32")
    assert take_one(publish, 6) is None
    transcript.send("06 0001 74 0001 61")
    assert take_one(publish, 7) is not None
    transcript.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    assert take_one(publish, 8) is None


def test_a_run_is_not_gone_on_with_under_packet_id_0() -> None:
    transcript = Transcript()
    transcript.connect(V3_1_1)
    for packet_id in (1, 2, 3):
        chunk_to(transcript, f"32 06 0001 74 {packet_id:04x} 61")
    (failed,) = chunk_to(transcript, "32 06 0001 74 0000 61")
    assert isinstance(failed, ConnectionFailed)
    assert "packet identifier 0" in failed.reason


def one_by_one(data: bytes) -> tuple[list[int], int]:
    packet_ids: list[int] = []
    position = 0
    while data[position : position + 2] == data[:2] and position + 4 <= len(data):
        packet_id = int.from_bytes(data[position + 2 : position + 4], "big")
        if not packet_id:
            break
        packet_ids.append(packet_id)
        position += 4
    return packet_ids, position


@given(
    st.sampled_from(["4002", "5002", "6202", "7002"]),
    st.lists(st.integers(0, 3) | st.integers(1, 0xFFFF), min_size=1, max_size=200),
    st.sampled_from(["", "40", "4002", "400200", "c000", "40020001", "500200016202"]),
)
def test_runs_of_ids(head: str, packet_ids: list[int], behind: str) -> None:
    data = bytes.fromhex("".join(f"{head}{each:04x}" for each in packet_ids) + behind)
    assert take_run_of_ids(data, 0) == one_by_one(data)


def delivered(transcript: Transcript, count: int) -> list[Any]:
    tokens = [f"token {number}" for number in range(1, count + 1)]
    transcript.connection.send([Publish("a", b"", 1) for _ in tokens], tokens)
    transcript.answers()
    return tokens


def test_pubacks_alone_and_together() -> None:
    transcript = Transcript()
    transcript.connect(V3_1_1)
    tokens = delivered(transcript, 300)
    quota = transcript.connection.send_quota
    (first,) = chunk_to(transcript, "4002 0001")
    assert isinstance(first, DeliveriesAcknowledged)
    assert first.tokens == tokens[:1]
    pubacks = "".join(f"4002 {packet_id:04x}" for packet_id in range(2, 301))
    rest = transcript.send_one(DeliveriesAcknowledged, pubacks)
    assert rest.tokens == tokens[1:]
    assert transcript.connection.send_quota == quota + 300


def test_pubacks_that_nobody_waits_for_are_passed_over() -> None:
    transcript = Transcript()
    transcript.connect(V3_1_1)
    tokens = delivered(transcript, 3)
    assert chunk_to(transcript, "4002 0009") == []
    event = transcript.send_one(
        DeliveriesAcknowledged, "4002 0002 4002 0009 4002 0002 4002 0001 4002 0003"
    )
    assert event.tokens == [tokens[1], tokens[0], tokens[2]]
    assert transcript.connection.session.in_flight == 0


def test_what_was_acknowledged_beside_a_violation_counts() -> None:
    transcript = Transcript()
    transcript.connect(V5)
    tokens = delivered(transcript, 1)
    (packet_id,) = transcript.connection.reserve(["exactly once"])
    acknowledged, failed = transcript.send("4002 0001", f"4002 {packet_id:04x}")
    assert isinstance(acknowledged, DeliveriesAcknowledged)
    assert acknowledged.tokens == tokens
    assert isinstance(failed, ConnectionFailed)
    assert "for the QoS 2 publish" in failed.reason

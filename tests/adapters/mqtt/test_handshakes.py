"""The QoS handshakes, from the side of who receives a packet, as transcripts."""

from __future__ import annotations

import pytest

from adapters.connection import ConnectionFailed
from adapters.mqtt.events import (
    DeliveriesAcknowledged,
    DeliveriesCompleted,
    DeliveriesReceived,
    DeliveryRejected,
    PublishesReceived,
    ReleasesReceived,
)
from adapters.mqtt.limits import ConnectionLimits
from adapters.mqtt.packets import ProtocolVersion, Publish
from adapters.mqtt.session import Inbound, SessionState
from tests.adapters.mqtt.transcript import Transcript, connected, publishes_in

V3_1, V3_1_1, V5 = ProtocolVersion.V3_1, ProtocolVersion.V3_1_1, ProtocolVersion.V5


# -- receiving QoS 1 and 2


def test_publishes_are_acknowledged_in_their_order() -> None:
    transcript = connected()
    received = transcript.send_one(
        PublishesReceived,
        "32 05 0001 61 0102",
        "34 05 0001 61 0304",
        "30 03 0001 61",
        "32 05 0001 61 0001",
    )
    assert transcript.answers() == ""
    transcript.connection.acknowledge(received.publishes)
    assert transcript.answers() == "40 02 01 02 50 02 03 04 40 02 00 01"


def test_reasons_are_for_mqtt_5() -> None:
    sent = "32 06 0001 61 0001 00 34 06 0001 61 0002 00 34 06 0001 61 0003 00"
    transcript = connected(V5)
    received = transcript.send_one(PublishesReceived, sent)
    transcript.connection.acknowledge(received.publishes, [0x10, 0x97, 0])
    assert transcript.answers() == "40 03 00 01 10 50 03 00 02 97 50 02 00 03"
    assert transcript.connection.session.received == {3: Inbound.STORED}

    transcript = connected(V3_1_1)
    received = transcript.send_one(PublishesReceived, "32 05 0001 61 0001")
    transcript.connection.acknowledge(received.publishes, [0x87])
    assert transcript.answers() == "40 02 00 01"


def test_exactly_once() -> None:
    transcript = connected()
    connection = transcript.connection
    received = transcript.send_one(PublishesReceived, "34 05 0001 61 0007")
    assert transcript.send("3c 05 0001 61 0007") == []  # its storing is under way
    assert transcript.answers() == ""
    connection.acknowledge(received.publishes)
    assert transcript.answers() == "50 02 00 07"
    assert transcript.send("3c 05 0001 61 0007") == []
    assert transcript.answers() == "50 02 00 07"
    assert transcript.send_one(ReleasesReceived, "62 02 0007").packet_ids == [7]
    assert transcript.send("62 02 0007") == []
    assert transcript.answers() == ""
    connection.complete([7])
    assert transcript.answers() == "70 02 00 07"
    assert connection.session.received == {}
    assert len(publishes_in(transcript.send("34 05 0001 61 0007"))) == 1


def test_a_release_of_nothing_is_completed() -> None:
    transcript = connected(V3_1_1)
    assert transcript.send("62 02 0007") == []
    assert transcript.answers() == "70 02 00 07"
    transcript = connected(V5)
    assert transcript.send("62 02 0007") == []
    assert transcript.answers() == "70 03 00 07 92"


def test_releases_of_a_chunk_are_one_event() -> None:
    transcript = connected()
    received = transcript.send_one(PublishesReceived, "34 05 0001 61 0001 34 05 0001 61 0002")
    transcript.connection.acknowledge(received.publishes)
    assert transcript.send_one(ReleasesReceived, "62 02 0002 62 02 0001").packet_ids == [2, 1]
    transcript.connection.complete([2, 1])
    assert transcript.answers().endswith("70 02 00 02 70 02 00 01")


def test_an_identifier_that_is_being_released_cannot_be_used() -> None:
    for version, publish, ends in (
        (V3_1_1, "34 05 0001 61 0001", None),
        (V5, "34 06 0001 61 0001 00", "50 03 00 01 91"),
    ):
        transcript = connected(version)
        received = transcript.send_one(PublishesReceived, publish)
        transcript.connection.acknowledge(received.publishes)
        transcript.send("62 02 0001")
        transcript.answers()
        if ends is None:
            transcript.send_one(ConnectionFailed, publish)
        else:
            assert transcript.send(publish) == []
            assert transcript.answers() == ends


def test_a_resumed_session_knows_what_it_received() -> None:
    session = SessionState()
    first = connected(session=session)
    received = first.send_one(PublishesReceived, "34 05 0001 61 0001 34 05 0001 61 0002")
    first.connection.acknowledge(received.publishes[:1])
    first.connection.receive_eof(0.0)

    second = connected(session=session)
    assert second.send("3c 05 0001 61 0001", "3c 05 0001 61 0002") == []
    assert second.answers() == "50 02 00 01"
    # The store answers only now; the new connection says so.
    second.connection.acknowledge(received.publishes[1:])
    assert second.answers() == "50 02 00 02"
    assert session.received == {1: Inbound.STORED, 2: Inbound.STORED}


def test_what_is_stored_after_the_end_is_remembered() -> None:
    session = SessionState()
    transcript = connected(session=session)
    received = transcript.send_one(PublishesReceived, "34 05 0001 61 0001")
    transcript.connection.receive_eof(0.0)
    transcript.connection.acknowledge(received.publishes)
    assert transcript.answers() == ""
    assert session.received == {1: Inbound.STORED}
    transcript.connection.complete([1])
    assert session.received == {}


# -- receive maximum (MQTT 5, 4.9)


@pytest.mark.parametrize("qos", [1, 2])
def test_receive_maximum(qos: int) -> None:
    transcript = Transcript(ConnectionLimits(receive_maximum=3))
    transcript.connect(V5)
    first = f"{0x30 | qos << 1:02x}"
    received = transcript.send(*(f"{first} 06 0001 61 {n:04x} 00" for n in (1, 2, 3)))
    transcript.connection.acknowledge(publishes_in(received)[:1])
    if qos == 2:
        transcript.send("62 02 0001")
        transcript.connection.complete([1])
    assert len(publishes_in(transcript.send(f"{first} 06 0001 61 0004 00"))) == 1
    transcript.answers()
    transcript.send_one(ConnectionFailed, f"{first} 06 0001 61 0005 00")
    assert transcript.answers()[6:8] == "93"


def test_receive_maximum_within_a_run() -> None:
    transcript = Transcript(ConnectionLimits(receive_maximum=3))
    transcript.connect(V5)
    *received, failed = transcript.send(*(f"32 06 0001 61 {n:04x} 00" for n in range(1, 6)))
    assert [publish.packet_id for publish in publishes_in(received)] == [1, 2, 3]
    assert isinstance(failed, ConnectionFailed)


def test_a_repeated_publish_counts_once() -> None:
    transcript = Transcript(ConnectionLimits(receive_maximum=1))
    transcript.connect(V5)
    transcript.send("34 06 0001 61 0001 00")
    assert transcript.send("3c 06 0001 61 0001 00") == []
    assert not transcript.connection.closed


def test_a_refused_publish_is_no_longer_open() -> None:
    transcript = Transcript(ConnectionLimits(receive_maximum=1))
    transcript.connect(V5)
    for _ in range(3):
        received = publishes_in(transcript.send("34 06 0001 61 0001 00"))
        transcript.connection.acknowledge(received, [0x80])
    assert not transcript.connection.closed


def test_mqtt_3_has_no_receive_maximum() -> None:
    transcript = Transcript(ConnectionLimits(receive_maximum=1))
    transcript.connect(V3_1_1)
    received = transcript.send(*(f"32 05 0001 61 {n:04x}" for n in range(1, 50)))
    assert len(publishes_in(received)) == 49


# -- acknowledgements of the peer


def with_deliveries(version: ProtocolVersion, qos: int, *tokens: str) -> Transcript:
    transcript = connected(version)
    publishes = [Publish("a", b"", qos) for _ in tokens]
    if qos == 1:
        assert transcript.connection.send(publishes, tokens) == []
    else:
        packet_ids = transcript.connection.reserve(tokens)
        assert transcript.connection.send_reserved(publishes, packet_ids) == []
    transcript.answers()
    return transcript


def test_acknowledgements_of_a_chunk_are_one_event() -> None:
    transcript = with_deliveries(V3_1_1, 1, "x", "y", "z")
    assert transcript.connection.send_quota == 997
    settled = transcript.send_one(DeliveriesAcknowledged, "40 02 0001 40 02 0003 40 02 0002")
    assert settled.tokens == ["x", "z", "y"]
    assert transcript.connection.send_quota == 1_000
    assert transcript.send("40 02 0001") == []


def test_acknowledgements_between_other_packets() -> None:
    transcript = with_deliveries(V5, 1, "x", "y", "z")
    events = transcript.send(
        "40 02 0001", "30 04 0001 61 00", "40 03 0002 00", "c0 00", "40 02 0003"
    )
    assert events == [
        PublishesReceived([Publish("a", b"")]),
        DeliveriesAcknowledged(["x"]),
        DeliveriesAcknowledged(["y"]),
        DeliveriesAcknowledged(["z"]),
    ]
    assert transcript.answers() == "d0 00"


def test_acknowledgements_that_refuse() -> None:
    transcript = with_deliveries(V5, 1, "x")
    rejected = transcript.send_one(DeliveryRejected, "40 08 0001 87 04 1f 0001 72")
    assert rejected == DeliveryRejected(1, "x", 1, 0x87, "r")
    assert transcript.connection.send_quota == 1_000

    transcript = with_deliveries(V5, 2, "x")
    assert transcript.send_one(DeliveryRejected, "50 03 0001 80") == DeliveryRejected(
        1, "x", 2, 0x80, None
    )
    assert transcript.connection.session.in_flight == 0
    assert transcript.connection.send_quota == 1_000
    assert transcript.answers() == ""


def test_delivering_exactly_once() -> None:
    transcript = with_deliveries(V3_1_1, 2, "x", "y")
    connection = transcript.connection
    received = transcript.send_one(DeliveriesReceived, "50 02 0001 50 02 0002")
    assert received == DeliveriesReceived([1, 2], ["x", "y"])
    assert transcript.send("50 02 0001") == []
    assert transcript.answers() == ""
    connection.release([1, 2])
    assert transcript.answers() == "62 02 00 01 62 02 00 02"
    assert transcript.send("50 02 0001") == []
    assert transcript.answers() == "62 02 00 01"
    assert connection.send_quota == 998
    completed = transcript.send_one(DeliveriesCompleted, "70 02 0002 70 02 0001")
    assert completed == DeliveriesCompleted([2, 1], ["y", "x"])
    assert connection.send_quota == 1_000
    assert transcript.send("70 02 0001") == []


@pytest.mark.parametrize(
    ("qos", "packets"),
    [
        (1, "50 02 0001"),
        (1, "70 02 0001"),
        (2, "40 02 0001"),
        (2, "70 02 0001"),
    ],
)
def test_the_wrong_acknowledgement(qos: int, packets: str) -> None:
    transcript = with_deliveries(V5, qos, "x")
    transcript.send_one(ConnectionFailed, packets)
    assert transcript.answers()[6:8] == "82"


def test_puback_instead_of_pubcomp() -> None:
    transcript = with_deliveries(V5, 2, "x")
    transcript.send("50 02 0001")
    transcript.connection.release([1])
    transcript.answers()
    transcript.send_one(ConnectionFailed, "40 02 0001")


def test_acknowledgements_of_nothing() -> None:
    for version, ends in ((V3_1_1, "62 02 00 09"), (V5, "62 03 00 09 92")):
        transcript = connected(version)
        assert transcript.send("40 02 0009", "70 02 0009", "50 02 0009") == []
        assert transcript.answers() == ends
    transcript = connected(V5)
    assert transcript.send("50 03 0009 80") == []
    assert transcript.answers() == ""

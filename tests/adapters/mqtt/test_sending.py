"""The sending half: windows, packet ids, sizes, aliases and what a resumed session sends again."""

from __future__ import annotations

import pytest

from adapters.errors import LocalProtocolError
from adapters.mqtt.events import DeliveriesAcknowledged
from adapters.mqtt.limits import ConnectionLimits
from adapters.mqtt.packets import ProtocolVersion, Publish
from adapters.mqtt.properties import Properties
from adapters.mqtt.publishes import encode_publish
from adapters.mqtt.session import SessionState
from tests.adapters.mqtt.transcript import Transcript, connected

V3_1_1, V5 = ProtocolVersion.V3_1_1, ProtocolVersion.V5

CONNECT_WITH = "10 {size:02x} 0004 4d515454 05 02 000a {properties} 0001 70"


def connected_with(
    properties: str, limits: ConnectionLimits | None = None, session: SessionState | None = None
) -> Transcript:
    """A client of MQTT 5 with these properties, their length included."""
    transcript = Transcript(limits or ConnectionLimits())
    size = 13 + len(bytes.fromhex(properties))
    transcript.send(CONNECT_WITH.format(size=size, properties=properties))
    transcript.connection.accept(session=session, session_present=session is not None)
    transcript.answers()
    return transcript


def test_publishes_of_both_kinds_in_one_batch() -> None:
    transcript = connected()
    publishes = [Publish("a", b"1"), Publish("a", b"2", 1), Publish("a", b"3", 1, retain=True)]
    assert transcript.connection.send(publishes, ["x", "y", "z"]) == []
    assert transcript.answers() == (
        "30 04 00 01 61 31 32 06 00 01 61 00 01 32 33 06 00 01 61 00 02 33"
    )
    assert transcript.connection.session.awaiting_puback == {1: "y", 2: "z"}


def test_one_encoding_for_many() -> None:
    encoded = encode_publish(Publish("a", b"!", 1), version_5=False)
    answers = []
    for last in (0, 65_535):
        transcript = connected()
        transcript.connection.session.last_packet_id = last
        transcript.connection.send_encoded([encoded, encoded], ["x", "y"], 1)
        answers.append(transcript.answers())
    assert answers[0] == answers[1] == "32 06 00 01 61 00 01 21 32 06 00 01 61 00 02 21"


@pytest.mark.parametrize("version", [V3_1_1, V5])
@pytest.mark.parametrize("retain", [False, True])
def test_publishes_that_are_alike(version: ProtocolVersion, retain: bool) -> None:
    payloads = [b"1", b"2", b"", b"long" * 100]
    tokens = ["w", "x", "y", "z"]
    one, other = connected(version), connected(version)
    one.connection.send([Publish("a", each, 1, retain) for each in payloads], tokens)
    other.connection.send_alike("a", payloads, tokens, retain)
    other_answers = other.answers()
    assert other_answers == one.answers()
    assert other.connection.session.awaiting_puback == dict(enumerate(tokens, 1))
    assert other.connection.send_quota == one.connection.send_quota
    another = connected(version)
    for payload, token in zip(payloads, tokens, strict=True):
        another.connection.send_alone("a", payload, token, retain)
    assert another.answers() == other_answers
    assert another.connection.session.awaiting_puback == dict(enumerate(tokens, 1))
    assert another.connection.send_quota == one.connection.send_quota


def test_alike_is_what_has_neither_aliases_nor_a_largest_size() -> None:
    assert connected(V5).connection.sends_alike
    # Topic Alias Maximum 5, then Maximum Packet Size 100.
    assert not connected_with("03 22 0005").connection.sends_alike
    assert not connected_with("05 27 00000064").connection.sends_alike


def test_no_more_that_are_alike_than_the_quota() -> None:
    transcript = connected_with("03 21 0002")
    with pytest.raises(LocalProtocolError, match="quota is 2"):
        transcript.connection.send_alike("a", [b"", b"", b""], ["x", "y", "z"], False)
    transcript.connection.send_alike("a", [b"", b""], ["x", "y"], False)
    assert transcript.connection.send_quota == 0
    with pytest.raises(LocalProtocolError, match="quota is 0"):
        transcript.connection.send_alone("a", b"", "z", False)


def test_packet_ids_in_use_are_passed_over() -> None:
    transcript = connected()
    session = transcript.connection.session
    session.awaiting_puback[2] = session.awaiting_pubcomp[3] = "old"
    transcript.connection.send([Publish("a", b"", 1)] * 3, ["x", "y", "z"])
    assert session.awaiting_puback == {2: "old", 1: "x", 4: "y", 5: "z"}


# -- the client's Receive Maximum


def test_send_quota() -> None:
    transcript = connected_with("03 210002")
    connection = transcript.connection
    assert connection.send_quota == 2
    connection.send([Publish("a", b"", 1)], ["x"])
    assert connection.reserve(["y"]) == [2]
    assert connection.send_quota == 0
    with pytest.raises(LocalProtocolError):
        connection.send([Publish("a", b"", 1)], ["z"])
    with pytest.raises(LocalProtocolError):
        connection.reserve(["z"])
    connection.send([Publish("a", b"")], ["not counted"])
    transcript.send_one(DeliveriesAcknowledged, "40 02 0001")
    assert connection.send_quota == 1


def test_our_own_window() -> None:
    transcript = connected_with("03 210064", ConnectionLimits(send_maximum=10))
    assert transcript.connection.send_quota == 10
    assert connected().connection.send_quota == ConnectionLimits().send_maximum


def test_qos_2_needs_a_stored_id() -> None:
    with pytest.raises(LocalProtocolError):
        connected().connection.send([Publish("a", b"", 2)], ["x"])


# -- the client's Maximum Packet Size


def test_what_is_too_large_is_not_sent() -> None:
    transcript = connected_with("05 2700000014")  # 20 bytes
    connection = transcript.connection
    publishes = [Publish("t", b"x" * size, 1) for size in (12, 13, 1)]
    assert connection.send(publishes, ["fits", "too large", "small"]) == ["too large"]
    assert connection.session.awaiting_puback == {1: "fits", 2: "small"}
    assert connection.send([Publish("t", b"x" * 14), Publish("t", b"x" * 15)], [1, 2]) == [2]
    assert not connection.fits(21)
    transcript.answers()
    packet_ids = connection.reserve(["a", "b"])
    publishes = [Publish("t", b"x" * size, 2) for size in (13, 12)]
    assert connection.send_reserved(publishes, packet_ids) == [3]
    assert connection.session.awaiting_pubrec == {4: "b"}
    assert connection.send_quota == 997
    assert len(bytes.fromhex(transcript.answers())) == 20


def test_explanations_go_first_when_room_is_short() -> None:
    transcript = connected_with("05 2700000014")
    transcript.connection.answer_subscribe(1, [0x80], reason_string="a long story about it")
    transcript.connection.answer_subscribe(2, [0x80], reason_string="short")
    assert transcript.answers() == "90 04 00 01 00 80 90 0c 00 02 08 1f 00 05 73 68 6f 72 74 80"


# -- topic aliases to the client


def test_topic_aliases() -> None:
    transcript = connected_with("03 220001")
    connection = transcript.connection
    assert not connection.shares_encodings
    connection.send([Publish("abc", b"!")] * 3, [None] * 3)
    assert transcript.answers() == (
        "30 0a 00 03 61 62 63 03 23 00 01 21 30 07 00 00 03 23 00 01 21 30 07 00 00 03 23 00 01 21"
    )
    connection.send([Publish("abc", b"", 1, properties=Properties(content_type="t"))], ["x"])
    assert transcript.answers() == "32 0c 00 00 00 01 07 03 00 01 74 23 00 01"
    connection.send_reserved([Publish("abc", b"", 2)], connection.reserve(["y"]))
    assert transcript.answers() == "34 08 00 00 00 02 03 23 00 01"


def test_an_alias_that_was_not_sent_is_not_used() -> None:
    transcript = connected_with("08 220001 2700000014")
    connection = transcript.connection
    assert connection.send([Publish("t", b"x" * 20)], [1]) == [1]
    assert transcript.answers() == ""
    connection.send([Publish("t", b"")] * 2, [2, 3])
    assert transcript.answers() == "30 07 00 01 74 03 23 00 01 30 06 00 00 03 23 00 01"


def test_no_aliases_for_clients_that_want_none() -> None:
    assert connected_with("00").connection.shares_encodings
    assert connected().connection.shares_encodings
    limits = ConnectionLimits(topic_aliases_out_max=0)
    assert connected_with("03 220005", limits).connection.shares_encodings


# -- resuming a session (MQTT 5, 4.4)


def test_what_is_in_flight_is_sent_again() -> None:
    session = SessionState()
    first = connected(session=session)
    first.connection.send([Publish("a", b"", 1)] * 2, ["x", "y"])
    first.connection.reserve(["p", "q", "r"])
    first.send("50 02 0004", "50 02 0005")
    first.connection.release([5])
    first.connection.receive_eof(0.0)
    assert (session.awaiting_puback, session.awaiting_pubrec) == ({1: "x", 2: "y"}, {3: "p"})
    assert (session.awaiting_release, session.awaiting_pubcomp) == ({4: "q"}, {5: "r"})

    second = Transcript()
    second.send("10 0d 0004 4d515454 04 00 000a 0001 70")
    second.connection.accept(session=session, session_present=True)
    assert second.answers() == "20 02 01 00 62 02 00 05"
    again = [Publish("a", b"", qos, dup=True) for qos in (1, 1, 2)]
    assert second.connection.resend(again, [1, 2, 3]) == []
    assert second.answers() == ("3a 05 00 01 61 00 01 3a 05 00 01 61 00 02 3c 05 00 01 61 00 03")
    assert second.connection.send_quota == 997
    second.connection.release([4])
    assert second.answers() == "62 02 00 04"
    second.send("40 02 0001", "70 02 0005")
    assert second.connection.send_quota == 999


def test_the_quota_never_rises_beyond_its_start() -> None:
    session = SessionState()
    session.awaiting_pubcomp = {1: "x", 2: "y"}
    transcript = connected_with("03 210001", session=session)
    transcript.send("70 02 0001 70 02 0002")
    assert transcript.connection.send_quota == 1


def test_no_more_is_resent_than_the_client_takes() -> None:
    session = SessionState()
    session.awaiting_puback = {1: "x", 2: "y"}
    transcript = connected_with("03 210001", session=session)
    again = [Publish("a", b"", 1, dup=True)] * 2
    with pytest.raises(LocalProtocolError):
        transcript.connection.resend(again, [1, 2])
    assert transcript.connection.resend(again[:1], [1]) == []


def test_what_has_become_too_large_is_given_up() -> None:
    session = SessionState()
    session.awaiting_puback, session.awaiting_pubrec = {1: "x"}, {2: "y"}
    transcript = connected_with("05 2700000014", session=session)
    again = [Publish("a", b"x" * 20, qos, dup=True) for qos in (1, 2)]
    assert transcript.connection.resend(again, [1, 2]) == [1, 2]
    assert session.in_flight == 0
    assert transcript.connection.send_quota == 1_000


# -- after the end


def test_nothing_is_sent_after_the_end() -> None:
    transcript = connected()
    connection = transcript.connection
    packet_ids = connection.reserve(["x"])
    connection.receive_eof(0.0)
    connection.send([Publish("a", b"")], [None])
    connection.send_encoded([(b"30", b"")], [None], 0)
    connection.send_alike("a", [b""], ["x"], False)
    connection.send_alone("a", b"", "x", False)
    connection.send_reserved([Publish("a", b"", 2)], packet_ids)
    connection.answer_subscribe(1, [0])
    assert transcript.answers() == ""
    assert connection.session.awaiting_pubrec == {1: "x"}

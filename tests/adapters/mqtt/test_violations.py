"""Each violation ends its connection with the reason that the specification wants."""

from __future__ import annotations

import pytest

from adapters.connection import ConnectionFailed
from adapters.mqtt.packets import ProtocolVersion
from tests.adapters.mqtt.transcript import Transcript
from tests.vectors.mqtt_violations import AFTER_CONNECT, CONNECTS, Refusal, Violation


@pytest.mark.parametrize(
    ("violation", "version"),
    [
        pytest.param(violation, version, id=f"{violation.statement} {version.name}")
        for violation in AFTER_CONNECT
        for version in violation.versions
    ],
)
def test_after_connect(violation: Violation, version: ProtocolVersion) -> None:
    transcript = Transcript()
    transcript.connect(version)
    transcript.send_one(ConnectionFailed, violation.hex)
    answers = transcript.answers()
    assert transcript.connection.closed
    if version is not ProtocolVersion.V5:
        assert answers == ""
        return
    assert answers.startswith("e0 ")
    assert bytes.fromhex(answers)[2] == violation.reason
    assert transcript.send("c0 00") == []
    assert transcript.answers() == ""


@pytest.mark.parametrize("refusal", CONNECTS, ids=lambda each: f"{each.statement} {each.answer}")
def test_connect(refusal: Refusal) -> None:
    transcript = Transcript()
    transcript.send_one(ConnectionFailed, refusal.hex)
    answers = transcript.answers()
    if ".." in refusal.answer:
        assert answers[:2] + " .. " + answers[6:11] == refusal.answer
    else:
        assert answers == refusal.answer
    assert transcript.connection.closed


@pytest.mark.parametrize("refusal", CONNECTS, ids=lambda each: f"{each.statement} {each.answer}")
def test_connect_byte_by_byte(refusal: Refusal) -> None:
    transcript = Transcript()
    events = [
        event for byte in bytes.fromhex(refusal.hex) for event in transcript.send(f"{byte:02x}")
    ]
    assert [type(event) for event in events] == [ConnectionFailed]


def test_a_reason_string_is_left_out_where_the_client_wants_none() -> None:
    transcript = Transcript()
    transcript.send("10 10 0004 4d515454 05 02 000a 02 1700 0001 70")
    transcript.connection.accept()
    transcript.answers()
    transcript.send_one(ConnectionFailed, "30 03 0000 00")
    assert transcript.answers() == "e0 01 82"


def test_a_reason_string_names_what_was_wrong() -> None:
    transcript = Transcript()
    transcript.connect(ProtocolVersion.V5)
    transcript.send_one(ConnectionFailed, "30 03 0000 00")
    answer = bytes.fromhex(transcript.answers())
    assert answer[7:] == b"neither a topic name nor a topic alias"
    assert answer[1] < 128


def test_what_came_before_a_violation_counts() -> None:
    transcript = Transcript()
    transcript.connect(ProtocolVersion.V3_1_1)
    publishes, failed = transcript.send("30 04 0001 61 21", "30 02 0000")
    assert len(publishes.publishes) == 1  # type: ignore[union-attr]
    assert isinstance(failed, ConnectionFailed)

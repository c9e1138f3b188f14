from __future__ import annotations

import pytest

from adapters.errors import LocalProtocolError
from adapters.mqtt.session import SessionState


def test_packet_ids_go_round_and_leave_out_zero() -> None:
    session = SessionState()
    session.last_packet_id = 65_534
    assert [session.next_packet_id() for _ in range(3)] == [65_535, 1, 2]


def test_packet_ids_in_use_are_passed_over() -> None:
    session = SessionState()
    session.awaiting_puback[1] = session.awaiting_pubrec[2] = "x"
    session.awaiting_release[3] = session.awaiting_pubcomp[5] = "x"
    assert [session.next_packet_id() for _ in range(2)] == [4, 6]
    assert session.in_flight == 4


def test_several_packet_ids_at_once() -> None:
    session = SessionState()
    session.last_packet_id = 65_530
    assert list(session.next_packet_ids(5)) == [65_531, 65_532, 65_533, 65_534, 65_535]
    assert list(session.next_packet_ids(3)) == [1, 2, 3]
    session.last_packet_id = 65_534
    assert list(session.next_packet_ids(3)) == [65_535, 1, 2]


@pytest.mark.parametrize(
    "used", ["awaiting_puback", "awaiting_pubrec", "awaiting_release", "awaiting_pubcomp"]
)
def test_several_packet_ids_pass_over_those_in_use(used: str) -> None:
    session = SessionState()
    getattr(session, used)[4] = "x"
    assert list(session.next_packet_ids(3)) == [1, 2, 3]
    assert list(session.next_packet_ids(3)) == [5, 6, 7]
    getattr(session, used)[9] = "x"
    assert list(session.next_packet_ids(3)) == [8, 10, 11]


def test_all_packet_ids_in_use() -> None:
    session = SessionState()
    session.awaiting_puback = dict.fromkeys(range(1, 65_536))
    with pytest.raises(LocalProtocolError):
        session.next_packet_id()

"""What a session remembers of messages that its client has already."""

from __future__ import annotations

from bridge.messaging.model import StateChange
from mappings.mqtt.session import HAD_MAX, RELEASED, Session


def ids(first: int, count: int) -> list[str]:
    return [f"m{number}" for number in range(first, first + count)]


def test_what_is_remembered_in_memory_is_what_is_stored() -> None:
    session = Session("/", "c", 100)
    session.discard(ids(0, HAD_MAX))
    assert list(session.discarded) == ids(0, HAD_MAX)
    session.discard(ids(HAD_MAX, 1))
    assert list(session.discarded) == ids(1, HAD_MAX)
    session.sent(RELEASED, [7], ["m5"])
    changes = session.completed([7])
    again = Session("/", "c", 100)
    for kind, key, value in changes:
        if value is not None:
            again.restore(kind, key, value)
    assert list(again.discarded) == ids(1, HAD_MAX)


def test_those_whose_packet_ids_are_in_use_are_remembered_besides() -> None:
    session = Session("/", "c", 100)
    stored: dict[tuple[str, str], bytes | None] = {}
    changes: list[StateChange] = session.sent(RELEASED, range(1, 101), ids(0, 100))
    stored |= {(kind, key): value for kind, key, value in changes}
    session.discard(ids(0, 100))
    session.discard(ids(100, HAD_MAX))
    assert len(session.discarded) == HAD_MAX + 100
    session.discard(ids(100 + HAD_MAX, 1))
    assert len(session.discarded) == HAD_MAX + 100
    again = Session("/", "c", 100)
    for (kind, key), value in stored.items():
        assert value is not None
        again.restore(kind, key, value)
    assert list(again.discarded) == ids(0, 100)

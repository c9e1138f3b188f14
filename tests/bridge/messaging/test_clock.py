"""Ids of messages: like UUIDs, each once."""

from __future__ import annotations

import uuid

from bridge.messaging.clock import MessageIds


def test_ids_are_uuids_and_each_comes_once() -> None:
    ids = MessageIds(b"9876543210")
    made = [ids.next() for _ in range(10_000)]
    assert len(set(made)) == len(made)
    assert made == sorted(made)
    assert all(str(uuid.UUID(each)) == each and uuid.UUID(each).version == 4 for each in made)
    assert made[0].endswith("-000000000001")
    assert made[4_095].endswith("-000000001000")


def test_runs_have_ids_of_their_own() -> None:
    assert MessageIds().next() != MessageIds().next()


def test_many_at_once_are_what_comes_one_by_one() -> None:
    at_once, singly = MessageIds(b"9876543210"), MessageIds(b"9876543210")
    counts = [1, 10, 0, 4083, 1, 10, 5000]
    taken = [each for count in counts for each in at_once.take(count)]
    assert taken == [singly.next() for _ in range(sum(counts))]
    assert at_once.next() == singly.next()

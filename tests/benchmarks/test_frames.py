"""The load generator sees what is missing, comes twice or too early."""

from __future__ import annotations

from tests.benchmarks.frames import CYCLE, DIGITS, FRAMES_MAX, PACKET_IDS, Batch, Numbers

HEAD = b"head"
SIZE = 20
LENGTH = len(HEAD) + 2 + SIZE
NUMBER_AT = len(HEAD) + 2


def received(numbers: Numbers, frames: bytes) -> None:
    """Look at frames as a wire does."""
    data, count = bytearray(frames), len(frames) // LENGTH
    if not numbers.note_frames(data, NUMBER_AT, LENGTH, count):
        starts = range(NUMBER_AT, len(data), LENGTH)
        numbers.note([bytes(data[start : start + DIGITS]) for start in starts])


def test_frames_differ_in_number_and_packet_id_alone() -> None:
    batch = Batch(HEAD, SIZE, with_id=True)
    for first in (0, 255, PACKET_IDS - 1, CYCLE - 1):
        frames = bytes(batch.take(first, 3))
        for at in range(3):
            packet_id = (first + at) % PACKET_IDS + 1
            number = b"%04x" % ((first + at) % CYCLE)
            frame = HEAD + packet_id.to_bytes(2) + number + b"x" * (SIZE - DIGITS)
            assert frames[at * LENGTH : (at + 1) * LENGTH] == frame


def test_what_comes_in_its_turn_is_counted_over_the_end_of_the_cycle() -> None:
    batch, numbers = Batch(HEAD, SIZE, with_id=True), Numbers()
    for first in range(0, CYCLE + FRAMES_MAX, FRAMES_MAX):
        received(numbers, bytes(batch.take(first, FRAMES_MAX)))
    assert numbers.received > CYCLE
    assert numbers.disordered == 0


def test_what_is_lost_doubled_or_early_is_seen() -> None:
    batch = Batch(HEAD, SIZE, with_id=True)
    frames = bytes(batch.take(0, 6))
    zero, one, two, three, four, five = (frames[at * LENGTH : (at + 1) * LENGTH] for at in range(6))
    for chunk, disordered in (
        (zero + one + three + four, 1),
        (zero + zero + one + two, 1),
        (zero + two + one + three, 3),
        (five, 1),
    ):
        numbers = Numbers()
        received(numbers, chunk)
        assert numbers.received == len(chunk) // LENGTH
        assert numbers.disordered == disordered

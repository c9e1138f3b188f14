"""A peer that fails is left out, and the others are measured."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks.__main__ import Contest, measure
from tests.benchmarks.peers import Landbridge, Peer

CLOSES = """
import select, socket, sys
listening = [socket.create_server(("127.0.0.1", int(port))) for port in sys.argv[1:]]
while True:
    for each in select.select(listening, [], [])[0]:
        each.accept()[0].close()
"""


class Closing(Peer):
    """Closes every connection."""

    name = "closing"
    speaks = ("mqtt", "sqs")

    def command(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-c", CLOSES, *map(str, self.ports.values())], {}


class Ending(Peer):
    """Does not start."""

    name = "ending"
    speaks = ("mqtt",)

    def command(self) -> tuple[list[str], dict[str, str]]:
        return [sys.executable, "-c", "raise SystemExit('no such option')"], {}


def test_the_others_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contest = Contest([each(tmp_path) for each in (Ending, Closing, Landbridge)])
    try:
        contest.start()
        measure(contest, ["mqtt-q0-1x1", "sqs-1"], 2, 0.1)
    finally:
        contest.stop()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [
        ["| mqtt-q0-1x1", "closing"],
        ["| mqtt-q0-1x1", "landbridge"],
        ["| sqs-1", "closing"],
        ["| sqs-1", "landbridge"],
    ]
    for failed, measured in (rows[:2], rows[2:]):
        assert failed[2].startswith(("left out: it closed a", "left out: a connection failed"))
        assert float(measured[2].replace(",", "")) > 0
    assert [each.partition(":")[0] for each in contest.failures] == [
        "ending",
        "closing, mqtt-q0-1x1",
        "closing, sqs-1",
    ]
    assert contest.failures[0] == "ending: it did not start: no such option"

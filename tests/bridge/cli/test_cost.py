"""`landbridge explain` on AWS: what each target costs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli.main import main

FILE = """
backend:
  kind: aws
  region: eu-west-1
  ordering: [{queues: "line-*"}]
  topic_rules: [{topics: loud, publish: always}]
  prices: {sqs_fifo: 1.0}
queues: [{name: audit}]
routes:
  - name: readings
    from: mqtt:plant/{line}
    to: ["sns:meters", "sqs:line-{line}", default]
  - {name: loud, from: "stomp:/queue/loud", to: ["sns:loud", "sqs:{header:where}"]}
"""


WHILE = "while others are subscribed to the topic in SNS"


def explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], *arguments: str, file: str = FILE
) -> list[str]:
    path = tmp_path / "landbridge.yaml"
    path.write_text(file)
    assert main(["explain", "-c", str(path), *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = next((at for at, line in enumerate(lines) if line.startswith("cost")), len(lines))
    return lines[start:]


def test_each_target_and_all_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, *lines = explained(tmp_path, capsys, "mqtt:plant/7", "--body", "21.5")
    assert head.startswith("cost on AWS of a million such messages of ")
    assert lines == [
        "  route 'readings' to sns:meters: 100,000 calls, $0.05; or 1,000,000 calls, $0.50",
        "  route 'readings' to sqs:line-{line}: 300,000 calls, $0.30; or 3,000,000 calls, $3.00",
        f"  route 'readings' to default: nothing; 100,000 calls, $0.05 more {WHILE}",
        "  in all: 400,000 calls, $0.35; or 4,000,000 calls, $3.50",
    ]


def test_the_default_mapping(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, *lines = explained(tmp_path, capsys, "stomp:/queue/audit", "--body", "x" * 10_000)
    assert lines == ["  default mapping: 300,000 calls, $0.20; or 3,000,000 calls, $1.20"]


def test_what_is_not_reached_costs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, loud, lost, total = explained(tmp_path, capsys, "stomp:/queue/loud")
    assert loud.startswith("  route 'loud' to sns:loud: 100,000 calls, $0.05")
    assert lost == "  route 'loud' to sqs:{header:where}: nothing"
    assert total.startswith("  in all: 100,000 calls, $0.05")


def test_the_embedded_backend_has_no_price(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert explained(tmp_path, capsys, "stomp:/queue/audit", file="queues: [{name: audit}]") == []

"""The same calls of pika against RabbitMQ and Landbridge: every outcome must be the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.interop import (  # noqa: F401 - they register their scenarios
    amqp_channel_calls,
    amqp_message_calls,
    amqp_queue_calls,
    amqp_topology_calls,
)
from tests.interop.amqp_calls import SCENARIOS, session
from tests.support.program import running
from tests.support.rabbitmq import INSTALLED, rabbitmq

MUCH_PATIENCE = 6.0


def outcome(name: str, port: int, patience: float = 1.0) -> Any:
    with session(port, patience) as opened:
        return SCENARIOS[name](opened)


@contextmanager
def brokers(directory: Path) -> Iterator[tuple[int, int]]:
    """The ports of Landbridge and of RabbitMQ."""
    ours, theirs = directory / "ours", directory / "theirs"
    for each in (ours, theirs):
        each.mkdir()
    with running(directory=ours) as program, rabbitmq(theirs) as port:
        yield program.port("amqp"), port


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    with brokers(tmp_path_factory.mktemp("brokers")) as ports:
        yield ports


def same_at(ports: tuple[int, int], name: str) -> bool:
    """Whether the outcomes are the same with pauses as short as they mostly may be."""
    try:
        ours, theirs = (outcome(name, port) for port in ports)
    except Exception:  # noqa: BLE001 - what was late may raise anything
        return False
    return bool(ours == theirs)


@pytest.mark.skipif(
    not INSTALLED, reason="RabbitMQ is not installed: apt-get install rabbitmq-server"
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_outcomes_are_those_of_rabbitmq(ports: tuple[int, int], tmp_path: Path, name: str) -> None:
    if same_at(ports, name):
        return
    # On a busy machine an answer may come after the pause for it: what counts is the outcome with
    # long ones, at brokers that nothing is left over at.
    with brokers(tmp_path) as fresh:
        ours, theirs = (outcome(name, port, MUCH_PATIENCE) for port in fresh)
        assert ours == theirs


@pytest.mark.skipif(INSTALLED, reason="compared with RabbitMQ instead")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_run(tmp_path: Path, name: str) -> None:
    with running(directory=tmp_path) as program:
        outcome(name, program.port("amqp"))

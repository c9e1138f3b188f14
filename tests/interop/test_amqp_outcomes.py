"""The same calls of pika against RabbitMQ and Landbridge: every outcome must be the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    with running(directory=ours) as program, rabbitmq(theirs) as port:
        yield program.port("amqp"), port


@pytest.mark.skipif(
    not INSTALLED, reason="RabbitMQ is not installed: apt-get install rabbitmq-server"
)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_outcomes_are_those_of_rabbitmq(ports: tuple[int, int], name: str) -> None:
    ours, theirs = ports
    with session(theirs) as opened:
        expected = SCENARIOS[name](opened)
    with session(ours) as opened:
        assert SCENARIOS[name](opened) == expected


@pytest.mark.skipif(INSTALLED, reason="compared with RabbitMQ instead")
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_run(tmp_path: Path, name: str) -> None:
    with running(directory=tmp_path) as program, session(program.port("amqp")) as opened:
        SCENARIOS[name](opened)

"""A broker on its defaults for all tests of a file, and an AMQP client's channel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pika
import pytest

from tests.support.program import Program, running


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running(directory=tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture
def channel(program: Program) -> Iterator[Any]:
    parameters = pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
    with pika.BlockingConnection(parameters) as connection:
        yield connection.channel()

"""The recorded requests and answers of the management API are still RabbitMQ's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.management_api import Api, replayed
from tests.support.ports import free_port
from tests.support.rabbitmq import INSTALLED, rabbitmq

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "rabbitmq").glob("management_*.json"))


@pytest.mark.skipif(
    not INSTALLED, reason="RabbitMQ is not installed: apt-get install rabbitmq-server"
)
@pytest.mark.timeout(600)
def test_recorded_answers_are_those_of_rabbitmq(tmp_path: Path) -> None:
    port = free_port()
    settings = ("management.tcp.ip = 127.0.0.1", f"management.tcp.port = {port}")
    with rabbitmq(tmp_path, plugins=["rabbitmq_management"], settings=settings):
        api = Api(port, "guest", "guest")
        for vector in VECTORS:
            for each in json.loads(vector.read_text()):
                assert replayed(api, each) == each

"""A broker in memory."""

from __future__ import annotations

import pytest

from tests.mappings.amqp091.broker import Broker


@pytest.fixture
def broker() -> Broker:
    return Broker()

"""The subjects of the conformance suite: every backend, opened on an empty place."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.ports import Store


@pytest.fixture(params=["fsync", "memory"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """A store on an empty data directory."""
    backend = EmbeddedBackend(
        tmp_path, durability=request.param, clock=SystemClock(), limits=Limits()
    )
    await backend.open()
    yield backend.store
    await backend.close()

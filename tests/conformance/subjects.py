"""The backends that the suite holds to the ports, and what only some of them can keep.

A test marked `needs(...)` runs on the subjects that have what it needs, and is not collected for
the others; each such row has its counterpart in the table of losses.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count
from pathlib import Path
from typing import Any, Final, cast

from bridge.api import ApiOptions
from bridge.api.simulation import Faults
from bridge.backends.aws import AwsBackend, AwsOptions
from bridge.backends.aws.limits import AwsLimits
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import Delivery
from bridge.messaging.ports import Backend, Queue, Store
from tests.support.aws_api import running_api

_runs = count(1)


class Capability(Enum):
    """What a backend may keep beyond what all of them do."""

    ORDER = auto()
    """A queue hands out in the order of sending, and returned messages in their old place."""
    IDENTITY = auto()
    """A message keeps the id, the time and the sender that it was sent with."""
    EXPIRY = auto()
    """What expires leaves its queue although nobody receives, and nobody waits for it."""
    LENGTH = auto()
    """Length limits are exact."""
    PRIORITY = auto()
    """One queue has bands of priority."""
    HANDLES = auto()
    """A receipt handle tells that its message is gone, or its visibility over."""
    PURGE_ALL = auto()
    """A purge takes what was received or is delayed, too, and forgets deduplication ids."""
    FIFO_ORDER = auto()
    """Groups, deduplication and attempts exactly as AWS was recorded to do them."""
    SOURCE = auto()
    """A redriven message tells where it came from; moto does not say it."""
    ONCE = auto()
    """Nothing is handed out twice, or out of turn, unless somebody made it so."""
    COUNTS = auto()
    """Counts are those of this moment."""
    IDLE = auto()
    """Queues that nobody uses are reported."""


C = Capability


@dataclass(frozen=True)
class Subject:
    """One way to open a backend on an empty place."""

    kind: str
    durability: str = "fsync"
    capabilities: frozenset[Capability] = frozenset(Capability)

    def store_of(self, backend: Backend) -> Store:
        """The store that the suite asks."""
        if self.kind == "aws-api-simulated":
            return cast("Store", PatientStore(backend.store))
        return backend.store

    @asynccontextmanager
    async def opened(self, path: Path, moto_url: str) -> AsyncIterator[Backend]:
        """`moto_url` is where AWS is, for those who want it."""
        match self.kind:
            case "embedded":
                backend = _embedded(path, self.durability)
                await backend.open()
                yield backend
                await backend.close()
            case "aws-moto":
                async with _aws(path, moto_url, moto_url) as backend:
                    yield backend
            case _:
                options = ApiOptions(name_reuse_seconds=0, purge_interval_seconds=0)
                limits = AwsLimits()
                if self.kind == "aws-api-simulated":
                    options = ApiOptions(name_reuse_seconds=1, faults=BAD_DAY)
                    limits = SHORT_HOLD
                with running_api(path / "api", options) as api:
                    async with _aws(path, api.url, moto_url, limits) as backend:
                        yield backend


class PatientStore:
    """Waits a second where the suite would not: a short poll that finds nothing proves nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def receive(self, queue: Queue, **options: Any) -> list[Delivery]:
        options["wait_seconds"] = options.get("wait_seconds") or 1
        return await self._store.receive(queue, **options)


BAD_DAY: Final = Faults(
    seed=1,
    duplicate_rate=0.2,
    duplicate_seconds=0.5,
    reorder_rate=0.3,
    reorder_seconds=0.2,
    empty_receive_rate=0.3,
    partial_receive_rate=0.3,
    counts_lag_seconds=1.0,
    list_lag_seconds=5.0,
    settings_lag_seconds=1.0,
    new_queue_seconds=1.0,
    throttle_rate=0.05,
    error_rate=0.05,
    lost_reply_rate=0.05,
    batch_failure_rate=0.1,
    slow_rate=0.1,
    slow_seconds=0.3,
    fifo_calls_per_second=300,
)
"""Far worse than AWS: what goes wrong there once a week goes wrong here in every test."""

SHORT_HOLD: Final = AwsLimits(hold_seconds=3, renew_after_seconds=1.0)
"""What a lost answer has received is back after three seconds instead of a minute."""

SUBJECTS: Final = {
    "fsync": Subject("embedded"),
    "memory": Subject("embedded", "memory"),
    "aws-moto": Subject("aws-moto", capabilities=frozenset({C.IDLE, C.ONCE, C.COUNTS, C.PRIORITY})),
    "aws-api": Subject(
        "aws-api",
        capabilities=frozenset({C.FIFO_ORDER, C.SOURCE, C.IDLE, C.ONCE, C.COUNTS, C.PRIORITY}),
    ),
    "aws-api-simulated": Subject(
        "aws-api-simulated", capabilities=frozenset({C.FIFO_ORDER, C.SOURCE, C.IDLE})
    ),
}


def _embedded(path: Path, durability: str) -> Backend:
    return EmbeddedBackend(path, durability=durability, clock=SystemClock(), limits=Limits())


@asynccontextmanager
async def _aws(
    path: Path, sqs_url: str, dynamodb_url: str, limits: AwsLimits | None = None
) -> AsyncIterator[Backend]:
    run = next(_runs)
    backend = AwsBackend(
        AwsOptions(
            region="us-east-1",
            prefix=f"t{run}-",
            endpoints={"sqs": sqs_url, "dynamodb": dynamodb_url},
            table=f"t{run}",
        ),
        local=_embedded(path / "local", "memory"),
        clock=SystemClock(),
        random=random.random,
        limits=limits,
    )
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()

"""A broker without sockets: the services that gateways need, over a store in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bridge.auth import Accounts
from bridge.messaging.clock import MessageIds
from bridge.messaging.limits import Limits
from bridge.routing.rules import Rule
from tests.support.gateways import Line, Recorder, Tasks, services
from tests.support.memory_store import MemoryStore
from tests.support.routing import Bench


class WireTap(Line):
    """A `Transport` that keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []

    def write(self, data: Sequence[bytes]) -> None:
        assert not self.closed, f"written after close: {data!r}"
        self.written += data

    def close(self) -> None:
        self.closed = True


class MemoryBroker(Tasks):
    """Clients are the affair of each protocol; time passes when a test says so."""

    def __init__(
        self,
        *rules: Rule,
        limits: Limits | None = None,
        accounts: Accounts | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        super().__init__()
        bench = Bench(*rules, store=store)
        self.bench = bench
        self.store = bench.store
        self.topology = bench.topology
        self.clock = bench.clock
        self.log = Recorder()
        self.services = services(
            self,
            self.log,
            store=self.store,
            state=self.store,
            router=bench.router,
            topology=bench.topology,
            accounts=accounts,
            clock=bench.clock,
            message_ids=MessageIds(b"9876543210"),
            limits=limits,
            namespaces={"/", "other"},
            store_healthy=lambda: self.store.refusal is None,
        )

    def bodies(self, queue: str) -> list[str]:
        """What waits in a queue of the default namespace."""
        return [message.body.decode() for message in self.bench_queue(queue).messages]

    def bench_queue(self, queue: str) -> Any:
        return next(each for name, each in self.store.by_name.items() if name.name == queue)

    def queue_names(self) -> list[str]:
        return sorted(name.name for name in self.store.by_name)

"""The API on a free port of loopback, in a thread of its own: for clients that block, such as
boto3.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from bridge.admin.metrics import MessageCounters
from bridge.api import ApiOptions, ApiPorts, AwsApi
from bridge.api.simulation import Faults
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.limits import Limits
from bridge.net.endpoint import Network
from bridge.net.http_messages import HttpHandler
from bridge.net.listener import HttpService, Listener
from bridge.net.tasks import TaskOwner
from bridge.routing.router import Router
from bridge.routing.topology import Topology

BODY_BYTES_MAX: Final = 64 * 1024 * 1024
"""Some tests keep S3 behind it, too."""

Around = Callable[[HttpHandler], HttpHandler]


class LogOfFailures:
    """Keeps what was logged as a bug; a test that ends with any has failed."""

    def __init__(self) -> None:
        self.failures: list[BaseException] = []

    def connected(self, protocol: str, peer: str, **_: Any) -> None: ...

    def disconnected(self, protocol: str, peer: str, **_: Any) -> None: ...

    def refused(self, protocol: str, peer: str, **_: Any) -> None: ...

    def channel_closed(self, protocol: str, peer: str, **_: Any) -> None: ...

    def request_refused(self, protocol: str, peer: str, **_: Any) -> None: ...

    def failed(self, protocol: str, peer: str, error: BaseException) -> None:
        self.failures.append(error)


class ShiftedClock(SystemClock):
    """The machine's clock, its calendar moved on by tests instead of waiting."""

    def __init__(self) -> None:
        self.shift_seconds = 0.0

    @contextmanager
    def later(self, seconds: float) -> Iterator[None]:
        """Be that much later for a while; timers that run do not notice."""
        self.shift_seconds = seconds
        try:
            yield
        finally:
            self.shift_seconds = 0.0

    def epoch_ms(self) -> int:
        return super().epoch_ms() + int(self.shift_seconds * 1000)


class RunningApi:
    """A started API; `run` executes a coroutine function on its loop."""

    def __init__(
        self, path: Path, options: ApiOptions, durability: str, around: Around = lambda same: same
    ) -> None:
        self.clock = ShiftedClock()
        self.log = LogOfFailures()
        self.counters = MessageCounters()
        self.url = ""
        self.backend: EmbeddedBackend
        self.topology: Topology
        self.router: Router
        self.api: AwsApi
        self._listener: Listener
        self._network: Network
        self._port = 0
        self._path = path
        self._options = options
        self._durability = durability
        self._around = around
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self._started = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(60)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error
        assert not self.log.failures, self.log.failures

    def run(self, function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(60)

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Nobody answers at its port for a while; who is connected is cut off."""
        self.run(self._listener.close)
        try:
            yield
        finally:
            self.run(self._listen)

    def use(self, **faults: Any) -> None:
        """Have other faults from now on; for an API that was started with some."""
        self.api.simulation.faults = Faults(**faults)

    async def _listen(self) -> None:
        service = HttpService(self._around(self.api.handle), BODY_BYTES_MAX)
        self._listener = Listener("aws", "aws", "127.0.0.1", self._port, service, self._network)
        await self._listener.start()
        self._port = self._listener.port

    def _run(self) -> None:
        try:
            uvloop.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self._error = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        limits, clock, ids = Limits(), self.clock, MessageIds()
        self.backend = backend = EmbeddedBackend(
            self._path, durability=self._durability, clock=clock, limits=limits
        )
        await backend.open()
        self.topology = topology = Topology(backend.store, backend.state, clock, ids)
        topology.load()
        self.router = router = Router(topology, backend.store)
        async with TaskOwner(self.log) as tasks:
            ports = ApiPorts(
                store=backend.store,
                state=backend.state,
                topology=topology,
                router=router,
                clock=clock,
                message_ids=ids,
                log=self.log,
                counters=self.counters,
                leases=backend.leases,
                spawn=tasks.spawn,
            )
            self.api = api = AwsApi(ports, self._options)
            api.start()
            self._network = Network(clock, self.log, limits, tasks)
            await self._listen()
            self.url = f"http://127.0.0.1:{self._port}"
            self._started.set()
            await self._stop.wait()
            await self._listener.stop_accepting()
            await self._listener.close()
        await backend.close()


@contextmanager
def running_api(
    path: Path,
    options: ApiOptions | None = None,
    *,
    durability: str = "memory",
    around: Around = lambda same: same,
) -> Iterator[RunningApi]:
    """The API for the duration of a with block; `around` may stand before its handler."""
    api = RunningApi(path, options or ApiOptions(), durability, around)
    api.start()
    try:
        yield api
    finally:
        api.stop()

"""Gateways and a log that remember what happened to them, and listeners to put them behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.net.endpoint import Network
from bridge.net.http_messages import HttpHandler
from bridge.net.listener import HttpService, LegacyService, Listener, Service
from bridge.net.tasks import TaskOwner
from bridge.net.tls import ServerTls, TlsFiles
from bridge.net.websocket import WebSocketOptions
from mappings.gateway import StopReason, Transport


class RecordingLog:
    """A `Log`; `lines` holds (event, protocol, reason), `errors` what failed."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str, str]] = []
        self.errors: list[BaseException] = []
        self.changed = asyncio.Event()

    def connected(self, protocol: str, peer: str, *, user: str | None, client: str | None) -> None:
        self._add("connected", protocol, "")

    def disconnected(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self._add("disconnected", protocol, reason)

    def refused(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self._add("refused", protocol, reason)

    def channel_closed(self, protocol: str, peer: str, *, reason: str, **_: Any) -> None:
        self._add("channel closed", protocol, reason)

    def request_refused(self, protocol: str, peer: str, *, user: str | None, reason: str) -> None:
        self._add("refused", protocol, reason)

    def failed(self, protocol: str, peer: str, error: BaseException) -> None:
        self.errors.append(error)
        self.changed.set()

    def _add(self, event: str, protocol: str, reason: str) -> None:
        self.lines.append((event, protocol, reason))
        self.changed.set()

    async def refusal(self) -> str:
        """The reason of the first refusal, waited for."""
        while True:
            for event, _, reason in self.lines:
                if event == "refused":
                    return reason
            self.changed.clear()
            await self.changed.wait()


class RecordingGateway:
    """Echoes; subclasses say what they do otherwise. `lost` holds the reason once it is over."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.received: list[bytes] = []
        self.has_received = asyncio.Event()
        self.at_eof = asyncio.Event()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.writing_paused = asyncio.Event()
        self.writing_resumed = asyncio.Event()
        self.shut_downs = 0
        self.deadline: float | None = None

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        self.has_received.set()
        self.transport.write([data])

    def eof_received(self) -> bool | None:
        self.at_eof.set()
        return None

    def connection_lost(self, reason: str) -> None:
        self.lost.set_result(reason)

    def pause_writing(self) -> None:
        self.writing_paused.set()

    def resume_writing(self) -> None:
        self.writing_resumed.set()

    def next_deadline(self) -> float | None:
        return self.deadline

    def handle_deadline(self, now: float) -> None:
        self.deadline = None

    def shut_down(self, reason: StopReason) -> None:
        self.shut_downs += 1
        self.transport.write([b"bye"])
        self.transport.close()


class Made:
    """A `GatewayFactory` that keeps what it made."""

    def __init__(self, kind: Callable[[Transport], RecordingGateway] = RecordingGateway) -> None:
        self._kind = kind
        self.gateways: list[RecordingGateway] = []
        self._changed = asyncio.Event()

    def __call__(self, transport: Transport) -> RecordingGateway:
        gateway = self._kind(transport)
        self.gateways.append(gateway)
        self._changed.set()
        return gateway

    async def gateway(self, number: int = 0) -> Any:
        """The gateway of the connection with that number, once it is made."""
        while len(self.gateways) <= number:
            self._changed.clear()
            await self._changed.wait()
        return self.gateways[number]


class Running:
    """A started listener with its log."""

    def __init__(self, listener: Listener, log: RecordingLog) -> None:
        self.listener = listener
        self.log = log
        self.port = listener.port

    async def connect(
        self, *, tls: Any = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)

    async def no_connections(self) -> None:
        """Until every connection is over."""
        endpoint = self.listener._endpoint
        assert endpoint is not None
        await endpoint.wait_empty()


@asynccontextmanager
async def listening(
    service: Service,
    *,
    tls: TlsFiles | None = None,
    limits: Limits | None = None,
    protocol: str = "test",
) -> AsyncIterator[Running]:
    log = RecordingLog()
    async with TaskOwner(log) as tasks:
        network = Network(SystemClock(), log, limits or Limits(), tasks)
        listener = Listener(
            "test",
            protocol,
            "127.0.0.1",
            0,
            service,
            network,
            tls=ServerTls(tls) if tls else None,
        )
        await listener.start()
        try:
            yield Running(listener, log)
        finally:
            await listener.close()


def legacy(
    factory: Callable[[Transport], RecordingGateway],
    websocket: WebSocketOptions | None = None,
) -> LegacyService:
    return LegacyService(factory, websocket)


def http(handler: HttpHandler, body_bytes_max: int | None = None) -> HttpService:
    return HttpService(handler, body_bytes_max)


async def closed(writer: asyncio.StreamWriter) -> None:
    """Close a client's connection and wait for it; how it ended does not matter."""
    writer.close()
    try:
        await writer.wait_closed()
    except OSError:
        pass

"""A broker without sockets: MQTT gateways on the embedded store, driven by real packets.

`crash` goes on with a copy of the files as they are at that moment, as after `kill -9`.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from adapters.mqtt.packets import Connect
from adapters.mqtt.session import SessionState
from bridge.auth import Accounts
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueName
from bridge.routing.router import Router
from bridge.routing.rules import Rule, compile_rules
from bridge.routing.topology import Topology
from mappings.mqtt.gateway import MqttGateway
from mappings.mqtt.sessions import Sessions, sessions_of
from tests.support.gateways import Line, Listener, Recorder, Tasks, services
from tests.support.mqtt_client import MqttClient
from tests.support.mqtt_client import connect as connect_packet


class ShiftedClock(SystemClock):
    """The machine's clock, moved on by tests instead of waiting."""

    def __init__(self) -> None:
        self.shift_seconds = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.shift_seconds

    def epoch_ms(self) -> int:
        return super().epoch_ms() + int(self.shift_seconds * 1000)


class Wire(Line):
    """A `Transport` whose other end is a client in the same loop."""

    def __init__(self, client: WiredClient) -> None:
        super().__init__()
        self._client = client
        self.seen: list[bytes] = []
        self._out: list[bytes] = []

    def write(self, data: Sequence[bytes]) -> None:
        assert not self.closed, f"written after close: {data!r}"
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out += data

    def _flush(self) -> None:
        data, self._out = b"".join(self._out), []
        if data and not self._client.closed:
            self.seen.append(data)
            self._client.received(data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._flush()
        self._client.end("closed by the broker")


class WiredClient(MqttClient):
    """A client at a gateway of `broker`."""

    def __init__(self, broker: Broker, packet: Connect, session: SessionState | None) -> None:
        super().__init__(packet, session)
        self.wire = Wire(self)
        self.gateway = MqttGateway(broker.services, self.wire, Listener())

    def transmit(self, data: bytes) -> None:
        self.gateway.data_received(data)

    def cut(self, reason: str = "the cable was cut") -> None:
        """Drop the connection without a word."""
        self.end(reason)

    def end(self, reason: str) -> None:
        if not self.closed:
            self.lost()
            self.gateway.connection_lost(reason)


class Broker(Tasks):
    """The services that gateways need, and clients of them. An asynchronous context."""

    def __init__(
        self,
        path: Path,
        *rules: Rule,
        limits: Limits | None = None,
        accounts: Accounts | None = None,
    ) -> None:
        super().__init__()
        self.path = path
        self.limits = limits or Limits()
        self.accounts = accounts
        self.clock = ShiftedClock()
        self.log = Recorder()
        self._rules = compile_rules(rules)
        self._crashes = 0
        self.clients: list[WiredClient] = []
        self._abandoned: list[EmbeddedBackend] = []

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.at_rest()
        for backend in [self.backend, *self._abandoned]:
            await backend.close()

    async def _open(self) -> None:
        self.backend = EmbeddedBackend(
            self.path, durability="os", clock=self.clock, limits=self.limits
        )
        await self.backend.open()
        self.store, self.state = self.backend.store, self.backend.state
        ids = MessageIds()
        self.topology = Topology(self.store, self.state, self.clock, ids)
        self.topology.load()
        self.router = Router(self.topology, self.store, self._rules, limits=self.limits)
        self.services = services(
            self,
            self.log,
            store=self.store,
            state=self.state,
            router=self.router,
            topology=self.topology,
            accounts=self.accounts,
            clock=self.clock,
            message_ids=ids,
            limits=self.limits,
            namespaces=frozenset({"/"}),
        )
        self.sessions: Sessions = sessions_of(self.services)

    async def crash(self) -> None:
        """Go on with what is on disk now; connections and memory are gone."""
        self._crashes += 1
        for client in self.clients:
            client.lost()
        self.clients.clear()
        copy = self.path.with_name(f"{self.path.name}-{self._crashes}")
        shutil.copytree(self.path, copy, ignore=shutil.ignore_patterns("*lock*"))
        self._abandoned.append(self.backend)
        self.path = copy
        await self._open()

    def move_on(self, seconds: float) -> None:
        """Let time pass, and happen what is due then."""
        self.clock.shift_seconds += seconds
        self.sessions.handle_deadline(self.clock.epoch_ms())

    def raw(self, packet: Connect, session: SessionState | None = None) -> WiredClient:
        """A client that has sent its CONNECT."""
        client = WiredClient(self, packet, session)
        self.clients.append(client)
        client.flush()
        return client

    async def client(
        self, client_id: str = "", *, session: SessionState | None = None, **options: Any
    ) -> WiredClient:
        """A client that was let in."""
        client = self.raw(connect_packet(client_id, **options), session)
        connack = await client.connected()
        assert connack.reason_code == 0, connack
        return client

    def queue_names(self) -> list[str]:
        return sorted(queue.name.name for queue in self.store.queues())

    async def waiting(self, name: str) -> int:
        queue = self.store.queue(QueueName("/", name))
        assert queue is not None
        counts = await self.store.counts(queue)
        return counts.visible + counts.not_visible

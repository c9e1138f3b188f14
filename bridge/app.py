"""The composition root: from a checked configuration to a running broker, and back down in order.

Up: backend, catalogue, router, queues of the configuration, listeners; then the caller is told.
Down: stop accepting, drain (what was stored is answered), close, and the backend last. A reload
checks everything before it changes anything; what it does not change it does not touch.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TextIO

from bridge.admin.health import AdminHandler
from bridge.admin.log import StructuredLog
from bridge.admin.management import ManagementHandler, ManagementSources, NodeFacts
from bridge.admin.metrics import MessageCounters, Metrics
from bridge.admin.metrics import Sources as MetricsSources
from bridge.api import ApiOptions, ApiPorts, AwsApi
from bridge.api.simulation import Faults
from bridge.auth import Accounts
from bridge.backends.embedded import EmbeddedBackend
from bridge.chosen_backend import StartRefused, backend_of
from bridge.config import (
    Config,
    ConfigInvalid,
    ListenerOptions,
    Loaded,
    Sources,
    limits_of,
    load,
    tls_files,
)
from bridge.declared import check_queues, declare
from bridge.listeners import Listeners, OpenListener
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import Publish
from bridge.messaging.ports import Backend
from bridge.messaging.ports import Queue as StoredQueue
from bridge.net.endpoint import Network
from bridge.net.listener import HttpService, LegacyService, Listener, Service
from bridge.net.tasks import TaskOwner
from bridge.net.tls import ServerTls
from bridge.protocols import AWS, LEGACY, MANAGEMENT, METRICS
from bridge.routing.dead_letters import DeadLetters
from bridge.routing.explain import Explanation, explain
from bridge.routing.faces import FaceRouting, RoutedUses
from bridge.routing.router import Router
from bridge.routing.topology import Topology
from bridge.tenancy import Tenancy
from mappings.gateway import Services

GARBAGE_THRESHOLDS: Final = (2_000, 20, 50)
"""Messages are untracked, and what a busy loop allocates dies young: few objects in each pass,
since everybody waits for it, and few passes over those that stayed.
"""
API_BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""A legal batch of 1 MiB is up to six times that where an SDK escapes all but ASCII in JSON."""
MANAGEMENT_BODY_BYTES_MAX: Final = 10 * 1024 * 1024
"""RabbitMQ's, for a message in base64 as well."""
NEEDS_RESTART: Final = ("backend", "namespaces", "dead_letters", "aws_api", "limits")
"""Sections that a reload cannot change; nor can it the format of the log."""


class Broker:
    """One broker: `run` returns after `stop`, or raises `StartRefused`."""

    def __init__(self, sources: Sources, loaded: Loaded, log: StructuredLog) -> None:
        """`loaded` is what `sources` say now; a reload reads them again."""
        self._sources = sources
        self._loaded = loaded
        self._log = log
        self._clock = SystemClock()
        self._message_ids = MessageIds()
        self._limits = limits_of(loaded.config)
        self._accounts = Accounts(secret=secrets.token_bytes(32))
        self._tasks = TaskOwner(log)
        self._listeners = Listeners(
            self._listener,
            log,
            self._tasks.spawn,
            drain_seconds_max=self._limits.drain_seconds_max,
        )
        self._wake = asyncio.Event()
        self._stopping = False
        self._stop_deadline = 0.0
        """When a stop that was asked for has to be over (monotonic)."""
        self._reload_asked = False

    # -- asked from outside, on the event loop

    def stop(self) -> None:
        """Drain and end; asked again, end at once."""
        if self._stopping and self._listeners.open:
            self._tasks.spawn(self._listeners.close())
        if not self._stopping:
            self._stop_deadline = self._clock.monotonic() + self._limits.stop_seconds_max
        self._stopping = True
        self._wake.set()

    def reload(self) -> None:
        """Read the configuration again, and apply it if all of it is right."""
        self._reload_asked = True
        self._wake.set()

    @property
    def listeners(self) -> list[OpenListener]:
        """What is open, with the ports that the system chose."""
        return self._listeners.open

    async def run(self, started: Callable[[], None]) -> None:
        """Start, call `started`, and serve until `stop`. Raises `StartRefused`."""
        backend = backend_of(self._loaded.config, self._clock, self._limits)
        try:
            await backend.open()
        except StoreUnavailable as error:
            raise StartRefused(str(error)) from None
        refused: StartRefused | None = None
        try:
            async with self._tasks:
                try:
                    await self._serve(backend, started)
                except StartRefused as error:
                    # Outside of the task group, which would wrap it.
                    refused = error
        finally:
            left = self._stop_deadline - self._clock.monotonic()
            await backend.close(max(left, 0.0) if self._stopping else None)
            self._accounts.close()
        if refused is not None:
            raise refused
        self._log.info("stopped")

    async def _serve(self, backend: Backend, started: Callable[[], None]) -> None:
        self._compose(backend)
        try:
            check_queues(self._loaded, backend.store)
            await declare(self._loaded, self._topology, backend.store)
            await self._listeners.start(self._loaded.listeners)
            self._api.start()
            self._tasks.spawn(self._management.finish_deletions())
            started()
            _settle_memory()
            while not self._stopping:
                await self._wake.wait()
                self._wake.clear()
                if self._reload_asked and not self._stopping:
                    self._reload_asked = False
                    await self._reload()
            self._log.info("stopping", seconds_max=self._limits.stop_seconds_max)
            await self._listeners.drain()
        finally:
            await self._listeners.close()

    def _compose(self, backend: Backend) -> None:
        config, limits = self._loaded.config, self._limits
        store, state, clock = backend.store, backend.state, self._clock
        self._network = Network(clock, self._log, limits, self._tasks)
        self._topology = topology = Topology(store, state, clock, self._message_ids)
        topology.neighbours = neighbours = backend.neighbours
        topology.load()
        self._tenancy = Tenancy(self._loaded, state, self._accounts, self._log)
        self._router = router = Router(
            topology,
            store,
            self._loaded.rules,
            limits=limits,
            dead_letter_queue=config.dead_letters.queue,
        )
        self._follow_faces(backend)
        dead_letters = DeadLetters(router, clock, self._tasks.spawn)
        store.use_dead_letterer(dead_letters)

        async def remove(queue: StoredQueue) -> None:
            await topology.remove_queue(queue)

        if neighbours is not None:
            neighbours.remove, neighbours.restore = remove, topology.restore
        store.use_idle_handler(lambda queue: self._tasks.spawn(remove(queue)))
        counters = MessageCounters()
        self._services = self._services_of(backend, dead_letters, counters)
        self._api = AwsApi(self._api_ports(backend, counters), _api_of(config))
        sources = MetricsSources(counters, store, self._listeners.accepting, backend.figures)
        self._admin = AdminHandler(
            Metrics(sources, limits, version=version("landbridge")),
            store_healthy=lambda: backend.healthy,
            listeners=self._listeners.accepting,
        )
        self._management = ManagementHandler(self._management_sources(counters))

    def _services_of(
        self, backend: Backend, dead_letters: DeadLetters, counters: MessageCounters
    ) -> Services:
        """What the gateways of all protocols stand on."""
        return Services(
            store=backend.store,
            state=backend.state,
            router=self._router,
            topology=self._topology,
            dead_letters=dead_letters,
            accounts=self._accounts,
            clock=self._clock,
            message_ids=self._message_ids,
            limits=self._limits,
            log=self._log,
            counters=counters,
            spawn=self._tasks.spawn,
            namespaces=self._tenancy.namespaces,
            connections=self._tenancy.connections,
            store_healthy=lambda: backend.healthy,
            # An embedded store is this process's own.
            leases=None if self._loaded.config.backend.kind == "embedded" else backend.leases,
        )

    def _api_ports(self, backend: Backend, counters: MessageCounters) -> ApiPorts:
        return ApiPorts(
            store=backend.store,
            state=backend.state,
            topology=self._topology,
            router=self._router,
            clock=self._clock,
            message_ids=self._message_ids,
            log=self._log,
            counters=counters,
            leases=backend.leases,
            spawn=self._tasks.spawn,
        )

    def _follow_faces(self, backend: Backend) -> None:
        """Let topics have to do with what they are outside, where the backend knows such."""
        faces = backend.faces
        if faces is not None:
            self._topology.faces = faces
            incoming = FaceRouting(self._router, self._tasks.spawn).incoming
            faces.follow(RoutedUses(self._router), self._topology.faces_changed, incoming)

    def _management_sources(self, counters: MessageCounters) -> ManagementSources:
        return ManagementSources(
            node=NodeFacts(
                name=f"landbridge@{socket.gethostname()}",
                version=version("landbridge"),
                data_directory=self._loaded.config.backend.path,
                started_at=self._clock.monotonic(),
            ),
            services=self._services,
            counters=counters,
            listeners=self._listeners.accepting,
            certificates=lambda: [
                (each.options.name, each.options.tls.certificate)
                for each in self._listeners.open
                if each.options.tls is not None
            ],
            configured=self._tenancy.configured,
            tenants_changed=self._tenancy.look,
        )

    # -- listeners

    def _listener(self, options: ListenerOptions) -> Listener:
        return Listener(
            name=options.name,
            protocol=options.protocol,
            bind=options.bind,
            port=options.port,
            service=self._service(options),
            network=self._network,
            tls=ServerTls(tls_files(options.tls)) if options.tls else None,
        )

    def _service(self, options: ListenerOptions) -> Service:
        if options.protocol == AWS.name:
            return HttpService(self._api.handle, API_BODY_BYTES_MAX)
        if options.protocol == METRICS.name:
            return HttpService(self._admin.handle)
        accounts = self._accounts.for_anonymous() if options.anonymous else self._accounts
        if options.protocol == MANAGEMENT.name:
            handler = self._management.at(accounts, loopback=options.loopback)
            return HttpService(handler, MANAGEMENT_BODY_BYTES_MAX)
        protocol = LEGACY[options.protocol]
        services = replace(self._services, accounts=accounts)
        return LegacyService(
            protocol.make_factory(services, options),
            protocol.websocket if options.websocket else None,
        )

    # -- reload

    async def _reload(self) -> None:
        try:
            loaded = await asyncio.to_thread(load, self._sources)
            self._refuse_fixed(loaded)
            check_queues(loaded, self._services.store)
            change = await self._listeners.change_to(loaded.listeners)
            try:
                await declare(loaded, self._topology, self._services.store)
            except StartRefused:
                await change.undo()
                raise
        except ConfigInvalid as invalid:
            for mistake in invalid.mistakes:
                self._log.error("configuration not reloaded", mistake=str(mistake))
            return
        except StartRefused as refused:
            self._log.error("configuration not reloaded", mistake=str(refused))
            return
        change.keep()
        self._tenancy.use(loaded)
        self._router.use_rules(loaded.rules)
        self._log.use_level(loaded.config.log.level)
        self._loaded = loaded
        self._log.info("configuration reloaded", file=str(loaded.file or "none"))

    def _refuse_fixed(self, loaded: Loaded) -> None:
        """Raise `ConfigInvalid` for changes that need a restart."""
        message = "cannot be changed by a reload: restart the broker"
        changed = [
            loaded.mistake(path, message)
            for path in self._loaded.config.changes_to(loaded.config)
            if path[0] in NEEDS_RESTART or path == ("log", "format")
        ]
        if changed:
            raise ConfigInvalid(changed)


async def explanation(loaded: Loaded, publish: Publish) -> Explanation:
    """What a broker with this configuration, and nothing stored, does with a publish."""
    limits, clock = limits_of(loaded.config), SystemClock()
    with TemporaryDirectory(prefix="landbridge-") as directory:
        backend = EmbeddedBackend(Path(directory), durability="memory", clock=clock, limits=limits)
        await backend.open()
        try:
            topology = Topology(backend.store, backend.state, clock, MessageIds())
            await declare(loaded, topology, backend.store)
            router = Router(
                topology,
                backend.store,
                loaded.rules,
                dead_letter_queue=loaded.config.dead_letters.queue,
                limits=limits,
            )
            return explain(router, publish)
        finally:
            await backend.close()


def log_of(config: Config, stream: TextIO) -> StructuredLog:
    """The log that the configuration asks for."""
    return StructuredLog(
        stream,
        SystemClock(),
        json=config.log.format == "json",
        level=config.log.level,
        limits=limits_of(config),
    )


def _api_of(config: Config) -> ApiOptions:
    api = config.aws_api
    return ApiOptions(
        access_keys={key.id: key.secret for key in api.access_keys},
        name_reuse_seconds=api.name_reuse_seconds,
        purge_interval_seconds=api.purge_interval_seconds,
        external_url=api.external_url,
        faults=Faults(**api.simulation.model_dump()) if api.simulate == "aws" else None,
        requests_as_tasks=config.backend.kind == "aws",
    )


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)

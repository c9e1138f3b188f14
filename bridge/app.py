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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TextIO

import msgspec

from bridge.admin.health import AdminHandler
from bridge.admin.log import StructuredLog
from bridge.admin.management import ManagementHandler, ManagementSources, NodeFacts
from bridge.admin.metrics import MessageCounters, Metrics
from bridge.admin.metrics import Sources as MetricsSources
from bridge.api.api import AwsApi
from bridge.api.options import ApiOptions
from bridge.api.simulation import Faults
from bridge.auth import Account, Accounts
from bridge.auth.stored import stored_accounts, stored_namespaces
from bridge.backends.embedded import EmbeddedBackend
from bridge.chosen_backend import StartRefused, backend_of
from bridge.config import (
    Config,
    ConfigInvalid,
    ListenerOptions,
    Loaded,
    Mistake,
    Queue,
    Sources,
    limits_of,
    load,
    tls_files,
)
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.errors import MessagingError, StoreUnavailable
from bridge.messaging.faces import TopicFaces
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    DeadLetterTarget,
    Overflow,
    Publish,
    QueueName,
    QueueSettings,
    RedrivePolicy,
)
from bridge.messaging.ports import Backend, StateStore, Store
from bridge.messaging.ports import Queue as StoredQueue
from bridge.net.endpoint import Network
from bridge.net.listener import HttpService, LegacyService, Listener, ListenError, Service
from bridge.net.tasks import TaskOwner
from bridge.net.tls import ServerTls, TlsError
from bridge.protocols import AWS, LEGACY, MANAGEMENT, METRICS
from bridge.routing.dead_letters import DeadLetters
from bridge.routing.explain import Explanation, explain
from bridge.routing.faces import FaceRouting, RoutedUses
from bridge.routing.router import Router
from bridge.routing.topology import Topology
from mappings.gateway import Services

GARBAGE_THRESHOLDS: Final = (2_000, 20, 50)
"""Messages are untracked, and what a busy loop allocates dies young: few objects in each pass,
since everybody waits for it, and few passes over those that stayed.
"""
API_BODY_BYTES_MAX: Final = 8 * 1024 * 1024
"""A legal batch of 1 MiB is up to six times that where an SDK escapes all but ASCII in JSON."""
NEEDS_RESTART: Final = ("backend", "namespaces", "dead_letters", "aws_api", "limits")
"""Sections that a reload cannot change."""


@dataclass(frozen=True, slots=True)
class OpenListener:
    """A listener with the options that it was opened with."""

    options: ListenerOptions
    listener: Listener


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
        self._open: dict[str, OpenListener] = {}
        self._retired: list[Listener] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._reload_asked = False

    # -- asked from outside, on the event loop

    def stop(self) -> None:
        """Drain and end; asked again, end at once."""
        if self._stopping and self._open:
            self._tasks.spawn(self._close_listeners())
        self._stopping = True
        self._wake.set()

    def reload(self) -> None:
        """Read the configuration again, and apply it if all of it is right."""
        self._reload_asked = True
        self._wake.set()

    @property
    def listeners(self) -> list[OpenListener]:
        """What is open, with the ports that the system chose."""
        return list(self._open.values())

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
            await backend.close()
            self._accounts.close()
        if refused is not None:
            raise refused
        self._log.info("stopped")

    async def _serve(self, backend: Backend, started: Callable[[], None]) -> None:
        self._compose(backend)
        try:
            check_queues(self._loaded, backend.store)
            await declare(self._loaded, self._topology, backend.store)
            failures = await self._start(self._listeners_of(self._loaded.listeners))
            if failures:
                raise StartRefused(_unusable_ports(failures))
            self._api.start()
            started()
            _settle_memory()
            while not self._stopping:
                await self._wake.wait()
                self._wake.clear()
                if self._reload_asked and not self._stopping:
                    self._reload_asked = False
                    await self._reload()
            await self._drain()
        finally:
            await self._close_listeners()

    def _compose(self, backend: Backend) -> None:
        config, limits = self._loaded.config, self._limits
        store, state, clock, ids = backend.store, backend.state, self._clock, self._message_ids
        self._network = Network(clock, self._log, limits, self._tasks)
        self._topology = topology = Topology(store, state, clock, ids)
        topology.load()
        self._accounts.replace(_accounts_of(config, state))
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

        store.use_idle_handler(lambda queue: self._tasks.spawn(remove(queue)))
        counters = MessageCounters()
        self._services = Services(
            store=store,
            state=state,
            router=router,
            topology=topology,
            dead_letters=dead_letters,
            accounts=self._accounts,
            clock=clock,
            message_ids=ids,
            limits=limits,
            log=self._log,
            counters=counters,
            spawn=self._tasks.spawn,
            namespaces=frozenset(
                [DEFAULT_NAMESPACE, *config.namespaces, *stored_namespaces(state)]
            ),
            store_healthy=lambda: backend.healthy,
        )
        self._api = AwsApi(
            store,
            state,
            topology,
            router,
            clock,
            ids,
            self._log,
            counters,
            self._tasks.spawn,
            _api_of(config),
        )
        figures = getattr(backend, "figures", dict)
        sources = MetricsSources(counters, store, self._network_listeners, figures)
        self._admin = AdminHandler(
            Metrics(sources, limits, version=version("landbridge")),
            store_healthy=lambda: backend.healthy,
            listeners=self._network_listeners,
        )
        self._management = ManagementHandler(self._management_sources(backend, counters))

    def _follow_faces(self, backend: Backend) -> None:
        """Let topics have to do with what they are outside, where the backend knows such."""
        faces: TopicFaces | None = getattr(backend, "faces", None)
        if faces is not None:
            self._topology.faces = faces
            incoming = FaceRouting(self._router, self._tasks.spawn).incoming
            faces.follow(RoutedUses(self._router), self._topology.faces_changed, incoming)

    def _management_sources(self, backend: Backend, counters: MessageCounters) -> ManagementSources:
        services = self._services
        return ManagementSources(
            node=NodeFacts(
                name=f"landbridge@{socket.gethostname()}",
                version=version("landbridge"),
                data_directory=self._loaded.config.backend.path,
                started_at=self._clock.monotonic(),
            ),
            store=services.store,
            topology=services.topology,
            accounts=self._accounts,
            namespaces=services.namespaces,
            connections=services.connections,
            counters=counters,
            clock=self._clock,
            store_healthy=lambda: backend.healthy,
            listeners=self._network_listeners,
            certificates=lambda: [
                (name, each.options.tls.certificate)
                for name, each in self._open.items()
                if each.options.tls is not None
            ],
        )

    def _network_listeners(self) -> list[Listener]:
        return [each.listener for each in self._open.values()]

    # -- listeners

    def _listeners_of(self, wanted: Sequence[ListenerOptions]) -> list[OpenListener]:
        """Listeners that are not started yet. Raises `StartRefused` for unfit certificates."""
        try:
            return [OpenListener(options, self._listener(options)) for options in wanted]
        except TlsError as error:
            raise StartRefused(str(error)) from None

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
            return HttpService(self._management.at(accounts, loopback=options.loopback))
        protocol = LEGACY[options.protocol]
        services = replace(self._services, accounts=accounts)
        return LegacyService(
            protocol.make_factory(services, options),
            protocol.websocket if options.websocket else None,
        )

    async def _start(self, opening: Sequence[OpenListener]) -> list[ListenError]:
        """Start all of them, or none and say why."""
        failures: list[ListenError] = []
        for each in opening:
            try:
                await each.listener.start()
            except ListenError as error:
                failures.append(error)
        if failures:
            for each in opening:
                await each.listener.close()
            return failures
        for each in opening:
            self._open[each.options.name] = each
        return []

    async def _drain(self) -> None:
        """Stop accepting everywhere, then let every connection finish, for a bounded time."""
        self._log.info("stopping", seconds_max=self._limits.drain_seconds_max)
        listeners = [*self._network_listeners(), *self._retired]
        for listener in listeners:
            await listener.stop_accepting()
        async with asyncio.TaskGroup() as group:
            for listener in listeners:
                group.create_task(listener.drain(self._limits.drain_seconds_max))

    async def _retire(self, listener: Listener) -> None:
        """End a listener that the configuration no longer has."""
        self._retired.append(listener)
        await listener.drain(self._limits.drain_seconds_max)
        await listener.close()
        self._retired.remove(listener)

    async def _close_listeners(self) -> None:
        for listener in [*self._network_listeners(), *self._retired]:
            await listener.close()
        self._open.clear()

    # -- reload

    async def _reload(self) -> None:
        try:
            loaded = await asyncio.to_thread(load, self._sources)
            self._refuse_fixed(loaded)
            check_queues(loaded, self._services.store)
            await self._listen_again(loaded)
            await declare(loaded, self._topology, self._services.store)
        except ConfigInvalid as invalid:
            for mistake in invalid.mistakes:
                self._log.error("configuration not reloaded", mistake=str(mistake))
            return
        except StartRefused as refused:
            self._log.error("configuration not reloaded", mistake=str(refused))
            return
        self._accounts.replace(_accounts_of(loaded.config, self._services.state))
        self._router.use_rules(loaded.rules)
        self._log.use_level(loaded.config.log.level)
        self._loaded = loaded
        self._log.info("configuration reloaded", file=str(loaded.file or "none"))

    def _refuse_fixed(self, loaded: Loaded) -> None:
        """Raise `ConfigInvalid` for changes that need a restart."""
        old, new = self._loaded.config, loaded.config
        changed = [name for name in NEEDS_RESTART if getattr(old, name) != getattr(new, name)]
        if old.log.format != new.log.format:
            changed.append("log")
        place = str(loaded.file or "defaults")
        message = "cannot be changed by a reload: restart the broker"
        if changed:
            raise ConfigInvalid([Mistake(place, (name,), message) for name in changed])

    async def _listen_again(self, loaded: Loaded) -> None:
        """Open, close and renew listeners; when that fails, all is as it was."""
        wanted = {options.name: options for options in loaded.listeners}
        kept = {
            name
            for name, each in self._open.items()
            if name in wanted and _same_listener(each.options, wanted[name])
        }
        opening = self._listeners_of([each for name, each in wanted.items() if name not in kept])
        renewing = [
            (each.listener.tls, files)
            for name in kept
            if (each := self._open[name]).listener.tls and (files := wanted[name].tls)
        ]
        leaving = [each for name, each in self._open.items() if name not in kept]
        for each in leaving:
            await each.listener.stop_accepting()
        before = dict(self._open)
        for each in leaving:
            del self._open[each.options.name]
        failures = await self._start(opening)
        if failures:
            self._open = before
            await self._accept_again(leaving)
            raise StartRefused(_unusable_ports(failures))
        for tls, files in renewing:
            tls.reload(tls_files(files))
        for name in kept:
            self._open[name] = replace(self._open[name], options=wanted[name])
        for each in leaving:
            self._tasks.spawn(self._retire(each.listener))

    async def _accept_again(self, stopped: Sequence[OpenListener]) -> None:
        """Undo `stop_accepting`; the connections stay with the listener that accepted them."""
        for each in stopped:
            self._retired.append(each.listener)
            try:
                fresh = self._listener(replace(each.options, port=each.listener.port))
                await fresh.start()
            except (ListenError, TlsError) as error:
                self._log.error("listener lost", listener=each.options.name, reason=str(error))
            else:
                self._open[each.options.name] = OpenListener(each.options, fresh)


def check_queues(loaded: Loaded, store: Store) -> None:
    """Raise `StartRefused` where a queue exists as something that it cannot be turned from."""
    for declared in loaded.config.queues:
        queue = store.queue(QueueName(declared.namespace, declared.name))
        if queue is not None and queue.settings.fifo is not declared.fifo:
            kind = "a FIFO queue" if queue.settings.fifo else "a standard queue"
            raise StartRefused(
                f"queue {declared.name!r} exists as {kind}, which cannot be changed:"
                " delete it, or change `fifo` in the configuration"
            )


async def declare(loaded: Loaded, topology: Topology, store: Store) -> None:
    """Make the queues and topics that the configuration names, and give queues their settings."""
    try:
        for declared in loaded.config.queues:
            name = QueueName(declared.namespace, declared.name)
            queue = await topology.ensure_queue(name, settings_of(declared, QueueSettings()))
            settings = settings_of(declared, queue.settings)
            if settings != queue.settings:
                await store.change_queue(queue, settings)
        for name in loaded.rules.queues():
            await topology.ensure_queue(name)
        for topic in loaded.rules.topics():
            await topology.declare_topic(topic)
    except MessagingError as error:
        raise StartRefused(f"a configured queue or topic cannot be made: {error}") from None


async def explanation(loaded: Loaded, publish: Publish) -> Explanation:
    """What a broker with this configuration, and nothing stored, does with a publish."""
    limits, clock = limits_of(loaded.config), SystemClock()
    with TemporaryDirectory(prefix="landbridge-") as directory:
        backend = EmbeddedBackend(Path(directory), durability="memory", clock=clock, limits=limits)
        await backend.open()
        try:
            topology = Topology(backend.store, backend.state, clock, MessageIds())
            await declare(loaded, topology, backend.store)
            return explain(Router(topology, backend.store, loaded.rules, limits=limits), publish)
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


def _accounts_of(config: Config, state: StateStore) -> list[Account]:
    """The users of the store and of the configuration, which wins over the store."""
    return [*stored_accounts(state), *_configured_accounts(config)]


def _configured_accounts(config: Config) -> list[Account]:
    return [
        Account(
            user.name,
            user.password_hash,
            user.grants(),
            None if user.tags is None else frozenset(user.tags),
        )
        for user in config.users
    ]


def _api_of(config: Config) -> ApiOptions:
    api = config.aws_api
    return ApiOptions(
        access_keys={key.id: key.secret for key in api.access_keys},
        name_reuse_seconds=api.name_reuse_seconds,
        purge_interval_seconds=api.purge_interval_seconds,
        faults=Faults(**api.simulation.model_dump()) if api.simulate == "aws" else None,
    )


def settings_of(declared: Queue, current: QueueSettings) -> QueueSettings:
    """The current settings with those that the configuration can give."""
    dead_letter = declared.dead_letter
    target: DeadLetterTarget | None = None
    if dead_letter is not None:
        if dead_letter.queue is not None:
            target = DeadLetterTarget("", dead_letter.queue)
        elif dead_letter.topic is not None:
            target = DeadLetterTarget(dead_letter.topic, dead_letter.subject)
    redrive = declared.redrive
    return msgspec.structs.replace(
        current,
        fifo=declared.fifo,
        dead_letter=target,
        return_limit=declared.return_limit,
        message_ttl_ms=declared.message_ttl_ms,
        length_max=declared.length_max,
        bytes_max=declared.bytes_max,
        overflow=Overflow(declared.overflow),
        priority_max=declared.priority_max,
        single_active_consumer=declared.single_active_consumer,
        visibility_timeout_seconds=declared.visibility_timeout_seconds,
        delay_seconds=declared.delay_seconds,
        retention_seconds=declared.retention_seconds,
        redrive=RedrivePolicy(redrive.queue, redrive.receive_count_max) if redrive else None,
    )


def _same_listener(old: ListenerOptions, new: ListenerOptions) -> bool:
    """True where only the certificates' files may differ, which are renewed in place."""
    return replace(old, tls=None) == replace(new, tls=None) and bool(old.tls) is bool(new.tls)


def _unusable_ports(failures: Sequence[ListenError]) -> str:
    """All ports that cannot be had, in one message, with what to do."""
    width = max(len(failure.listener.name) for failure in failures)
    lines = ["these ports cannot be used:"]
    for failure in failures:
        listener = failure.listener
        reason = "in use by another program" if failure.in_use else failure.reason
        lines.append(f"  {listener.name:{width}}  {listener.address}  {reason}")
    example = failures[0].listener
    if any(failure.in_use for failure in failures):
        lines.append(
            "Stop that program (`ss -ltnp` shows it), or take other ports: for all of them"
        )
        lines.append(f"  --port-offset 10000, one with --set listeners.{example.name}.port=PORT")
    else:
        lines.append(f"Give another address: --set listeners.{example.name}.bind=127.0.0.1")
    return "\n".join(lines)


def _settle_memory() -> None:
    """Keep the collector away from what lives as long as the process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)

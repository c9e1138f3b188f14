"""What gateways need when there is no socket: services over a store, a transport, a listener."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from bridge.auth import Accounts
from bridge.messaging.clock import MessageIds
from bridge.messaging.limits import Limits
from bridge.routing.dead_letters import DeadLetters
from mappings.gateway import MessageCounts, Services


@dataclass
class Recorder:
    """`Log` and `Counters` that remember."""

    lines: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    messages: MessageCounts = field(default_factory=MessageCounts)

    def connected(self, protocol: str, peer: str, *, user: str | None, client: str | None) -> None:
        self.lines.append(f"connected {user} {client}")

    def disconnected(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self.lines.append(f"disconnected {user} {client}: {reason}")

    def refused(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self.lines.append(f"refused {user}: {reason}")

    def channel_closed(
        self,
        protocol: str,
        peer: str,
        *,
        user: str | None,
        client: str | None,
        channel: int,
        operation: str | None,
        reason: str,
    ) -> None:
        self.lines.append(f"channel {channel} closed {user}: {operation}: {reason}")

    def request_refused(self, protocol: str, peer: str, *, user: str | None, reason: str) -> None:
        self.lines.append(f"refused {user}: {reason}")

    def failed(self, protocol: str, peer: str, error: BaseException) -> None:
        raise error

    def of(self, protocol: str) -> MessageCounts:
        return self.messages

    def published(self, protocol: str, count: int, size_bytes: int) -> None:
        self._count("published", count)

    def delivered(self, protocol: str, count: int, size_bytes: int) -> None:
        self._count("delivered", count)

    def settled(self, protocol: str, count: int) -> None:
        self._count("settled", count)

    def dropped(self, protocol: str, count: int) -> None:
        self._count("dropped", count)

    def login_failed(self, protocol: str) -> None:
        self._count("login_failed", 1)

    def channel_error(self, protocol: str) -> None:
        self._count("channel_error", 1)

    def _count(self, what: str, count: int) -> None:
        self.counts[what] = self.counts.get(what, 0) + count


class Line:
    """A `Transport` but for where its bytes go."""

    def __init__(self) -> None:
        self.peer = "127.0.0.1:1"
        self.local = "127.0.0.1:2"
        self.secure = False
        self.certificate_user: str | None = None
        self.loopback = True
        self.closed = False
        self.reading = True
        self.deadline_changes = 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def deadline_changed(self) -> None:
        self.deadline_changes += 1


@dataclass(frozen=True)
class Listener:
    namespace: str = "/"


class Tasks:
    """What gateways start; a task that fails does so in the test."""

    def __init__(self) -> None:
        self.running: set[asyncio.Task[None]] = set()

    def spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self.running.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.running.discard(task)
        if not task.cancelled():
            task.result()

    async def at_rest(self) -> None:
        """Wait for what runs, also on threads."""
        while self.running:
            await asyncio.gather(*self.running)


def services(
    tasks: Tasks,
    log: Recorder,
    *,
    store: Any,
    router: Any,
    clock: Any,
    accounts: Accounts | None = None,
    limits: Limits | None = None,
    message_ids: MessageIds | None = None,
    **options: Any,
) -> Services:
    """Services above a store, dead letters among them; `options` are the other fields."""
    dead_letters = DeadLetters(router, clock, tasks.spawn)
    store.use_dead_letterer(dead_letters)
    return Services(
        store=store,
        router=router,
        dead_letters=dead_letters,
        accounts=accounts or Accounts(secret=b"secret"),
        clock=clock,
        message_ids=message_ids or MessageIds(),
        limits=limits or Limits(),
        log=log,
        counters=log,
        spawn=tasks.spawn,
        **options,
    )

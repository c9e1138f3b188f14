"""The listeners of one broker: opened together, exchanged by a reload, drained and closed.

An exchange has two steps, so that whatever fails between them can undo it: `change_to` opens what
is new, `Change.keep` lets go of what is not wanted any more. A listener whose options are the same
is not touched, and its connections with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bridge.admin.log import StructuredLog
from bridge.chosen_backend import StartRefused
from bridge.config import ListenerOptions, tls_files
from bridge.net.listener import Listener, ListenError
from bridge.net.tls import ServerTls, TlsError
from mappings.gateway import StopReason


@dataclass(frozen=True, slots=True)
class OpenListener:
    """A listener with the options that it was opened with."""

    options: ListenerOptions
    listener: Listener


class Listeners:
    """All listeners, by the names of their options."""

    def __init__(
        self,
        make: Callable[[ListenerOptions], Listener],
        log: StructuredLog,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        *,
        drain_seconds_max: float,
    ) -> None:
        """`make` gives a listener that is not started. It may raise `TlsError`."""
        self._make = make
        self._log = log
        self._spawn = spawn
        self._drain_seconds_max = drain_seconds_max
        self._open: dict[str, OpenListener] = {}
        self._retired: list[Listener] = []

    @property
    def open(self) -> list[OpenListener]:
        """What accepts connections, with the ports that the system chose."""
        return list(self._open.values())

    def accepting(self) -> list[Listener]:
        return [each.listener for each in self._open.values()]

    async def start(self, wanted: Sequence[ListenerOptions]) -> None:
        """Open all of them. Raises `StartRefused`, with none of them open."""
        await self._start(self._made(wanted))

    async def change_to(self, wanted: Sequence[ListenerOptions]) -> Change:
        """Open what is new, and stop accepting at what is not wanted any more.

        Raises `StartRefused` with everything as it was.
        """
        by_name = {options.name: options for options in wanted}
        kept = {
            name
            for name, each in self._open.items()
            if name in by_name and _same_listener(each.options, by_name[name])
        }
        opening = self._made([each for name, each in by_name.items() if name not in kept])
        renewals = self._renewals([by_name[name] for name in kept])
        leaving = [each for name, each in self._open.items() if name not in kept]
        for each in leaving:
            await each.listener.stop_accepting()
            del self._open[each.options.name]
        change = Change(self, opening, leaving, renewals, [by_name[name] for name in kept])
        try:
            await self._start(opening)
        except StartRefused:
            await self._accept_again(leaving)
            raise
        return change

    async def drain(self) -> None:
        """Stop accepting everywhere, then let every connection finish, for a bounded time."""
        listeners = [*self.accepting(), *self._retired]
        for listener in listeners:
            await listener.stop_accepting()
        async with asyncio.TaskGroup() as group:
            for listener in listeners:
                group.create_task(listener.drain(self._drain_seconds_max))

    async def close(self) -> None:
        """End every connection."""
        for listener in [*self.accepting(), *self._retired]:
            await listener.close()
        self._open.clear()

    # -- of `Change`

    def renew(self, options: ListenerOptions) -> None:
        """Note the options of a listener that stays."""
        self._open[options.name] = replace(self._open[options.name], options=options)

    def retire(self, listener: Listener) -> None:
        """End a listener that the configuration no longer has, when its connections have."""
        self._retired.append(listener)
        self._spawn(self._let_finish(listener))

    async def take_back(
        self, opened: Sequence[OpenListener], stopped: Sequence[OpenListener]
    ) -> None:
        """Close what was opened, and accept again where that was stopped."""
        for each in opened:
            del self._open[each.options.name]
            await each.listener.close()
        await self._accept_again(stopped)

    # -- steps

    def _made(self, wanted: Sequence[ListenerOptions]) -> list[OpenListener]:
        try:
            return [OpenListener(options, self._make(options)) for options in wanted]
        except TlsError as error:
            raise StartRefused(str(error)) from None

    def _renewals(self, kept: Sequence[ListenerOptions]) -> list[tuple[ServerTls, ServerTls]]:
        """The TLS of listeners that stay, with what it will be."""
        renewals = []
        for options in kept:
            tls = self._open[options.name].listener.tls
            if tls is not None and options.tls is not None:
                try:
                    renewals.append((tls, ServerTls(tls_files(options.tls))))
                except TlsError as error:
                    raise StartRefused(str(error)) from None
        return renewals

    async def _start(self, opening: Sequence[OpenListener]) -> None:
        failures: list[ListenError] = []
        for each in opening:
            try:
                await each.listener.start()
            except ListenError as error:
                failures.append(error)
        if failures:
            for each in opening:
                await each.listener.close()
            raise StartRefused(_unusable_ports(failures))
        for each in opening:
            self._open[each.options.name] = each

    async def _accept_again(self, stopped: Sequence[OpenListener]) -> None:
        """Undo `stop_accepting`; the connections stay with the listener that accepted them."""
        for each in stopped:
            self._retired.append(each.listener)
            try:
                fresh = self._make(replace(each.options, port=each.listener.port))
                await fresh.start()
            except (ListenError, TlsError) as error:
                self._log.error("listener lost", listener=each.options.name, reason=str(error))
            else:
                self._open[each.options.name] = OpenListener(each.options, fresh)

    async def _let_finish(self, listener: Listener) -> None:
        await listener.drain(self._drain_seconds_max, StopReason.LISTENER_REMOVED)
        await listener.close()
        self._retired.remove(listener)


@dataclass(frozen=True, slots=True)
class Change:
    """An exchange of listeners that can still be undone. `keep` it or `undo` it, once."""

    listeners: Listeners
    opened: list[OpenListener]
    leaving: list[OpenListener]
    renewals: list[tuple[ServerTls, ServerTls]]
    kept: list[ListenerOptions]

    def keep(self) -> None:
        for tls, fresh in self.renewals:
            tls.adopt(fresh)
        for options in self.kept:
            self.listeners.renew(options)
        for each in self.leaving:
            self.listeners.retire(each.listener)

    async def undo(self) -> None:
        await self.listeners.take_back(self.opened, self.leaving)


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
        lines.append(f"  --port-offset 100, one with --set listeners.{example.name}.port=PORT")
    else:
        lines.append(f"Give another address: --set listeners.{example.name}.bind=127.0.0.1")
    return "\n".join(lines)

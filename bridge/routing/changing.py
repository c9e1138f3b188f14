"""Changes of the catalogue in the store: submitted as units of work, undone where they are refused.

A change is applied when it is submitted, so that later calls of the same loop see it, and undone if
the store refuses it; where another node was first, it is decided again on what that one left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar

from bridge.messaging.errors import StateConflict
from bridge.messaging.model import StateChange, TopicName, UnitOfWork
from bridge.messaging.ports import StateStore, Store
from bridge.routing.catalogue import KIND_SUBSCRIPTION
from bridge.routing.following import FollowedTables

CONFLICTS_MAX: Final = 20
"""How often a change is tried again because another node was first."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Operation = Callable[_Arguments, Coroutine[Any, Any, _Result]]


def again_after_conflict(
    operation: _Operation[_Arguments, _Result],
) -> _Operation[_Arguments, _Result]:
    """Look again, and decide again, where another node changed something first."""

    @wraps(operation)
    async def decided(*arguments: _Arguments.args, **given: _Arguments.kwargs) -> _Result:
        for _ in range(CONFLICTS_MAX):
            try:
                return await operation(*arguments, **given)
            except StateConflict:
                continue
        return await operation(*arguments, **given)

    return decided


class Change:
    """What one change writes, and how to take it back.

    `removing` are the topics that go with it: each is taken out once, also in a circle.
    """

    __slots__ = ("removing", "state", "undo")

    def __init__(self) -> None:
        self.removing: set[TopicName] = set()
        self.state: list[StateChange] = []
        self.undo: list[Callable[[], None]] = []


class ChangedTables(FollowedTables):
    """Tables whose changes are in the store before they are answered."""

    def __init__(self, store: Store, state: StateStore) -> None:
        super().__init__(store, state)
        self._pending: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def _commit(self, change: Change) -> None:
        """Submit a change and wait for the store; raises its error after everything was undone."""
        if not change.state:
            return
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        keys = [(each.kind, each.key) for each in change.state]
        for key in keys:
            self._pending[key] = answer

        def done(unit: UnitOfWork) -> None:
            for key in keys:
                if self._pending.get(key) is answer:
                    del self._pending[key]
            if unit.error is None:
                answer.set_result(None)
                return
            for undo in reversed(change.undo):
                undo()
            if isinstance(unit.error, StateConflict):
                self._look_again(keys, change)
            answer.set_exception(unit.error)
            answer.exception()  # It counts as seen though whoever waited may be gone.

        unit = UnitOfWork(done, answered=True)
        unit.agreed = True
        unit.state = [*self._stale, *change.state]
        self._stale = []
        self._store.submit(unit)
        await asyncio.shield(answer)

    def _look_again(self, keys: Iterable[tuple[str, str]], change: Change) -> None:
        """A change was undone because another node was first: go by what that one left."""
        self._follow(StateChange(kind, key, self._state.get(kind, key)) for kind, key in keys)
        if change.removing:
            # What was subscribed elsewhere to a topic that seemed to be gone.
            stored = self._state.scan(KIND_SUBSCRIPTION)
            self._follow(StateChange(KIND_SUBSCRIPTION, key, value) for key, value in stored)

    async def _until_stored(self, kind: str, key: str) -> None:
        """Wait for what another caller submitted, so that no answer is earlier than the store's."""
        pending = self._pending.get((kind, key))
        if pending is not None:
            await asyncio.shield(pending)

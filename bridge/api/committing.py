"""Outcomes that are known once a unit of work has been committed. On the hot path.

An action that has nothing to wait for but its own commit needs no coroutine: it hands over the unit
and what makes the result of it, and the store's callback makes the answer. Awaited, such an outcome
is a coroutine's like any other.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from bridge.messaging.commits import committed
from bridge.net.steps import Pending

if TYPE_CHECKING:
    from bridge.messaging.model import UnitOfWork
    from bridge.messaging.ports import Store
    from bridge.net.http_messages import HttpResponse

R = TypeVar("R")


class Committing(Generic[R]):
    """The outcome of an action that ends with the commit of `unit`.

    `result` makes the action's result of the unit that was answered; it raises the error of an
    action that failed. What failed all of the unit it is not asked about.
    """

    __slots__ = ("result", "store", "unit")

    def __init__(self, store: Store, unit: UnitOfWork, result: Callable[[UnitOfWork], R]) -> None:
        self.store = store
        self.unit = unit
        self.result = result

    def __await__(self) -> Generator[Any, None, R]:
        yield from committed(self.store, self.unit).__await__()
        return self.result(self.unit)


class CommittedResponse(Pending):
    """The response to an action that ends with a commit; `respond` makes it, and never raises."""

    __slots__ = ("_outcome", "_respond")

    def __init__(
        self, outcome: Committing[Any], respond: Callable[[Committing[Any]], HttpResponse]
    ) -> None:
        self._answer = None
        self._outcome = outcome
        self._respond = respond
        outcome.unit.done = self._done
        # Which answers on a later turn of the loop: not before this was started.
        outcome.store.submit(outcome.unit)

    def _done(self, _: UnitOfWork) -> None:
        if self._answer is not None:
            self._answer(self._respond(self._outcome))

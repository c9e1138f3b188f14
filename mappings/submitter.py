"""The half of a gateway that faces the store: its units of work, and the answers to them.

However the store answers, a client hears in the order of its requests (`OrderedAnswers`). What was
submitted and is not answered is counted, for the bounds above which no more is read.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import msgspec

from bridge.messaging.model import Delivery, Publish, UnitOfWork
from bridge.routing.router import Routed
from mappings.gateway import Services, Transport

Answer = Callable[[UnitOfWork], list[bytes]]
"""Makes the answers to a unit of work; also where a failed unit is turned into an error."""

SENDS_PER_UNIT_MAX: Final = 2_000
"""Sends of publishes to many queues that become one unit of work."""


class Submitter(ABC):
    """The base of `ConnectionGateway`, which has the other half: events, flow and the end."""

    __slots__ = (
        "_all_answered",
        "_answers",
        "_outstanding",
        "_room",
        "_unanswered_bytes",
        "_unanswered_messages",
        "lost",
        "services",
        "transport",
    )

    def __init__(self, services: Services, transport: Transport) -> None:
        self.services = services
        self.transport = transport
        self.lost = False
        """The transport is gone; nothing can be written any more."""
        self._answers = OrderedAnswers()
        self._outstanding = 0
        """Units that were not answered."""
        self._unanswered_messages = 0
        self._unanswered_bytes = 0
        self._all_answered: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    # -- to be implemented by the other half

    @abstractmethod
    def _check_flow(self) -> None:
        """More or less is unanswered than before."""

    @abstractmethod
    def _answer_written(self) -> None:
        """A unit is done with: what has waited for that goes on."""

    @abstractmethod
    def _fail(self, error: Exception) -> None:
        """A bug here: it costs this connection, and no other."""

    # -- for the protocol's gateway

    def submit(
        self,
        unit: UnitOfWork,
        answer: Answer,
        *,
        messages: int = 0,
        size_bytes: int = 0,
        in_order: bool = True,
    ) -> None:
        """Submit a unit of work; what `answer` returns is written in order of submission.

        `messages` and `size_bytes` count against the bounds on unanswered publishes. Not
        `in_order`: nobody waits for the unit, so later answers do not wait for it either.
        """
        slot = self._answers.expect() if in_order else None
        self._outstanding += 1
        self._unanswered_messages += messages
        self._unanswered_bytes += size_bytes
        unit.done = partial(self._answered, slot, answer, messages, size_bytes)
        self.services.store.submit(unit)
        if self._too_much_unanswered():
            self._check_flow()

    def route(self, publishes: Sequence[Publish], unit: UnitOfWork) -> Routed:
        """Route as many of a chunk's publishes as one unit takes; see `Router.route`.

        The others wait for `room`: what a few bytes on the wire can make is bounded.
        """
        return self.services.router.route(publishes, unit, SENDS_PER_UNIT_MAX)

    def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give back what the client did not work on, which does not count as a return."""
        if deliveries:
            unit = UnitOfWork()
            unit.releases += deliveries
            self.services.store.submit(unit)

    def answer_in_order(self, answers: list[bytes]) -> None:
        """Write an answer that needs no store, behind those that are waited for."""
        if answers:
            self.write(self._answers.answered(self._answers.expect(), answers))

    def write(self, data: Sequence[bytes]) -> None:
        """Write frames that the protocol's gateway encoded."""
        if not self.lost:
            self.transport.write(data)

    async def all_answered(self) -> None:
        """Wait until the answers to all that was submitted are written."""
        if len(self._answers) and not self.lost:
            self._all_answered = asyncio.get_running_loop().create_future()
            await self._all_answered

    async def room(self) -> None:
        """Wait until few enough of what was submitted is unanswered to submit more."""
        if not (self._has_room() or self.lost):
            self._room = asyncio.get_running_loop().create_future()
            await self._room

    @property
    def unanswered_count(self) -> int:
        """Messages, for management."""
        return self._unanswered_messages

    # -- answers

    def _answered(
        self,
        slot: AnswerSlot | None,
        answer: Answer,
        messages: int,
        size_bytes: int,
        unit: UnitOfWork,
    ) -> None:
        self._unanswered_messages -= messages
        self._unanswered_bytes -= size_bytes
        if self.lost:
            return
        try:
            answers = answer(unit)
        except Exception as error:  # noqa: BLE001 - a bug here ends this connection and no other
            answers = []
            self._fail(error)
        if slot is not None:
            answers = self._answers.answered(slot, answers)
            if answers and not self.lost:
                self.transport.write(answers)
            if self._all_answered is not None and not len(self._answers):
                _wake(self._all_answered)
                self._all_answered = None
        # Only now, so that an answer which ends the connection leaves behind the others.
        self._outstanding -= 1
        if self._room is not None and self._has_room():
            _wake(self._room)
            self._room = None
        self._answer_written()

    def _end_waiting(self) -> None:
        """Nothing is answered any more that somebody could wait for."""
        _wake(self._all_answered)
        _wake(self._room)

    # -- bounds

    def _too_much_unanswered(self) -> bool:
        limits = self.services.limits
        return (
            self._unanswered_messages > limits.unanswered_messages_max
            or self._unanswered_bytes > limits.unanswered_bytes_max
        )

    def _has_room(self) -> bool:
        limits = self.services.limits
        # Half of each bound, so that reading does not stop and start with every unit.
        return (
            2 * self._unanswered_messages <= limits.unanswered_messages_max
            and 2 * self._unanswered_bytes <= limits.unanswered_bytes_max
        )


class OrderedAnswers:
    """Confirms in publish order, though units of work may be answered out of order.

    `expect` hands out a slot per unit; `answered` returns the answers that may now leave, in order.
    """

    __slots__ = ("_slots",)

    def __init__(self) -> None:
        # A list is a tenth of an empty deque, and there are few slots at a time.
        self._slots: list[AnswerSlot] = []

    def __len__(self) -> int:
        return len(self._slots)

    def expect(self) -> AnswerSlot:
        slot = AnswerSlot()
        self._slots.append(slot)
        return slot

    def answered(self, slot: AnswerSlot, answers: list[bytes]) -> list[bytes]:
        """Note what `slot` has to say; return all that is no longer behind an open one."""
        slots = self._slots
        if slots[0] is not slot:
            slot.answers = answers
            return []
        if len(slots) == 1:
            slots.clear()
            return answers
        slot.answers = answers
        leaving: list[bytes] = []
        count = 0
        for waiting in slots:
            if waiting.answers is None:
                break
            leaving += waiting.answers
            count += 1
        del slots[:count]
        return leaving


class AnswerSlot(msgspec.Struct, eq=False):
    """One unit's place in the order of answers; `answers` is None until it was answered."""

    answers: list[bytes] | None = None


def _wake(waiting: asyncio.Future[None] | None) -> None:
    if waiting is not None and not waiting.done():
        waiting.set_result(None)

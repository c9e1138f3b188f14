"""What all parts of the backend at this node share: services, clock, bounds, tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.backends.aws.limits import AwsLimits
from bridge.backends.aws.payloads import Payloads
from bridge.backends.aws.service import Service
from bridge.backends.aws.tasks import Tasks, attempt, repeat

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock
    from bridge.messaging.model import UnitOfWork


@dataclass(slots=True)
class Node:
    """One node's side of the backend."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    limits: AwsLimits
    sqs: Service
    sns: Service
    dynamodb: Service
    tasks: Tasks
    payloads: Payloads
    opened: bool = False

    def control_deadline(self, service: Service) -> float:
        """When a call that makes, reads or changes things is given up (monotonic)."""
        limits = self.limits
        return service.deadline_in(
            limits.state_seconds_max if self.opened else limits.open_seconds_max
        )

    def part_done(self, unit: UnitOfWork) -> None:
        """One thing that `unit` waited for has been answered; the last one answers the unit."""
        unit.remaining -= 1
        if unit.remaining == 0 and unit.done is not None:
            self.call(unit.done, unit)

    def call(self, callback: Callable[[Any], None], argument: Any) -> None:
        """Call out; a mistake of one callee must not cost the others their turn."""
        try:
            callback(argument)
        except Exception as error:  # noqa: BLE001 - reported, with its traceback
            self.report(f"{callback!r} failed in the store's turn", error)

    async def repeat(
        self, failed: str, pause_seconds: Callable[[], float], turn: Callable[[], Awaitable[None]]
    ) -> None:
        """See `tasks.repeat`; `failed` is what is said of a turn that made a mistake."""
        await repeat(pause_seconds, turn, lambda error: self.report(failed, error))

    async def attempt(self, failed: str, turn: Callable[[], Awaitable[None]]) -> None:
        """See `tasks.attempt`; `failed` is what is said of a mistake."""
        await attempt(turn, lambda error: self.report(failed, error))

    def report(self, message: str, error: Exception) -> None:
        """Tell of a mistake in here that must not end what goes on for ever."""
        self.loop.call_exception_handler({"message": message, "exception": error})

"""Putting the faults around an API: its store, its catalogue, its actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from bridge.api.simulation.actions import Turbulence
from bridge.api.simulation.faults import Dice, Faults
from bridge.api.simulation.late import LateSettings, LateTopology, Spawn
from bridge.api.simulation.listing import LateViews
from bridge.api.simulation.receiving import SimulatedStore

if TYPE_CHECKING:
    from bridge.api.call import Call
    from bridge.api.operation import Handler, Operation
    from bridge.messaging.clock import Clock
    from bridge.messaging.ports import StateStore, Store
    from bridge.routing.topology import Topology

_CHANGING: Final = frozenset(
    {"SetQueueAttributes", "AddPermission", "RemovePermission", "TagQueue", "UntagQueue"}
)
"""Actions that make new settings out of a queue's present ones."""


class Simulation:
    """The faults of one API. `store` and `topology` are what its actions are to see."""

    def __init__(
        self,
        faults: Faults,
        store: Store,
        state: StateStore,
        topology: Topology,
        clock: Clock,
        spawn: Spawn,
    ) -> None:
        self._dice = dice = Dice(faults)
        self._settings = LateSettings(store, state, dice, spawn)
        self._late_topology = LateTopology(topology, dice, spawn)
        self._views = LateViews(dice, clock)
        self._turbulence = Turbulence(dice, clock, topology)
        # Both pass on all that they do not change.
        self.store = cast("Store", SimulatedStore(store, dice, clock, self._settings.change))
        self.topology = cast("Topology", self._late_topology)

    @property
    def faults(self) -> Faults:
        return self._dice.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._dice.faults = faults

    def resume(self) -> None:
        """Let changes take effect that a stop has kept from it. Called once."""
        self._settings.resume()
        self._late_topology.resume()

    def around(
        self, operations: Mapping[str, Operation[Any]], *, sns: bool
    ) -> dict[str, Operation[Any]]:
        """The same actions, as they go in bad times."""
        return {name: self._around(each, sns=sns) for name, each in operations.items()}

    def _around(self, operation: Operation[Any], *, sns: bool) -> Operation[Any]:
        handler = operation.handler
        if not sns:
            handler = self._views.around(operation.name, handler)
            if operation.name in _CHANGING:
                handler = self._settled(handler)
        return operation.carried_out_by(self._turbulence.around(operation, handler, sns=sns))

    def _settled(self, handler: Handler[Any]) -> Handler[Any]:
        async def handle(service: Any, call: Call, request: Any) -> Any:
            await self._settings.settle(service.directory.by_url(request.queue_url))
            return await handler(service, call, request)

        return handle

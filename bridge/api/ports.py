"""What the API stands on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock, MessageIds
    from bridge.messaging.ports import Leases, StateStore, Store
    from bridge.routing.router import Router
    from bridge.routing.topology import Topology
    from mappings.gateway import Counters, Log


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiPorts:
    """What the composition root gives to the API."""

    store: Store
    state: StateStore
    topology: Topology
    router: Router
    clock: Clock
    message_ids: MessageIds
    log: Log
    counters: Counters
    leases: Leases
    spawn: Callable[[Coroutine[Any, Any, None]], None]
    """Runs what outlives a request, in a task group that ends with the process."""

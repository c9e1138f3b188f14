"""What the management API shows, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from bridge.admin.metrics import MessageCounters
from bridge.auth import Accounts
from bridge.messaging.clock import Clock
from bridge.messaging.ports import Store
from bridge.net.listener import Listener
from bridge.routing.topology import Topology
from mappings.connections import Connections
from mappings.gateway import Log, Services

Json: TypeAlias = dict[str, Any]

PROTOCOL: Final = "management"
"""What the API is called in the log and in metrics."""
RABBITMQ_VERSION: Final = "3.13.7"
"""Whose API this is; clients choose by it what they ask for."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What stays the same while the broker runs."""

    name: str
    version: str
    data_directory: Path
    started_at: float
    """Monotonic seconds."""


class ConfiguredNames(NamedTuple):
    """What is the configuration's, which this API does not change."""

    users: frozenset[str]
    namespaces: frozenset[str]
    namespaces_used: frozenset[str]
    """Those that its listeners and queues are in, whoever made them."""


@dataclass(frozen=True, slots=True)
class ManagementSources:
    """Given by the composition root."""

    node: NodeFacts
    services: Services
    counters: MessageCounters
    listeners: Callable[[], Collection[Listener]]
    certificates: Callable[[], Collection[tuple[str, Path]]]
    """Listeners with TLS, and the files of their certificates."""
    configured: Callable[[], ConfiguredNames]
    tenants_changed: Callable[[], None]
    """Have the stored users and namespaces gone by, as they are now."""

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def topology(self) -> Topology:
        return self.services.topology

    @property
    def accounts(self) -> Accounts:
        return self.services.accounts

    @property
    def namespaces(self) -> set[str]:
        return self.services.namespaces

    @property
    def connections(self) -> Connections:
        return self.services.connections

    @property
    def log(self) -> Log:
        return self.services.log

    @property
    def clock(self) -> Clock:
        return self.services.clock

    def store_healthy(self) -> bool:
        return self.services.store_healthy()

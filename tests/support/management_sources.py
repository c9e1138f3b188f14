"""What a management handler stands on, above a broker in memory."""

from __future__ import annotations

from pathlib import Path

from bridge.admin.management import ConfiguredNames, ManagementSources, NodeFacts
from bridge.admin.metrics import MessageCounters
from bridge.auth.stored import stored_accounts, stored_namespaces
from tests.support.broker import MemoryBroker


def management_sources(broker: MemoryBroker) -> ManagementSources:
    """Sources of a broker that has no configuration."""
    services = broker.services

    def look() -> None:
        services.accounts.replace(stored_accounts(services.state))
        services.namespaces.clear()
        services.namespaces.update({"/", *stored_namespaces(services.state)})

    return ManagementSources(
        node=NodeFacts("landbridge@test", "0", Path(), 0.0),
        services=services,
        counters=MessageCounters(),
        listeners=list,
        certificates=list,
        configured=lambda: ConfiguredNames(frozenset(), frozenset({"/"}), frozenset()),
        tenants_changed=look,
    )

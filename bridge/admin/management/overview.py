"""The broker as a whole: overview, the one node, virtual hosts."""

from __future__ import annotations

import os
import shutil
from typing import Final

from bridge.admin.management.access import Viewer
from bridge.admin.management.catalogue import Catalogue
from bridge.admin.management.live import Live
from bridge.admin.management.sources import PROTOCOL, RABBITMQ_VERSION, Json, ManagementSources
from bridge.admin.management.vhosts import description_of
from bridge.auth.stored import StoredNamespace, stored_namespace

_EXCHANGE_TYPES: Final = [
    {"name": name, "description": f"AMQP {name} exchange", "enabled": True}
    for name in ("direct", "fanout", "headers", "topic", "x-delayed-message")
]
_AUTH_MECHANISMS: Final = [
    {"name": name, "description": f"SASL {name} authentication mechanism", "enabled": True}
    for name in ("PLAIN", "AMQPLAIN", "EXTERNAL")
]
_LISTENER_NAMES: Final = {"management": "http", "aws": "http/aws", "metrics": "http/metrics"}
_RATE_SECONDS_MIN: Final = 1.0


class Rates:
    """Rates between the last two looks, for all viewers together."""

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._rates: dict[str, float] = {}
        self._at: float | None = None

    def look(self, totals: dict[str, int], now: float) -> dict[str, float]:
        """Rates per second of what only grows; looks that follow at once repeat the last."""
        if self._at is None or now - self._at >= _RATE_SECONDS_MIN:
            if self._at is not None:
                seconds = now - self._at
                before = self._totals
                self._rates = {
                    name: (count - before.get(name, 0)) / seconds for name, count in totals.items()
                }
            self._totals, self._at = totals, now
        return {name: self._rates.get(name, 0.0) for name in totals}


async def overview(
    sources: ManagementSources, viewer: Viewer, rates: Rates, catalogue: Catalogue, live: Live
) -> Json:
    """`/api/overview`."""
    queues = await catalogue.queues()
    totals = {
        name: sum(queue[name] for queue in queues)
        for name in ("messages", "messages_ready", "messages_unacknowledged")
    }
    channels = live.channels()
    shown = {
        **versions(sources),
        "management_version": RABBITMQ_VERSION,
        "rates_mode": "basic",
        "exchange_types": _EXCHANGE_TYPES,
        "cluster_name": sources.node.name,
        "node": sources.node.name,
        "erlang_version": "none",
        "disable_stats": False,
        "enable_queue_totals": False,
        "statistics_db_event_queue": 0,
        "message_stats": _message_stats(sources, rates),
        "queue_totals": totals,
        "object_totals": {
            "channels": len(channels),
            "connections": len(live.connections()),
            "consumers": sum(queue["consumers"] for queue in queues),
            "exchanges": len(catalogue.exchanges()),
            "queues": len(queues),
        },
    }
    if viewer.sees_all_connections:
        shown["listeners"] = listeners(sources)
        shown["contexts"] = [{"node": sources.node.name, **each} for each in _contexts(sources)]
    return shown


def versions(sources: ManagementSources) -> Json:
    """Whose API this is, and whose broker."""
    return {
        "rabbitmq_version": RABBITMQ_VERSION,
        "product_name": "Landbridge",
        "product_version": sources.node.version,
    }


def _message_stats(sources: ManagementSources, rates: Rates) -> Json:
    counted = sources.counters.protocols.values()
    totals = {
        "publish": sum(each.published for each in counted),
        "deliver_get": sum(each.delivered for each in counted),
        "ack": sum(each.settled for each in counted),
    }
    current = rates.look(totals, sources.clock.monotonic())
    stats: Json = {}
    for name, count in totals.items():
        stats[name] = count
        stats[f"{name}_details"] = {"rate": round(current[name], 2)}
    return stats


def listeners(sources: ManagementSources) -> list[Json]:
    """What is bound, under RabbitMQ's names of protocols."""
    shown = []
    for listener in sources.listeners():
        name = _LISTENER_NAMES.get(listener.protocol, listener.protocol)
        shown.append(
            {
                "node": sources.node.name,
                "protocol": f"{name}/ssl" if listener.tls else name,
                "ip_address": listener.bind,
                "port": listener.port,
                "socket_opts": {},
            }
        )
    return shown


def _contexts(sources: ManagementSources) -> list[Json]:
    """Where this API is."""
    return [
        {
            "description": "RabbitMQ Management",
            "path": "/",
            "ip": listener.bind,
            "port": str(listener.port),
        }
        for listener in sources.listeners()
        if listener.protocol == PROTOCOL
    ]


def node(sources: ManagementSources) -> Json:
    """The one node of `/api/nodes`."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    connections = sum(listener.connection_count for listener in sources.listeners())
    descriptors_max = os.sysconf("SC_OPEN_MAX")
    return {
        "name": sources.node.name,
        "type": "disc",
        "running": True,
        "being_drained": False,
        "os_pid": str(os.getpid()),
        "uptime": int((sources.clock.monotonic() - sources.node.started_at) * 1000),
        "processors": os.cpu_count() or 1,
        "rates_mode": "basic",
        "partitions": [],
        "mem_used": _memory_used(),
        "mem_limit": pages,
        "mem_alarm": False,
        "disk_free": _disk_free(sources),
        "disk_free_limit": 0,
        "disk_free_alarm": not sources.store_healthy(),
        "fd_used": _descriptors(),
        "fd_total": descriptors_max,
        "sockets_used": connections,
        "sockets_total": descriptors_max,
        "proc_used": 1,
        "proc_total": 1,
        "run_queue": 0,
        "exchange_types": _EXCHANGE_TYPES,
        "auth_mechanisms": _AUTH_MECHANISMS,
        "applications": [
            {
                "name": "landbridge",
                "description": "Landbridge",
                "version": sources.node.version,
            }
        ],
        "enabled_plugins": ["rabbitmq_management"],
        "db_dir": str(sources.node.data_directory),
        "contexts": _contexts(sources),
        "cluster_links": [],
    }


def _memory_used() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a file of the kernel
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _descriptors() -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - no directory of files
    except OSError:
        return 0


def _disk_free(sources: ManagementSources) -> int:
    try:
        return shutil.disk_usage(sources.node.data_directory).free
    except OSError:
        return 0


async def vhosts(sources: ManagementSources, catalogue: Catalogue) -> list[Json]:
    """`/api/vhosts`."""
    queues = await catalogue.queues()
    shown = []
    for name in catalogue.namespaces:
        own = [queue for queue in queues if queue["vhost"] == name]
        kept = stored_namespace(sources.services.state, name) or StoredNamespace()
        described = {"description": description_of(name, kept), "tags": kept.tags}
        shown.append(
            {
                "name": name,
                **described,
                "default_queue_type": "classic",
                "metadata": described,
                "tracing": False,
                "cluster_state": {sources.node.name: "running"},
                **{
                    count: sum(queue[count] for queue in own)
                    for count in ("messages", "messages_ready", "messages_unacknowledged")
                },
            }
        )
    return shown

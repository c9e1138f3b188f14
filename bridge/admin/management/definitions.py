"""`/api/definitions`, of the broker or of one virtual host: what a RabbitMQ could import.

Only what outlasts the process is in it, as in RabbitMQ's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bridge.admin.management.access import Viewer
from bridge.admin.management.accounts import (
    permissions_shown,
    policy_shown,
    topic_permissions_shown,
    user_shown,
)
from bridge.admin.management.catalogue import Catalogue, is_durable
from bridge.admin.management.overview import versions
from bridge.admin.management.sources import RABBITMQ_VERSION, Json, ManagementSources

_QUEUE: Final = ("name", "durable", "auto_delete", "arguments")
_EXCHANGE: Final = ("name", "type", "durable", "auto_delete", "internal", "arguments")
_BINDING: Final = ("source", "destination", "destination_type", "routing_key", "arguments")


def definitions(
    sources: ManagementSources, viewer: Viewer, catalogue: Catalogue, namespace: str | None
) -> Json:
    """All definitions, or those of one virtual host, which then stands nowhere in them."""
    shown: Json = {"rabbit_version": RABBITMQ_VERSION, **versions(sources)}
    if namespace is None:
        shown |= _people(sources, viewer, catalogue)
    policies = [
        each
        for each in sources.topology.policies.all
        if each.namespace in catalogue.namespaces and namespace in {None, each.namespace}
    ]
    shown["parameters"] = [
        {
            "component": "operator_policy",
            "name": each.name,
            "vhost": each.namespace,
            "value": {
                key: value
                for key, value in policy_shown(each).items()
                if key not in {"name", "vhost"}
            },
        }
        for each in policies
        if each.operator
    ]
    shown["policies"] = [policy_shown(each) for each in policies if not each.operator]
    return shown | _objects(catalogue, namespace)


def _people(sources: ManagementSources, viewer: Viewer, catalogue: Catalogue) -> Json:
    accounts, names = sources.accounts.accounts, catalogue.namespaces
    return {
        "users": [user_shown(each, hashes=viewer.administrator) for each in accounts],
        "vhosts": [{"name": name} for name in names],
        "permissions": [row for each in accounts for row in permissions_shown(each, names)],
        "topic_permissions": [
            row for each in accounts for row in topic_permissions_shown(each, names)
        ],
        "global_parameters": [],
    }


def _objects(catalogue: Catalogue, namespace: str | None) -> Json:
    queues = [
        {
            "name": queue.name.name,
            "vhost": queue.name.namespace,
            "durable": True,
            "auto_delete": queue.settings.auto_delete,
            "arguments": queue.settings.arguments,
        }
        for queue in catalogue.queue_handles(namespace)
        if is_durable(queue)
    ]
    exchanges = [
        each
        for each in catalogue.exchanges(namespace)
        if each["durable"] and each["name"] and not each["name"].startswith("amq.")
    ]
    lasting = {(each["vhost"], each["name"]) for each in queues}
    bindings = [
        each
        for each in catalogue.bindings(namespace)
        if each["source"]
        and (
            each["destination_type"] == "exchange"
            or (each["vhost"], each["destination"]) in lasting
        )
    ]
    whole = namespace is None
    return {
        "queues": _columns(queues, _QUEUE, whole=whole),
        "exchanges": _columns(exchanges, _EXCHANGE, whole=whole),
        "bindings": _columns(bindings, _BINDING, whole=whole),
    }


def _columns(items: Sequence[Json], columns: Sequence[str], *, whole: bool) -> list[Json]:
    wanted = (*columns, "vhost") if whole else columns
    return [{name: item[name] for name in wanted} for item in items]

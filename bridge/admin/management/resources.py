"""From the path of a request to what it names: the table of the API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from bridge.admin.management import health
from bridge.admin.management.access import Viewer
from bridge.admin.management.accounts import (
    permissions_shown,
    policy_shown,
    topic_permissions_shown,
    user_shown,
)
from bridge.admin.management.catalogue import Catalogue
from bridge.admin.management.definitions import definitions
from bridge.admin.management.live import Live, named
from bridge.admin.management.overview import Rates, node, overview, vhosts
from bridge.admin.management.sources import Json, ManagementSources
from bridge.auth import Account
from bridge.messaging.model import QueueName, TopicName

Answer: TypeAlias = Json | list[Json] | tuple[int, Json] | None
"""An object, a list that can be paged, a status with an object, or nothing: 404."""


class Resources:
    """Answers one request of one viewer."""

    def __init__(self, sources: ManagementSources, viewer: Viewer, rates: Rates) -> None:
        self._sources = sources
        self._viewer = viewer
        self._rates = rates
        self._catalogue = Catalogue(sources, viewer)
        self._live = Live(sources, viewer)

    async def find(self, path: Sequence[str]) -> Answer:  # noqa: PLR0911 - a table
        """What a path below `/api/` names. Raises `AccessRefused`, `BadRequest`."""
        match path:
            case ["overview"]:
                return await overview(
                    self._sources, self._viewer, self._rates, self._catalogue, self._live
                )
            case ["whoami"]:
                tags = sorted(self._viewer.tags or ())
                return {"name": self._viewer.user.name, "tags": tags}
            case ["cluster-name"]:
                return {"name": self._sources.node.name}
            case ["nodes", *rest]:
                return self._nodes(rest)
            case ["health", "checks", *rest]:
                return health.health_check(self._sources, rest)
            case ["healthchecks", "node", *_]:
                return health.health_check(self._sources, ["alarms"])
            case ["aliveness-test", vhost]:
                known = self._knows(vhost)
                return health.health_check(self._sources, ["alarms"]) if known else None
            case ["queues" | "exchanges" | "bindings" as kind, *rest]:
                if rest and not self._knows(rest[0]):
                    return None
                return await self._find_in_catalogue(kind, rest)
            case ["connections" | "channels" | "consumers" as kind, *rest]:
                return self._find_live(kind, rest)
            case ["vhosts", *rest]:
                return await self._vhosts(rest)
            case ["definitions"]:
                self._viewer.require_administrator()
                return definitions(self._sources, self._viewer, self._catalogue, None)
            case ["definitions", vhost]:
                self._viewer.require_administrator()
                if not self._knows(vhost):
                    return None
                return definitions(self._sources, self._viewer, self._catalogue, vhost)
            case _:
                return self._find_settings(path)

    def _knows(self, vhost: str) -> bool:
        return vhost in self._sources.namespaces and self._viewer.sees(vhost)

    def _nodes(self, rest: Sequence[str]) -> Answer:
        self._viewer.require_monitor()
        match rest:
            case []:
                return [node(self._sources)]
            case [name] if name == self._sources.node.name:
                return node(self._sources)
        return None

    async def _vhosts(self, rest: Sequence[str]) -> Answer:
        match rest:
            case []:
                return await vhosts(self._sources, self._catalogue)
            case [name]:
                return named(await vhosts(self._sources, self._catalogue), name)
            case [name, "permissions"] if self._knows(name):
                return _all_of(self._permissions(), {"vhost": name})
            case [name, "topic-permissions"] if self._knows(name):
                return _all_of(self._topic_permissions(), {"vhost": name})
            case [name, "connections"] if self._knows(name):
                return self._live.connections(name)
            case [name, "channels"] if self._knows(name):
                return self._live.channels(name)
        return None

    # -- queues, exchanges, bindings

    async def _find_in_catalogue(  # noqa: PLR0911 - a table
        self, kind: str, rest: Sequence[str]
    ) -> Answer:
        catalogue = self._catalogue
        match kind, rest:
            case "queues", [] | [_]:
                return await catalogue.queues(*rest)
            case "queues", [vhost, name]:
                return await self._queue(QueueName(vhost, name))
            case "queues", [vhost, name, "bindings"]:
                queue = self._sources.store.queue(QueueName(vhost, name))
                return None if queue is None else catalogue.bindings_to_queue(queue.name)
            case "exchanges", [] | [_]:
                return catalogue.exchanges(*rest)
            case "exchanges", [vhost, name]:
                return catalogue.exchange(_topic(vhost, name))
            case "exchanges", [vhost, name, "bindings", "source" | "destination" as end]:
                if catalogue.exchange(_topic(vhost, name)) is None:
                    return None
                if end == "source":
                    return catalogue.bindings_from(_topic(vhost, name))
                return catalogue.bindings_to_exchange(_topic(vhost, name))
            case "bindings", [] | [_]:
                return catalogue.bindings(*rest)
            case "bindings", [vhost, "e", source, "q" | "e" as to, target, *key]:
                return self._bindings(_topic(vhost, source), to, target, key)
        return None

    async def _queue(self, name: QueueName) -> Answer:
        queue = await self._catalogue.queue(name)
        if queue is not None:
            queue["consumer_details"] = self._live.consumers(name.namespace, name)
        return queue

    def _bindings(self, source: TopicName, to: str, target: str, key: Sequence[str]) -> Answer:
        if to == "e" and target == "amq.default":
            target = ""
        if len(key) == 1:
            return self._catalogue.binding(source, to, target, key[0])
        kind = "queue" if to == "q" else "exchange"
        found = [
            each
            for each in self._catalogue.bindings_from(source)
            if (each["destination_type"], each["destination"]) == (kind, target)
        ]
        return None if key else found

    # -- connections, channels, consumers

    def _find_live(self, kind: str, rest: Sequence[str]) -> Answer:
        match kind, rest:
            case "connections", []:
                return self._live.connections()
            case "connections", ["username", user]:
                return [each for each in self._live.connections() if each["user"] == user]
            case "connections", [name]:
                return named(self._live.connections(), name)
            case "connections", [name, "channels"]:
                return [
                    each
                    for each in self._live.channels()
                    if each["connection_details"]["name"] == name
                ]
            case "channels", []:
                return self._live.channels()
            case "channels", [name]:
                return named(self._live.channels(), name)
            case "consumers", []:
                return self._live.consumers()
            case "consumers", [vhost] if self._knows(vhost):
                return self._live.consumers(vhost)
        return None

    # -- users, permissions, policies

    def _find_settings(self, path: Sequence[str]) -> Answer:
        match path:
            case ["users", *rest]:
                self._viewer.require_administrator()
                return self._users(rest)
            case ["permissions", *rest]:
                return self._find_permissions(rest)
            case ["topic-permissions", *rest]:
                return self._find_topic_permissions(rest)
            case ["policies" | "operator-policies" as kind, *rest] if len(rest) <= 2:
                return self._policies(rest, operator=kind.startswith("operator"))
            case ["parameters" | "global-parameters" | "vhost-limits" | "user-limits", *_]:
                return []
            case ["extensions" | "feature-flags" | "shovels" | "federation-links"]:
                return []
            case ["auth"]:
                return {"oauth_enabled": False}
        return None

    def _accounts(self) -> list[Account]:
        """The users; where there are none, whoever asks is one, and may do everything."""
        accounts = self._sources.accounts
        if accounts.configured:
            return accounts.accounts
        return [Account(self._viewer.user.name, tags=self._viewer.tags)]

    def _users(self, rest: Sequence[str]) -> Answer:
        hashes = self._viewer.administrator
        users = [user_shown(each, hashes=hashes) for each in self._accounts()]
        match rest:
            case []:
                return users
            case ["without-permissions"]:
                permitted = {each["user"] for each in self._permissions()}
                return [each for each in users if each["name"] not in permitted]
            case [name]:
                return named(users, name)
            case [name, "permissions"] if named(users, name):
                return _all_of(self._permissions(), {"user": name})
            case [name, "topic-permissions"] if named(users, name):
                return _all_of(self._topic_permissions(), {"user": name})
        return None

    def _find_permissions(self, rest: Sequence[str]) -> Answer:
        match rest:
            case []:
                return self._permissions()
            case [vhost, user]:
                return _only(self._permissions(), {"vhost": vhost, "user": user})
        return None

    def _find_topic_permissions(self, rest: Sequence[str]) -> Answer:
        match rest:
            case []:
                return self._topic_permissions()
            case [vhost, user] | [vhost, user, _]:
                # RabbitMQ shows all of them also where an exchange is named.
                return _all_of(self._topic_permissions(), {"vhost": vhost, "user": user}) or None
        return None

    def _permissions(self) -> list[Json]:
        self._viewer.require_administrator()
        names = self._catalogue.namespaces
        accounts = self._accounts()
        return [shown for each in accounts for shown in permissions_shown(each, names)]

    def _topic_permissions(self) -> list[Json]:
        self._viewer.require_administrator()
        names = self._catalogue.namespaces
        accounts = self._accounts()
        return [shown for each in accounts for shown in topic_permissions_shown(each, names)]

    def _policies(self, rest: Sequence[str], *, operator: bool) -> Answer:
        shown = [
            policy_shown(each)
            for each in self._sources.topology.policies.all
            if each.operator is operator and self._viewer.sees(each.namespace)
        ]
        match rest:
            case []:
                return shown
            case [vhost]:
                return [each for each in shown if each["vhost"] == vhost]
            case [vhost, name]:
                return _only(shown, {"vhost": vhost, "name": name})
        return None


def _topic(vhost: str, name: str) -> TopicName:
    """The exchange that a path names; the default one's name is empty, or spelt out."""
    return TopicName(vhost, "" if name == "amq.default" else name)


def _only(items: list[Json], wanted: Json) -> Json | None:
    return next((each for each in items if wanted.items() <= each.items()), None)


def _all_of(items: list[Json], wanted: Json) -> list[Json]:
    return [each for each in items if wanted.items() <= each.items()]

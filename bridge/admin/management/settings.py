"""What RabbitMQ would set over its API and is set elsewhere here: users, virtual hosts, policies...

Scripts put what they need and do not look whether it is there. Where it is, as they want it, they
are answered that all is well; everything else is refused, and says where it is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from bridge.admin.management.access import Viewer
from bridge.admin.management.accounts import (
    permissions_shown,
    policy_shown,
    topic_permissions_shown,
    user_shown,
)
from bridge.admin.management.bodies import Body
from bridge.admin.management.refusals import (
    Refused,
    access_refused,
    bad_request,
    object_not_found,
)
from bridge.admin.management.sources import Json, ManagementSources
from bridge.auth import Account
from bridge.messaging.errors import AuthenticationFailed

_FILE: Final = "in the configuration file or imported with `landbridge import rabbitmq`"
_ELSEWHERE: Final = {
    "users": f"users are not changed by this API: they are set under `users` {_FILE}",
    "vhosts": f"virtual hosts are not changed by this API: they are set as `namespaces` {_FILE}",
    "permissions": (f"permissions are not changed by this API: they are set under `users` {_FILE}"),
    "topic-permissions": (
        f"topic permissions are not changed by this API: they are set under `users` {_FILE}"
    ),
    "policies": (
        "policies are not changed by this API: they are imported with `landbridge import rabbitmq`"
    ),
    "operator-policies": (
        "policies are not changed by this API: they are imported with `landbridge import rabbitmq`"
    ),
    "definitions": (
        "definitions are not taken by this API: they are imported with `landbridge import rabbitmq`"
    ),
    "user-limits": "users have no limits here: see `limits` in the configuration file",
    "vhost-limits": "virtual hosts have no limits here: see `limits` in the configuration file",
    "parameters": "there are no runtime parameters here: shovels and federation are not offered",
    "global-parameters": "there are no runtime parameters here: see the configuration file",
    "cluster-name": "the name of the cluster is that of the node",
    "feature-flags": "there are no feature flags here",
    "rebalance": "queues have no leaders here that could be moved",
    "reset": "there are no statistics here that could be reset",
}
_MIRRORS: Final = "queues have no mirrors here that could be synchronised"
_POLICIES: Final = frozenset({"policies", "operator-policies"})
_POLICYMAKERS: Final = frozenset({"administrator", "policymaker"})
_PATTERNS: Final = ("configure", "write", "read")
_DEFAULT_QUEUE_TYPES: Final = frozenset({"", "classic", "undefined"})


def is_set_elsewhere(path: Sequence[str]) -> bool:
    """Whether RabbitMQ would change something at a path where this broker only looks."""
    return bool(path) and (path[0] in _ELSEWHERE or list(path[3:]) == ["actions"])


class Settings:
    """Compares what one user puts with what is."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer

    async def require_as_is(self, method: str, path: Sequence[str], text: bytes) -> None:
        """Return where a PUT changes nothing. Raises `Refused` for all else."""
        self._require_right(path[0])
        match method, path:
            case "PUT", ["vhosts", name]:
                same = name in self._sources.namespaces and _is_plain_vhost(name, Body(text))
            case "PUT", ["users", name]:
                same = await self._is_user(name, Body(text))
            case "PUT", ["permissions", vhost, user]:
                same = self._has_permissions(vhost, user, Body(text))
            case "PUT", ["topic-permissions", vhost, user]:
                same = self._has_topic_permissions(vhost, user, Body(text))
            case "PUT", ["policies" | "operator-policies" as kind, vhost, name]:
                same = self._is_policy(kind, vhost, name, Body(text))
            case "DELETE", _:
                self._require_there(path)
                same = False
            case _:
                same = False
        if not same:
            raise Refused(405, "method_not_allowed", _ELSEWHERE.get(path[0], _MIRRORS))

    def _require_right(self, kind: str) -> None:
        tags = self._viewer.tags or frozenset()
        if kind in _POLICIES:
            if not tags & _POLICYMAKERS:
                raise access_refused("User not authorised to access object")
        elif kind != "queues" and "administrator" not in tags:
            raise access_refused("Not administrator user")

    def _require_there(self, path: Sequence[str]) -> None:
        match path:
            case ["vhosts", name]:
                there = name in self._sources.namespaces
            case ["users", name]:
                there = self._account(name) is not None
            case ["policies" | "operator-policies" as kind, vhost, name]:
                there = self._policy(kind, vhost, name) is not None
            case ["permissions", vhost, user]:
                there = self._permissions(vhost, user) is not None
            case _:
                there = True
        if not there:
            raise object_not_found()

    # -- users and what they may do

    def _account(self, name: str) -> Account | None:
        accounts = self._sources.accounts.accounts
        return next((each for each in accounts if each.name == name), None)

    async def _is_user(self, name: str, body: Body) -> bool:
        tags = _tags_in(body.get("tags", ""))
        if not self._sources.accounts.configured:
            # Everybody is let in, with any password, as an administrator.
            return tags == {"administrator"}
        account = self._account(name)
        if account is None or tags != (account.tags or frozenset()):
            return False
        given = body.get("password_hash")
        if given is not None:
            shown: str = user_shown(account, hashes=True)["password_hash"]
            return bool(shown) and given == shown
        password = body.get("password")
        if not isinstance(password, str):
            return False
        try:
            await self._sources.accounts.authenticate(name, password.encode(), loopback=True)
        except AuthenticationFailed:
            return False
        return True

    def _permissions(self, vhost: str, user: str) -> Json | None:
        account = self._account(user)
        rows = [] if account is None else permissions_shown(account, [vhost])
        return next(iter(rows), None)

    def _has_permissions(self, vhost: str, user: str, body: Body) -> bool:
        self._require_both(vhost, user)
        asked = dict(zip(_PATTERNS, body.require(*_PATTERNS), strict=True))
        if not self._sources.accounts.configured:
            return set(asked.values()) == {".*"}
        row = self._permissions(vhost, user)
        return row is not None and asked.items() <= row.items()

    def _has_topic_permissions(self, vhost: str, user: str, body: Body) -> bool:
        self._require_both(vhost, user)
        names = ("exchange", "write", "read")
        asked = dict(zip(names, body.require(*names), strict=True))
        account = self._account(user)
        rows = [] if account is None else topic_permissions_shown(account, [vhost])
        return any(asked.items() <= row.items() for row in rows)

    def _require_both(self, vhost: str, user: str) -> None:
        """As RabbitMQ: there is nothing to give or to whom to give it."""
        known = vhost in self._sources.namespaces
        if not (known and (self._account(user) or not self._sources.accounts.configured)):
            raise bad_request("vhost_or_user_not_found")

    # -- policies

    def _policy(self, kind: str, vhost: str, name: str) -> Json | None:
        for each in self._sources.topology.policies.all:
            if (each.namespace, each.name, each.operator) == (
                vhost,
                name,
                kind == "operator-policies",
            ):
                return policy_shown(each)
        return None

    def _is_policy(self, kind: str, vhost: str, name: str, body: Body) -> bool:
        pattern, definition = body.require("pattern", "definition")
        asked = {
            "pattern": pattern,
            "definition": definition,
            "priority": body.get("priority", 0),
            "apply-to": body.get("apply-to", "all"),
        }
        policy = self._policy(kind, vhost, name)
        return policy is not None and asked.items() <= policy.items()


def _is_plain_vhost(name: str, body: Body) -> bool:
    """Whether a virtual host is asked for that is like all of them here."""
    descriptions = {"", "Default virtual host"} if name == "/" else {""}
    return (
        body.get("description", "") in descriptions
        and not body.get("tags")
        and not body.truth("tracing")
        and body.get("default_queue_type", "") in _DEFAULT_QUEUE_TYPES
    )


def _tags_in(given: Any) -> frozenset[str]:
    """Tags as a list, or as text with commas."""
    tags = given.split(",") if isinstance(given, str) else given
    if not isinstance(tags, list):
        raise bad_request(["not_string", "tags"])
    return frozenset(str(tag).strip() for tag in tags) - {""}

"""What RabbitMQ would set over its API and is set elsewhere here: policies, limits, parameters...

Scripts put what they need and do not look whether it is there. Where it is, as they want it, they
are answered that all is well; everything else is refused, and says where it is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from bridge.admin.management.access import Viewer
from bridge.admin.management.accounts import policy_shown
from bridge.admin.management.bodies import Body
from bridge.admin.management.refusals import Refused, access_refused, object_not_found
from bridge.admin.management.sources import Json, ManagementSources

_ELSEWHERE: Final = {
    "policies": (
        "policies are not changed by this API: they are imported with `landbridge import rabbitmq`"
    ),
    "operator-policies": (
        "policies are not changed by this API: they are imported with `landbridge import rabbitmq`"
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


def is_set_elsewhere(path: Sequence[str]) -> bool:
    """Whether RabbitMQ would change something at a path where this broker only looks."""
    return bool(path) and (path[0] in _ELSEWHERE or list(path[3:]) == ["actions"])


class Settings:
    """Compares what one user puts with what is."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer

    def require_as_is(self, method: str, path: Sequence[str], text: bytes) -> None:
        """Return where a PUT changes nothing. Raises `Refused` for all else."""
        self._require_right(path[0])
        match method, path:
            case "PUT", ["policies" | "operator-policies" as kind, vhost, name]:
                if self._is_policy(kind, vhost, name, Body(text)):
                    return
            case "DELETE", ["policies" | "operator-policies" as kind, vhost, name]:
                if self._policy(kind, vhost, name) is None:
                    raise object_not_found()
        raise Refused(405, "method_not_allowed", _ELSEWHERE.get(path[0], _MIRRORS))

    def _require_right(self, kind: str) -> None:
        tags = self._viewer.tags or frozenset()
        if kind in _POLICIES:
            if not tags & _POLICYMAKERS:
                raise access_refused("User not authorised to access object")
        elif kind != "queues" and not self._viewer.administrator:
            raise access_refused("Not administrator user")

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

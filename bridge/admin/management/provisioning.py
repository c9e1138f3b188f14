"""Requests that change users, permissions and virtual hosts, which administrators may do."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.admin.management.access import Viewer
from bridge.admin.management.answers import Done
from bridge.admin.management.bodies import Body
from bridge.admin.management.permissions import UserPermissions
from bridge.admin.management.refusals import access_refused, bad_request, refusals
from bridge.admin.management.sources import ManagementSources
from bridge.admin.management.users import Users
from bridge.admin.management.vhosts import VirtualHosts


class Provisioning:
    """Makes the change that one administrator asks for. Raises `Refused`."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._viewer = viewer
        self._users = Users(sources, viewer)
        self._permissions = UserPermissions(sources, viewer)
        self._vhosts = VirtualHosts(sources)

    async def make(self, method: str, path: Sequence[str], text: bytes) -> Done:
        """Make it, by a path of `paths.PROVISIONED`."""
        if not self._viewer.administrator:
            raise access_refused("Not administrator user")
        with refusals():
            if path[0] == "vhosts":
                return await self._vhost(method, path[1], text)
            if path[0] == "users":
                return await self._user(method, path[1], text)
            return await self._permission(method, path, text)

    async def _vhost(self, method: str, name: str, text: bytes) -> Done:
        if method == "DELETE":
            return await self._vhosts.delete(name)
        return await self._vhosts.put(name, Body(text), self._viewer)

    async def _user(self, method: str, name: str, text: bytes) -> Done:
        match method:
            case "POST":
                (names,) = Body(text).require("users")
                if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
                    raise bad_request(["not_list", "users"])
                return await self._users.delete(names)
            case "DELETE":
                self._users.require_known(name)
                return await self._users.delete([name])
        return await self._users.put(name, Body(text))

    async def _permission(self, method: str, path: Sequence[str], text: bytes) -> Done:
        kind, vhost, user, *rest = path
        topic = kind == "topic-permissions"
        if method == "DELETE" and topic:
            return await self._permissions.delete_topic(vhost, user, rest[0] if rest else None)
        if method == "DELETE":
            return await self._permissions.delete(vhost, user)
        if topic:
            return await self._permissions.put_topic(vhost, user, Body(text))
        return await self._permissions.put(vhost, user, Body(text))

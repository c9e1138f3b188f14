"""What PUT and DELETE do to permissions and topic permissions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge.admin.management.access import Viewer
from bridge.admin.management.accounts import permissions_shown, topic_permissions_shown
from bridge.admin.management.answers import NO_CONTENT, Done, created
from bridge.admin.management.bodies import Body, values_of
from bridge.admin.management.refusals import bad_request, object_not_found, set_in_file
from bridge.admin.management.sources import Json, ManagementSources
from bridge.admin.management.tenants import Tenants, everything_in, with_grants
from bridge.auth import (
    Account,
    Grants,
    NamespacePermission,
    PatternInvalid,
    Permissions,
    SubjectPermission,
)
from bridge.routing.changing import again_after_conflict

_PLAIN: Final = "permissions"
_TOPIC: Final = "topic-permissions"


class UserPermissions:
    """Changes what users may do. Raises `Refused`, `MessagingError`."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer
        self._tenants = Tenants(sources)

    async def put(self, namespace: str, user: str, body: Body) -> Done:
        """Say what a user may configure, write and read in a virtual host."""
        self._require_both(namespace, user)
        wanted = permission_in(namespace, body.values)
        if wanted == everything_in(namespace) and not self._sources.accounts.configured:
            return NO_CONTENT
        await self._require_user(user)
        row = _of(wanted, configure=wanted.configure)
        if self._is_configured(user, row, self._rows(namespace, user)):
            return NO_CONTENT
        return created(new=await self._store(user, wanted))

    async def put_topic(self, namespace: str, user: str, body: Body) -> Done:
        """Say which routing keys of a topic exchange a user may write and read."""
        self._require_both(namespace, user)
        _, write, read = values_of(body.values, "exchange", "write", "read")
        wanted = SubjectPermission(namespace, body.text("exchange"), _text(write), _text(read))
        _require_compiled(Grants(subjects=(wanted,)), wanted.write, wanted.read)
        await self._require_user(user)
        row = _of(wanted, exchange=wanted.topic)
        if self._is_configured(user, row, self._topic_rows(namespace, user)):
            return NO_CONTENT
        return created(new=await self._store_topic(user, wanted))

    async def delete(self, namespace: str, user: str) -> Done:
        """Say nothing of a virtual host any more, so that the user cannot open it."""
        if self._known(namespace):
            await self._keep(user)
        self._require_own(user, self._rows(namespace, user), _PLAIN)
        await self._remove(namespace, user)
        return NO_CONTENT

    async def delete_topic(self, namespace: str, user: str, exchange: str | None) -> Done:
        """Say nothing of one exchange any more, or of all in a virtual host."""
        self._require_own(user, self._topic_rows(namespace, user), _TOPIC)
        await self._remove_topic(namespace, user, exchange)
        return NO_CONTENT

    # -- in the store

    @again_after_conflict
    async def _store(self, user: str, wanted: NamespacePermission) -> bool:
        account = self._stored(user)
        old = self._tenants.permissions_of(account)
        others = [each for each in old if each.namespace != wanted.namespace]
        await self._tenants.put([with_grants(account, permissions=[*others, wanted])])
        return len(others) == len(old)

    @again_after_conflict
    async def _store_topic(self, user: str, wanted: SubjectPermission) -> bool:
        account = self._stored(user)
        old = account.grants.subjects
        place = wanted.namespace, wanted.topic
        others = [each for each in old if (each.namespace, each.topic) != place]
        await self._tenants.put([with_grants(account, subjects=[*others, wanted])])
        return all(each.namespace != wanted.namespace for each in old)

    @again_after_conflict
    async def _remove(self, namespace: str, user: str) -> None:
        account = self._stored(user)
        old = self._tenants.permissions_of(account)
        left = [each for each in old if each.namespace != namespace]
        await self._tenants.put([with_grants(account, permissions=left)])

    @again_after_conflict
    async def _remove_topic(self, namespace: str, user: str, exchange: str | None) -> None:
        account = self._stored(user)
        left = [
            each
            for each in account.grants.subjects
            if each.namespace != namespace or exchange not in {None, each.topic}
        ]
        await self._tenants.put([with_grants(account, subjects=left)])

    def _stored(self, user: str) -> Account:
        account = self._tenants.stored(user)
        if account is None:
            # Deleted since it was asked for.
            raise object_not_found()
        return account

    # -- what there is

    def _require_both(self, namespace: str, user: str) -> None:
        """As RabbitMQ: there is nothing to give, or nobody to give it to."""
        known = self._tenants.account(user) or not self._sources.accounts.configured
        if not (known and namespace in self._sources.namespaces):
            raise bad_request("vhost_or_user_not_found")

    async def _require_user(self, user: str) -> None:
        await self._keep(user)
        if self._tenants.account(user) is None:
            raise bad_request("vhost_or_user_not_found")

    async def _keep(self, user: str) -> None:
        """Who asks where there are no users becomes one by being permitted less."""
        if self._tenants.is_asking(user, self._viewer):
            await self._tenants.keep(self._viewer)

    def _rows(self, namespace: str, user: str) -> list[Json]:
        account = self._tenants.account(user)
        return [] if account is None else permissions_shown(account, self._known(namespace))

    def _topic_rows(self, namespace: str, user: str) -> list[Json]:
        account = self._tenants.account(user)
        return [] if account is None else topic_permissions_shown(account, self._known(namespace))

    def _known(self, namespace: str) -> list[str]:
        return [namespace] if namespace in self._sources.namespaces else []

    def _is_configured(self, user: str, wanted: Json, rows: list[Json]) -> bool:
        """Whether it is the configuration's, which says the same; raises where it does not."""
        if not self._tenants.is_configured(user):
            return False
        if any(wanted.items() <= row.items() for row in rows):
            return True
        raise set_in_file(_TOPIC if "exchange" in wanted else _PLAIN)

    def _require_own(self, user: str, rows: list[Json], kind: str) -> None:
        if not rows:
            raise object_not_found()
        if self._tenants.is_configured(user):
            raise set_in_file(kind)


def permission_in(namespace: str, values: Mapping[str, Any]) -> NamespacePermission:
    """The permission of a body. Raises `Refused`."""
    configure, write, read = map(_text, values_of(values, "configure", "write", "read"))
    wanted = NamespacePermission(namespace, configure, write, read)
    _require_compiled(Grants(permissions=(wanted,)), configure, write, read)
    return wanted


def _of(permission: NamespacePermission | SubjectPermission, **more: str) -> Json:
    return {"write": permission.write, "read": permission.read, **more}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise bad_request(["not_string", value])
    return value


def _require_compiled(grants: Grants, *patterns: str) -> None:
    try:
        Permissions("", grants)
    except PatternInvalid as error:
        raise bad_request(["invalid_regexp", *patterns, str(error)]) from None

"""The users and virtual hosts that the API can change: those of the state store.

What the configuration has of the same name is the configuration's: it is shown, and refused. Where
there are no users the first one closes the door that stands open: whoever made it is kept as an
administrator, with the password that was given, so that the same script can go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from bridge.admin.management.access import ADMINISTRATOR, Viewer
from bridge.admin.management.refusals import bad_request
from bridge.admin.management.sources import ManagementSources
from bridge.auth import (
    Account,
    Grants,
    NamespacePermission,
    SubjectPermission,
    make_password_hash,
)
from bridge.auth.stored import KIND_USER, encode_account, stored_account, stored_accounts
from bridge.messaging.commits import committed
from bridge.messaging.model import StateChange, UnitOfWork


class Tenants:
    """What is stored of them, and changes of it."""

    def __init__(self, sources: ManagementSources) -> None:
        self._sources = sources

    def account(self, name: str) -> Account | None:
        """A user, whoever has it."""
        return self._sources.accounts.account(name)

    def stored(self, name: str) -> Account | None:
        """A user of the store."""
        return stored_account(self._sources.services.state, name)

    def all_stored(self) -> list[Account]:
        return stored_accounts(self._sources.services.state)

    def is_configured(self, user: str) -> bool:
        """Whether a user is the configuration's."""
        return user in self._sources.configured().users

    def full_permissions(self) -> tuple[NamespacePermission, ...]:
        """Everything in every virtual host that there is."""
        return tuple(everything_in(name) for name in sorted(self._sources.namespaces))

    def permissions_of(self, account: Account) -> tuple[NamespacePermission, ...]:
        """What an account may do, each virtual host by itself."""
        given = account.grants.permissions
        return self.full_permissions() if given is None else given

    def without(self, account: Account, namespace: str) -> Account:
        """The account with no permission in a virtual host."""
        permissions = self.permissions_of(account)
        subjects = account.grants.subjects
        return with_grants(
            account,
            permissions=[each for each in permissions if each.namespace != namespace],
            subjects=[each for each in subjects if each.namespace != namespace],
        )

    # -- where there are no users

    def is_asking(self, name: str, viewer: Viewer) -> bool:
        """Whether it is who asks, let in as everybody is."""
        return not self._sources.accounts.configured and name == viewer.user.name

    async def keep(self, viewer: Viewer) -> None:
        """Make a user of who asks, where everybody is let in."""
        given, name = viewer.unchecked, viewer.user.name
        if given is None or self._sources.accounts.configured:
            return
        if not given.password:
            raise bad_request(
                f"log in with a password: from the first user on everybody must, and '{name}' is"
                " kept as an administrator with the one that is given"
            )
        account = Account(
            name,
            await asyncio.to_thread(make_password_hash, given.password),
            Grants(permissions=self.full_permissions()),
            ADMINISTRATOR,
            # As far as it could reach without being a user.
            loopback_only=given.loopback,
        )
        await self.put([account])

    # -- in the store

    async def put(self, accounts: Iterable[Account]) -> None:
        """Store users, all or none."""
        await self.commit(account_stored(each) for each in accounts)

    async def commit(self, changes: Iterable[StateChange]) -> None:
        """Store changes, and go by them at every node. Raises `MessagingError`, of which a
        `StateConflict` says to look again.
        """
        unit = UnitOfWork(atomic=True, answered=True)
        unit.agreed = True
        unit.state += changes
        try:
            await committed(self._sources.store, unit)
        finally:
            self._sources.tenants_changed()


def account_stored(account: Account) -> StateChange:
    """The change that stores a user."""
    return StateChange(KIND_USER, account.name, encode_account(account))


def everything_in(namespace: str) -> NamespacePermission:
    """What RabbitMQ gives to whoever makes a virtual host."""
    return NamespacePermission(namespace, configure=".*", write=".*", read=".*")


def with_grants(
    account: Account,
    *,
    permissions: Iterable[NamespacePermission] | None = None,
    subjects: Iterable[SubjectPermission] | None = None,
) -> Account:
    """The account with other permissions; what is not given stays."""
    grants = account.grants
    if permissions is not None:
        by_namespace = sorted(permissions, key=lambda each: each.namespace)
        grants = replace(grants, permissions=tuple(by_namespace))
    if subjects is not None:
        grants = replace(grants, subjects=tuple(sorted(subjects, key=_place)))
    return replace(account, grants=grants)


def _place(permission: SubjectPermission) -> tuple[str, str]:
    return permission.namespace, permission.topic

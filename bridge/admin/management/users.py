"""What PUT and DELETE do to users."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from bridge.admin.management.access import ADMINISTRATOR, Viewer
from bridge.admin.management.accounts import user_shown
from bridge.admin.management.answers import NO_CONTENT, Done, created
from bridge.admin.management.bodies import Body, octets_from, require_short, tag_list
from bridge.admin.management.permissions import permission_in
from bridge.admin.management.refusals import bad_request, object_not_found, set_in_file
from bridge.admin.management.sources import ManagementSources
from bridge.admin.management.tenants import Tenants, with_grants
from bridge.auth import (
    Account,
    Grants,
    NamespacePermission,
    PasswordHashInvalid,
    make_password_hash,
    parse_password_hash,
)
from bridge.auth.stored import KIND_USER
from bridge.messaging.errors import AuthenticationFailed
from bridge.messaging.model import StateChange
from bridge.routing.changing import again_after_conflict

GUEST: Final = "guest"
"""Whose password is of no use from elsewhere, as RabbitMQ has it."""
_ALGORITHM: Final = "rabbit_password_hashing_"


class Users:
    """Changes users for one administrator. Raises `Refused`, `MessagingError`."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer
        self._tenants = Tenants(sources)

    async def put(self, name: str, body: Body) -> Done:
        """Make a user, or give it another password and other tags; its permissions stay."""
        require_short("user", name)
        tags = _tags_in(body)
        if await self._is_as_wanted(name, tags, body):
            return NO_CONTENT
        if self._tenants.is_configured(name):
            raise set_in_file("users")
        permissions = self._permissions_in(body)
        password_hash = await _hash_in(body)
        await self._tenants.keep(self._viewer)
        return created(new=await self._store(name, tags, password_hash, permissions))

    async def delete(self, names: Sequence[str]) -> Done:
        """Delete users, all or none."""
        for name in names:
            if self._tenants.is_configured(name):
                raise set_in_file("users")
        if names:
            await self._remove(names)
        return NO_CONTENT

    def require_known(self, name: str) -> None:
        """Raise where there is nobody of that name."""
        if self._tenants.account(name) is None and not self._tenants.is_asking(name, self._viewer):
            raise object_not_found()

    # -- in the store

    @again_after_conflict
    async def _store(
        self,
        name: str,
        tags: frozenset[str],
        password_hash: str | None,
        permissions: Sequence[NamespacePermission],
    ) -> bool:
        old = self._tenants.stored(name)
        grants = Grants(permissions=()) if old is None else old.grants
        guest = name == GUEST if old is None else old.loopback_only
        account = Account(name, password_hash, grants, tags, loopback_only=guest)
        if old is None:
            account = with_grants(account, permissions=permissions)
        await self._tenants.put([account])
        return old is None

    @again_after_conflict
    async def _remove(self, names: Sequence[str]) -> None:
        for name in names:
            if not (self._tenants.stored(name) or self._tenants.is_asking(name, self._viewer)):
                raise bad_request(["no_such_user", name])
        if {each.name for each in self._sources.accounts.accounts} <= set(names):
            raise bad_request(
                f"user '{names[-1]}' is the last one: without users anybody would be let in"
            )
        await self._tenants.commit(StateChange(KIND_USER, name, None) for name in names)

    # -- what is there already

    async def _is_as_wanted(self, name: str, tags: frozenset[str], body: Body) -> bool:
        """Whether a user that is none of the store's is as it is wanted."""
        password = body.get("password")
        if self._tenants.is_asking(name, self._viewer):
            given = self._viewer.unchecked
            same = given is not None and password == given.password.decode(errors="replace")
            return same and tags == ADMINISTRATOR
        account = self._tenants.account(name)
        if account is None or not self._tenants.is_configured(name):
            return False
        if tags != (account.tags or frozenset()):
            return False
        wanted_hash = body.get("password_hash")
        if wanted_hash is not None:
            shown: str = user_shown(account, hashes=True)["password_hash"]
            return bool(shown) and wanted_hash == shown
        if not isinstance(password, str):
            return False
        try:
            await self._sources.accounts.authenticate(name, password.encode(), loopback=True)
        except AuthenticationFailed:
            return False
        return True

    def _permissions_in(self, body: Body) -> list[NamespacePermission]:
        """Those that a new user gets at once."""
        given = body.get("permissions", {})
        if not isinstance(given, dict):
            raise bad_request("permissions must be an object")
        for namespace, row in given.items():
            if namespace not in self._sources.namespaces:
                raise bad_request(["no_such_vhost", namespace])
            if not isinstance(row, dict):
                raise bad_request("permissions must be objects")
        return [permission_in(namespace, row) for namespace, row in given.items()]


def _tags_in(body: Body) -> frozenset[str]:
    """Tags as a list or as text with commas, or RabbitMQ's old `administrator`."""
    given = body.get("tags")
    if given is None and body.get("administrator") is None:
        raise bad_request("tags_not_present")
    if given is None:
        return ADMINISTRATOR if body.truth("administrator") else frozenset()
    return frozenset(tag_list(given))


async def _hash_in(body: Body) -> str | None:
    """The hash to keep; None for a user that no password lets in, as an empty one does not."""
    password, encoded = body.get("password"), body.get("password_hash")
    if password is not None and encoded is not None:
        raise bad_request("both_password_and_password_hash_are_provided")
    if encoded is not None:
        return _checked_hash(encoded, body.get("hashing_algorithm", f"{_ALGORITHM}sha256"))
    if password is not None and not isinstance(password, str):
        raise bad_request(["not_string", "password"])
    if not password:
        return None
    return await asyncio.to_thread(make_password_hash, password.encode(errors="replace"))


def _checked_hash(encoded: Any, algorithm: Any) -> str | None:
    """A hash in RabbitMQ's form, which ours says the algorithm of."""
    if not isinstance(encoded, str):
        raise bad_request(["not_base64", encoded])
    if not octets_from(encoded):
        return None
    if algorithm not in {f"{_ALGORITHM}sha256", f"{_ALGORITHM}sha512"}:
        raise bad_request(["hashing_algorithm_not_supported", algorithm])
    stored = f"rabbitmq-{algorithm.removeprefix(_ALGORITHM)}:{encoded}"
    try:
        parse_password_hash(stored)
    except PasswordHashInvalid as error:
        raise bad_request(f"password_hash {error}") from None
    return stored

"""Users that the API makes, above a broker in memory: passwords, hashes, and what is refused."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from typing import Any

import pytest

from bridge.admin.management.access import UncheckedLogin, Viewer
from bridge.admin.management.bodies import Body
from bridge.admin.management.refusals import Refused
from bridge.admin.management.users import Users
from bridge.auth import User
from bridge.messaging.errors import AuthenticationFailed
from tests.support.broker import MemoryBroker
from tests.support.management_sources import management_sources

LOOPBACK = UncheckedLogin(b"guest", loopback=True)
ADMINISTRATOR = frozenset({"administrator"})


def salted(algorithm: str, password: str) -> str:
    digest = hashlib.new(algorithm, b"salt" + password.encode()).digest()
    return b64encode(b"salt" + digest).decode()


class Place:
    """Users above a broker in memory that has none, asked by its guest."""

    def __init__(self) -> None:
        self.sources = management_sources(MemoryBroker())
        self.accounts = self.sources.accounts
        self.users = Users(self.sources, Viewer(User("guest"), ADMINISTRATOR, LOOPBACK))

    async def put(self, name: str, **values: Any) -> int:
        done = await self.users.put(name, Body(json.dumps({"tags": "", **values}).encode()))
        return done.status

    async def logs_in(self, name: str, password: str, *, loopback: bool = True) -> bool:
        try:
            await self.accounts.authenticate(name, password.encode(), loopback=loopback)
        except AuthenticationFailed:
            return False
        return True


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_hashes_of_rabbitmq_are_taken(algorithm: str) -> None:
    place = Place()
    name = f"rabbit_password_hashing_{algorithm}"
    given = {"password_hash": salted(algorithm, "pw"), "hashing_algorithm": name}
    assert await place.put("ann", **given) == 201
    assert await place.logs_in("ann", "pw")
    assert not await place.logs_in("ann", "other")


@pytest.mark.parametrize("given", [{}, {"password": ""}, {"password_hash": ""}])
async def test_without_a_password_nobody_logs_in(given: dict[str, str]) -> None:
    place = Place()
    assert await place.put("ann", **given) == 201
    assert not await place.logs_in("ann", "")
    assert await place.put("ann", password="pw") == 204
    assert await place.logs_in("ann", "pw")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"password": 5}, ["not_string", "password"]),
        ({"tags": 5}, ["not_string", "tags"]),
        ({"password_hash": "YWJj"}, "password_hash is not a password hash"),
        (
            {
                "password_hash": salted("sha256", "pw"),
                "hashing_algorithm": "rabbit_password_hashing_sha512",
            },
            "password_hash is not a password hash",
        ),
        (
            {
                "password_hash": salted("sha256", "pw"),
                "hashing_algorithm": "rabbit_password_hashing_md5",
            },
            ["hashing_algorithm_not_supported", "rabbit_password_hashing_md5"],
        ),
        ({"permissions": "all"}, "permissions must be an object"),
        ({"permissions": {"/": "all"}}, "permissions must be objects"),
        ({"permissions": {"none": {}}}, ["no_such_vhost", "none"]),
        ({"permissions": {"/": {}}}, "[{key_missing,configure}"),
    ],
)
async def test_what_cannot_be_kept_is_refused(given: dict[str, Any], reason: Any) -> None:
    place = Place()
    with pytest.raises(Refused) as refused:
        await place.put("ann", **given)
    assert (refused.value.status, refused.value.error) == (400, "bad_request")
    found = refused.value.reason
    assert found.startswith(reason) if isinstance(reason, str) else found == reason
    # The door is as open as it was.
    assert place.accounts.accounts == []


@pytest.mark.parametrize(("length", "taken"), [(255, True), (256, False)])
async def test_names_are_as_long_as_amqp_can_carry(length: int, *, taken: bool) -> None:
    place = Place()
    if taken:
        assert await place.put("n" * length) == 201
        return
    with pytest.raises(Refused, match="user should be less than 255 bytes"):
        await place.put("n" * length)


async def test_guest_is_of_no_use_from_elsewhere() -> None:
    place = Place()
    await place.put("guest", password="secret", tags="administrator")
    await place.put("ann", password="secret")
    for name, elsewhere in (("guest", False), ("ann", True)):
        assert await place.logs_in(name, "secret")
        assert await place.logs_in(name, "secret", loopback=False) is elsewhere


async def test_nobody_or_all_of_many_are_deleted() -> None:
    place = Place()
    assert (await place.users.delete([])).status == 204
    for name in ("ann", "bob", "cid"):
        await place.put(name)
    with pytest.raises(Refused):
        await place.users.delete(["ann", "none"])
    with pytest.raises(Refused, match="is the last one"):
        await place.users.delete(["ann", "bob", "cid", "guest"])
    await place.users.delete(["ann", "bob"])
    assert [each.name for each in place.accounts.accounts] == ["cid", "guest"]

"""Who is let in, on which listener, and what it costs."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Iterator

import pytest

from bridge.auth import (
    Account,
    Accounts,
    Grants,
    NamespacePermission,
    User,
    make_password_hash,
)
from bridge.auth.password_hashes import Argon2Hash
from bridge.messaging.errors import AuthenticationFailed

ARGON2 = make_password_hash(b"secret")
FAST = b64encode(b"salt" + hashlib.sha256(b"salt" + b"secret").digest()).decode()


def accounts_of(*accounts: Account) -> Accounts:
    return Accounts(accounts, secret=b"k" * 32)


@pytest.fixture
def nobody() -> Iterator[Accounts]:
    accounts = accounts_of()
    yield accounts
    accounts.close()


@pytest.fixture
def users() -> Iterator[Accounts]:
    accounts = accounts_of(
        Account("orders", ARGON2), Account("meter", FAST), Account("device", None)
    )
    yield accounts
    accounts.close()


@pytest.mark.parametrize(
    ("user", "password", "name"),
    [
        (None, None, "anonymous"),
        ("", b"", "anonymous"),
        ("guest", b"guest", "guest"),
        ("x", None, "x"),
    ],
)
async def test_without_users_loopback_lets_everybody_in(
    nobody: Accounts, user: str | None, password: bytes | None, name: str
) -> None:
    assert await nobody.authenticate(user, password, loopback=True) == User(name, verified=False)


async def test_without_users_others_are_refused(nobody: Accounts) -> None:
    attempts: list[tuple[str | None, bytes | None]] = [(None, None), ("guest", b"guest")]
    for user, password in attempts:
        with pytest.raises(AuthenticationFailed):
            await nobody.authenticate(user, password, loopback=False)


async def test_an_anonymous_listener_without_users_is_open(nobody: Accounts) -> None:
    view = nobody.for_anonymous()
    assert (await view.authenticate("x", b"y", loopback=False)).name == "x"
    assert not nobody.configured


@pytest.mark.parametrize("loopback", [True, False])
async def test_users_are_checked_on_every_listener(users: Accounts, loopback: bool) -> None:
    for known in ("orders", "meter"):
        assert await users.authenticate(known, b"secret", loopback=loopback) == User(known)
    attempts: list[tuple[str | None, bytes | None]] = [
        ("orders", b"wrong"),
        ("orders", None),
        ("orders", b""),
        ("meter", b"wrong"),
        ("device", b"secret"),
        ("device", None),
        ("nobody", b"secret"),
        (None, None),
        ("", b"secret"),
        ("orders", b"x" * 5000),
    ]
    for name, password in attempts:
        with pytest.raises(AuthenticationFailed):
            await users.authenticate(name, password, loopback=loopback)


async def test_an_anonymous_listener_still_checks_credentials(users: Accounts) -> None:
    view = users.for_anonymous()
    assert await view.authenticate(None, None, loopback=False) == User("anonymous", verified=False)
    assert await view.authenticate("orders", b"secret", loopback=False) == User("orders")
    with pytest.raises(AuthenticationFailed):
        await view.authenticate("orders", b"wrong", loopback=False)


async def test_a_certificate_stands_for_its_user(users: Accounts) -> None:
    async def login(user: str | None, password: bytes | None, certificate: str) -> User:
        return await users.authenticate(
            user, password, loopback=False, certificate_user=certificate
        )

    assert await login(None, None, "device") == User("device")
    assert await login("device", None, "device") == User("device")
    assert await login("device", b"whatever", "device") == User("device")
    assert await login("orders", b"secret", "device") == User("orders")
    with pytest.raises(AuthenticationFailed):
        await login(None, None, "stranger")
    with pytest.raises(AuthenticationFailed):
        await login("orders", b"wrong", "device")
    with pytest.raises(AuthenticationFailed):
        await login("orders", None, "device")


async def test_a_verified_password_is_not_hashed_again(
    users: Accounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    verify = Argon2Hash.verify

    def counting(self: Argon2Hash, password: bytes) -> bool:
        nonlocal count
        count += 1
        return verify(self, password)

    monkeypatch.setattr(Argon2Hash, "verify", counting)
    logins = [users.authenticate("orders", b"secret", loopback=False) for _ in range(1000)]
    assert {user.name for user in await asyncio.gather(*logins)} == {"orders"}
    assert count <= 2  # one for each thread, that they began together
    with pytest.raises(AuthenticationFailed):
        await users.authenticate("orders", b"wrong", loopback=False)
    with pytest.raises(AuthenticationFailed):
        await users.authenticate("stranger", b"secret", loopback=False)
    assert count <= 4
    assert count >= 3  # the stranger costs a hash as well


async def test_replaced_users_take_effect_in_all_views(users: Accounts) -> None:
    view = users.for_anonymous()
    await users.authenticate("orders", b"secret", loopback=True)
    users.replace([Account("orders", make_password_hash(b"other"))])
    for accounts in (users, view):
        with pytest.raises(AuthenticationFailed):
            await accounts.authenticate("orders", b"secret", loopback=True)
        assert await accounts.authenticate("orders", b"other", loopback=True) == User("orders")


async def test_a_change_of_one_user_leaves_what_is_known_of_others() -> None:
    narrow = Grants(permissions=(NamespacePermission("/", "^a", "^a", "^a"),))
    one, two = Account("one", FAST, narrow), Account("two", FAST)
    accounts = accounts_of(one, two)
    user = await accounts.authenticate("one", b"secret", loopback=True)
    version = user.permissions.version
    accounts.replace([one, two, Account("three", FAST)])
    assert user.permissions.version == version
    accounts.replace([one])
    assert user.permissions.version == version
    assert accounts.account("two") is None
    accounts.replace([Account("one", FAST)])
    assert user.permissions.version > version
    assert user.may_read("/", "b")
    accounts.replace([])
    assert not user.may_open("/")
    accounts.close()

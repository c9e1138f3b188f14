"""Whether credentials are a user's.

Slow hashes are verified on a small pool of threads. A verified password is remembered under a
keyed hash (the key lives as long as the process), so that a thousand devices that reconnect do not
each cost an argon2. An unknown user costs what a wrong password costs. With users configured,
credentials are always checked; without any, an open listener (loopback, or one that says so) lets
everybody in.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from bridge.auth.password_hashes import PasswordHash, parse_password_hash
from bridge.auth.permissions import EVERYTHING, NOTHING, Grants, Permissions
from bridge.messaging.errors import AuthenticationFailed

ANONYMOUS: Final = "anonymous"
_THREADS: Final = 2
_REMEMBERED_MAX: Final = 4_096
_PASSWORD_LENGTH_MAX: Final = 4_096


_UNRESTRICTED: Final = Permissions(ANONYMOUS)
_FORBIDDEN: Final = Permissions("", NOTHING)


@dataclass(frozen=True, slots=True)
class User:
    """Who a connection belongs to. `verified` is False for those let in without being checked.

    `tags` are RabbitMQ's; None where the configuration says nothing about them.
    """

    name: str
    verified: bool = True
    permissions: Permissions = field(default=_UNRESTRICTED, compare=False, repr=False)
    tags: frozenset[str] | None = None

    def may_open(self, namespace: str) -> bool:
        return self.permissions.may_open(namespace)

    def may_configure(self, namespace: str, name: str) -> bool:
        return self.permissions.may_configure(namespace, name)

    def may_write(self, namespace: str, name: str) -> bool:
        return self.permissions.may_write(namespace, name)

    def may_read(self, namespace: str, name: str) -> bool:
        return self.permissions.may_read(namespace, name)

    def may_publish_topic(self, topic: str, client_id: str | None) -> bool:
        return self.permissions.may_publish_topic(topic, client_id)

    def may_subscribe_topic(self, topic_filter: str, client_id: str | None) -> bool:
        return self.permissions.may_subscribe_topic(topic_filter, client_id)

    def may_write_subject(
        self, namespace: str, topic: str, subject: str, client_id: str | None = None
    ) -> bool:
        return self.permissions.may_write_subject(namespace, topic, subject, client_id)

    def may_read_subject(
        self, namespace: str, topic: str, subject: str, client_id: str | None = None
    ) -> bool:
        return self.permissions.may_read_subject(namespace, topic, subject, client_id)


NOBODY: Final = User("", permissions=_FORBIDDEN)
"""Who has not been let in: may do nothing."""


@dataclass(frozen=True, slots=True)
class Account:
    """A configured user; without a hash only a certificate proves to be it."""

    name: str
    password_hash: str | None = None
    grants: Grants = EVERYTHING
    tags: frozenset[str] | None = None
    loopback_only: bool = False
    """RabbitMQ's `loopback_users`: the password is of no use on listeners that others reach."""


class Accounts:
    """The configured users, replaceable as a whole while connections live on."""

    def __init__(self, accounts: Iterable[Account] = (), *, secret: bytes) -> None:
        """`secret` is random and keys the memory of verified passwords."""
        self._book = _Book(secret)
        self._anonymous = False
        self.replace(accounts)

    @property
    def configured(self) -> bool:
        """True where there are users, so that everybody must be one."""
        return bool(self._book.hashes)

    @property
    def accounts(self) -> list[Account]:
        """The configured users, by name."""
        return [account for _, account in sorted(self._book.accounts.items())]

    def account(self, name: str) -> Account | None:
        """One configured user."""
        return self._book.accounts.get(name)

    def for_anonymous(self) -> Accounts:
        """The same users, for a listener that also lets in who gives no credentials."""
        view = copy(self)
        view._anonymous = True  # noqa: SLF001 - of its own class
        return view

    def replace(self, accounts: Iterable[Account]) -> None:
        """Take other users; those who are connected stay, with what they may do now."""
        book = self._book
        known, hashes = book.accounts, book.hashes
        book.accounts = {account.name: account for account in accounts}
        book.hashes = {
            name: hashes[name]
            if name in known and known[name].password_hash == account.password_hash
            else _parsed(account.password_hash)
            for name, account in book.accounts.items()
        }
        for name in book.permissions.keys() - book.accounts.keys():
            if book.permissions[name].grants != NOTHING:
                book.permissions[name].become(NOTHING)
        for name, account in book.accounts.items():
            permissions = book.permissions.get(name)
            if permissions is None:
                book.permissions[name] = Permissions(name, account.grants)
            elif permissions.grants != account.grants:
                # What has not changed is not compiled anew: others may be many.
                permissions.become(account.grants)
        book.decoy = next((each for each in book.hashes.values() if each is not None), None)

    def close(self) -> None:
        """Let go of the threads; logins under way are refused."""
        self._book.threads.shutdown(wait=False, cancel_futures=True)

    async def authenticate(
        self,
        user: str | None,
        password: bytes | None,
        *,
        loopback: bool,
        certificate_user: str | None = None,
    ) -> User:
        """The user that the credentials belong to. Raises `AuthenticationFailed`.

        `loopback`: nobody else can reach the listener. `certificate_user`: the common name of a
        client certificate that the TLS handshake has verified.
        """
        if certificate_user is not None and user in {None, "", certificate_user} and not password:
            return self._certificate_holder(certificate_user)
        if not self.configured and (loopback or self._anonymous):
            return User(user or certificate_user or ANONYMOUS, verified=False)
        if not user and not password:
            if self._anonymous:
                # A user of that name says what the nameless may do.
                permitted = self._book.permissions.get(ANONYMOUS, _UNRESTRICTED)
                return User(ANONYMOUS, verified=False, permissions=permitted)
            raise AuthenticationFailed("no user name was given, and this broker has users")
        account = self._book.accounts.get(user or "")
        if account is not None and account.loopback_only and not loopback:
            raise AuthenticationFailed(f"user {user!r} can only log in via localhost")
        return await self._checked(user or "", password or b"", certificate_user)

    def _certificate_holder(self, name: str) -> User:
        if name not in self._book.hashes:
            raise AuthenticationFailed(f"the certificate's name {name!r} is no user's")
        return self._book.user(name)

    async def _checked(self, name: str, password: bytes, certificate_user: str | None) -> User:
        book = self._book
        if certificate_user == name and name in book.hashes:
            return book.user(name)
        refusal = AuthenticationFailed(f"wrong user name or password for {name!r}")
        if len(password) > _PASSWORD_LENGTH_MAX:
            raise refusal
        stored = book.hashes.get(name)
        against = stored or book.decoy
        if against is None:
            raise refusal
        matches = await self._verify(name, password, against)
        if stored is None or not matches or name not in book.accounts:
            raise refusal
        return book.user(name)

    async def _verify(self, name: str, password: bytes, stored: PasswordHash) -> bool:
        if not stored.slow:
            return stored.verify(password)
        book = self._book
        key = book.verified.key(name, password, stored)
        if key in book.verified:
            return True
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(book.threads, book.verify_slowly, key, password, stored)


def _parsed(password_hash: str | None) -> PasswordHash | None:
    return None if password_hash is None else parse_password_hash(password_hash)


class _Book:
    """What all views of the accounts share."""

    def __init__(self, secret: bytes) -> None:
        self.accounts: dict[str, Account] = {}
        self.hashes: dict[str, PasswordHash | None] = {}
        self.permissions: dict[str, Permissions] = {}
        self.decoy: PasswordHash | None = None
        self.verified = _VerifiedPasswords(secret)
        self.threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="password")

    def user(self, name: str) -> User:
        """A configured user that has proved to be it."""
        return User(name, permissions=self.permissions[name], tags=self.accounts[name].tags)

    def verify_slowly(self, key: bytes, password: bytes, stored: PasswordHash) -> bool:
        """On a thread; asks the memory again, since many may have waited for the same answer."""
        if key in self.verified:
            return True
        if not stored.verify(password):
            return False
        self.verified.add(key)
        return True


class _VerifiedPasswords:
    """The passwords that were right lately, as keyed hashes."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._keys: OrderedDict[bytes, None] = OrderedDict()
        self._lock = Lock()

    def __contains__(self, key: bytes) -> bool:
        with self._lock:
            if key not in self._keys:
                return False
            self._keys.move_to_end(key)
            return True

    def key(self, name: str, password: bytes, stored: PasswordHash) -> bytes:
        """Bound to the stored hash: a user whose password was changed is not remembered."""
        parts = [name.encode("utf-8", "surrogatepass"), password, repr(stored).encode()]
        digest = hashlib.blake2b(key=self._secret, digest_size=32)
        for part in parts:
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return digest.digest()

    def add(self, key: bytes) -> None:
        with self._lock:
            self._keys[key] = None
            if len(self._keys) > _REMEMBERED_MAX:
                self._keys.popitem(last=False)

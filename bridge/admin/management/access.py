"""Who may see what of the management API: RabbitMQ's user tags.

Administrators and monitors see everything; `management` and `policymaker` the namespaces that they
may open, and their own connections. A user of whom the configuration gives no tags sees its
namespaces whole, without password hashes. Where everybody is let in, everybody is an administrator.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from dataclasses import dataclass
from typing import Final

from bridge.auth import Accounts, User
from bridge.messaging.errors import AuthenticationFailed
from bridge.net.http_messages import HttpRequest

ADMINISTRATOR: Final = frozenset({"administrator"})
_MANAGEMENT: Final = frozenset({"administrator", "monitoring", "policymaker", "management"})


class AccessRefused(Exception):
    """Answered 401, in RabbitMQ's words; `reason` is None where no credentials were given.

    `failed` is whose credentials were wrong, or not enough to come in.
    """

    def __init__(self, error: str, reason: str | None, failed: str | None = None) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason
        self.failed = failed


@dataclass(frozen=True, slots=True)
class UncheckedLogin:
    """What somebody gave who was let in because everybody is."""

    password: bytes
    loopback: bool
    """Nobody else can reach the listener by which it came."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who asks. `tags` None: the configuration says nothing about them."""

    user: User
    tags: frozenset[str] | None
    unchecked: UncheckedLogin | None = None

    @property
    def administrator(self) -> bool:
        return self.tags is not None and "administrator" in self.tags

    @property
    def monitor(self) -> bool:
        return self.tags is not None and bool(self.tags & {"administrator", "monitoring"})

    @property
    def sees_all_connections(self) -> bool:
        """Not only its own ones, in the namespaces that it sees."""
        return self.tags is None or self.monitor

    def sees(self, namespace: str) -> bool:
        return self.monitor or self.user.may_open(namespace)

    def require_administrator(self) -> None:
        """Raises `AccessRefused`; who has no tags at all goes on, and sees no hashes."""
        if self.tags is not None and not self.administrator:
            raise AccessRefused("not_authorised", "Not administrator user")

    def require_monitor(self) -> None:
        """Raises `AccessRefused`."""
        if self.tags is not None and not self.monitor:
            raise AccessRefused("not_authorised", "Not monitor user")


async def viewer_of(request: HttpRequest, accounts: Accounts, *, loopback: bool) -> Viewer:
    """HTTP Basic credentials checked against the users. Raises `AccessRefused`."""
    given = credentials_from(request.headers.get("authorization", ""))
    name, password = given or (None, None)
    try:
        user = await accounts.authenticate(name, password, loopback=loopback)
    except AuthenticationFailed as error:
        reason = "Login failed" if given else None
        raise AccessRefused("not_authorized", reason, name) from error
    if not accounts.configured:
        unchecked = UncheckedLogin(password or b"", loopback)
        return Viewer(User(name or "guest", verified=False), ADMINISTRATOR, unchecked)
    if user.tags is not None and not user.tags & _MANAGEMENT:
        raise AccessRefused("not_authorised", "Not management user", user.name)
    return Viewer(user, user.tags)


def credentials_from(header: str) -> tuple[str, bytes] | None:
    """User and password of an `Authorization` header (RFC 7617); None where it holds none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, password = b64decode(encoded.strip(), validate=True).partition(b":")
        return name.decode(), password
    except (binascii.Error, UnicodeDecodeError):
        return None

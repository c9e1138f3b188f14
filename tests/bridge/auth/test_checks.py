"""Refusals read as RabbitMQ's do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bridge.auth import (
    Grants,
    NamespacePermission,
    Permissions,
    SubjectPermission,
    User,
    checks,
)
from bridge.messaging.errors import AccessDenied


def user(**grants: object) -> User:
    return User("ada", permissions=Permissions("ada", Grants(**grants)))  # type: ignore[arg-type]


BOUND = user(
    permissions=(NamespacePermission("/", "^a", "^a", "^(a|amq)"),),
    subjects=(SubjectPermission("/", "a", "^x", "^x"),),
    publish=("a/+",),
    subscribe=("a/#",),
)


@pytest.mark.parametrize(
    ("check", "text"),
    [
        (lambda: checks.require_open(BOUND, "shop"), "access to vhost 'shop' refused"),
        (
            lambda: checks.require_configure(BOUND, "/", "queue", "b"),
            "configure access to queue 'b' in vhost '/' refused for user 'ada'",
        ),
        (
            lambda: checks.require_write(BOUND, "/", "exchange", "b"),
            "write access to exchange 'b' in vhost '/' refused for user 'ada'",
        ),
        (
            lambda: checks.require_write(user(permissions=()), "/", "exchange", ""),
            "write access to exchange 'amq.default' in vhost '/' refused for user 'ada'",
        ),
        (
            lambda: checks.require_read(BOUND, "/", "queue", "b"),
            "read access to queue 'b' in vhost '/' refused for user 'ada'",
        ),
        (
            lambda: checks.require_write_subject(BOUND, "/", "a", "y.z"),
            "write access to topic 'y.z' in exchange 'a' in vhost '/' refused for user 'ada'",
        ),
        (
            lambda: checks.require_read_subject(BOUND, "/", "amq.topic", "#"),
            "read access to topic '#' in exchange 'amq.topic' in vhost '/' refused for user 'ada'",
        ),
        (
            lambda: checks.require_write_subject(BOUND, "/", "amq.topic", "a.b.c"),
            "write access to topic 'a.b.c' in exchange 'amq.topic'",
        ),
    ],
)
def test_a_refusal_says_who_what_and_where(check: Callable[[], None], text: str) -> None:
    with pytest.raises(AccessDenied) as refusal:
        check()
    assert text in str(refusal.value)


def test_what_is_permitted_passes() -> None:
    checks.require_open(BOUND, "/")
    checks.require_configure(BOUND, "/", "queue", "a")
    checks.require_write(BOUND, "/", "exchange", "a")
    checks.require_read(BOUND, "/", "exchange", "amq.topic")
    checks.require_write_subject(BOUND, "/", "a", "x.y")
    checks.require_write_subject(BOUND, "/", "amq.topic", "a.b%2Ec")
    checks.require_read_subject(BOUND, "/", "amq.topic", "a.*.b")
    checks.require_read_subject(BOUND, "/", "amq.topic", "a.#.b")

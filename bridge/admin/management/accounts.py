"""Users, permissions and policies as RabbitMQ's API and its definitions show them."""

from __future__ import annotations

from typing import Final

from bridge.admin.management.sources import Json
from bridge.auth import Account
from bridge.routing.policies import Policy

_SHA512_LENGTH: Final = 92
"""Characters in base64 of a salt of 4 bytes and a SHA-512."""
_EVERYTHING: Final = {"configure": ".*", "write": ".*", "read": ".*"}


def user_shown(account: Account, *, hashes: bool) -> Json:
    """A user. Only hashes that RabbitMQ could verify are shown; others are empty, which to it is no
    password at all.
    """
    encoded, algorithm = _rabbitmq_hash(account.password_hash or "")
    return {
        "name": account.name,
        "password_hash": encoded if hashes else "",
        "hashing_algorithm": algorithm,
        "tags": sorted(account.tags or ()),
        "limits": {},
    }


def permissions_shown(account: Account, namespaces: list[str]) -> list[Json]:
    """A user's permissions: what it was given, or everything in what it may open."""
    grants = account.grants
    if grants.permissions is None:
        open_ones = [
            each for each in namespaces if grants.namespaces is None or each in grants.namespaces
        ]
        return [{"user": account.name, "vhost": each, **_EVERYTHING} for each in open_ones]
    return [
        {
            "user": account.name,
            "vhost": each.namespace,
            "configure": each.configure,
            "write": each.write,
            "read": each.read,
        }
        for each in sorted(grants.permissions, key=lambda each: each.namespace)
        if each.namespace in namespaces
    ]


def topic_permissions_shown(account: Account, namespaces: list[str]) -> list[Json]:
    """A user's topic permissions."""
    return [
        {
            "user": account.name,
            "vhost": each.namespace,
            "exchange": each.topic,
            "write": each.write,
            "read": each.read,
        }
        for each in account.grants.subjects
        if each.namespace in namespaces
    ]


def policy_shown(policy: Policy) -> Json:
    """A policy."""
    return {
        "vhost": policy.namespace,
        "name": policy.name,
        "pattern": policy.pattern,
        "apply-to": policy.apply_to,
        "definition": policy.definition,
        "priority": policy.priority,
    }


def _rabbitmq_hash(stored: str) -> tuple[str, str]:
    """The hash as RabbitMQ writes it, and its algorithm."""
    prefix, separator, encoded = stored.partition(":")
    if separator and prefix.startswith("rabbitmq-"):
        return encoded, f"rabbit_password_hashing_{prefix.removeprefix('rabbitmq-')}"
    if stored.startswith("$"):
        return "", "rabbit_password_hashing_sha256"
    bits = "512" if len(stored) == _SHA512_LENGTH else "256"
    return stored, f"rabbit_password_hashing_sha{bits}"

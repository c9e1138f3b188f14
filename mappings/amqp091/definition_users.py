"""The users, permissions and virtual hosts of RabbitMQ's exported definitions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Final

from bridge.auth import (
    Account,
    Grants,
    NamespacePermission,
    PasswordHashInvalid,
    PatternInvalid,
    Permissions,
    SubjectPermission,
    make_password_hash,
    parse_password_hash,
)
from mappings.amqp091.definitions import DEFAULT_VHOST, Definitions, Export, Item

_ALGORITHMS: Final = {
    "rabbit_password_hashing_sha256": "rabbitmq-sha256:",
    "rabbit_password_hashing_sha512": "rabbitmq-sha512:",
}


def read_namespaces(export: Export, found: Definitions) -> None:
    """Virtual hosts, those included that only something else names."""
    names = {DEFAULT_VHOST, export.vhost} if "vhosts" not in export.data else set()
    for _, item in export.items("vhosts"):
        name = item.text("name")
        if name and (len(name) > 255 or not name.isprintable()):
            item.mistake(f"the name {name!r} is not 1 to 255 printable characters")
        names.add(name)
        if limits := item.table("limits"):
            found.losses.append(f"vhost {name!r}: limits {_shown(limits)} are not enforced")
        if item.data.get("tracing") is True:
            found.losses.append(f"vhost {name!r}: the firehose (tracing) is not offered")
    for section in ("queues", "exchanges", "bindings", "policies"):
        if section in export.data:
            names |= {item.vhost for _, item in export.items(section)}
    found.namespaces = sorted(name for name in names if name)


def read_users(export: Export, found: Definitions) -> None:
    """Users with their hashes, tags and permissions."""
    permissions: dict[str, list[NamespacePermission]] = defaultdict(list)
    for _, item in export.items("permissions"):
        user = item.text("user")
        permissions[user].append(
            NamespacePermission(
                item.vhost, item.text("configure"), item.text("write"), item.text("read")
            )
        )
    subjects: dict[str, list[SubjectPermission]] = defaultdict(list)
    for _, item in export.items("topic_permissions"):
        user = item.text("user")
        subjects[user].append(
            SubjectPermission(
                item.vhost, item.text("exchange"), item.text("write"), item.text("read")
            )
        )
    for _, item in export.items("users"):
        name = item.text("name")
        grants = Grants(
            permissions=tuple(permissions.pop(name, ())), subjects=tuple(subjects.pop(name, ()))
        )
        try:
            Permissions(name, grants)
        except PatternInvalid as error:
            item.mistake(f"a permission of user {name!r} {error}")
        guest = name == "guest"
        if guest:
            found.losses.append(
                "user 'guest' can only log in on listeners on loopback, as in RabbitMQ's defaults"
            )
        account = Account(
            name, _hash(item, found), grants, frozenset(_tags(item)), loopback_only=guest
        )
        found.accounts.append(account)
        if limits := item.table("limits"):
            found.losses.append(f"user {name!r}: limits {_shown(limits)} are not enforced")
    if "users" in export.data:
        for name in sorted({*permissions, *subjects}):
            export.mistakes.append(f"permissions: there is no user {name!r}")


def _hash(item: Item, found: Definitions) -> str | None:
    name = item.text("name")
    if "password" in item.data:
        return make_password_hash(item.text("password").encode())
    encoded = item.text("password_hash", "")
    if not encoded:
        found.losses.append(f"user {name!r} has no password: only a certificate lets it in")
        return None
    algorithm = item.text("hashing_algorithm", "rabbit_password_hashing_sha256")
    prefix = _ALGORITHMS.get(algorithm)
    if prefix is None:
        found.losses.append(
            f"user {name!r}: hashes of {algorithm} are not taken; the user needs a new password"
        )
        return None
    try:
        parse_password_hash(prefix + encoded)
    except PasswordHashInvalid as error:
        item.mistake(f"the password_hash of user {name!r} {error}")
    return prefix + encoded


def _tags(item: Item) -> list[str]:
    """A list since RabbitMQ 3.9, text with commas before."""
    tags = item.data.get("tags", [])
    if isinstance(tags, str):
        tags = [tag.strip() for tag in tags.split(",")]
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        item.mistake("tags must be a list of texts")
        return []
    return [tag for tag in tags if tag]


def _shown(limits: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in limits.items())

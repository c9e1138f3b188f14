"""What users may do, per namespace and per topic, before and after a reload."""

from __future__ import annotations

import pytest

from bridge.auth import (
    Account,
    Accounts,
    Grants,
    NamespacePermission,
    PatternInvalid,
    Permissions,
    SubjectPermission,
)
from bridge.auth.permissions import REMEMBERED_MAX


def permissions(**grants: object) -> Permissions:
    return Permissions("ada", Grants(**grants))  # type: ignore[arg-type]


def test_who_was_given_nothing_in_particular_may_do_everything() -> None:
    free = Permissions("ada")
    assert free.may_open("/")
    assert free.may_configure("/", "x")
    assert free.may_write("shop", "")
    assert free.may_read("/", "x")
    assert free.may_publish_topic("a/b", None)
    assert free.may_subscribe_topic("#", "c")
    assert free.may_write_subject("/", "amq.topic", "a.b")


def test_patterns_hold_for_their_namespace_only() -> None:
    bound = permissions(permissions=(NamespacePermission("/", "^own-", "^(own-|bills$)", ".*"),))
    assert bound.may_open("/")
    assert not bound.may_open("shop")
    assert bound.may_configure("/", "own-queue")
    assert not bound.may_configure("/", "bills")
    assert bound.may_write("/", "bills")
    assert not bound.may_write("/", "bills2")
    assert bound.may_read("/", "bills2")
    assert not bound.may_read("shop", "own-queue")


def test_the_default_exchange_is_seen_as_amq_default() -> None:
    bound = permissions(permissions=(NamespacePermission("/", "", r"^amq\.default$", ""),))
    assert bound.may_write("/", "")
    assert not bound.may_configure("/", "")
    assert not bound.may_read("/", "orders")


def test_namespaces_restrict_what_permissions_open() -> None:
    everywhere = tuple(NamespacePermission(each, ".*", ".*", ".*") for each in ("/", "shop"))
    assert permissions(namespaces=frozenset({"shop"})).may_open("shop")
    assert not permissions(namespaces=frozenset({"shop"})).may_open("/")
    both = permissions(namespaces=frozenset({"shop"}), permissions=everywhere)
    assert both.may_read("shop", "x")
    assert not both.may_read("/", "x")
    assert not permissions(permissions=()).may_open("/")


@pytest.mark.parametrize(
    ("permitted", "topic", "client", "expected"),
    [
        ("a/b", "a/b", None, True),
        ("a/b", "a/b/c", None, False),
        ("a/+", "a/b", None, True),
        ("a/+", "a/", None, True),
        ("a/#", "a", None, True),
        ("a/#", "a/b/c", None, True),
        ("a/#", "ab", None, False),
        ("#", "$SYS/x", None, False),
        ("+/x", "$SYS/x", None, False),
        ("$SYS/#", "$SYS/x", None, True),
        ("dev/{client_id}/+", "dev/c1/t", "c1", True),
        ("dev/{client_id}/+", "dev/c2/t", "c1", False),
        ("dev/{client_id}/+", "dev/c2/t", "+", False),
        ("dev/{client_id}/+", "dev/+/t", "+", True),
        ("dev/{client_id}", "dev/a/b", "#", False),
        ("dev/{client_id}", "dev/a/b", "a/b", True),
        ("dev/{client_id}", "dev/", None, False),
        ("dev/{client_id}", "dev/ada", "{user}", False),
        ("home/{user}/#", "home/ada/x", "c", True),
        ("home/{user}/#", "home/bob/x", "c", False),
        ("dev/x-{client_id}-{user}", "dev/x-1-ada", "1", True),
    ],
)
def test_publishing_to_topics(
    permitted: str, topic: str, client: str | None, expected: bool
) -> None:
    assert permissions(publish=(permitted,)).may_publish_topic(topic, client) is expected


@pytest.mark.parametrize(
    ("permitted", "wanted", "client", "expected"),
    [
        ("a/#", "a/#", None, True),
        ("a/#", "a/+/b", None, True),
        ("a/#", "a", None, True),
        ("a/+", "a/+", None, True),
        ("a/+", "a/#", None, False),
        ("a/+/c", "a/+/+", None, False),
        ("a/b", "a/+", None, False),
        ("#", "#", None, True),
        ("#", "+/x", None, True),
        ("#", "$SYS/#", None, False),
        ("a/#", "#", None, False),
        ("a/#", "$share/workers/a/b", None, True),
        ("a/#", "$share/workers/b", None, False),
        ("$share/#", "$share/workers/b", None, False),
        ("dev/{client_id}", "dev/+", "+", False),
        ("dev/{client_id}", "dev/#", "#", False),
    ],
)
def test_subscribing_to_filters(
    permitted: str, wanted: str, client: str | None, expected: bool
) -> None:
    assert permissions(subscribe=(permitted,)).may_subscribe_topic(wanted, client) is expected


def test_a_list_denies_what_it_leaves_out_and_no_list_denies_nothing() -> None:
    given = permissions(publish=("a/#", "b"))
    assert given.may_publish_topic("b", None)
    assert not given.may_publish_topic("c", None)
    assert given.may_subscribe_topic("c", None)
    assert not permissions(subscribe=()).may_subscribe_topic("c", None)


@pytest.mark.parametrize("text", ["", "a/#/b", "a+/b", "a/b#", "a\0b", "/" * 300])
def test_what_is_no_topic_filter_is_refused(text: str) -> None:
    with pytest.raises(PatternInvalid):
        permissions(publish=(text,))


def test_subjects_of_one_topic() -> None:
    bound = permissions(
        subjects=(
            SubjectPermission("/", "amq.topic", r"^{username}\.", r"^{vhost}\.{client_id}\."),
        )
    )
    assert bound.may_write_subject("/", "amq.topic", "ada.x")
    assert not bound.may_write_subject("/", "amq.topic", "bob.x")
    assert bound.may_write_subject("/", "other", "bob.x")
    assert bound.may_read_subject("/", "amq.topic", "/.c1.x", "c1")
    assert not bound.may_read_subject("/", "amq.topic", "/.c2.x", "..")
    assert not bound.may_read_subject("/", "amq.topic", "/.c1.x")


def test_the_memory_of_answers_is_bounded() -> None:
    bound = permissions(publish=("a/+",))
    for number in range(REMEMBERED_MAX + 1):
        assert bound.may_publish_topic(f"a/{number}", None)
    assert len(bound._answers) == 1
    assert not bound.may_publish_topic("b" * 10_000, None)
    assert len(bound._answers) == 1


async def test_a_reload_holds_for_those_who_are_connected() -> None:
    accounts = Accounts([Account("ada", "$6$c2FsdA==$" + "A" * 86 + "==")], secret=b"s")
    user = await accounts.authenticate(None, None, loopback=True, certificate_user="ada")
    assert user.may_publish_topic("b", None)
    accounts.replace([Account("ada", grants=Grants(publish=("a",)))])
    assert not user.may_publish_topic("b", None)
    accounts.replace([Account("bob")])
    assert not user.may_open("/")
    accounts.close()


async def test_a_user_called_anonymous_says_what_the_nameless_may() -> None:
    accounts = Accounts([Account("anonymous", grants=Grants(publish=("a",)))], secret=b"s")
    user = await accounts.for_anonymous().authenticate(None, None, loopback=False)
    assert not user.may_publish_topic("b", None)
    accounts.close()

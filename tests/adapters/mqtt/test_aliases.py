from __future__ import annotations

from adapters.mqtt.aliases import OutboundAliases


def use(aliases: OutboundAliases, topic: str) -> tuple[int, bool] | None:
    found = aliases.alias(topic)
    if found is not None and not found[1]:
        aliases.told(topic, found[0])
    return found


def test_an_alias_is_set_at_once_and_used_from_then_on() -> None:
    aliases = OutboundAliases(2)
    assert [use(aliases, "a") for _ in range(3)] == [(1, False), (1, True), (1, True)]
    assert use(aliases, "b") == (2, False)


def test_an_alias_that_was_not_told_is_not_known() -> None:
    aliases = OutboundAliases(1)
    assert aliases.alias("a") == (1, False)
    assert aliases.alias("b") == (1, False)
    aliases.told("b", 1)
    assert aliases.alias("b") == (1, True)
    assert aliases.alias("a") is None


def test_a_topic_that_comes_again_takes_over_the_least_recently_used() -> None:
    aliases = OutboundAliases(2)
    for topic in ("a", "b", "a"):
        use(aliases, topic)
    assert use(aliases, "c") is None
    assert use(aliases, "c") == (2, False)
    assert use(aliases, "a") == (1, True)
    assert use(aliases, "b") is None
    assert use(aliases, "b") == (2, False)


def test_topics_that_come_once_displace_none_and_take_no_memory() -> None:
    aliases = OutboundAliases(3)
    for topic in "abc":
        use(aliases, topic)
    assert all(use(aliases, f"topic {number}") is None for number in range(1_000))
    assert len(aliases._seen) == 3
    assert [use(aliases, topic) for topic in "abc"] == [(1, True), (2, True), (3, True)]

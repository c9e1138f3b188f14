from __future__ import annotations

from adapters.mqtt.aliases import OutboundAliases


def use(aliases: OutboundAliases, topic: str) -> tuple[int, bool] | None:
    found = aliases.alias(topic)
    if found is not None and not found[1]:
        aliases.told(topic, found[0])
    return found


def test_the_second_time_sets_an_alias_and_the_third_uses_it() -> None:
    aliases = OutboundAliases(2)
    assert [use(aliases, "a") for _ in range(4)] == [None, (1, False), (1, True), (1, True)]


def test_an_alias_that_was_not_told_is_not_known() -> None:
    aliases = OutboundAliases(1)
    assert use(aliases, "a") is None
    assert aliases.alias("a") == (1, False)
    assert aliases.alias("a") == (1, False)
    aliases.told("a", 1)
    assert aliases.alias("a") == (1, True)


def test_the_least_recently_used_alias_is_taken_over() -> None:
    aliases = OutboundAliases(2)
    for topic in ("a", "a", "b", "b", "a"):
        use(aliases, topic)
    assert use(aliases, "c") is None
    assert use(aliases, "c") == (2, False)
    assert use(aliases, "a") == (1, True)
    assert use(aliases, "b") is None
    assert use(aliases, "b") == (2, False)


def test_topics_that_come_once_take_no_alias_and_no_memory() -> None:
    aliases = OutboundAliases(3)
    assert all(use(aliases, f"topic {number}") is None for number in range(1_000))
    assert len(aliases._seen) == 3
    assert not aliases._aliases

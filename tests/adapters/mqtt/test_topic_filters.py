from __future__ import annotations

import pytest

from adapters.mqtt.errors import MqttError
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.topic_filters import TopicFilter, check_topic_name, parse_topic_filter


@pytest.mark.parametrize("topic", ["a", "/", "//", "a b/ü/\U0002a6d4", "$SYS/x", "*", ">", "a.b"])
def test_topic_names(topic: str) -> None:
    check_topic_name(topic)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a#b", "+x"])
def test_topic_names_that_are_none(topic: str) -> None:
    with pytest.raises(MqttError) as caught:
        check_topic_name(topic)
    assert caught.value.reason is ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize(
    "text",
    ["#", "+", "/", "a/#", "/#", "+/+", "a/+/b", "+/#", "$SYS/#", "$share", "$shared/a", "a//#"],
)
def test_filters(text: str) -> None:
    assert parse_topic_filter(text) == TopicFilter(text, text)


@pytest.mark.parametrize("text", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "##", "++", "a/b#", "#/"])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(MqttError) as caught:
        parse_topic_filter(text)
    assert caught.value.reason is ReasonCode.MALFORMED_PACKET


def test_shared_subscriptions() -> None:
    text = "$share/group/a/+/#"
    assert parse_topic_filter(text) == TopicFilter(text, "a/+/#", "group")
    assert parse_topic_filter("$share/g//").pattern == "/"
    assert parse_topic_filter("$share/g/$share/h/a").pattern == "$share/h/a"


@pytest.mark.parametrize(
    "text", ["$share/", "$share//a", "$share/g", "$share/g/", "$share/+/a", "$share/a#/b"]
)
def test_shared_subscriptions_that_are_none(text: str) -> None:
    with pytest.raises(MqttError) as caught:
        parse_topic_filter(text)
    assert caught.value.reason is ReasonCode.PROTOCOL_ERROR


def test_a_shared_filter_is_checked_too() -> None:
    with pytest.raises(MqttError) as caught:
        parse_topic_filter("$share/g/a#")
    assert caught.value.reason is ReasonCode.MALFORMED_PACKET


def test_a_long_topic_is_shown_short() -> None:
    with pytest.raises(MqttError) as caught:
        check_topic_name("ü" * 60_000 + "+")
    assert len(str(caught.value)) < 300

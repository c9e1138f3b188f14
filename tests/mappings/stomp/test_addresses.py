from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stomp.frames import FrameError
from bridge.messaging.errors import UnsupportedOperation
from mappings.stomp.addresses import (
    Address,
    QueueAddress,
    TempQueueAddress,
    TopicAddress,
    address_from_destination,
    destination_from_topic,
    header_from_reply_to,
)


@pytest.mark.parametrize(
    ("destination", "address"),
    [
        ("/queue/orders", QueueAddress("orders")),
        ("orders", QueueAddress("orders")),
        ("/queue/a%2Fb", QueueAddress("a/b")),
        ("/queue/a.b.>", QueueAddress("a.b.>")),
        ("/amq/queue/orders", QueueAddress("orders", create=False)),
        ("/reply-queue/a/b", QueueAddress("a/b", create=False, reply=True)),
        ("/topic/a.b", TopicAddress("amq.topic", "a.b")),
        ("/topic/a%2Fb", TopicAddress("amq.topic", "a/b")),
        ("/exchange/ex", TopicAddress("ex", "")),
        ("/exchange/ex/a.b", TopicAddress("ex", "a.b")),
        ("/exchange/a%2Fb/k%2Fl", TopicAddress("a/b", "k/l")),
        ("/temp-queue/mine", TempQueueAddress("mine")),
    ],
)
def test_destinations(destination: str, address: Address) -> None:
    assert address_from_destination(destination) == address


@pytest.mark.parametrize(
    ("destination", "kind", "content"),
    [
        ("/queue/bah/baz", "queue", "/bah/baz"),
        ("/queue", "queue", ""),
        ("/topic/bah/baz", "topic", "/bah/baz"),
        ("/topic", "topic", ""),
        ("/exchange/bah/baz/boo", "exchange", "/bah/baz/boo"),
        ("/exchange", "exchange", ""),
        ("/exchange//foo", "exchange", "//foo"),
        ("/temp-queue/", "temp-queue", "/"),
        ("/reply-queue/", "reply-queue", "/"),
    ],
)
def test_invalid_destinations_are_named_as_rabbitmq_does(
    destination: str, kind: str, content: str
) -> None:
    with pytest.raises(FrameError) as caught:
        address_from_destination(destination)
    assert caught.value.title == "Invalid destination"
    assert caught.value.detail == f"'{content}' is not a valid {kind} destination\n"


@pytest.mark.parametrize("destination", ["/something/interesting", "/", "a/b", "/amq/x", "//queue"])
def test_unknown_destinations(destination: str) -> None:
    with pytest.raises(FrameError) as caught:
        address_from_destination(destination)
    assert caught.value.title == "Unknown destination"
    assert f"'{destination}' is not a valid destination.\n" in caught.value.detail


@pytest.mark.parametrize("destination", ["", "/queue/" + "x" * 1_020])
def test_destinations_have_bounds(destination: str) -> None:
    with pytest.raises(FrameError, match="Invalid destination"):
        address_from_destination(destination)


@pytest.mark.parametrize("destination", ["/remote-temp-topic/a", "/dsub/a", "/remote-temp-queue/a"])
def test_what_is_not_offered_is_said_to_be_so(destination: str) -> None:
    with pytest.raises(UnsupportedOperation, match="not offered"):
        address_from_destination(destination)


@pytest.mark.parametrize(
    ("key", "kind", "pattern"),
    [
        ("a.*.>", "topic", "a.*.#"),
        ("a.#.b", "topic", "a.#.b"),
        (">", "topic", "#"),
        ("a>.b", "topic", "a>.b"),
        ("a.>", "direct", "a.>"),
        ("", "fanout", "%e"),
    ],
)
def test_wildcards(key: str, kind: str, pattern: str) -> None:
    assert TopicAddress("amq.topic", key).pattern(kind) == pattern


words = st.text(st.characters(exclude_characters="%", exclude_categories=["Cs"]), min_size=1)


@given(words, words)
def test_a_shown_destination_leads_back(topic: str, key: str) -> None:
    address = TopicAddress(topic, key)
    shown = destination_from_topic(address.topic, address.subject)
    if len(shown) <= 1_024:
        assert address_from_destination(shown) == address


def test_reply_to() -> None:
    assert header_from_reply_to("stomp.gen-1") == "/reply-queue/stomp.gen-1"
    assert header_from_reply_to("/queue/a") == "/queue/a"

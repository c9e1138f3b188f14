"""Deliveries, acknowledgements and confirms of a channel."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters.amqp091 import events
from adapters.amqp091.errors import AmqpError, ReplyCode
from adapters.amqp091.properties import encode_properties

from .conversation import Conversation, frames_of, opened

PERSISTENT = encode_properties(delivery_mode=2)


def deliver(consumer: Any, *tokens: object, body: bytes = b"body", key: str = "k") -> None:
    consumer.deliver([(token, False, "ex", key, PERSISTENT, body) for token in tokens])


def ack(conversation: Conversation, tag: int, *, multiple: bool = False) -> list[Any]:
    return conversation.ask(1, "Basic.Ack", delivery_tag=tag, multiple=multiple)


def test_deliveries_in_one_write() -> None:
    conversation = opened()
    consumer = conversation.consume("tag")
    consumer.deliver(
        [
            ("a", False, "ex", "k", PERSISTENT, b"one"),
            ("b", True, "ex", "k2", b"\0\0", b""),
            ("c", False, "ex", "k", PERSISTENT, b"three"),
            ("d", False, "ex", "k", PERSISTENT, b"four!"),
        ]
    )
    got = conversation.down()
    assert [(m.name, m.channel, m.fields, m.body) for m in got] == [
        (
            "Basic.Deliver",
            1,
            {
                "consumer_tag": "tag",
                "delivery_tag": tag,
                "redelivered": redelivered,
                "exchange": "ex",
                "routing_key": key,
            },
            body,
        )
        for tag, redelivered, key, body in (
            (1, False, "k", b"one"),
            (2, True, "k2", b""),
            (3, False, "k", b"three"),
            (4, False, "k", b"four!"),
        )
    ]
    assert [m.properties.raw for m in got if m.properties] == [
        PERSISTENT,
        b"\0\0",
        PERSISTENT,
        PERSISTENT,
    ]


def test_large_bodies_are_split_to_the_negotiated_frame_size() -> None:
    conversation = opened(frame_max=4096)
    consumer = conversation.consume()
    body = bytes(range(256)) * 64
    deliver(consumer, "a", body=body)
    data = b"".join(conversation.server.data_to_send())
    assert [len(payload) for kind, _, payload in frames_of(data) if kind == 3] == [4088] * 4 + [32]
    conversation.client.receive_data(data, 0.0)
    (got,) = conversation.client.next_events()
    assert got.body == body


def test_many_keys_are_bounded() -> None:
    conversation = opened()
    consumer = conversation.consume()
    for number in range(3000):
        deliver(consumer, number, key=str(number))
    assert len(consumer._encoder._templates) <= 1024


def test_acks_of_a_chunk_are_one_event() -> None:
    conversation = opened()
    deliver(conversation.consume(), *"abcdef")
    for tag in (1, 3, 2):
        conversation.client.send(1, "Basic.Ack", delivery_tag=tag)
    conversation.client.send(1, "Basic.Ack", delivery_tag=5, multiple=True)
    assert conversation.up() == [events.AcksReceived(1, ["a", "c", "b", "d", "e"])]
    assert ack(conversation, 0, multiple=True) == [events.AcksReceived(1, ["f"])]
    assert ack(conversation, 0, multiple=True) == [events.AcksReceived(1, [])]


@pytest.mark.parametrize("multiple", [False, True])
@pytest.mark.parametrize("tag", [1, 3, 99])
def test_unknown_delivery_tags_close_the_channel(tag: int, multiple: bool) -> None:
    conversation = opened()
    deliver(conversation.consume(), "a", "b")
    ack(conversation, 1)
    (refused,) = ack(conversation, tag, multiple=multiple)
    text = f"PRECONDITION_FAILED - unknown delivery tag {tag}"
    assert isinstance(refused, events.ChannelRefused)
    assert conversation.refuse_mistakes() == ["b"]
    assert conversation.refusal() == ("Channel.Close", 406, text)


def test_nack_and_reject() -> None:
    conversation = opened()
    deliver(conversation.consume(), *"abcd")
    assert conversation.ask(1, "Basic.Reject", delivery_tag=2, requeue=True) == [
        events.NacksReceived(1, ["b"], True)
    ]
    assert conversation.ask(1, "Basic.Nack", delivery_tag=3, multiple=True) == [
        events.NacksReceived(1, ["a", "c"], False)
    ]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_acks_settle_what_they_name(data: st.DataObject) -> None:
    conversation = opened()
    consumer = conversation.consume()
    model: list[int] = []
    last = 0
    for _ in range(data.draw(st.integers(1, 12))):
        fresh = data.draw(st.integers(0, 30))
        deliver(consumer, *range(last + 1, last + fresh + 1))
        model += range(last + 1, last + fresh + 1)
        last += fresh
        if not model:
            continue
        tag = data.draw(st.sampled_from(model))
        multiple = data.draw(st.booleans())
        expected = [each for each in model if each <= tag] if multiple else [tag]
        (event,) = ack(conversation, tag, multiple=multiple)
        assert event.tokens == expected
        model = [each for each in model if each not in expected]
    assert conversation.server.take_unacked() == model


def test_automatic_acks_keep_no_token() -> None:
    conversation = opened()
    deliver(conversation.consume(no_ack=True), "a", "b")
    assert [m.fields["delivery_tag"] for m in conversation.down()] == [1, 2]
    assert conversation.server.take_unacked() == []


def test_recover_hands_back_everything() -> None:
    conversation = opened()
    deliver(conversation.consume(), "a", "b")
    (event,) = conversation.ask(1, "Basic.Recover", requeue=True)
    assert event == events.RecoverRequested(1, ["a", "b"], False)
    conversation.down()
    conversation.server.answer(event)
    assert conversation.sent() == ["Basic.RecoverOk"]
    (silent,) = conversation.ask(1, "Basic.RecoverAsync", requeue=True)
    conversation.server.answer(silent)
    assert conversation.sent() == []


def test_get() -> None:
    conversation = opened()
    (event,) = conversation.ask(1, "Basic.Get", queue="q")
    conversation.server.get_empty(event)
    conversation.server.get_ok(event, ("a", True, "ex", "k", PERSISTENT, b"body"), 7)
    empty, got = conversation.down()
    assert empty.name == "Basic.GetEmpty"
    assert got.fields == {
        "delivery_tag": 1,
        "redelivered": True,
        "exchange": "ex",
        "routing_key": "k",
        "message_count": 7,
    }
    assert got.body == b"body"
    assert ack(conversation, 1) == [events.AcksReceived(1, ["a"])]
    (event,) = conversation.ask(1, "Basic.Get", queue="q", no_ack=True)
    conversation.server.get_ok(event, ("b", False, "", "q", PERSISTENT, b""), 0)
    assert conversation.server.take_unacked() == []


def test_a_rollback_holds_acknowledged_deliveries_again() -> None:
    conversation = opened()
    conversation.ask(1, "Tx.Select")
    deliver(conversation.consume(), *"abc")
    assert ack(conversation, 2) == [events.AcksReceived(1, ["b"])]
    (rollback,) = conversation.ask(1, "Tx.Rollback")
    conversation.server.answer(rollback)
    assert ack(conversation, 2, multiple=True) == [events.AcksReceived(1, ["a", "b"])]
    (commit,) = conversation.ask(1, "Tx.Commit")
    conversation.server.answer(commit)
    conversation.server.answer(rollback)
    assert conversation.server.take_unacked() == ["c"]


def test_an_open_transaction_s_acks_go_back_with_the_channel() -> None:
    conversation = opened()
    conversation.ask(1, "Tx.Select")
    deliver(conversation.consume(), "a", "b")
    ack(conversation, 1)
    conversation.ask(1, "Channel.Close", reply_code=200)
    assert conversation.server.take_unacked(1) == ["a", "b"]
    assert conversation.server.take_unacked(2) == []


def confirms(conversation: Conversation) -> list[tuple[str, int, bool]]:
    return [(m.name, m.fields["delivery_tag"], m.fields["multiple"]) for m in conversation.down()]


def confirming() -> Conversation:
    conversation = opened()
    (event,) = conversation.ask(1, "Confirm.Select")
    conversation.server.answer(event)
    assert [m.name for m in conversation.down()] == ["Confirm.SelectOk"]
    return conversation


def test_confirms_in_few_frames() -> None:
    conversation = confirming()
    server = conversation.server
    server.confirm(1, [1])
    server.confirm(1, [2, 3, 4])
    server.confirm(1, [5, 6], accepted=False)
    server.confirm(1, [9, 8])
    assert confirms(conversation) == [
        ("Basic.Ack", 1, False),
        ("Basic.Ack", 4, True),
        ("Basic.Nack", 6, True),
    ]
    server.confirm(1, [10], accepted=False)
    server.confirm(1, [7])
    assert confirms(conversation) == [("Basic.Ack", 9, True), ("Basic.Nack", 10, False)]


@settings(max_examples=100, deadline=None)
@example([1, 4, 3, 2, *range(5, 15)], set(), 3)
@given(st.permutations(range(1, 15)), st.sets(st.integers(1, 14)), st.integers(1, 5))
def test_confirms_in_any_order(order: list[int], refused: set[int], step: int) -> None:
    conversation = confirming()
    for start in range(0, len(order), step):
        for accepted in (True, False):
            batch = [s for s in order[start : start + step] if (s not in refused) is accepted]
            conversation.server.confirm(1, batch, accepted=accepted)
    verdicts: dict[int, str] = {}
    for name, tag, multiple in confirms(conversation):
        for sequence in range(1, tag + 1) if multiple else [tag]:
            verdicts.setdefault(sequence, name)
    assert verdicts == {s: "Basic.Nack" if s in refused else "Basic.Ack" for s in range(1, 15)}


def test_no_confirms_where_nobody_asked() -> None:
    conversation = opened()
    conversation.server.confirm(1, [1])
    assert conversation.sent() == []


def test_consumer_tags() -> None:
    conversation = opened()
    assert conversation.consume("mine").tag == "mine"
    first, second = conversation.consume(""), conversation.consume("")
    assert re.fullmatch(r"amq\.ctag-[\w-]{22}", first.tag)
    assert first.tag != second.tag
    (refused,) = conversation.ask(1, "Basic.Consume", consumer_tag="mine")
    assert refused.error.reply_text == "NOT_ALLOWED - attempt to reuse consumer tag 'mine'"


def test_cancel_by_either_side() -> None:
    conversation = opened()
    consumer = conversation.consume("a")
    (event,) = conversation.ask(1, "Basic.Cancel", consumer_tag="a")
    assert event == events.CancelRequested(1, "a", consumer, False)
    conversation.server.answer(event)
    assert [(m.name, m.fields["consumer_tag"]) for m in conversation.down()] == [
        ("Basic.CancelOk", "a")
    ]
    conversation.server.cancel_consumer(consumer)
    assert conversation.sent() == []
    conversation.server.cancel_consumer(conversation.consume("b"))
    assert [(m.name, m.fields["consumer_tag"]) for m in conversation.down()] == [
        ("Basic.Cancel", "b")
    ]
    (unknown,) = conversation.ask(1, "Basic.Cancel", consumer_tag="zzz")
    assert unknown.consumer is None


def test_cancel_only_for_clients_that_want_it() -> None:
    conversation = opened(capabilities={})
    conversation.server.cancel_consumer(conversation.consume("b"))
    assert conversation.sent() == []


def test_a_gateway_closes_a_channel() -> None:
    conversation = opened()
    deliver(conversation.consume(), "a")
    conversation.down()
    error = AmqpError(ReplyCode.NOT_FOUND, "no queue 'x' in vhost '/'", 0x0032000A)
    assert conversation.server.refuse_channel(1, error) == ["a"]
    assert conversation.server.refuse_channel(1, error) == []
    (close,) = conversation.down()
    assert close.fields == {
        "reply_code": 404,
        "reply_text": "NOT_FOUND - no queue 'x' in vhost '/'",
        "class_id": 50,
        "method_id": 10,
    }
    # Everything but the end of the handshake is discarded, then the number is free again.
    assert conversation.ask(1, "Queue.Declare", queue="q") == []
    assert conversation.ask(1, "Channel.CloseOk") == []
    conversation.channel(1)


def test_both_sides_close_a_channel() -> None:
    conversation = opened()
    conversation.server.refuse_channel(1, AmqpError(ReplyCode.NOT_FOUND, "no queue"))
    assert conversation.sent() == ["Channel.Close"]
    assert conversation.ask(1, "Channel.Close", reply_code=200) == []
    assert conversation.sent() == ["Channel.CloseOk"]
    conversation.ask(1, "Channel.CloseOk")
    conversation.channel(1)


@pytest.mark.parametrize(
    ("first", "second", "text"),
    [
        ("Tx.Select", "Confirm.Select", "cannot switch from tx to confirm mode"),
        ("Confirm.Select", "Tx.Select", "cannot switch from confirm to tx mode"),
        ("Basic.Qos", "Tx.Commit", "channel is not transactional"),
        ("Basic.Qos", "Tx.Rollback", "channel is not transactional"),
    ],
)
def test_modes_of_a_channel(first: str, second: str, text: str) -> None:
    conversation = opened()
    conversation.ask(1, first)
    (refused,) = conversation.ask(1, second)
    assert refused.error.reply_text == f"PRECONDITION_FAILED - {text}"

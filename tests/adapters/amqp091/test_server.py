"""The connection as a transcript: handshake, closes, heartbeats, rules of channels."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.amqp091 import events
from adapters.amqp091.errors import AmqpError, HardError, ReplyCode
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import HEARTBEAT, PROTOCOL_HEADER, encode_method
from adapters.connection import ConnectionFailed
from adapters.errors import LocalProtocolError

from .conversation import Conversation, opened


def failure(happened: list[Any]) -> str:
    (failed,) = [event for event in happened if isinstance(event, ConnectionFailed)]
    assert happened[-1] is failed
    return str(failed.reason)


@pytest.mark.parametrize(
    "header",
    [
        b"AMQP\0\1\0\0",
        b"AMQP\3\1\0\0",
        b"AMQP\1\1\0\x0a",
        b"AMQP\1\1\x08\0",
        b"AMQP\1\1\x09\1",
        b"AMQP\0\0\x09\0",
        b"GET / HT",
        b"\x16\x03\x01\0\xfa\x01\0\0",
    ],
)
def test_another_protocol_is_told_which_one_is_spoken(header: bytes) -> None:
    conversation = Conversation()
    assert "bad protocol header" in failure(conversation.raw(header + b"more"))
    assert conversation.server.data_to_send() == [PROTOCOL_HEADER]
    assert conversation.raw(b"more") == []


def test_the_header_of_0_9_is_taken_as_that_of_0_9_1() -> None:
    conversation = Conversation()
    assert conversation.raw(b"AMQP\x01\x01\0\x09") == []
    assert conversation.sent() == ["Connection.Start"]


def test_handshake() -> None:
    conversation = Conversation()
    conversation.up()
    (start,) = conversation.down()
    assert start.fields["mechanisms"] == b"PLAIN AMQPLAIN"
    assert start.fields["locales"] == b"en_US"
    assert start.fields["server_properties"] == {"product": "Landbridge"}
    (event,) = conversation.ask(
        0,
        "Connection.StartOk",
        client_properties={"product": "pika"},
        mechanism="PLAIN",
        response=b"\0a\0b",
        locale="en_US",
    )
    assert event == events.AuthenticationRequested("PLAIN", b"\0a\0b", {"product": "pika"}, "en_US")
    assert conversation.server.client_properties == {"product": "pika"}
    conversation.server.authenticated()
    (tune,) = conversation.down()
    assert tune.fields == {"channel_max": 2047, "frame_max": 131072, "heartbeat": 60}
    # tune-ok and open may come in one chunk.
    conversation.client.tuned(10, 8192, 5, conversation.now)
    assert conversation.ask(0, "Connection.Open", virtual_host="v") == [events.OpenRequested("v")]
    conversation.server.opened()
    assert conversation.sent() == ["Connection.OpenOk"]
    assert conversation.server.running


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_header_in_pieces(cut: int) -> None:
    conversation = Conversation()
    assert conversation.raw(PROTOCOL_HEADER[:cut]) == []
    assert conversation.sent() == []
    conversation.raw(PROTOCOL_HEADER[cut:])
    assert conversation.sent() == ["Connection.Start"]


@pytest.mark.parametrize(
    ("channel_max", "frame_max", "text"),
    [
        (0, 131072, "channel_max = 0 (no limit) is higher than the maximum allowed value (2047)"),
        (2048, 131072, "channel_max = 2048 is higher than the maximum allowed value (2047)"),
        (1, 0, "frame_max = 0 (no limit) is higher than the maximum allowed value (131072)"),
        (1, 131073, "frame_max = 131073 is higher than the maximum allowed value (131072)"),
        (1, 4095, "frame_max = 4095 is lower than the minimum allowed value (4096)"),
    ],
)
def test_negotiation_is_held_to(channel_max: int, frame_max: int, text: str) -> None:
    conversation = Conversation()
    conversation.start()
    conversation.server.authenticated()
    conversation.down()
    conversation.ask(
        0, "Connection.TuneOk", channel_max=channel_max, frame_max=frame_max, heartbeat=0
    )
    assert conversation.refusal() == (
        "Connection.Close",
        530,
        f"NOT_ALLOWED - negotiated {text}",
    )


def test_bad_credentials_are_told_to_those_who_understand() -> None:
    text = "Login was refused using authentication mechanism PLAIN."
    conversation = Conversation()
    conversation.start()
    conversation.server.authentication_failed(text, conversation.now)
    assert conversation.refusal() == ("Connection.Close", 403, f"ACCESS_REFUSED - {text}")
    old = Conversation()
    old.start(capabilities={})
    old.server.authentication_failed(text, old.now)
    assert old.sent() == []
    assert failure(old.server.next_events()) == f"ACCESS_REFUSED - {text}"


def test_answers_out_of_turn_are_our_own_mistake() -> None:
    conversation = Conversation()
    with pytest.raises(LocalProtocolError):
        conversation.server.authenticated()


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (encode_method(0, "Connection.TuneOk"), 504, "unexpected method in connection state"),
        (encode_method(1, "Channel.Open"), 504, "unexpected method in connection state starting"),
        (b"\x02\0\0\0\0\0\1x\xce", 505, 'type 2, all octets = <<"x">>'),
        (b"\x08\0\1\0\0\0\0\xce", 505, "UNEXPECTED_FRAME - type 8, all octets = <<>>"),
        (b"\x08\0\0\0\0\0\1x\xce", 501, 'type 8, all octets = <<"x">>: unknown_frame'),
        (b"\1\0\0\0\0\x10\1", 501, "{frame_too_large,4097,4088}"),
    ],
)
def test_before_the_handshake_is_over(data: bytes, code: int, text: str) -> None:
    conversation = Conversation()
    conversation.up()
    conversation.down()
    conversation.raw(data)
    method, reply_code, reply_text = conversation.refusal()
    assert (method, reply_code) == ("Connection.Close", code)
    assert text in reply_text


@pytest.mark.parametrize(
    ("channel", "name", "fields", "code", "text"),
    [
        (0, "Queue.Declare", {}, 504, "unexpected method in connection state running"),
        (0, "Connection.StartOk", {}, 504, "unexpected method in connection state running"),
        (1, "Channel.Open", {}, 504, "second 'channel.open' seen"),
        (1, "Connection.Close", {}, 503, "unimplemented method"),
        (1, "Queue.DeclareOk", {}, 503, "unimplemented method"),
        (2, "Queue.Declare", {}, 504, "expected 'channel.open'"),
        (1, "Channel.Flow", {"active": False}, 540, "active=false"),
        (1, "Basic.Qos", {"prefetch_size": 7}, 540, "prefetch_size!=0 (7)"),
        (1, "Basic.Recover", {"requeue": False}, 540, "requeue=false"),
    ],
)
def test_methods_at_the_wrong_place(
    channel: int, name: str, fields: dict[str, Any], code: int, text: str
) -> None:
    conversation = opened()
    conversation.ask(channel, name, **fields)
    assert conversation.refusal() == (
        "Connection.Close",
        code,
        f"{ReplyCode(code).name} - {text}",
    )


def test_channels_have_any_number() -> None:
    conversation = opened(0, channel_max=2)
    conversation.channel(65_535)
    conversation.channel(3)


def test_the_number_of_channels_is_held_to() -> None:
    conversation = opened(2, channel_max=2)
    conversation.ask(3, "Channel.Open")
    assert conversation.refusal()[1:] == (
        530,
        "NOT_ALLOWED - number of channels opened (2) has reached the negotiated channel_max (2)",
    )


def test_the_client_closes_a_channel() -> None:
    conversation = opened(2)
    (event,) = conversation.ask(1, "Channel.Close", reply_code=200, reply_text="bye")
    assert event == events.ChannelCloseRequested(1, 200, "bye")
    conversation.server.channel_closed(1)
    assert conversation.sent() == ["Channel.CloseOk"]
    conversation.channel(1)


def test_what_the_client_sends_behind_its_close_of_a_channel_is_ignored() -> None:
    conversation = opened(2)
    close = encode_method(1, "Channel.Close", {"reply_code": 200})
    publish = encode_method(1, "Basic.Publish", {"routing_key": "q"})
    ack = encode_method(1, "Basic.Ack", {"delivery_tag": 1})
    content = b"\2\0\1\0\0\0\x0e\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0\xce"
    (event,) = conversation.raw(close + ack + publish + content + close)
    assert event == events.ChannelCloseRequested(1, 200, "")
    conversation.server.channel_closed(1)
    assert conversation.sent() == ["Channel.CloseOk", "Channel.CloseOk"]
    conversation.channel(1)


def test_a_channel_is_not_opened_before_its_close_is_answered() -> None:
    conversation = opened()
    conversation.raw(encode_method(1, "Channel.Close", {}) + encode_method(1, "Channel.Open", {}))
    assert conversation.refusal()[1:] == (504, "CHANNEL_ERROR - second 'channel.open' seen")


def test_the_client_closes_the_connection() -> None:
    conversation = opened()
    consumer = conversation.consume()
    consumer.deliver([("a", False, "", "q", b"\0\0", b"")])
    conversation.down()
    (event,) = conversation.ask(0, "Connection.Close", reply_code=200, reply_text="Normal shutdown")
    assert event == events.CloseRequested(200, "Normal shutdown")
    assert conversation.server.take_unacked() == ["a"]
    conversation.server.closed(conversation.now)
    assert conversation.sent() == ["Connection.CloseOk"]
    assert conversation.raw(b"\xff" * 20) == []
    conversation.server.receive_eof(conversation.now)
    assert failure(conversation.server.next_events()) == "the client closed the connection"
    assert conversation.server.next_deadline() is None


def test_a_client_that_closes_and_stays_is_left() -> None:
    conversation = opened(limits=ConnectionLimits(close_seconds_max=5), heartbeat=1)
    conversation.ask(0, "Connection.Close", reply_code=200)
    conversation.server.closed(conversation.now)
    assert conversation.sent() == ["Connection.CloseOk"]
    assert conversation.server.next_deadline() == conversation.now + 5
    conversation.server.handle_deadline(conversation.now + 5)
    assert failure(conversation.server.next_events()) == "the client closed the connection"
    assert conversation.sent() == []


@pytest.mark.parametrize(
    "behind",
    [
        encode_method(0, "Connection.Close", {}),
        encode_method(0, "Connection.StartOk", {}),
        encode_method(0, "Connection.CloseOk", {}),
        encode_method(1, "Basic.Publish", {}),
        encode_method(7, "Queue.Declare", {}),
        b"\xff" * 20,
    ],
)
def test_nothing_counts_behind_the_client_s_close(behind: bytes) -> None:
    conversation = opened()
    close = encode_method(0, "Connection.Close", {"reply_code": 200})
    assert conversation.raw(close + behind) == [events.CloseRequested(200, "")]
    assert conversation.raw(behind) == []
    conversation.server.refuse(HardError(ReplyCode.INTERNAL_ERROR, "x"), conversation.now)
    assert conversation.sent() == []
    conversation.server.closed(conversation.now)
    assert conversation.sent() == ["Connection.CloseOk"]
    assert conversation.raw(behind) == []
    conversation.server.receive_eof(conversation.now)
    assert failure(conversation.server.next_events()) == "the client closed the connection"


def test_the_server_closes_the_connection() -> None:
    conversation = opened(limits=ConnectionLimits(close_seconds_max=5))
    error = AmqpError(ReplyCode.CONNECTION_FORCED, "broker forced connection closure")
    assert conversation.server.refuse(error, conversation.now)
    assert not conversation.server.refuse(error, conversation.now)
    text = "CONNECTION_FORCED - broker forced connection closure"
    assert conversation.refusal() == ("Connection.Close", 320, text)
    assert conversation.ask(1, "Queue.Declare") == []
    assert failure(conversation.ask(0, "Connection.CloseOk")) == text


def test_both_sides_close_the_connection() -> None:
    conversation = opened()
    conversation.server.refuse(HardError(ReplyCode.INTERNAL_ERROR, "x"), conversation.now)
    conversation.server.next_events()
    conversation.down()
    failure(conversation.ask(0, "Connection.Close"))
    assert conversation.sent() == ["Connection.CloseOk"]


def test_a_close_that_is_not_answered_is_not_waited_for_forever() -> None:
    conversation = opened(limits=ConnectionLimits(close_seconds_max=5))
    conversation.server.refuse(HardError(ReplyCode.INTERNAL_ERROR, "x"), conversation.now)
    conversation.server.next_events()
    assert conversation.server.next_deadline() == conversation.now + 5
    conversation.server.handle_deadline(conversation.now + 4.9)
    assert conversation.server.next_events() == []
    conversation.server.handle_deadline(conversation.now + 5)
    assert failure(conversation.server.next_events()) == "INTERNAL_ERROR - x"


def test_garbage_after_the_close_ends_the_wait() -> None:
    conversation = opened()
    assert isinstance(conversation.raw(b"\xff" * 8)[0], events.ConnectionRefused)
    assert conversation.raw(b"\xff" * 8) == []
    assert conversation.refusal()[:2] == ("Connection.Close", 501)
    assert "FRAME_ERROR" in failure(conversation.raw(b"\xff" * 8))


def test_a_handshake_that_stops() -> None:
    conversation = Conversation(ConnectionLimits(handshake_seconds_max=10))
    assert conversation.server.next_deadline() == 110.0
    conversation.up()
    conversation.server.handle_deadline(110.0)
    assert failure(conversation.server.next_events()) == "handshake_timeout"
    assert opened().server.next_deadline() is None


def test_end_of_file() -> None:
    conversation = opened()
    conversation.server.receive_eof(conversation.now)
    assert "without connection.close" in failure(conversation.server.next_events())


def test_heartbeats_go_out_when_nothing_else_does() -> None:
    conversation = opened(heartbeat=10)
    server = conversation.server
    assert server.next_deadline() == 105.0
    server.handle_deadline(105.0)
    assert server.data_to_send() == []  # channel.open-ok went out in this half
    server.handle_deadline(110.0)
    assert server.data_to_send() == [HEARTBEAT]
    conversation.raw(HEARTBEAT)
    server.handle_deadline(114.0)
    assert server.data_to_send() == []


def test_two_missed_heartbeats_end_the_connection() -> None:
    conversation = opened(heartbeat=10)
    conversation.now = 103.0
    assert conversation.raw(HEARTBEAT) == []
    conversation.server.handle_deadline(122.9)
    assert conversation.server.next_events() == []
    conversation.server.handle_deadline(123.0)
    assert "missed heartbeats" in failure(conversation.server.next_events())


@pytest.mark.parametrize("data", [b"", b"\x01"])
def test_any_traffic_counts(data: bytes) -> None:
    conversation = opened(heartbeat=10)
    conversation.now = 119.0
    conversation.raw(data)
    conversation.server.handle_deadline(138.9)
    assert conversation.server.next_events() == []


def test_blocked_and_unblocked() -> None:
    conversation = opened()
    conversation.server.block("low on disk")
    conversation.server.unblock()
    assert [(m.name, m.fields) for m in conversation.down()] == [
        ("Connection.Blocked", {"reason": "low on disk"}),
        ("Connection.Unblocked", {}),
    ]
    deaf = opened(capabilities={})
    deaf.server.block("low on disk")
    deaf.server.unblock()
    assert deaf.sent() == []


def test_update_secret() -> None:
    conversation = opened()
    assert conversation.ask(0, "Connection.UpdateSecret", new_secret="s", reason="r") == [
        events.UpdateSecretRequested(b"s", "r")
    ]
    conversation.server.secret_updated()
    assert conversation.sent() == ["Connection.UpdateSecretOk"]


REQUESTS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("Exchange.Declare", {"exchange": "x", "exchange_type": "topic"}, {}, "Exchange.DeclareOk"),
    ("Exchange.Delete", {"exchange": "x", "if_unused": True}, {}, "Exchange.DeleteOk"),
    ("Exchange.Bind", {"destination": "d", "source": "s"}, {}, "Exchange.BindOk"),
    ("Exchange.Unbind", {"destination": "d", "routing_key": "k"}, {}, "Exchange.UnbindOk"),
    (
        "Queue.Declare",
        {"queue": "q", "durable": True, "arguments": {"x-max-length": 1}},
        {"queue": "q", "message_count": 3, "consumer_count": 1},
        "Queue.DeclareOk",
    ),
    ("Queue.Bind", {"queue": "q", "exchange": "x", "routing_key": "k"}, {}, "Queue.BindOk"),
    ("Queue.Unbind", {"queue": "q", "exchange": "x"}, {}, "Queue.UnbindOk"),
    ("Queue.Purge", {"queue": "q"}, {"message_count": 4}, "Queue.PurgeOk"),
    ("Queue.Delete", {"queue": "q", "if_empty": True}, {"message_count": 0}, "Queue.DeleteOk"),
    ("Basic.Qos", {"prefetch_count": 10, "global_": True}, {}, "Basic.QosOk"),
    ("Channel.Flow", {"active": True}, {}, "Channel.FlowOk"),
    ("Confirm.Select", {}, {}, "Confirm.SelectOk"),
    ("Tx.Select", {}, {}, "Tx.SelectOk"),
    ("Access.Request", {"realm": "/data"}, {}, "Access.RequestOk"),
]


@pytest.mark.parametrize(("name", "fields", "reply", "answer"), REQUESTS)
def test_requests_and_their_answers(
    name: str, fields: dict[str, Any], reply: dict[str, Any], answer: str
) -> None:
    conversation = opened()
    (event,) = conversation.ask(1, name, **fields)
    assert type(event).__name__.endswith("Requested")
    for field, value in fields.items():
        assert getattr(event, field) == value
    conversation.server.answer(event, **reply)
    (method,) = conversation.down()
    assert method.name == answer
    for field, value in reply.items():
        assert method.fields[field] == value
    if hasattr(event, "nowait"):
        event.nowait = True
        conversation.server.answer(event, **reply)
        assert conversation.sent() == []


def test_nothing_is_answered_on_a_channel_that_has_gone() -> None:
    conversation = opened()
    (event,) = conversation.ask(1, "Queue.Declare", queue="q")
    (get,) = conversation.ask(1, "Basic.Get", queue="q")
    conversation.server.refuse_channel(1, AmqpError(ReplyCode.NOT_FOUND, "x"))
    assert conversation.sent() == ["Channel.Close"]
    conversation.server.answer(event, queue="q")
    conversation.server.get_empty(get)
    conversation.server.get_ok(get, ("a", False, "", "", b"\0\0", b""), 0)
    conversation.server.confirm(1, [1])
    assert conversation.sent() == []
    assert conversation.server.take_unacked() == []


def test_a_mistake_is_answered_behind_what_came_before_it() -> None:
    conversation = opened()
    declare = encode_method(1, "Queue.Declare", {"queue": "q"})
    get = encode_method(1, "Basic.Get", {"queue": "q"})
    mistake = encode_method(1, "Basic.Ack", {"delivery_tag": 7})
    event, got, refused = conversation.raw(declare + get + mistake + declare)
    conversation.server.answer(event, queue="q", message_count=0, consumer_count=0)
    conversation.server.get_ok(got, ("a", False, "", "", b"\0\0", b""), 0)
    assert conversation.server.refuse_channel(1, refused.error) == ["a"]
    assert conversation.sent() == ["Queue.DeclareOk", "Basic.GetOk", "Channel.Close"]
    assert conversation.ask(1, "Channel.CloseOk") == []
    conversation.channel(1)


def test_a_mistake_on_the_connection_is_answered_behind_what_came_before_it() -> None:
    conversation = opened()
    declare = encode_method(1, "Queue.Declare", {"queue": "q"})
    mistake = encode_method(0, "Queue.Declare", {"queue": "q"})
    event, refused = conversation.raw(declare + mistake + declare)
    conversation.server.answer(event, queue="q", message_count=0, consumer_count=0)
    conversation.server.refuse(refused.error, conversation.now)
    assert conversation.sent() == ["Queue.DeclareOk", "Connection.Close"]


def test_a_mistake_in_the_handshake_is_answered_behind_what_came_before_it() -> None:
    conversation = Conversation()
    conversation.start()
    assert conversation.raw(encode_method(1, "Channel.Open", {})) == []
    conversation.server.authenticated()
    (refused,) = conversation.happened()
    conversation.server.refuse(refused.error, conversation.now)
    assert conversation.sent() == ["Connection.Tune", "Connection.Close"]


def test_both_closes_are_answered_where_a_mistake_and_a_close_come_together() -> None:
    conversation = opened(2)
    mistake = encode_method(1, "Basic.Ack", {"delivery_tag": 7})
    close = encode_method(1, "Channel.Close", {"reply_code": 200})
    (refused,) = conversation.raw(mistake + close)
    conversation.server.refuse_channel(1, refused.error)
    assert conversation.sent() == ["Channel.Close", "Channel.CloseOk"]
    conversation.channel(1)
    (closing,) = conversation.raw(encode_method(2, "Channel.Close", {"reply_code": 200}))
    conversation.server.refuse_channel(2, AmqpError(ReplyCode.NOT_FOUND, "of an earlier method"))
    conversation.server.channel_closed(closing.channel)
    assert conversation.sent() == ["Channel.Close", "Channel.CloseOk"]
    mistake = encode_method(0, "Queue.Declare", {"queue": "q"})
    close = encode_method(0, "Connection.Close", {"reply_code": 200})
    (broken,) = conversation.raw(mistake + close)
    conversation.server.refuse(broken.error, conversation.now)
    assert conversation.sent() == ["Connection.Close", "Connection.CloseOk"]
    assert "CHANNEL_ERROR" in failure(conversation.server.next_events())


def test_a_close_is_answered_behind_what_came_before_it() -> None:
    conversation = opened()
    declare = encode_method(1, "Queue.Declare", {"queue": "q"})
    close = encode_method(0, "Connection.Close", {"reply_code": 200})
    event, _ = conversation.raw(declare + close)
    conversation.server.answer(event, queue="q", message_count=0, consumer_count=0)
    conversation.server.closed(conversation.now)
    assert conversation.sent() == ["Queue.DeclareOk", "Connection.CloseOk"]

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

from adapters.connection import ConnectionFailed
from adapters.errors import LocalProtocolError
from adapters.stomp.events import (
    AckReceived,
    ConnectRequested,
    DisconnectRequested,
    NackReceived,
    SendReceived,
    SubscribeRequested,
    UnsubscribeReceived,
)
from adapters.stomp.heartbeat import INTERVAL_MS_MAX, INTERVAL_MS_MIN
from adapters.stomp.server import ServerOptions
from adapters.stomp.subscription import Subscription
from adapters.stomp.subscriptions import CLOSED_SUBSCRIPTIONS_MAX
from tests.adapters.stomp.transcript import Transcript


def connected(version: str = "1.2", *headers: str) -> Transcript:
    made = Transcript()
    made.connect(version, *headers)
    return made


def subscribed(
    transcript: Transcript, ack: str = "client-individual", name: str = "0"
) -> Subscription:
    event = transcript.send_one(
        SubscribeRequested, f"SUBSCRIBE\nid:{name}\ndestination:/queue/a\nack:{ack}\n\n^@"
    )
    return event.subscription


def delivered(subscription: Subscription, messages: Iterable[str]) -> list[str]:
    return [
        subscription.message(
            token, token, subscription.destination, "foo:bar\n", b"hello", redelivered=False
        )
        .decode()
        .replace("\0\n", "^@")
        for token in messages
    ]


def error_of(transcript: Transcript, *frames: str) -> str:
    events = transcript.send(*frames)
    assert isinstance(events[-1], ConnectionFailed)
    answer = transcript.answers()
    assert answer.startswith("ERROR\n")
    assert transcript.send("SEND\ndestination:/queue/a\n\n^@") == []
    return answer


# CONNECT


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("", "1.0"),
        ("accept-version:1.0\n", "1.0"),
        ("accept-version:1.1\n", "1.1"),
        ("accept-version:1.0,1.1\n", "1.1"),
        ("accept-version:1.2,1.0\n", "1.2"),
        ("accept-version:1.1, 1.2, 2.0\n", "1.2"),
    ],
)
def test_the_highest_common_version_is_spoken(header: str, version: str) -> None:
    transcript = Transcript()
    event = transcript.send_one(
        ConnectRequested, f"CONNECT\n{header}host:/\nlogin:ann\npasscode:s:e\nclient-id:c\n\n^@"
    )
    assert (event.login, event.passcode, event.host, event.client_id) == ("ann", "s:e", "/", "c")
    assert transcript.connection.accept("s1", "ann", 0.0).decode() == (
        f"CONNECTED\nserver:test\nsession:s1\nheart-beat:0,0\nversion:{version}\n"
        "user-name:ann\n\n\0\n"
    )


def test_no_common_version() -> None:
    answer = error_of(Transcript(), "CONNECT\naccept-version:2.0\n\n^@")
    assert "message:Version mismatch\n" in answer
    assert "version:1.0,1.1,1.2\n" in answer
    assert "Supported versions are 1.0,1.1,1.2\n" in answer


def test_stomp_1_0_takes_blanks_around_values() -> None:
    event = Transcript().send_one(ConnectRequested, "CONNECT\nlogin: ann \npasscode: p\n\n\n^@")
    assert (event.login, event.passcode) == ("ann", "p")


def test_frames_may_follow_connect_in_one_chunk() -> None:
    transcript = Transcript()
    connect, send = transcript.send(
        "STOMP\naccept-version:1.1\n\n^@", "SEND\ndestination:/queue/a\\cb\n\nx^@"
    )
    assert isinstance(connect, ConnectRequested)
    assert isinstance(send, SendReceived)
    assert send.destination == "/queue/a:b"


def test_a_client_is_accepted_though_it_made_a_mistake_meanwhile() -> None:
    transcript = Transcript()
    transcript.send("CONNECT\naccept-version:1.2\n\n^@", "NONSENSE\n\n^@")
    assert transcript.connection.accept("s1", None, 0.0).startswith(b"CONNECTED\n")
    assert transcript.answers().startswith("ERROR\n")
    assert transcript.send("SEND\ndestination:/queue/a\n\n^@") == []


def test_only_connect_may_be_first() -> None:
    answer = error_of(Transcript(), "SEND\ndestination:/queue/a\nreceipt:r\n\n^@")
    assert "You must log in using CONNECT first" in answer
    assert "receipt-id:r\n" in answer


def test_a_second_connect_is_an_error() -> None:
    assert "Already connected" in error_of(connected(), "CONNECT\n\n^@")


def test_nothing_is_accepted_twice() -> None:
    with pytest.raises(LocalProtocolError):
        connected().connection.accept("s1", None, 0.0)


def test_refusing_is_an_error_frame() -> None:
    transcript = Transcript()
    transcript.send("CONNECT\naccept-version:1.2\n\n^@")
    transcript.connection.refuse("Bad CONNECT", "Access refused for user 'a:b'\n", "r:1")
    assert transcript.answers() == (
        "ERROR\nmessage:Bad CONNECT\ncontent-type:text/plain\nversion:1.0,1.1,1.2\n"
        "receipt-id:r\\c1\ncontent-length:30\n\nAccess refused for user 'a:b'\n^@"
    )


# Time


def test_a_connection_without_connect_times_out() -> None:
    transcript = Transcript(ServerOptions(connect_timeout_seconds=5.0))
    assert transcript.connection.next_deadline() == 5.0
    transcript.send("\n\n")
    transcript.connection.handle_deadline(4.9)
    assert transcript.connection.next_events() == []
    transcript.connection.handle_deadline(5.0)
    assert isinstance(transcript.connection.next_events()[0], ConnectionFailed)
    assert "no CONNECT within 5 seconds" in transcript.answers()


def test_heart_beats_are_answered_in_kind() -> None:
    transcript = Transcript()
    transcript.send("CONNECT\naccept-version:1.1\nheart-beat:20000,1000\n\n^@")
    assert b"heart-beat:1000,20000\n" in transcript.connection.accept("s1", None, 0.0)


def test_heart_beats_have_bounds() -> None:
    for offered, answered in (
        (f"{INTERVAL_MS_MIN},{INTERVAL_MS_MAX}", f"{INTERVAL_MS_MAX},{INTERVAL_MS_MIN}"),
        (f"{INTERVAL_MS_MIN - 1},{INTERVAL_MS_MAX + 1}", f"{INTERVAL_MS_MAX},{INTERVAL_MS_MIN}"),
    ):
        transcript = Transcript()
        transcript.send(f"CONNECT\naccept-version:1.1\nheart-beat:{offered}\n\n^@")
        connected_frame = transcript.connection.accept("s1", None, 0.0).decode()
        assert f"heart-beat:{answered}\n" in connected_frame


def test_silence_is_filled_with_heart_beats() -> None:
    transcript = connected("1.2", "heart-beat:0,1000")
    sent_at = [0.0]
    while sent_at[-1] < 10:
        deadline = transcript.connection.next_deadline()
        assert deadline is not None
        transcript.connection.handle_deadline(deadline)
        if transcript.answers() == "\n":
            sent_at.append(deadline)
    gaps = [later - earlier for earlier, later in itertools.pairwise(sent_at)]
    assert max(gaps) < 1.0


def test_no_heart_beat_where_something_else_was_sent() -> None:
    transcript = connected("1.2", "heart-beat:0,1000")
    for _ in range(10):
        transcript.connection.sent()
        transcript.connection.handle_deadline(transcript.connection.next_deadline() or 0.0)
        assert transcript.answers() == ""


def test_a_silent_client_is_given_up_after_two_intervals() -> None:
    transcript = connected("1.2", "heart-beat:1000,0")
    transcript.now = 1.5
    transcript.send("\n")
    transcript.connection.handle_deadline(3.4)
    assert transcript.connection.next_events() == []
    transcript.connection.handle_deadline(3.5)
    (event,) = transcript.connection.next_events()
    assert isinstance(event, ConnectionFailed)
    assert "message:Heart-beat missed" in transcript.answers()


def test_an_empty_chunk_says_that_we_did_not_read() -> None:
    transcript = connected("1.2", "heart-beat:1000,0")
    transcript.now = 100.0
    transcript.send("")
    transcript.connection.handle_deadline(100.0)
    assert transcript.connection.next_events() == []
    assert transcript.connection.next_deadline() == 102.0


@pytest.mark.parametrize("value", ["1", "a,b", "-1,0", "1;2"])
def test_a_malformed_heart_beat_is_refused(value: str) -> None:
    answer = error_of(Transcript(), f"CONNECT\naccept-version:1.2\nheart-beat:{value}\n\n^@")
    assert "heart-beat" in answer


# SUBSCRIBE, MESSAGE, ACK


def test_a_message_frame() -> None:
    transcript = connected()
    assert delivered(subscribed(transcript), ["m1"]) == [
        (
            "MESSAGE\nsubscription:0\ndestination:/queue/a\nmessage-id:m1\nredelivered:false\n"
            "ack:1-1\nfoo:bar\ncontent-length:5\n\nhello^@"
        )
    ]
    assert delivered(subscribed(transcript, "auto", "b:c"), ["m1"]) == [
        (
            "MESSAGE\nsubscription:b\\cc\ndestination:/queue/a\nmessage-id:m1\nredelivered:false\n"
            "foo:bar\ncontent-length:5\n\nhello^@"
        )
    ]


def test_a_subscription_of_1_0_may_go_without_id() -> None:
    transcript = connected("1.0")
    event = transcript.send_one(SubscribeRequested, "SUBSCRIBE\ndestination:/queue/a\n\n^@")
    assert event.subscription.id == "/queue/a"
    assert delivered(event.subscription, ["m1"])[0].startswith("MESSAGE\ndestination:/queue/a\n")
    ended = transcript.send_one(UnsubscribeReceived, "UNSUBSCRIBE\ndestination:/queue/a\n\n^@")
    assert ended.subscription is event.subscription


def test_unsubscribing_in_1_0_by_the_destination_of_a_subscription_with_id() -> None:
    transcript = connected("1.0")
    for name in ("1", "2"):
        transcript.send(f"SUBSCRIBE\nid:{name}\ndestination:/queue/{name}\n\n^@")
    ended = transcript.send_one(UnsubscribeReceived, "UNSUBSCRIBE\ndestination:/queue/2\n\n^@")
    assert ended.subscription is not None
    assert ended.subscription.id == "2"


def test_individual_acks() -> None:
    transcript = connected()
    subscription = subscribed(transcript)
    delivered(subscription, ["m1", "m2", "m3"])
    event = transcript.send_one(AckReceived, "ACK\nid:1-2\nreceipt:r\n\n^@")
    assert (event.deliveries, event.receipt) == (["m2"], "r")
    assert transcript.send_one(NackReceived, "NACK\nid:1-1\n\n^@").deliveries == ["m1"]


def test_a_run_of_acks_is_one_event() -> None:
    transcript = connected()
    delivered(subscribed(transcript), ["m1", "m2", "m3"])
    event = transcript.send_one(AckReceived, "ACK\nid:1-2\n\n^@", "ACK\nid:1-1\n\n^@")
    assert event.deliveries == ["m2", "m1"]


def test_cumulative_acks() -> None:
    transcript = connected()
    delivered(subscribed(transcript, "client"), ["m1", "m2", "m3", "m4"])
    assert transcript.send_one(AckReceived, "ACK\nid:1-2\n\n^@").deliveries == ["m1", "m2"]
    assert transcript.send_one(NackReceived, "NACK\nid:1-4\n\n^@").deliveries == ["m3", "m4"]


@pytest.mark.parametrize(
    ("version", "frame"),
    [
        ("1.0", "ACK\nmessage-id:m2\n\n^@"),
        ("1.0", "ACK\nmessage-id:m2\nsubscription:0\n\n^@"),
        ("1.1", "ACK\nmessage-id:m2\nsubscription:0\n\n^@"),
    ],
)
def test_older_versions_ack_by_message(version: str, frame: str) -> None:
    transcript = connected(version)
    delivered(subscribed(transcript), ["m1", "m2"])
    assert transcript.send_one(AckReceived, frame).deliveries == ["m2"]


def test_two_copies_of_a_message_are_told_apart() -> None:
    transcript = connected("1.1")
    first, second = delivered(subscribed(transcript), ["m1", "m1"])
    assert "message-id:m1\n" in first
    assert "message-id:m1-1\n" in second


def test_nack_may_ask_for_rejection() -> None:
    transcript = connected()
    delivered(subscribed(transcript), ["m1", "m2"])
    assert not transcript.send_one(NackReceived, "NACK\nid:1-1\nrequeue:false\n\n^@").requeue
    assert transcript.send_one(NackReceived, "NACK\nid:1-2\nrequeue:true\n\n^@").requeue


def test_nack_is_taken_in_1_0_as_well() -> None:
    transcript = connected("1.0")
    delivered(subscribed(transcript), ["m1", "m2"])
    nack = transcript.send_one(NackReceived, "NACK\nmessage-id:m2\nreceipt:r\n\n^@")
    assert (nack.deliveries, nack.requeue, nack.receipt) == (["m2"], True, "r")


def test_an_ack_after_unsubscribe_is_late_not_wrong() -> None:
    transcript = connected()
    delivered(subscribed(transcript), ["m1", "m2"])
    gone = transcript.send_one(UnsubscribeReceived, "UNSUBSCRIBE\nid:0\nreceipt:u\n\n^@")
    assert gone.deliveries == ["m1", "m2"]
    late = transcript.send_one(AckReceived, "ACK\nid:1-1\nreceipt:r\n\n^@")
    assert (late.deliveries, late.receipt) == ([], "r")


def test_late_acks_are_understood_for_so_many_subscriptions_and_no_more() -> None:
    transcript = connected()
    for _ in range(CLOSED_SUBSCRIPTIONS_MAX + 1):
        subscribed(transcript)
        transcript.send_one(UnsubscribeReceived, "UNSUBSCRIBE\nid:0\n\n^@")
    assert transcript.send_one(AckReceived, "ACK\nid:2-1\n\n^@").deliveries == []
    (failed,) = transcript.send("ACK\nid:1-1\n\n^@")
    assert isinstance(failed, ConnectionFailed)
    assert "Message not found" in failed.reason


def test_unsubscribing_what_is_not_subscribed_is_left_to_the_gateway() -> None:
    event = connected().send_one(UnsubscribeReceived, "UNSUBSCRIBE\nid:7\n\n^@")
    assert event.subscription is None


def test_subscriptions_have_a_bound() -> None:
    transcript = Transcript(ServerOptions(subscriptions_max=2))
    transcript.connect()
    subscribed(transcript, name="0")
    subscribed(transcript, name="1")
    answer = error_of(transcript, "SUBSCRIBE\nid:2\ndestination:/queue/a\n\n^@")
    assert "Subscription limit exceeded" in answer


@pytest.mark.parametrize(
    ("version", "frame", "reason"),
    [
        ("1.2", "SEND\n\nx^@", "SEND must include a 'destination' header"),
        ("1.2", "SUBSCRIBE\nid:1\n\n^@", "SUBSCRIBE must include a 'destination' header"),
        ("1.1", "SUBSCRIBE\ndestination:/queue/a\n\n^@", "must include an 'id' header"),
        ("1.2", "SUBSCRIBE\nid:1\ndestination:/queue/a\nack:some\n\n^@", "ack 'some' is not auto"),
        ("1.2", "SUBSCRIBE\nid:0\ndestination:/queue/b\n\n^@", "identified by '0' already exists"),
        ("1.2", "UNSUBSCRIBE\n\n^@", "must include an 'id' header"),
        ("1.2", "ACK\nmessage-id:m1\n\n^@", "ACK must include the 'id' header"),
        ("1.1", "ACK\nsubscription:0\n\n^@", "ACK must include the 'message-id' header"),
        ("1.1", "NACK\nmessage-id:m1\n\n^@", "NACK must include the 'subscription' header"),
        ("1.0", "ACK\n\n^@", "ACK must include the 'message-id' header"),
        ("1.0", "NACK\nmessage-id:m9\n\n^@", "NACK of 'm9'"),
        ("1.2", "ACK\nid:1-9\n\n^@", "ACK of '1-9'"),
        ("1.2", "ACK\nid:9-1\n\n^@", "ACK of '9-1'"),
        ("1.2", "ACK\nid:nonsense\n\n^@", "ACK of 'nonsense'"),
        ("1.1", "NACK\nmessage-id:m9\nsubscription:0\n\n^@", "NACK of 'm9'"),
        ("1.1", "NACK\nmessage-id:m1\nsubscription:9\n\n^@", "NACK of 'm1'"),
        ("1.0", "ACK\nmessage-id:m9\n\n^@", "ACK of 'm9'"),
        ("1.2", "BEGIN\n\n^@", "BEGIN must include a 'transaction' header"),
        ("1.2", "WRONG\n\n^@", 'Could not interpret command "WRONG"'),
    ],
)
def test_mistakes_are_named(version: str, frame: str, reason: str) -> None:
    transcript = connected(version)
    delivered(subscribed(transcript), ["m1"])
    assert reason in error_of(transcript, frame)


def test_an_error_names_the_receipt_of_the_refused_frame() -> None:
    answer = error_of(connected(), "SEND\nreceipt:r1\n\nx^@")
    assert "message:Missing destination\n" in answer
    assert "receipt-id:r1\n" in answer


# DISCONNECT


def test_nothing_is_taken_after_disconnect() -> None:
    transcript = connected()
    events = transcript.send("DISCONNECT\nreceipt:bye\n\n^@", "SEND\ndestination:/queue/a\n\n^@")
    assert events == [DisconnectRequested("bye")]
    assert transcript.connection.receipts(["bye:"]) == b"RECEIPT\nreceipt-id:bye\\c\n\n\0\n"
    transcript.connection.receive_eof(1.0)
    assert transcript.connection.next_events() == []


def test_an_end_without_disconnect_is_one() -> None:
    transcript = connected()
    transcript.connection.receive_eof(1.0)
    assert transcript.connection.next_events() == [DisconnectRequested(None)]

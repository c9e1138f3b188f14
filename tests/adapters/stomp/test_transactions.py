from __future__ import annotations

import pytest

from adapters.connection import ConnectionFailed
from adapters.stomp.events import (
    AckReceived,
    NackReceived,
    SendReceived,
    SubscribeRequested,
    TransactionAborted,
    TransactionBegun,
    TransactionCommitted,
)
from adapters.stomp.server import ServerOptions
from adapters.stomp.subscription import Subscription
from adapters.stomp.transactions import TransactionLimits
from tests.adapters.stomp.transcript import Transcript

SEND = "SEND\ndestination:/queue/a\ntransaction:t\n\nx^@"


@pytest.fixture
def transcript() -> Transcript:
    limits = TransactionLimits(transactions_max=2, actions_max=3, bytes_max=200)
    made = Transcript(ServerOptions(transactions=limits))
    made.connect()
    return made


def subscribed(transcript: Transcript, ack: str) -> Subscription:
    event = transcript.send_one(
        SubscribeRequested, f"SUBSCRIBE\nid:0\ndestination:/queue/a\nack:{ack}\n\n^@"
    )
    for token in ("m1", "m2", "m3"):
        event.subscription.message(token, token, "/queue/a", "", b"", redelivered=False)
    return event.subscription


def error_of(transcript: Transcript, *frames: str) -> str:
    assert isinstance(transcript.send(*frames)[-1], ConnectionFailed)
    return transcript.answers()


def test_what_was_done_comes_at_commit_in_order(transcript: Transcript) -> None:
    subscription = subscribed(transcript, "client-individual")
    assert transcript.send("BEGIN\ntransaction:t\nreceipt:b\n\n^@") == [TransactionBegun("t", "b")]
    assert transcript.send(SEND, "ACK\nid:1-2\ntransaction:t\nreceipt:a\n\n^@") == []
    assert transcript.send("NACK\nid:1-1\ntransaction:t\n\n^@") == []
    assert len(subscription.unsettled) == 3
    event = transcript.send_one(TransactionCommitted, "COMMIT\ntransaction:t\nreceipt:c\n\n^@")
    send, ack, nack = event.actions
    assert isinstance(send, SendReceived)
    assert ack == AckReceived(subscription, ["m2"], "a")
    assert nack == NackReceived(subscription, ["m1"], None, requeue=True)
    assert event.receipt == "c"
    assert list(subscription.unsettled.values()) == ["m3"]


def test_abort_leaves_messages_to_be_acked_again(transcript: Transcript) -> None:
    subscription = subscribed(transcript, "client")
    transcript.send("BEGIN\ntransaction:t\n\n^@", SEND, "ACK\nid:1-3\ntransaction:t\n\n^@")
    assert transcript.send("ABORT\ntransaction:t\nreceipt:r\n\n^@") == [
        TransactionAborted("t", "r")
    ]
    event = transcript.send_one(AckReceived, "ACK\nid:1-3\n\n^@")
    assert event.deliveries == ["m1", "m2", "m3"]
    assert subscription.unsettled == {}


def test_a_cumulative_ack_may_take_along_an_earlier_one(transcript: Transcript) -> None:
    subscribed(transcript, "client")
    transcript.send("BEGIN\ntransaction:t\n\n^@")
    transcript.send("ACK\nid:1-2\ntransaction:t\n\n^@", "ACK\nid:1-1\ntransaction:t\n\n^@")
    event = transcript.send_one(TransactionCommitted, "COMMIT\ntransaction:t\n\n^@")
    assert [getattr(action, "deliveries", None) for action in event.actions] == [["m1", "m2"], []]


def test_an_ack_that_was_settled_elsewhere_fails_the_commit(transcript: Transcript) -> None:
    subscription = subscribed(transcript, "client-individual")
    transcript.send("BEGIN\ntransaction:t\n\n^@")
    transcript.send("ACK\nid:1-1\ntransaction:t\n\n^@", "ACK\nid:1-2\ntransaction:t\n\n^@")
    transcript.send("ACK\nid:1-2\n\n^@")
    assert "'1-2' in transaction 't'" in error_of(transcript, "COMMIT\ntransaction:t\n\n^@")
    assert sorted(subscription.take_unsettled()) == ["m1", "m3"]


def test_transactions_are_independent(transcript: Transcript) -> None:
    transcript.send("BEGIN\ntransaction:t\n\n^@", "BEGIN\ntransaction:u\n\n^@", SEND)
    event = transcript.send_one(TransactionCommitted, "COMMIT\ntransaction:u\n\n^@")
    assert event.actions == []


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (["COMMIT\ntransaction:t\n\n^@"], "Invalid transaction identifier: 't'"),
        (["ABORT\ntransaction:t\n\n^@"], "Invalid transaction identifier: 't'"),
        ([SEND], "Invalid transaction identifier: 't'"),
        (["BEGIN\ntransaction:t\n\n^@"] * 2, "Transaction 't' has already begun"),
        ([f"BEGIN\ntransaction:{name}\n\n^@" for name in "tuv"], "2 open transactions allowed"),
        (["BEGIN\ntransaction:t\n\n^@", SEND * 4], "3 sends and acks allowed"),
        (
            ["BEGIN\ntransaction:t\n\n^@", SEND.replace("x", "x" * 200)],
            "200 bytes allowed in a transaction",
        ),
        (["BEGIN\ntransaction:t\n\n^@", "ACK\nid:1-1\ntransaction:t\n\n^@"], "ACK of '1-1'"),
    ],
)
def test_mistakes_are_named(transcript: Transcript, frames: list[str], reason: str) -> None:
    assert reason in error_of(transcript, *frames)

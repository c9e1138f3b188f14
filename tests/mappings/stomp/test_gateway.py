"""From CONNECT to the end of a connection; mistakes, and back-pressure."""

from __future__ import annotations

import pytest

from bridge.auth import Account, Accounts
from bridge.auth.password_hashes import make_password_hash
from bridge.messaging.limits import Limits
from mappings.gateway import StopReason
from tests.mappings.stomp.broker import (
    Broker,
    Client,
    ack,
    frames_of,
    receipts_of,
    send,
    subscribe,
)
from tests.support.routing import queue_name


async def test_users_are_checked() -> None:
    accounts = Accounts([Account("ann", make_password_hash(b"secret"))], secret=b"s")
    broker = Broker(accounts=accounts)
    client = Client(broker)
    client.push("CONNECT\naccept-version:1.2\nlogin:ann\npasscode:no\n\n^@")
    await broker.at_rest()
    answer = await client.read()
    assert answer.startswith("ERROR\nmessage:Bad CONNECT\n")
    assert "Access refused for user 'ann'\n" in answer
    assert client.wire.closed
    assert broker.log.lines[0].startswith("refused ann:")


async def test_namespaces(broker: Broker) -> None:
    client = await broker.client("1.2", "host:other")
    await client.send(send("/queue/a", "other"))
    client = await broker.client("1.2", "host:unknown.example")
    await client.send(send("/queue/a", "default"))
    assert [
        (name.namespace, queue.messages[0].body) for name, queue in broker.store.by_name.items()
    ] == [("other", b"other"), ("/", b"default")]


async def test_frames_after_connect_wait_for_its_answer(broker: Broker) -> None:
    client = Client(broker)
    answer = await client.send(
        "CONNECT\naccept-version:1.2\n\n^@",
        send("/queue/a", "x", "receipt:1"),
        "NONSENSE\n\n^@",
    )
    connected, receipt, error = frames_of(answer)
    assert connected.startswith("CONNECTED\n")
    assert receipt == "RECEIPT\nreceipt-id:1\n\n"
    assert error.startswith("ERROR\nmessage:Bad command\n")
    await client.lose()
    assert [line.split()[0] for line in broker.log.lines] == ["connected", "disconnected"]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (send("/exchange/none/key"), "not_found"),
        (send("/amq/queue/none"), "NOT_FOUND - no queue 'none' in vhost '/'"),
        (send("/queue/"), "'/' is not a valid queue destination"),
        (send("/queue/a/b"), "'/a/b' is not a valid queue destination"),
        (send("/exchange//key"), "'//key' is not a valid exchange destination"),
        (send("/temp-topic/"), "'/' is not a valid temp-topic destination"),
        (send("/queue/a", "x", "reply-to:/temp-topic/a/b"), "not a valid temp-topic destination"),
        (send("/remote-temp-topic/a"), "NOT_IMPLEMENTED - ActiveMQ's remote temporary topics"),
        (send("/dsub/a"), "/dsub/ destinations are not offered"),
        (send("/queue/a", "x", "AMQ_SCHEDULED_PERIOD:5"), "repeated schedules are not offered"),
        (send("/queue/a", "x", "AMQ_SCHEDULED_DELAY:soon"), "AMQ_SCHEDULED_DELAY 'soon'"),
        (send("/queue/a", "x", "priority:high"), "priority 'high'"),
        (send("/queue/a", "x", "expires:soon"), "expires 'soon'"),
        (send("/queue/a", "x", "x-message-ttl:long"), "x-message-ttl 'long'"),
        (send("/queue/a", "x", "x-queue-type:stream"), "streams are not offered"),
        (subscribe("/queue/a", "0", "x-queue-type:bag"), "x-queue-type 'bag' is not classic or"),
        (subscribe("/exchange/none"), "NOT_FOUND - no exchange 'none' in vhost '/'\n"),
        (subscribe("/amq/queue/none"), "NOT_FOUND - no queue 'none' in vhost '/'\n"),
        (subscribe("/reply-queue/a"), "'/reply-queue/a' is not a valid destination for 'SUBSCR"),
        (subscribe("/queue/a", "0", "selector:a = 1"), "selectors are not offered"),
        (subscribe("/topic/a", "0", "no-local:true"), "no-local subscriptions are not offered"),
        (subscribe("/queue/a", "0", "browser:true"), "queue browsers are not offered"),
        (subscribe("/queue/a", "0", "prefetch-count:many"), "prefetch-count 'many'"),
        # RabbitMQ takes it, and delivers nothing.
        (subscribe("/queue/a", "0", "prefetch-count:-1"), "'-1' is not a number from 0 on"),
        (subscribe("/temp-topic/a", "0", "durable:true"), "has no durable subscriptions"),
        (subscribe("/queue/a", "/temp-queue/0"), "may not start with /temp-queue/"),
        ("UNSUBSCRIBE\nid:7\n\n^@", "Subscription to id='7' not found."),
        (ack("1-1"), "ACK of '1-1'"),
    ],
)
async def test_mistakes_end_the_connection_in_words(
    broker: Broker, frame: str, reason: str
) -> None:
    client = await broker.client()
    bystander = await broker.client()
    answer = await client.send(frame.replace("\n\n", "\nreceipt:r9\n\n", 1))
    assert answer.startswith("ERROR\n")
    assert "receipt-id:r9\n" in answer
    assert reason in answer
    assert client.wire.closed
    assert not bystander.wire.closed


async def test_disconnect_is_answered_when_all_is_stored(broker: Broker) -> None:
    client = await broker.client()
    answer = await client.send(send("/queue/a", "1"), "DISCONNECT\nreceipt:bye\n\n^@")
    assert receipts_of(answer) == ["bye"]
    assert client.wire.closed
    assert broker.bodies("a") == ["1"]


async def test_a_half_closed_client_gets_its_answers(broker: Broker) -> None:
    client = await broker.client()
    client.push(send("/queue/a", "1", "receipt:r"))
    assert client.gateway.eof_received()
    assert receipts_of(await client.read()) == ["r"]
    assert client.wire.closed


async def test_losing_the_connection_during_a_barrier_leaves_nothing(broker: Broker) -> None:
    client = await broker.client()
    client.push(subscribe("/topic/a"))
    client.gateway.connection_lost("the cable was cut")
    await client.read()
    assert broker.queue_names() == []
    assert not broker.topology.subscriptions_to(queue_name("a"))


async def test_what_a_client_sent_before_it_went_is_carried_out(broker: Broker) -> None:
    client = await broker.client()
    sends = [send("/queue/a", str(number)) for number in range(3)]
    client.push(*sends, subscribe("/queue/a"), send("/queue/b", "3"))
    client.gateway.connection_lost("closed by the client")
    await client.read()
    assert broker.bodies("a") == ["0", "1", "2"]
    assert broker.bodies("b") == ["3"]
    assert client.gateway.lost
    other = await broker.client()
    got = await other.messages(subscribe("/queue/a"))
    assert [each["body"] for each in got] == ["0", "1", "2"]


async def test_shutting_down_answers_and_says_so(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"), send("/queue/a", "1"))
    client.push(send("/queue/b", "2", "receipt:r"))
    client.gateway.shut_down(StopReason.BROKER_STOPS)
    receipt, error = frames_of(await client.read())
    assert receipt == "RECEIPT\nreceipt-id:r\n\n"
    assert "the broker is shutting down" in error
    assert client.wire.closed
    assert broker.bodies("a") == ["1"]
    assert broker.bodies("b") == ["2"]


async def test_a_stopping_broker_answers_what_the_store_has_not_answered_yet(
    broker: Broker,
) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    broker.store.slow = True
    client.push(send("/queue/a", "1", "receipt:r"))
    client.gateway.shut_down(StopReason.LISTENER_REMOVED)
    assert "RECEIPT" not in await client.read()
    broker.store.catch_up()
    receipt, error = frames_of(await client.read())
    assert receipt == "RECEIPT\nreceipt-id:r\n\n"
    assert "the listener was removed" in error
    assert client.wire.closed


async def test_a_client_that_closes_its_half_is_answered(broker: Broker) -> None:
    client = await broker.client()
    broker.store.slow = True
    client.push(send("/queue/a", "1", "receipt:r"))
    assert client.gateway.eof_received()
    assert "RECEIPT" not in await client.read()
    broker.store.catch_up()
    assert frames_of(await client.read()) == ["RECEIPT\nreceipt-id:r\n\n"]
    assert client.wire.closed


async def test_silence_is_noticed_and_filled(broker: Broker) -> None:
    client = await broker.client("1.2", "heart-beat:1000,1000")
    assert client.wire.deadline_changes
    for answer in ("", "\n"):
        broker.clock.now_ms += 450
        client.gateway.handle_deadline(broker.clock.monotonic())
        assert await client.read() == answer
    broker.clock.now_ms += 5_000
    client.gateway.handle_deadline(broker.clock.monotonic())
    assert "message:Heart-beat missed\n" in await client.read()
    assert client.wire.closed


async def test_a_client_that_never_connects_is_given_up(broker: Broker) -> None:
    client = Client(broker)
    broker.clock.now_ms += 10_000
    client.gateway.handle_deadline(broker.clock.monotonic())
    assert "no CONNECT within 10 seconds" in await client.read()
    assert client.wire.closed
    assert broker.log.lines[0].startswith("refused None: ")


async def test_the_log_says_once_why_a_client_was_ended(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/amq/queue/absent"))
    await client.lose()
    reason = "NOT_FOUND - no queue 'absent' in vhost '/'"
    assert broker.log.lines[-1].endswith(f": {reason}"), broker.log.lines
    client = await broker.client()
    await client.send("ACK\nid:1\n\n^@")
    await client.lose()
    assert "None: Message not found: ACK of" in broker.log.lines[-1], broker.log.lines


async def test_reading_pauses_above_the_bound_on_unanswered_messages() -> None:
    broker = Broker(limits=Limits(unanswered_messages_max=4))
    client = await broker.client()
    await client.send(send("/queue/a"))
    client.push(*[send("/queue/a", "x", "receipt:r")] * 5)
    during = client.wire.reading
    assert len(receipts_of(await client.read())) == 5
    assert (during, client.wire.reading) == (False, True)


async def test_reading_pauses_while_much_waits_behind_a_barrier() -> None:
    broker = Broker(limits=Limits(barriers_backlog_max=3))
    client = await broker.client()
    client.push(subscribe("/queue/a"), *[send("/queue/b", str(n)) for n in range(3)])
    before = client.wire.reading
    client.push(send("/queue/b", "3"))
    during = client.wire.reading
    await client.read()
    assert (before, during, client.wire.reading) == (True, False, True)
    assert broker.bodies("b") == ["0", "1", "2", "3"]

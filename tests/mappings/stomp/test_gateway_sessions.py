from __future__ import annotations

import pytest

from bridge.auth import Account, Accounts
from bridge.auth.password_hashes import make_password_hash
from bridge.messaging.model import QueueName, TopicName
from mappings.gateway import StopReason
from mappings.submitter import SENDS_PER_UNIT_MAX
from tests.mappings.stomp.broker import (
    Broker,
    Client,
    frames_of,
    receipts_of,
    send,
    subscribe,
)
from tests.support.routing import queue_name


@pytest.fixture
async def broker() -> Broker:
    return Broker()


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


async def test_nobody_claims_to_be_another_user(broker: Broker) -> None:
    accounts = Accounts([Account("ann", make_password_hash(b"secret"))], secret=b"s")
    strict = Broker(accounts=accounts)
    checked = Client(strict)
    checked.push("CONNECT\naccept-version:1.2\nlogin:ann\npasscode:secret\n\n^@")
    await strict.at_rest()
    answer = await checked.send(
        send("/queue/a", "x", "user-id:ann", "receipt:1"),
        send("/queue/a", "x", "user-id:bob", "receipt:2"),
    )
    _, receipt, error = frames_of(answer)
    assert receipt.startswith("RECEIPT\nreceipt-id:1\n")
    assert error.startswith("ERROR\nmessage:precondition_failed\n")
    assert "user_id property set to 'bob' but authenticated user was 'ann'" in error
    # Who was let in unchecked has no name that another could take.
    client = await broker.client()
    (message,) = await client.messages(subscribe("/queue/a"), send("/queue/a", "x", "user-id:bob"))
    assert message["user-id"] == "bob"


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


async def test_sends_to_very_many_queues_wait_for_the_store(broker: Broker) -> None:
    tree = TopicName("/", "amq.topic")
    for number in range(SENDS_PER_UNIT_MAX // 10):
        name = QueueName("/", f"q{number}")
        await broker.topology.ensure_queue(name)
        await broker.topology.subscribe(tree, name, pattern="t")
    client = await broker.client()
    broker.store.slow = True
    before = len(broker.store.submitted)
    client.push(*(send("/topic/t", str(number), f"receipt:{number}") for number in range(100)))
    assert await client.read() == ""
    sent = sum(len(unit.sends) for unit in broker.store.submitted[before:])
    assert sent < broker.services.limits.unanswered_messages_max < 10 * SENDS_PER_UNIT_MAX
    receipts: list[str] = []
    while broker.store.submitted[before:]:
        before = len(broker.store.submitted)
        broker.store.catch_up()
        receipts += frames_of(await client.read())
    assert receipts == [f"RECEIPT\nreceipt-id:{number}\n\n" for number in range(100)]
    assert broker.bodies("q7") == [str(number) for number in range(100)]


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

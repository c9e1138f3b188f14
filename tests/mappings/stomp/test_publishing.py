"""SENDs and their receipts."""

from __future__ import annotations

from bridge.auth import Account, Accounts
from bridge.auth.password_hashes import make_password_hash
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import DeadLetterTarget, QueueName, TopicName
from bridge.messaging.subjects import subject_from_dotted
from mappings.submitter import SENDS_PER_UNIT_MAX
from tests.mappings.stomp.broker import (
    Broker,
    Client,
    ack,
    frames_of,
    receipts_of,
    send,
    subscribe,
)


async def test_a_send_makes_its_queue_and_is_answered_when_stored(broker: Broker) -> None:
    client = await broker.client()
    client.push(send("/queue/a", "hello", "receipt:r1"))
    assert broker.queue_names() == []
    assert await client.read() == "RECEIPT\nreceipt-id:r1\n\n^@"
    assert broker.bodies("a") == ["hello"]


async def test_a_chunk_is_one_unit_of_work(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/a"))
    before = len(broker.store.submitted)
    answer = await client.send(*[send("/queue/a", "x", f"receipt:{n}") for n in range(50)])
    assert receipts_of(answer) == [str(n) for n in range(50)]
    assert len(broker.store.submitted) == before + 1
    assert broker.log.counts["published"] == 51


async def test_receipts_come_in_the_order_of_the_frames(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/a", "1"), subscribe("/queue/a", "0", "ack:client-individual"))
    answer = await client.send(
        send("/queue/b", "x", "receipt:1"),
        ack("1-1", "receipt:2"),
        "BEGIN\ntransaction:t\nreceipt:3\n\n^@",
        subscribe("/queue/c", "1", "receipt:4"),
        send("/queue/new", "x", "receipt:5"),
        "UNSUBSCRIBE\nid:1\nreceipt:6\n\n^@",
        "COMMIT\ntransaction:t\nreceipt:7\n\n^@",
        "DISCONNECT\nreceipt:8\n\n^@",
    )
    assert receipts_of(answer) == [str(n) for n in range(1, 9)]
    assert client.wire.closed


async def test_what_the_store_refuses_is_an_error_and_never_a_receipt(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/a"))
    broker.store.refusal = StoreUnavailable("the disk is full")
    answer = await client.send(send("/queue/a", "x", "receipt:r1"))
    assert answer.startswith("ERROR\nmessage:internal_error\n")
    assert "receipt-id:r1\n" in answer
    assert "INTERNAL_ERROR - the disk is full\n" in answer
    assert client.wire.closed
    assert broker.log.lines[-1].startswith("connected")
    await client.lose()
    assert "the disk is full" in broker.log.lines[-1]


async def test_what_came_before_a_refused_send_is_stored_and_answered(broker: Broker) -> None:
    client = await broker.client()
    answer = await client.send(
        send("/queue/a", "good", "receipt:1"),
        send("/nowhere/b", "bad", "receipt:2"),
        send("/queue/a", "never", "receipt:3"),
    )
    receipt, error = frames_of(answer)
    assert receipt == "RECEIPT\nreceipt-id:1\n\n"
    assert error.startswith("ERROR\nmessage:Unknown destination\n")
    assert "receipt-id:2\n" in error
    assert "'/nowhere/b' is not a valid destination." in error
    assert broker.bodies("a") == ["good"]
    assert client.wire.closed


async def test_a_topic_without_subscribers_takes_messages(broker: Broker) -> None:
    client = await broker.client()
    assert receipts_of(await client.send(send("/topic/a", "x", "receipt:1"))) == ["1"]


async def test_bare_names_are_queues(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("orders", "hello"), subscribe("orders"))
    assert broker.queue_names() == ["orders"]


async def test_queues_are_made_as_their_first_send_asks(broker: Broker) -> None:
    client = await broker.client()
    await client.send(
        send(
            "/queue/a",
            "x",
            "x-message-ttl:5000",
            "x-dead-letter-exchange:amq.topic",
            "x-dead-letter-routing-key:50%",
            "x-queue-type:quorum",
        )
    )
    settings = broker.bench_queue("a").settings
    assert settings.message_ttl_ms == 5000
    assert settings.dead_letter == DeadLetterTarget("amq.topic", subject_from_dotted("50%"))
    assert settings.arguments["x-queue-type"] == "quorum"


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

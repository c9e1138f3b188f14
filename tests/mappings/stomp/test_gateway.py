from __future__ import annotations

import pytest

from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.limits import Limits
from bridge.messaging.model import DeadLetterTarget, QueueSettings
from bridge.messaging.subjects import subject_from_dotted
from tests.mappings.stomp.broker import (
    Broker,
    ack,
    frames_of,
    messages_of,
    receipts_of,
    send,
    subscribe,
)
from tests.support.routing import queue_name


@pytest.fixture
async def broker() -> Broker:
    return Broker()


# SEND and receipts


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


# Deliveries


async def test_messages_arrive_with_their_headers(broker: Broker) -> None:
    client = await broker.client()
    (message,) = await client.messages(
        subscribe("/queue/a"),
        send("/queue/a", "hello", "persistent:true", "foo:bar\\cbaz", "content-type:text/plain"),
    )
    message_id = message.pop("message-id")
    assert len(message_id) == 36
    assert message == {
        "subscription": "0",
        "destination": "/queue/a",
        "redelivered": "false",
        "content-type": "text/plain",
        "persistent": "true",
        "foo": "bar\\cbaz",
        "content-length": "5",
        "body": "hello",
    }


@pytest.mark.parametrize("destination", ["/queue/a%2Fb", "a%2Fb", "/amq/queue/a%2Fb"])
async def test_a_queue_is_shown_by_one_destination(broker: Broker, destination: str) -> None:
    client = await broker.client()
    await client.send(send("/queue/a%2Fb"))
    (message,) = await client.messages(subscribe(destination))
    assert message["destination"] == "/queue/a%2Fb"


async def test_the_receipt_of_a_subscribe_comes_before_its_messages(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/a", "1"), send("/queue/a", "2"))
    answer = await client.send(subscribe("/queue/a", "0", "receipt:s"))
    assert [frame.split("\n")[0] for frame in frames_of(answer)] == [
        "RECEIPT",
        "MESSAGE",
        "MESSAGE",
    ]


async def test_mode_auto_settles_what_was_written(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "prefetch-count:3"))
    messages = await client.messages(*[send("/queue/a", str(n)) for n in range(10)])
    assert [message["body"] for message in messages] == [str(n) for n in range(10)]
    assert not broker.bench_queue("a").held


async def test_a_client_that_does_not_read_gets_its_prefetch_at_most(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "prefetch-count:3"))
    client.gateway.pause_writing()
    assert await client.messages(*[send("/queue/a", str(n)) for n in range(10)]) == []
    client.gateway.resume_writing()
    assert len(messages_of(await client.read())) == 10


@pytest.mark.parametrize("header", ["prefetch-count", "activemq.prefetchSize"])
async def test_prefetch_bounds_what_is_unsettled(broker: Broker, header: str) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual", f"{header}:3"))
    messages = await client.messages(*[send("/queue/a", str(n)) for n in range(10)])
    assert [message["body"] for message in messages] == ["0", "1", "2"]
    messages = await client.messages(ack(messages[1]["ack"]), ack(messages[0]["ack"]))
    assert [message["body"] for message in messages] == ["3", "4"]


async def test_cumulative_acks_settle_what_came_before(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    messages = await client.messages(*[send("/queue/a", str(n)) for n in range(5)])
    assert receipts_of(await client.send(ack(messages[3]["ack"], "receipt:r"))) == ["r"]
    await client.lose()
    assert broker.bodies("a") == ["4"]


async def test_nack_returns_a_message(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual", "prefetch-count:1"))
    (first,) = await client.messages(send("/queue/a", "hello"))
    (again,) = await client.messages(ack(first["ack"], command="NACK"))
    assert (again["body"], again["redelivered"]) == ("hello", "true")
    assert again["message-id"] == first["message-id"]


async def test_nack_without_requeue_dead_letters(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual"))
    (first,) = await client.messages(send("/queue/a", "hello", "foo:bar"))
    answer = await client.send(ack(first["ack"], "requeue:false", "receipt:r", command="NACK"))
    assert receipts_of(answer) == ["r"]
    assert broker.bodies("landbridge-dead-letters") == ["hello"]
    (dead,) = await client.messages(subscribe("/queue/landbridge-dead-letters", "1"))
    assert dead["foo"] == "bar"
    assert dead["landbridge-dead-letter-reason"] == "rejected"
    assert '"queue"\\c"a"' in dead["x-death"]


async def test_too_many_returns_dead_letter(broker: Broker) -> None:
    await broker.store.create_queue(queue_name("a"), QueueSettings(return_limit=2))
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client-individual"))
    (message,) = await client.messages(send("/queue/a", "hello"))
    for _ in range(2):
        (message,) = await client.messages(ack(message["ack"], command="NACK"))
    assert await client.messages(ack(message["ack"], command="NACK")) == []
    assert broker.bodies("landbridge-dead-letters") == ["hello"]


@pytest.mark.parametrize("command", ["ACK", "NACK"])
async def test_what_a_lost_client_settled_behind_a_subscription_is_held_by_nobody(
    broker: Broker, command: str
) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    (message,) = await client.messages(send("/queue/a", "1"))
    client.push(subscribe("/queue/new", "1"), ack(message["ack"], command=command))
    await client.lose()
    assert broker.bodies("a") == ["1"]


@pytest.mark.parametrize("mistake", ["SEND\n\nx^@", send("/foo/bar")])
async def test_what_is_acknowledged_behind_a_mistake_is_held_by_nobody(
    broker: Broker, mistake: str
) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    (message,) = await client.messages(send("/queue/a", "1"))
    assert "ERROR\n" in await client.send(mistake, ack(message["ack"]))
    assert broker.bodies("a") == ["1"]


async def test_a_lost_connection_releases_and_does_not_send_again(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"))
    await client.send(send("/queue/a", "1"), send("/queue/a", "2"))
    await client.lose()
    assert broker.bodies("a") == ["1", "2"]
    assert [unit.releases for unit in broker.store.submitted][-1] != []
    other = await broker.client()
    messages = await other.messages(subscribe("/queue/a"))
    assert [(each["body"], each["redelivered"]) for each in messages] == [
        ("1", "true"),
        ("2", "true"),
    ]


async def test_unsubscribe_releases(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"), send("/queue/a", "1"))
    assert receipts_of(await client.send("UNSUBSCRIBE\nid:0\nreceipt:u\n\n^@")) == ["u"]
    assert broker.bodies("a") == ["1"]
    assert await client.messages(send("/queue/a", "2")) == []


async def test_a_deleted_queue_ends_its_subscriptions(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "sub 1"))
    await broker.topology.remove_queue(broker.bench_queue("a"))
    answer = await client.read()
    assert "message:Server cancelled subscription\n" in answer
    assert "subscription:sub 1\n" in answer
    assert client.wire.closed


async def test_a_message_held_for_longer_than_the_store_can_ends_the_connection(
    broker: Broker,
) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "ack:client"), send("/queue/a", "1"))
    (subscription,) = broker.bench_queue("a").consumers
    subscription.cancel()
    subscription.consumer.overdue(39_600)
    answer = await client.read()
    assert "message:precondition_failed\n" in answer
    assert "a message was held for 39600 s" in answer
    assert client.wire.closed
    assert broker.bodies("a") == ["1"]


# Topics


async def test_topic_subscribers_get_copies_and_leave_nothing_behind(broker: Broker) -> None:
    one, two = await broker.client(), await broker.client("1.1")
    await one.send(subscribe("/topic/a.*"))
    await two.send(subscribe("/topic/a.>"))
    await one.send(subscribe("/topic/other", "1"))
    (own,) = await one.messages(send("/topic/a.b", "hello", "foo:bar"))
    (copy,) = messages_of(await two.read())
    assert own["destination"] == copy["destination"] == "/topic/a.b"
    assert own["foo"] == copy["foo"] == "bar"
    assert await one.messages(send("/topic/a.b.c", "deep")) == []
    assert [each["body"] for each in messages_of(await two.read())] == ["deep"]
    await one.send("UNSUBSCRIBE\nid:0\n\n^@")
    await one.lose()
    await two.lose()
    assert broker.queue_names() == []


async def test_exchanges(broker: Broker) -> None:
    client = await broker.client()
    await client.send(
        subscribe("/exchange/amq.direct/k", "direct"),
        subscribe("/exchange/amq.fanout", "fanout"),
        subscribe("/exchange/amq.topic/a.#", "tree"),
    )
    (direct,) = await client.messages(send("/exchange/amq.direct/k", "1"))
    assert (direct["subscription"], direct["destination"]) == ("direct", "/exchange/amq.direct/k")
    (fanout,) = await client.messages(send("/exchange/amq.fanout", "2"))
    assert (fanout["subscription"], fanout["destination"]) == ("fanout", "/exchange/amq.fanout")
    (tree,) = await client.messages(send("/topic/a.b", "3"))
    assert (tree["subscription"], tree["destination"]) == ("tree", "/topic/a.b")


async def test_a_durable_subscription_of_rabbitmq_collects(broker: Broker) -> None:
    durable = subscribe("/topic/a", "news", "durable:true", "auto-delete:false")
    client = await broker.client()
    await client.send(durable)
    await client.send("UNSUBSCRIBE\nid:news\n\n^@")
    await client.send(send("/topic/a", "1"))
    await client.lose()
    client = await broker.client()
    assert [each["body"] for each in await client.messages(durable)] == ["1"]
    answer = await client.send("UNSUBSCRIBE\nid:news\ndurable:true\nreceipt:u\n\n^@")
    assert receipts_of(answer) == ["u"]
    assert broker.queue_names() == []


async def test_a_durable_subscription_of_rabbitmq_can_be_shared(broker: Broker) -> None:
    durable = subscribe("/topic/a", "news", "durable:true")
    one, two = await broker.client(), await broker.client()
    await one.send(durable)
    await two.send(durable)
    own = await one.messages(*[send("/topic/a", str(n)) for n in range(10)])
    assert len(own) + len(messages_of(await two.read())) == 10
    assert own


async def test_a_durable_subscription_of_activemq_collects(broker: Broker) -> None:
    durable = subscribe("/topic/a", "1", "activemq.subscriptionName:news")
    client = await broker.client("1.2", "client-id:c1")
    await client.send(durable)
    other = await broker.client("1.2", "client-id:c1")
    assert "resource_locked" in await other.send(durable)
    await client.lose()
    client = await broker.client("1.2", "client-id:c2")
    await client.send(send("/topic/a", "1"))
    assert await client.messages(durable) == []
    client = await broker.client("1.2", "client-id:c1")
    assert [each["body"] for each in await client.messages(durable)] == ["1"]
    await client.lose()
    client = await broker.client("1.2", "client-id:c1")
    gone = "UNSUBSCRIBE\nid:1\nactivemq.subscriptionName:news\nreceipt:u\n\n^@"
    assert receipts_of(await client.send(gone)) == ["u"]
    assert len(broker.queue_names()) == 1


async def test_an_activemq_name_moves_with_its_topic(broker: Broker) -> None:
    client = await broker.client("1.2", "client-id:c1")
    await client.send(subscribe("/topic/a", "1", "activemq.subscriptionName:news"))
    await client.send("UNSUBSCRIBE\nid:1\n\n^@", send("/topic/a", "old"))
    await client.send(subscribe("/topic/b", "1", "activemq.subscriptionName:news"))
    messages = await client.messages(send("/topic/a", "no"), send("/topic/b", "yes"))
    assert [each["body"] for each in messages] == ["yes"]


# Replies


async def test_a_reply_finds_the_temporary_queue_of_another_connection(broker: Broker) -> None:
    asking, answering = await broker.client(), await broker.client()
    await answering.send(subscribe("/queue/work"))
    await asking.send(send("/queue/work", "question", "reply-to:/temp-queue/mine"))
    (question,) = messages_of(await answering.read())
    assert question["reply-to"].startswith("/reply-queue/")
    await answering.send(send(question["reply-to"], "answer", "correlation-id:7"))
    (reply,) = messages_of(await asking.read())
    assert reply["subscription"] == "/temp-queue/mine"
    assert (reply["body"], reply["correlation-id"]) == ("answer", "7")
    await asking.lose()
    assert broker.queue_names() == ["work"]
    answer = await answering.send(send(question["reply-to"], "too late", "receipt:r"))
    assert receipts_of(answer) == ["r"]


async def test_a_temporary_queue_may_be_subscribed_to(broker: Broker) -> None:
    asking, answering = await broker.client(), await broker.client()
    await answering.send(subscribe("/queue/work"))
    await asking.send(subscribe("/temp-queue/mine", "t", "ack:client"))
    await asking.send(send("/queue/work", "question", "reply-to:/temp-queue/mine"))
    (question,) = messages_of(await answering.read())
    await answering.send(send(question["reply-to"], "answer"))
    (reply,) = messages_of(await asking.read())
    assert (reply["subscription"], reply["destination"]) == ("t", "/temp-queue/mine")
    (own,) = await asking.messages(send("/temp-queue/mine", "to myself"))
    assert own["body"] == "to myself"


async def test_temporary_queues_have_a_bound() -> None:
    broker = Broker(limits=Limits(consumers_per_connection_max=2))
    client = await broker.client()
    answer = await client.send(
        *[send(f"/temp-queue/{n}", "x", f"receipt:{n}") for n in (1, 2, 1)],
    )
    assert receipts_of(answer) == ["1", "2", "1"]
    answer = await client.send(send("/temp-queue/3", "x", "receipt:3"))
    assert answer.startswith("ERROR\nmessage:resource_error\n")
    assert "2 temporary queues allowed in a connection" in answer


# Transactions


async def test_a_transaction_is_one_unit_at_its_commit(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    before = len(broker.store.submitted)
    answer = await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        send("/queue/out", "1", "transaction:t", "receipt:1"),
        send("/topic/out", "2", "transaction:t"),
        ack("1-1", "transaction:t", "receipt:2"),
    )
    assert answer == ""
    assert len(broker.store.submitted) == before
    answer = await client.send("COMMIT\ntransaction:t\nreceipt:3\n\n^@")
    assert receipts_of(answer) == ["1", "2", "3"]
    (unit,) = broker.store.submitted[before:]
    assert unit.atomic
    assert (len(unit.sends), len(unit.deletes)) == (1, 1)
    assert broker.bodies("out") == ["1"]


async def test_an_aborted_transaction_leaves_nothing(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        send("/queue/in", "1", "transaction:t"),
        ack("1-1", "transaction:t"),
    )
    assert receipts_of(await client.send("ABORT\ntransaction:t\nreceipt:r\n\n^@")) == ["r"]
    await client.lose()
    assert broker.bodies("in") == ["work"]


async def test_a_failing_transaction_does_nothing(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    answer = await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        send("/queue/in", "1", "transaction:t"),
        ack("1-1", "transaction:t"),
        send("/exchange/none", "2", "transaction:t"),
        "COMMIT\ntransaction:t\nreceipt:r\n\n^@",
    )
    assert answer.startswith("ERROR\nmessage:not_found\n")
    assert broker.bodies("in") == ["work"]


async def test_a_transaction_may_reject(broker: Broker) -> None:
    client = await broker.client()
    await client.send(send("/queue/in", "work"), subscribe("/queue/in", "0", "ack:client"))
    await client.send(
        "BEGIN\ntransaction:t\n\n^@",
        ack("1-1", "transaction:t", "requeue:false", command="NACK"),
        "COMMIT\ntransaction:t\n\n^@",
    )
    assert broker.bodies("landbridge-dead-letters") == ["work"]
    assert broker.bodies("in") == []


# Back-pressure


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

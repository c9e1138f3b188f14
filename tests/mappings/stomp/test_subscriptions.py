"""SUBSCRIBE and what comes of it: from queues, topics and temporary queues."""

from __future__ import annotations

import pytest

from bridge.messaging.limits import Limits
from tests.mappings.stomp.broker import (
    Broker,
    frames_of,
    messages_of,
    receipts_of,
    send,
    subscribe,
)


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


async def test_a_client_that_does_not_read_gets_its_prefetch_at_most(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/a", "0", "prefetch-count:3"))
    client.gateway.pause_writing()
    assert await client.messages(*[send("/queue/a", str(n)) for n in range(10)]) == []
    client.gateway.resume_writing()
    assert len(messages_of(await client.read())) == 10


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

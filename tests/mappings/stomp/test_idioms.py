"""What clients of RabbitMQ or ActiveMQ ask for beside the frames that all brokers know."""

from __future__ import annotations

import asyncio

from tests.mappings.stomp.broker import Broker, messages_of, send, subscribe
from tests.support.routing import NOW_MS


async def test_a_reply_finds_the_temporary_topic_of_another_connection(broker: Broker) -> None:
    asking, answering = await broker.client(), await broker.client()
    await answering.send(subscribe("/queue/work"))
    await asking.send(subscribe("/temp-topic/mine", "t1"), subscribe("/temp-topic/mine", "t2"))
    await asking.send(send("/queue/work", "question", "reply-to:/temp-topic/mine"))
    (question,) = messages_of(await answering.read())
    await answering.send(send(question["reply-to"], "answer"))
    replies = messages_of(await asking.read())
    assert sorted(reply["subscription"] for reply in replies) == ["t1", "t2"]
    assert {reply["destination"] for reply in replies} == {"/temp-topic/mine"}
    assert {reply["body"] for reply in replies} == {"answer"}


async def test_temporary_topics_of_one_name_are_not_the_same(broker: Broker) -> None:
    one, other = await broker.client(), await broker.client()
    await one.send(subscribe("/temp-topic/mine"))
    await other.send(subscribe("/temp-topic/mine"))
    (own,) = await one.messages(send("/temp-topic/mine", "to myself"))
    assert own["body"] == "to myself"
    assert messages_of(await other.read()) == []
    await one.lose()
    await other.lose()
    assert broker.queue_names() == []


async def test_a_scheduled_message_waits(broker: Broker) -> None:
    client = await broker.client()
    delays = ("AMQ_SCHEDULED_DELAY:1500", "AMQ_SCHEDULED_REPEAT:0", "AMQ_SCHEDULED_PERIOD: ")
    await client.send(send("/queue/a", "later", *delays), send("/queue/a", "now"))
    later, now = broker.bench_queue("a").messages
    assert (later.visible_at, now.visible_at) == (NOW_MS + 1_500, None)
    assert later.headers == {}


async def test_equal_schedules_count_from_their_own_sends(broker: Broker) -> None:
    client = await broker.client()
    scheduled = send("/queue/a", "x", "AMQ_SCHEDULED_DELAY:1000", "content-length:1")
    for _ in range(4):
        await client.send(scheduled)
        broker.clock.now_ms += 1
    visible = [message.visible_at for message in broker.bench_queue("a").messages]
    assert visible == [NOW_MS + 1_000 + n for n in range(4)]


async def test_an_exclusive_queue_is_for_one_subscriber_and_goes_with_it(broker: Broker) -> None:
    one, other = await broker.client(), await broker.client()
    await one.send(subscribe("/queue/own", "0", "exclusive:true", "ack:client"))
    answer = await other.send(subscribe("/queue/own"))
    assert answer.startswith("ERROR\n")
    (message,) = await one.messages(send("/queue/own", "mine"))
    assert message["body"] == "mine"
    await one.lose()
    assert broker.queue_names() == []


async def test_who_hears_that_a_client_has_left_finds_none_of_its_queues(broker: Broker) -> None:
    client = await broker.client()
    await client.send(subscribe("/queue/own", "0", "exclusive:true"))
    await client.send(subscribe("/temp-queue/mine", "1"))
    client.push("DISCONNECT\nreceipt:left\n\n^@")
    while not client.wire.written:
        await asyncio.sleep(0)
    assert client.wire.written == [b"RECEIPT\nreceipt-id:left\n\n\0\n"]
    assert broker.queue_names() == []
    assert client.wire.closed

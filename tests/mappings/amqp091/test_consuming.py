"""What consumers are given: priorities, windows, credit."""

from __future__ import annotations

import re

from adapters.amqp091.properties import encode_properties
from bridge.messaging.limits import Limits
from tests.mappings.amqp091.broker import Broker, bodies, connect, names


async def test_deliveries_within_the_prefetch(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", *[b"%d" % n for n in range(6)])
    await client.call("Basic.Qos", prefetch_count=2)
    started = await client.call("Basic.Consume", queue="q", consumer_tag="c")
    assert names(started)[0] == "Basic.ConsumeOk"
    assert bodies(started) == [b"0", b"1"]
    assert bodies(await client.call("Basic.Ack", delivery_tag=1)) == [b"2"]
    assert bodies(await client.call("Basic.Ack", delivery_tag=3, multiple=True)) == [b"3", b"4"]


async def test_a_prefetch_for_the_channel(broker: Broker) -> None:
    client = await connect(broker)
    for name in ("a", "b"):
        await client.declare(name)
        client.publish(name, *[b"%d" % n for n in range(5)])
    await client.call("Basic.Qos", prefetch_count=3, global_=True)
    got = bodies(await client.call("Basic.Consume", queue="a"))
    got += bodies(await client.call("Basic.Consume", queue="b"))
    assert len(got) == 3
    assert len(bodies(await client.call("Basic.Ack", delivery_tag=2, multiple=True))) == 2
    await client.lose()
    assert broker.bodies("a") + broker.bodies("b") == ["2", "3", "4", *"01234"]


async def test_a_lost_connection_gives_everything_back_in_place(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", b"1", b"2", b"3")
    await client.call("Basic.Consume", queue="q")
    await client.call("Basic.Ack", delivery_tag=2)
    await client.lose()
    assert broker.bodies("q") == ["1", "3"]
    assert broker.bench_queue("q").consumer_count == 0


async def test_a_client_that_does_not_read_gets_nothing_more(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", no_ack=True)
    client.gateway.pause_writing()
    client.publish("q", b"1")
    assert await client.read() == []
    client.gateway.resume_writing()
    assert bodies(await client.read()) == [b"1"]


async def test_cancelling(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", consumer_tag="c")
    assert names(await client.call("Basic.Cancel", consumer_tag="c")) == ["Basic.CancelOk"]
    client.publish("q", b"1")
    assert await client.read() == []
    await client.call("Basic.Consume", queue="q", consumer_tag="d")
    other = await connect(broker)
    await other.call("Queue.Delete", queue="q")
    (cancel,) = await client.read()
    assert (cancel.name, cancel.fields["consumer_tag"]) == ("Basic.Cancel", "d")
    # What it still holds settles nothing any more, and is no mistake.
    assert await client.call("Basic.Ack", delivery_tag=1) == []


async def test_who_deletes_a_queue_hears_of_its_consumers_last(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", consumer_tag="c")
    answer = await client.call("Queue.Delete", queue="q")
    assert names(answer) == ["Queue.DeleteOk", "Basic.Cancel"]


async def test_exclusive_consumers(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    await client.call("Basic.Consume", queue="q", exclusive=True)
    error = await client.error("Basic.Consume", queue="q")
    assert error == "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"


async def test_direct_replies(broker: Broker) -> None:
    pseudo = "amq.rabbitmq.reply-to"
    client, worker = await connect(broker), await connect(broker)
    await worker.declare("rpc")
    await client.call("Basic.Consume", queue=pseudo, no_ack=True)
    client.publish("rpc", b"ask", properties=encode_properties(reply_to=pseudo))
    await client.read()
    (asked,) = await worker.call("Basic.Get", queue="rpc", no_ack=True)
    assert asked.properties is not None
    reply_to = asked.properties.reply_to
    assert reply_to is not None
    assert re.fullmatch(rf"{re.escape(pseudo)}\.[\w-]+\.[\w-]{{22}}==", reply_to)
    worker.publish(reply_to, b"answer")
    await worker.read()
    assert bodies(await client.read()) == [b"answer"]
    await client.lose()
    assert broker.queue_names() == ["rpc"]


async def test_consumer_priorities(broker: Broker) -> None:
    low, high = await connect(broker), await connect(broker)
    await low.declare("q")
    await low.call("Basic.Consume", queue="q")
    await high.call("Basic.Qos", prefetch_count=2)
    await high.call("Basic.Consume", queue="q", arguments={"x-priority": 10})
    low.publish("q", b"1", b"2", b"3")
    rest = bodies(await low.read())
    assert bodies(await high.read()) == [b"1", b"2"]
    assert rest == [b"3"]


async def test_no_prefetch_is_the_longest_one() -> None:
    client = await connect(Broker(limits=Limits(prefetch_max=3)))
    await client.declare("q")
    client.publish("q", *[b"%d" % number for number in range(5)])
    assert bodies(await client.call("Basic.Consume", queue="q")) == [b"0", b"1", b"2"]
    assert bodies(await client.call("Basic.Ack", delivery_tag=1)) == [b"3"]


async def test_the_window_of_a_channel_grows_and_shrinks(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("q")
    client.publish("q", *[b"%d" % number for number in range(6)])
    await client.call("Basic.Qos", prefetch_count=1, global_=True)
    assert bodies(await client.call("Basic.Consume", queue="q")) == [b"0"]
    grown = await client.call("Basic.Qos", prefetch_count=3, global_=True)
    assert bodies(grown) == [b"1", b"2"]
    await client.call("Basic.Qos", prefetch_count=1, global_=True)
    assert bodies(await client.call("Basic.Ack", delivery_tag=2, multiple=True)) == []
    assert bodies(await client.call("Basic.Ack", delivery_tag=3)) == [b"3"]
    unlimited = await client.call("Basic.Qos", prefetch_count=0, global_=True)
    assert bodies(unlimited) == [b"4", b"5"]


async def test_the_window_holds_back_automatic_acks_and_lets_basic_get_through(
    broker: Broker,
) -> None:
    client = await connect(broker)
    for queue in ("held", "free"):
        await client.declare(queue)
    client.publish("held", b"1", b"2")
    await client.call("Basic.Qos", prefetch_count=1, global_=True)
    assert bodies(await client.call("Basic.Consume", queue="held")) == [b"1"]
    await client.call("Basic.Consume", queue="free", no_ack=True)
    client.publish("free", b"3", b"4")
    assert bodies(await client.read()) == []
    assert (await client.one("Basic.Get", queue="held")).body == b"2"
    assert bodies(await client.call("Basic.Ack", delivery_tag=2)) == []
    assert bodies(await client.call("Basic.Ack", delivery_tag=1)) == [b"3", b"4"]
    await client.lose()
    assert broker.bodies("free") == broker.bodies("held") == []


async def test_an_own_exclusive_queue_is_declared_alike(broker: Broker) -> None:
    client = await connect(broker)
    await client.declare("mine", exclusive=True)
    assert (await client.error("Queue.Declare", queue="mine", durable=True)).startswith(
        "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'mine' in vhost '/'."
    )
    assert await client.declare("mine", exclusive=True, durable=False) == "mine"

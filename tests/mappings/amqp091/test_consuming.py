"""What consumers are given: priorities, windows, credit."""

from __future__ import annotations

import pytest

from bridge.messaging.limits import Limits
from tests.mappings.amqp091.broker import Broker, bodies, connect


@pytest.fixture
def broker() -> Broker:
    return Broker()


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

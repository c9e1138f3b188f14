"""Taking in what is published to a topic in SNS goes on, whatever becomes of one message."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from bridge.backends.aws import AwsBackend
from bridge.backends.aws.ingest import ingest_queue
from bridge.messaging.faces import TopicUse
from bridge.messaging.model import Delivery, TopicName
from tests.support.stores import message, send

TOPIC = TopicName("/", "alarms")


class Uses:
    """One topic that somebody is subscribed to."""

    version = 1

    def __iter__(self) -> Iterator[TopicUse]:
        yield TopicUse(TOPIC, subscribed=True)

    def __contains__(self, topic: TopicName) -> bool:
        return topic == TOPIC


async def test_a_message_that_is_not_stored_for_hours_ends_nothing(
    opened_at_moto: Callable[..., Awaitable[AwsBackend]],
) -> None:
    backend = await opened_at_moto(
        hold_seconds_max=0.05, renew_after_seconds=0.02, topics_look_seconds=0.02
    )
    store = backend.store
    came: asyncio.Queue[tuple[str, Callable[[int], None]]] = asyncio.Queue()

    def incoming(_: TopicName, deliveries: Sequence[Delivery], done: Callable[[int], None]) -> None:
        for each in deliveries:
            came.put_nowait((each.message.body.decode(), done))

    backend.faces.follow(Uses(), lambda: None, incoming)
    name = ingest_queue(TOPIC)
    async with asyncio.timeout(60):
        while store.queue(name) is None:
            await asyncio.sleep(0)
        queue = store.queue(name)
        assert queue is not None
        await send(store, queue, message("first"))
        body, done = await came.get()
        assert body == "first"
        while queue.consumer_count:
            await asyncio.sleep(0)
        await send(store, queue, message("second"))
        body, done_too = await came.get()
        assert body == "second"
    done(1)
    done_too(1)

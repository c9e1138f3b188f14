"""Virtual hosts that are deleted, also in two goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from bridge.admin.management.access import Viewer
from bridge.admin.management.bodies import Body
from bridge.admin.management.refusals import Refused
from bridge.admin.management.vhosts import VirtualHosts
from bridge.auth import User
from bridge.auth.stored import KIND_NAMESPACE, StoredNamespace, encode_namespace
from bridge.messaging.commits import committed
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import QueueName, QueueSettings, StateChange, TopicName, UnitOfWork
from bridge.messaging.ports import Queue
from tests.support.broker import MemoryBroker
from tests.support.management_sources import management_sources
from tests.support.memory_store import MemoryStore

VIEWER = Viewer(User("guest"), frozenset({"administrator"}))


class FailingStore(MemoryStore):
    """Deletes no queue while `failing`; `meanwhile` happens once with a deletion."""

    failing = False
    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def delete_queue(self, queue: Queue) -> int:
        if self.failing:
            raise StoreUnavailable("the store takes nothing")
        count = await super().delete_queue(queue)
        if self.meanwhile is not None:
            happening, self.meanwhile = self.meanwhile, None
            await happening()
        return count


class Place:
    """Virtual hosts above a broker in memory; `v` has one of each in it."""

    def __init__(self) -> None:
        self.store = FailingStore()
        self.broker = MemoryBroker(store=self.store)
        self.sources = management_sources(self.broker)
        self.vhosts = VirtualHosts(self.sources)

    async def fill(self) -> None:
        topology = self.broker.topology
        await self.vhosts.put("v", Body(b""), VIEWER)
        queue = await self.store.create_queue(QueueName("v", "q"), QueueSettings())
        await topology.declare_topic(TopicName("v", "x"), "direct")
        await topology.subscribe(TopicName("v", "x"), queue.name, pattern="k")
        await topology.subscribe(TopicName("v", "amq.topic"), queue.name, pattern="k")
        await topology.subscribe(
            TopicName("v", "amq.topic"), destination=TopicName("v", "amq.fanout"), pattern="k"
        )

    async def store_vhost(self, namespace: StoredNamespace) -> None:
        """Have another node say so of `v`."""
        unit = UnitOfWork(state=[StateChange(KIND_NAMESPACE, "v", encode_namespace(namespace))])
        await committed(self.store, unit)
        self.sources.tenants_changed()

    @property
    def left(self) -> set[str]:
        """What is left of `v`."""
        topology = self.broker.topology
        topics = [each for each in topology.topics() if each.name.namespace == "v"]
        return {
            *(each.name.name for each in self.store.queues() if each.name.namespace == "v"),
            *(each.name.name for each in topics if not each.built_in),
            *(each.id for topic in topics for each in topology.subscriptions_of(topic.name)),
        }


async def test_all_that_is_in_a_virtual_host_goes_with_it() -> None:
    place = Place()
    await place.fill()
    await place.store.create_queue(QueueName("/", "stays"), QueueSettings())
    assert place.left
    assert (await place.vhosts.delete("v")).status == 204
    assert not place.left
    assert place.sources.namespaces == {"/"}
    assert place.store.queue(QueueName("/", "stays")) is not None
    assert (await place.vhosts.put("v", Body(b""), VIEWER)).status == 201
    assert not place.left


async def test_a_deletion_that_failed_is_asked_for_again() -> None:
    place = Place()
    await place.fill()
    place.store.failing = True
    with pytest.raises(StoreUnavailable):
        await place.vhosts.delete("v")
    # Nobody comes in, and nothing can be put into it.
    assert place.sources.namespaces == {"/"}
    with pytest.raises(Refused, match="is being deleted"):
        await place.vhosts.put("v", Body(b""), VIEWER)
    place.store.failing = False
    assert (await place.vhosts.delete("v")).status == 204
    assert not place.left
    with pytest.raises(Refused, match="Not Found"):
        await place.vhosts.delete("v")


async def test_a_deletion_that_was_interrupted_goes_on_at_a_start() -> None:
    place = Place()
    await place.fill()
    await place.store_vhost(StoredNamespace(leaving=True))
    await place.vhosts.finish_deletions()
    assert not place.left
    assert (await place.vhosts.put("v", Body(b""), VIEWER)).status == 201


async def test_a_virtual_host_that_is_made_again_keeps_what_is_in_it() -> None:
    """Another node has finished the deletion first."""
    place = Place()
    await place.fill()
    await place.store_vhost(StoredNamespace(leaving=True))

    async def made_again() -> None:
        await place.store_vhost(StoredNamespace())
        await place.store.create_queue(QueueName("v", "new"), QueueSettings())

    place.store.meanwhile = made_again
    await place.vhosts.finish_deletions()
    assert "new" in place.left
    assert "v" in place.sources.namespaces
    assert (await place.vhosts.put("v", Body(b""), VIEWER)).status == 204


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"tracing": true}', "tracing is not offered"),
        (b'{"tracing": "perhaps"}', "not_boolean"),
        (b'{"default_queue_type": "quorum"}', "default_queue_type 'quorum' is not offered"),
        (b'{"description": 5}', "not_string"),
        (b'{"tags": 5}', "not_string"),
    ],
)
async def test_what_is_not_offered_is_refused(body: bytes, reason: str) -> None:
    place = Place()
    with pytest.raises(Refused, match=reason) as refused:
        await place.vhosts.put("v", Body(body), VIEWER)
    assert refused.value.status == 400
    assert place.sources.namespaces == {"/", "other"}


@pytest.mark.parametrize(("name", "taken"), [("v" * 255, True), ("v" * 256, False), ("\n", False)])
async def test_names_that_amqp_can_carry(name: str, *, taken: bool) -> None:
    place = Place()
    if taken:
        assert (await place.vhosts.put(name, Body(b""), VIEWER)).status == 201
        return
    with pytest.raises(Refused, match="vhost should be 1 to 255 printable bytes"):
        await place.vhosts.put(name, Body(b""), VIEWER)

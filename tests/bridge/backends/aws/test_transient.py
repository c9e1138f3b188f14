"""Transient queues across nodes: found through the catalogue, reached through inboxes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.backends.aws import Mode
from bridge.backends.aws.inbox import inbox_queue
from bridge.backends.aws.membership import Membership
from bridge.backends.aws.queues import AwsQueue
from bridge.backends.aws.transient import TransientQueues
from bridge.messaging.clock import SystemClock
from bridge.messaging.errors import ResourceLocked, StoreUnavailable, TopicDoesNotExist
from bridge.messaging.model import (
    DeadLetterTarget,
    Message,
    Origin,
    Overflow,
    Publish,
    QueueName,
    TopicName,
    UnitOfWork,
)
from bridge.messaging.names import sqs_name
from bridge.messaging.ports import Queue
from tests.support.aws_nodes import Node, cloud, eventually, node, table_name
from tests.support.moto_server import moto_server
from tests.support.stores import Collector, consume

BEATS = {"lease_seconds": 10.0, "lease_beat_seconds": 0.3, "inbox_look_seconds": 0.05}


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@dataclass
class Cluster:
    """Nodes on one table."""

    url: str
    path: Path
    prefix: str

    def node(self, **options: Any) -> AbstractAsyncContextManager[Node]:
        options = {"publish": Mode.NEVER, "ingest": Mode.NEVER, **options}
        path = self.path / str(len(list(self.path.iterdir())))
        bounds = {**BEATS, **options.pop("bounds", {})}
        return node(
            self.url,
            path,
            prefix=self.prefix,
            table=f"{self.prefix}state",
            bounds=bounds,
            **options,
        )

    def held(self, at: Node) -> int:
        """How many messages from SQS a node has."""
        assert at.backend._store is not None
        inboxes = [each for each in at.backend._store.directory.all() if "inbox-" in each.sqs_name]
        return sum(
            each.receiver is not None
            for each in at.backend._store._holder._held.values()
            if each.queue in inboxes
        )

    def queues(self) -> list[str]:
        """The names of what is in SQS."""
        found = cloud(self.url, "sqs").list_queues(QueueNamePrefix=self.prefix)
        return [url.rpartition("/")[2] for url in found.get("QueueUrls", [])]


@pytest.fixture
async def cluster(moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    return Cluster(moto_url, tmp_path, table_name())


async def listener(at: Node, name: str, pattern: str | None = None) -> Collector:
    """A consumer of a transient queue, bound to the tree where there is a pattern."""
    queue = await at.queue(name, transient=True)
    if pattern is not None:
        await at.bind("amq.topic", queue, pattern)
    return await consume(at.backend.store, queue, credit=100)


def known(at: Node, name: str) -> Queue | None:
    return at.backend.store.queue(QueueName("/", name))


async def test_a_publish_reaches_transient_queues_of_other_nodes(cluster: Cluster) -> None:
    async with cluster.node() as one, cluster.node() as other:
        there = await listener(other, "there", "plant.#")
        also = await listener(other, "also", "*.1")
        here = await listener(one, "here", "plant.1")
        before = one.backend.counters.calls["sqs", "SendMessageBatch"]
        assert await one.publish("amq.topic", "plant.1", b"42", headers={"unit": "kWh"})
        for each in (there, also, here):
            (delivery,) = await each.expect(1)
            message = delivery.message
            assert (message.topic, message.subject) == ("amq.topic", "plant.1")
            assert (message.body, message.headers) == (b"42", {"unit": "kWh"})
        # Once to the node, for both of its queues.
        assert one.backend.counters.calls["sqs", "SendMessageBatch"] == before + 1
        assert await other.publish("amq.topic", "x.1", b"own")
        await also.expect(2)
        assert not await one.publish("amq.topic", "nobody")
        for number in range(20):
            assert await one.publish("amq.topic", "plant.2", str(number).encode())
        await there.expect(21)
        assert sorted(there.bodies[1:], key=int) == [str(number) for number in range(20)]
        assert len(also.bodies) == 2


async def test_many_queues_of_one_node(cluster: Cluster) -> None:
    async with cluster.node(bounds={"inbox_targets_max": 4}) as one, cluster.node() as other:
        collectors = [await listener(other, f"q{number}", "a") for number in range(10)]
        assert await one.publish("amq.topic", "a", b"x")
        for each in collectors:
            await each.expect(1)
        assert await one.publish("amq.topic", "a", b"y")
        for each in collectors:
            await each.expect(2)
            assert sorted(each.bodies) == ["x", "y"]


async def test_a_reply_queue_of_another_node(cluster: Cluster) -> None:
    async with cluster.node() as one, cluster.node() as other:
        replies = await listener(one, "amq.gen-1")
        queue = known(other, "amq.gen-1")
        assert queue is not None
        assert queue.transient
        reply = Message("m", b"reply", 0, properties={"correlation_id": "7"})
        assert await other.route(Publish(Origin("amqp", "/amq.gen-1"), reply, queue="amq.gen-1"))
        (delivery,) = await replies.expect(1)
        assert delivery.message.body == b"reply"
        assert delivery.message.properties == {"correlation_id": "7"}
        for refused in (
            other.backend.store.take(queue),
            other.backend.store.receive(queue, count=1),
            other.backend.store.consume(queue, Collector(), credit=1),
            other.backend.store.purge_queue(queue),
        ):
            with pytest.raises(ResourceLocked, match="memory of another node"):
                await refused
        assert (await other.backend.store.counts(queue)).visible == 0


async def test_what_ends_ends_everywhere(cluster: Cluster) -> None:
    async with cluster.node() as one, cluster.node() as other:
        queue = await other.queue("short", transient=True)
        await other.bind("amq.topic", queue, "a")
        remote = known(one, "short")
        assert remote is not None
        assert await one.publish("amq.topic", "a")
        await other.topology.remove_queue(queue)
        assert known(one, "short") is None
        assert remote.deleted
        assert not await one.publish("amq.topic", "a")
        again = await other.queue("short", transient=True)
        # Deleted from where it is not.
        remote = known(one, "short")
        assert remote is not None
        await one.topology.remove_queue(remote)
        await eventually(lambda: again.deleted)
        assert known(other, "short") is None


async def test_the_first_of_a_name_has_it(cluster: Cluster) -> None:
    async with cluster.node() as one, cluster.node() as other:
        mine = await one.queue("mine", transient=True)
        theirs = await other.queue("mine", transient=True)
        assert theirs is known(other, "mine")
        assert theirs is not mine
        with pytest.raises(ResourceLocked):
            await consume(other.backend.store, theirs)


async def test_one_node_alone_needs_no_inbox(cluster: Cluster) -> None:
    async with cluster.node() as one:
        heard = await listener(one, "here", "#")
        assert await one.publish("amq.topic", "a")
        await heard.expect(1)
        assert cluster.queues() == []
        async with cluster.node() as other:
            name = sqs_name(inbox_queue(one.backend.leases.node_id), prefix=cluster.prefix)
            await eventually(lambda: cluster.queues() == [name])
            assert await other.publish("amq.topic", "b")
            await heard.expect(2)
    assert cluster.queues() == []


async def test_a_node_that_stops_leaves_nothing(cluster: Cluster) -> None:
    async with cluster.node() as one:
        async with cluster.node() as other:
            await listener(other, "there", "#")
            assert await one.publish("amq.topic", "a")
        await eventually(lambda: known(one, "there") is None)
        assert not await one.publish("amq.topic", "a")
        await eventually(lambda: not cluster.queues())
        assert one.topology.subscriptions_of(TopicName("/", "amq.topic")) == []


async def test_a_node_that_was_taken_for_dead_comes_back(cluster: Cluster) -> None:
    async with cluster.node() as one, cluster.node() as other:
        heard = await listener(other, "there", "#")
        former = other.backend.leases.node_id
        assert other.backend._state is not None
        # As if it could not beat for the time of its lease.
        other.backend._state.membership.lapse()
        await eventually(lambda: other.backend.leases.node_id != former)
        await eventually(lambda: other.backend.healthy)
        await eventually(
            lambda: getattr(known(one, "there"), "node_id", "") == other.backend.leases.node_id
        )
        await eventually(partial(one.topology.subscriptions_of, TopicName("/", "amq.topic")))
        assert await one.publish("amq.topic", "a", b"back")
        await heard.expect(1)


def parts_of(at: Node) -> tuple[TransientQueues, Membership]:
    assert at.backend._store is not None
    assert at.backend._state is not None
    return at.backend._store.transient, at.backend._state.membership


async def test_a_place_lost_while_the_inbox_opens(cluster: Cluster) -> None:
    bounds = {"inbox_look_seconds": 1_000.0}
    async with cluster.node() as one, cluster.node(bounds=bounds) as other:
        await listener(other, "there", "#")
        transient, membership = parts_of(other)
        former = membership.id
        await membership.look()
        open_inbox = transient._inbox_of

        async def open_and_lapse(node_id: str) -> AwsQueue:
            inbox = await open_inbox(node_id)
            membership.lapse()
            return inbox

        def listens() -> set[str]:
            return {each for each, inbox in transient._listening.items() if inbox.running}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transient, "_inbox_of", open_and_lapse)
            await transient._look()
        assert listens() == {former}
        await eventually(lambda: other.backend.healthy)
        await transient._look()
        assert listens() == {former, membership.id}
        assert one.backend.healthy


async def test_what_was_confirmed_to_a_former_place_arrives(cluster: Cluster) -> None:
    bounds = {"inbox_look_seconds": 1_000.0}
    async with cluster.node() as one, cluster.node(bounds=bounds) as other:
        heard = await listener(other, "there", "#")
        here, _ = parts_of(one)
        there, membership = parts_of(other)
        former = membership.id
        # It is confirmed, and waits in the inbox of a node that is lost to the others.
        assert await one.publish("amq.topic", "a", b"before")
        membership.lapse()
        await eventually(lambda: other.backend.healthy and membership.id != former)
        await eventually(lambda: getattr(known(one, "there"), "node_id", "") == membership.id)
        # Its bindings, too, which others may have swept up meanwhile.
        await eventually(lambda: not there._restoring)
        await here._sweep()
        assert await one.publish("amq.topic", "a", b"after")
        await there._look()
        await heard.expect(2)
        assert sorted(heard.bodies) == ["after", "before"]


async def test_inboxes_of_nodes_that_are_gone_go_in_the_end(cluster: Cluster) -> None:
    async with cluster.node(bounds={"inbox_linger_seconds": 3.0}) as one:
        transient, _ = parts_of(one)
        await transient._inbox_of("gone")
        name = sqs_name(inbox_queue("gone"), prefix=cluster.prefix)
        assert cluster.queues() == [name]
        await transient._sweep()
        assert cluster.queues() == [name]
        await eventually(lambda: not cluster.queues())


async def test_the_last_one_to_send_need_not_stay(cluster: Cluster) -> None:
    bounds = {"inbox_look_seconds": 1_000.0}
    async with cluster.node(bounds=bounds) as one:
        heard = await listener(one, "here", "#")
        async with cluster.node() as other:
            assert await other.publish("amq.topic", "a")
        transient, membership = parts_of(one)
        await eventually(lambda: len(membership.peers) == 1)
        await transient._look()
        await heard.expect(1)


# -- what a queue does not take


async def dead_letters(at: Node, name: str = "landbridge-dead-letters") -> list[Message]:
    """What is among them, once there is something."""
    await eventually(lambda: known(at, name) is not None)
    queue = known(at, name)
    assert queue is not None
    heard = await consume(at.backend.store, queue, credit=100)
    return [each.message for each in await heard.expect(1)]


@pytest.mark.parametrize("target", [None, "graves"])
async def test_what_a_full_queue_elsewhere_refuses_is_dead(
    cluster: Cluster, target: str | None
) -> None:
    settings = {
        "length_max": 1,
        "overflow": Overflow.REJECT_PUBLISH,
        "dead_letter": None if target is None else DeadLetterTarget("", target),
    }
    async with cluster.node() as one, cluster.node() as other:
        if target is not None:
            await other.queue(target)
        full = await other.queue("full", transient=True, **settings)
        await other.bind("amq.topic", full, "#")
        room = await listener(other, "room", "#")
        assert await one.publish("amq.topic", "a", b"first")
        await room.expect(1)
        assert await one.publish("amq.topic", "a", b"second")
        await room.expect(2)
        (dead,) = await dead_letters(other, target or "landbridge-dead-letters")
        assert dead.body == b"second"
        assert dead.headers["x-first-death-queue"] == "full"
        assert dead.headers["x-first-death-reason"] == ("maxlen" if target else "rejected")
        assert (await other.backend.store.counts(full)).visible == 1
        await eventually(lambda: not cluster.held(other))


async def test_a_message_that_is_for_nobody_known_is_dead(cluster: Cluster) -> None:
    async with cluster.node() as one, cluster.node() as other:
        await listener(other, "there", "#")
        assert await one.publish("amq.topic", "a")
        name = sqs_name(inbox_queue(other.backend.leases.node_id), prefix=cluster.prefix)
        sqs = cloud(cluster.url, "sqs")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="strange")
        (dead,) = await dead_letters(other)
        assert dead.body == b"strange"
        assert dead.headers["x-first-death-queue"] == name
        await eventually(lambda: not cluster.held(other))


async def test_time_passes_for_a_message_in_its_queue_alone(cluster: Cluster) -> None:
    bounds = {"inbox_look_seconds": 1_000.0}
    async with cluster.node() as one, cluster.node(bounds=bounds) as other:
        await other.queue("graves")
        grave = DeadLetterTarget("", "graves")
        queue = await other.queue("there", transient=True, dead_letter=grave)
        await other.bind("amq.topic", queue, "#")
        transient, _ = parts_of(other)
        now = SystemClock().epoch_ms()
        # Longer than SQS keeps what is in an inbox.
        assert await one.publish("amq.topic", "a", b"later", visible_at=now + 86_400_000)
        assert await one.publish("amq.topic", "a", b"past", expires_at=now + 10)
        await transient._look()
        (dead,) = await dead_letters(other, "graves")
        assert dead.body == b"past"
        assert dead.headers["x-first-death-reason"] == "expired"
        counts = await other.backend.store.counts(queue)
        assert (counts.visible, counts.delayed) == (0, 1)


async def test_what_cannot_be_taken_now_comes_again(cluster: Cluster) -> None:
    async with (
        cluster.node() as one,
        cluster.node(bounds={"inbox_retry_seconds": 0}) as other,
    ):
        heard, also = await listener(other, "there", "#"), await listener(other, "also", "#")
        transient, _ = parts_of(other)
        local = transient._parcels._local
        store, tries = local.submit, 0

        def refuse_once(unit: UnitOfWork) -> None:
            nonlocal tries
            tries += 1
            if tries > 1:
                store(unit)
                return
            taken, done = UnitOfWork(), unit.done
            taken.sends = unit.sends[:1]

            def answered(_: UnitOfWork) -> None:
                assert done is not None
                unit.failures[1] = StoreUnavailable("not now")
                done(unit)

            taken.done = answered
            store(taken)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(local, "submit", refuse_once)
            assert await one.publish("amq.topic", "a", b"x")
            await heard.expect(1)
            await also.expect(1)
            assert tries == 2
        await eventually(lambda: not cluster.held(other))
        assert (heard.bodies, also.bodies) == (["x"], ["x"])


async def test_topics_that_go_with_processes(cluster: Cluster) -> None:
    name = TopicName("/", "fleeting")
    async with cluster.node() as one, cluster.node() as other:
        await one.topology.declare_topic(name, "fanout", durable=False)
        queue = await other.queue("there", transient=True)
        await other.bind("fleeting", queue)
        assert await one.publish("fleeting", "x")
        heard = await consume(other.backend.store, queue)
        await heard.expect(1)
    async with cluster.node() as one:
        assert one.topology.topic(name) is None
        with pytest.raises(TopicDoesNotExist):
            await one.bind("fleeting", await one.queue("q", transient=True))


async def test_cloud_code_reaches_each_subscriber_once(cluster: Cluster) -> None:
    sns = cloud(cluster.url, "sns")
    options = {"publish": Mode.AUTO, "ingest": Mode.AUTO}
    async with cluster.node(**options) as one, cluster.node(**options) as other:
        here, there = await listener(one, "here", "#"), await listener(other, "there", "#")
        kept = await one.queue("kept")
        await one.bind("amq.topic", kept, "#")
        durable = await consume(other.backend.store, kept, credit=100)
        topic = sns.create_topic(Name=f"{cluster.prefix}amq-topic")["TopicArn"]
        await eventually(lambda: sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"])
        for number in range(20):
            sns.publish(TopicArn=topic, Message=str(number))
        for each in (here, there, durable):
            await each.expect(20)
            assert sorted(each.bodies, key=int) == [str(number) for number in range(20)]

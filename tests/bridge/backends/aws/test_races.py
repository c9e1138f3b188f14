"""Nodes that change the same things at once: what they were answered is what all of them see."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.backends.aws import AwsBackend, AwsOptions
from bridge.backends.embedded import EmbeddedBackend
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.errors import StateConflict, TopicDoesNotExist, TopicNameExists
from bridge.messaging.limits import Limits
from bridge.messaging.model import QueueName, TopicName
from bridge.routing.catalogue import Topic, TopicKind, decode_subscription
from bridge.routing.topology import Topology
from tests.bridge.backends.aws.test_state import put

NODES = 3
EXAMPLES = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
node_numbers = st.integers(0, NODES - 1)
_names = count(1)


class Cluster:
    """Three nodes with their catalogues."""

    def __init__(self, nodes: list[AwsBackend]) -> None:
        self.nodes = nodes
        self.catalogues: list[Topology] = []
        for each in nodes:
            catalogue = Topology(each.store, each.state, SystemClock(), MessageIds())
            catalogue.neighbours = each.neighbours
            catalogue.load()
            self.catalogues.append(catalogue)

    async def contents(self, kind: str) -> dict[str, bytes]:
        """What all nodes agree on."""
        for each in self.nodes:
            await each.state.refresh(kind)
        contents = [dict(each.state.scan(kind)) for each in self.nodes]
        assert contents == [contents[0]] * NODES
        return contents[0]


@pytest.fixture
async def cluster(
    moto_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cluster]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    options = AwsOptions(
        region="us-east-1", endpoint_url=moto_url, table="races", prefix=f"races{next(_names)}-"
    )
    async with AsyncExitStack() as stack:
        nodes = []
        for number in range(NODES):
            local = EmbeddedBackend(
                tmp_path / str(number), durability="memory", clock=SystemClock(), limits=Limits()
            )
            backend = AwsBackend(options, local=local, clock=SystemClock(), random=random.random)
            await backend.open()
            stack.push_async_callback(backend.close)
            nodes.append(backend)
        yield Cluster(nodes)


@EXAMPLES
@given(changes=st.lists(st.tuples(node_numbers, st.integers(0, 2), st.booleans()), max_size=30))
async def test_of_those_who_make_an_entry_at_once_one_does(
    cluster: Cluster, changes: list[tuple[int, int, bool]]
) -> None:
    kind = f"race{next(_names)}"

    async def make(number: int, node: int, key: int) -> tuple[str, bytes] | None:
        value = b"%d of %d" % (number, node)
        try:
            await put(cluster.nodes[node], (kind, str(key), value), agreed=True)
        except StateConflict:
            return None
        return str(key), value

    answers = await asyncio.gather(
        *[make(number, node, key) for number, (node, key, _) in enumerate(changes)]
    )
    contents = await cluster.contents(kind)
    answered = [each for each in answers if each is not None]
    assert contents.keys() == {str(key) for _, key, _ in changes}
    for key, value in contents.items():
        assert (key, value) in answered
        # Nobody else was told that it was made, but for earlier ones of the same node.
        nodes = {each.rpartition(b" ")[2] for name, each in answered if name == key}
        assert nodes == {value.rpartition(b" ")[2]}


@EXAMPLES
@given(changes=st.lists(st.tuples(node_numbers, st.integers(0, 2), st.booleans()), max_size=30))
async def test_the_last_of_many_changes_stays_everywhere(
    cluster: Cluster, changes: list[tuple[int, int, bool]]
) -> None:
    kind = f"race{next(_names)}"
    await asyncio.gather(
        *[
            put(cluster.nodes[node], (kind, str(key), None if gone else b"%d" % number))
            for number, (node, key, gone) in enumerate(changes)
        ]
    )
    contents = await cluster.contents(kind)
    for key, value in contents.items():
        node, changed, gone = changes[int(value)]
        assert (str(changed), gone) == (key, False)
        # Of one node's changes of a key, the last.
        later = [number for number, each in enumerate(changes) if each[:2] == (node, changed)]
        assert int(value) == later[-1]


async def allowed(binding: Coroutine[Any, Any, object]) -> None:
    """What is refused because the topic is gone is fine."""
    with suppress(TopicDoesNotExist):
        await binding


@EXAMPLES
@given(
    declared=st.lists(
        st.tuples(node_numbers, st.sampled_from(["direct", "fanout"])), min_size=1, max_size=8
    ),
    bound=st.lists(st.tuples(node_numbers, st.sampled_from("ab")), max_size=8),
    delete=st.booleans(),
)
async def test_the_catalogues_of_all_nodes_are_one(
    cluster: Cluster,
    declared: list[tuple[int, TopicKind]],
    bound: list[tuple[int, str]],
    delete: bool,
) -> None:
    name = TopicName("/", f"topic{next(_names)}")
    queue = QueueName("/", f"queue{next(_names)}")
    results = await asyncio.gather(
        *[cluster.catalogues[node].declare_topic(name, kind) for node, kind in declared],
        return_exceptions=True,
    )
    made = [each for each in results if isinstance(each, Topic)]
    assert made
    assert made == [made[0]] * len(made)
    assert all(isinstance(each, TopicNameExists) for each in results if each not in made)
    await asyncio.gather(*[each.ensure_queue(queue) for each in cluster.catalogues])
    doing = [cluster.catalogues[node].subscribe(name, queue, pattern=key) for node, key in bound]
    if delete:
        # A binding comes before it, and goes with the topic, or is refused.
        await asyncio.gather(cluster.catalogues[0].delete_topic(name), *map(allowed, doing))
    else:
        await asyncio.gather(*doing)
    stored = await cluster.contents("subscription")
    topic_of = {key: decode_subscription(value).topic for key, value in stored.items()}
    assert not delete or name not in topic_of.values()
    topics = [each.topic(name) for each in cluster.catalogues]
    assert topics == [None if delete else made[0]] * NODES
    subscribed = [
        sorted(each.id for each in catalogue.subscriptions_to(queue))
        for catalogue in cluster.catalogues
    ]
    assert subscribed == [subscribed[0]] * NODES
    assert len(subscribed[0]) == (0 if delete else len({key for _, key in bound}))

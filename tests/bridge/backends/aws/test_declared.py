"""Queues that a configuration declares, made in SQS."""

from __future__ import annotations

from bridge.config import Sources, load
from bridge.declared import declare
from bridge.messaging.clock import MessageIds, SystemClock
from bridge.messaging.model import RedrivePolicy
from bridge.protocols import PROTOCOLS
from bridge.routing.topology import Topology
from tests.bridge.backends.aws.conftest import OpenNode
from tests.support.stores import name


async def test_a_dead_letter_queue_may_be_declared_behind_what_names_it(node: OpenNode) -> None:
    backend = await node()
    topology = Topology(backend.store, backend.state, SystemClock(), MessageIds())
    topology.load()
    queues = (
        "queues[+]={name: orders, redrive: {queue: failed, receive_count_max: 3}}",
        "queues[+]={name: failed}",
    )
    await declare(load(Sources(None, queues, 0, {}, PROTOCOLS)), topology, backend.store)
    orders = backend.store.queue(name("orders"))
    assert orders is not None
    assert orders.settings.redrive == RedrivePolicy("failed", 3)

"""Policies give queues their settings by name, as RabbitMQ merges them."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.messaging.model import (
    DeadLetterTarget,
    Overflow,
    QueueName,
    QueueSettings,
    StateChange,
    UnitOfWork,
)
from bridge.routing.policies import (
    KIND_POLICY,
    Policies,
    Policy,
    decode_policy,
    encode_policy,
    mistake_in,
)
from bridge.routing.topology import Topology
from tests.support.routing import Bench

QUEUE = QueueName("/", "orders.eu")


def policy(name: str, definition: dict[str, Any], **more: Any) -> Policy:
    return Policy(namespace="/", name=name, pattern="^orders", definition=definition, **more)


def test_one_policy_counts_the_one_of_the_highest_priority() -> None:
    policies = Policies(
        [policy("low", {"max-length": 1}), policy("high", {"message-ttl": 5}, priority=1)]
    )
    assert policies.applied(QUEUE, QueueSettings()) == QueueSettings(message_ttl_ms=5)
    assert policies.of(QUEUE, QueueSettings()) == policies.all[0]
    other = QueueName("/", "bills")
    assert policies.applied(other, QueueSettings()) == QueueSettings()
    elsewhere = QueueName("shop", "orders.eu")
    assert policies.applied(elsewhere, QueueSettings()) == QueueSettings()


def test_an_operator_policy_counts_besides_it_and_the_lower_number_wins() -> None:
    policies = Policies(
        [
            policy("user", {"max-length": 10, "expires": 7}),
            policy("cap", {"max-length": 5, "max-length-bytes": 9}, operator=True),
        ]
    )
    settings = policies.applied(QUEUE, QueueSettings(idle_expiry_ms=3))
    assert (settings.length_max, settings.bytes_max, settings.idle_expiry_ms) == (5, 9, 3)


def test_what_was_declared_wins_over_targets_and_overflow() -> None:
    policies = Policies(
        [
            policy(
                "p",
                {
                    "dead-letter-exchange": "dlx",
                    "dead-letter-routing-key": "k",
                    "overflow": "reject-publish",
                    "delivery-limit": -1,
                },
            )
        ]
    )
    plain = policies.applied(QUEUE, QueueSettings())
    assert plain.dead_letter == DeadLetterTarget("dlx", "k")
    assert plain.overflow is Overflow.REJECT_PUBLISH
    assert plain.return_limit is None
    declared = QueueSettings(
        dead_letter=DeadLetterTarget("own"), arguments={"x-overflow": "drop-head"}
    )
    kept = policies.applied(QUEUE, declared)
    assert kept.dead_letter == DeadLetterTarget("own", "k")
    assert kept.overflow is Overflow.DROP_HEAD


@pytest.mark.parametrize(
    ("apply_to", "kind", "expected"),
    [
        ("all", "classic", True),
        ("queues", "quorum", True),
        ("classic_queues", "classic", True),
        ("classic_queues", "quorum", False),
        ("quorum_queues", "quorum", True),
        ("exchanges", "classic", False),
        ("streams", "classic", False),
    ],
)
def test_what_a_policy_is_for(apply_to: str, kind: str, expected: bool) -> None:
    settings = QueueSettings(arguments={"x-queue-type": kind})
    policies = Policies([policy("p", {"max-length": 1}, apply_to=apply_to)])
    assert (policies.of(QUEUE, settings) is not None) is expected


@pytest.mark.parametrize(
    "definition",
    [
        {"message-ttl": -1},
        {"message-ttl": "1"},
        {"max-length": True},
        {"expires": 0},
        {"overflow": "explode"},
        {"dead-letter-exchange": 5},
    ],
)
def test_values_that_mean_nothing_are_found(definition: dict[str, Any]) -> None:
    assert mistake_in(definition)


def test_values_that_mean_something_pass() -> None:
    assert (
        mistake_in({"delivery-limit": -1, "expires": 1, "overflow": "reject-publish-dlx"}) is None
    )


async def test_the_catalogue_applies_them_when_a_queue_is_declared() -> None:
    bench = Bench()
    stored = policy("p", {"max-length": 3}, priority=2, operator=True)
    assert decode_policy(encode_policy(stored)) == stored
    unit = UnitOfWork()
    unit.state.append(StateChange(KIND_POLICY, stored.key, encode_policy(stored)))
    bench.store.submit(unit)
    topology = Topology(bench.store, bench.store, bench.clock, bench.topology._message_ids)
    topology.load()
    durable = await topology.ensure_queue(QUEUE)
    assert durable.settings.length_max == 3
    transient = await topology.ensure_queue(QueueName("/", "orders.x"), transient=True)
    assert transient.settings.length_max == 3
    assert transient.transient

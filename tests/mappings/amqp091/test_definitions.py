"""Exported definitions are read whole: what they amount to here, what is lost, what is a mistake.

The files in tests/vectors/rabbitmq were written by RabbitMQ 3.10 itself.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.auth import Permissions
from bridge.messaging.model import DeadLetterTarget, Overflow, QueueName, TopicName
from bridge.routing.policies import Policies
from mappings.amqp091.definition_topology import read_definitions
from mappings.amqp091.definitions import Definitions, DefinitionsInvalid

VECTORS = Path(__file__).parents[2] / "vectors" / "rabbitmq"


def recorded(name: str) -> Definitions:
    return read_definitions((VECTORS / name).read_bytes())


def read(**sections: Any) -> Definitions:
    return read_definitions(json.dumps(sections).encode())


def test_a_full_export() -> None:
    found = recorded("definitions_3_10.json")
    assert found.mistakes == []
    assert found.version == "3.10.8"
    assert found.namespaces == ["/", "shop"]
    assert {each.name.name: each.kind for each in found.topics} == {
        "delayed": "direct",
        "dlx": "fanout",
        "headers-ex": "headers",
        "orders": "topic",
    }
    queues = {each.name.name: each.settings for each in found.queues}
    assert set(queues) == {"a", "b", "dead", "ha.q", "orders.eu", "orders.us", "shop.q", "tmp.a"}
    assert queues["orders.eu"].return_limit == 5
    assert (queues["orders.us"].priority_max, queues["orders.us"].message_ttl_ms) == (10, 120_000)
    bindings = {(each.source.name, each.target.name): each.pattern for each in found.bindings}
    assert bindings["orders", "orders.eu"] == "eu.#"
    assert bindings["dlx", "dead"] == "%e"
    assert {type(each.target) for each in found.bindings} == {QueueName, TopicName}


def test_the_losses_of_a_full_export_are_said() -> None:
    losses = "\n".join(recorded("definitions_3_10.json").losses)
    for text in (
        "queue 'events' in vhost '/': streams are not offered",
        "queue 'fleeting' in vhost '/': is not durable",
        "policy 'ha' in vhost '/': ha-mode: classic mirrored queues",
        "shovel 'my-shovel'",
        "federation-upstream 'up'",
        "vhost 'shop': limits max-connections=100 are not enforced",
        "global parameters have no counterpart: cluster_note",
        "user 'guest' can only log in on listeners on loopback",
    ):
        assert text in losses


def test_users_of_a_full_export_may_do_what_they_might() -> None:
    accounts = {each.name: each for each in recorded("definitions_3_10.json").accounts}
    assert accounts["orders"].tags == frozenset({"monitoring"})
    assert accounts["orders"].password_hash == (
        "rabbitmq-sha256:ZSkHMQmFEKIkari4t0LzJ3TkCCBwZfNEcEcivbM9ZcqWVL0b"
    )
    assert [each.loopback_only for each in accounts.values()] == [False, False, True]
    meter = Permissions("meter", accounts["meter"].grants)
    assert meter.may_write("/", "amq.topic")
    assert not meter.may_write("/", "orders")
    assert not meter.may_open("shop")
    assert meter.may_write_subject("/", "amq.topic", "meters.meter.a")
    assert not meter.may_write_subject("/", "amq.topic", "meters.orders.a")


def test_policies_of_a_full_export_meet_their_queues() -> None:
    found = recorded("definitions_3_10.json")
    policies = Policies(found.policies)
    settings = {each.name.name: policies.applied(*_pair(each)) for each in found.queues}
    assert settings["orders.us"].length_max == 1000
    assert settings["orders.us"].dead_letter == DeadLetterTarget("dlx", "dead")
    assert settings["orders.us"].overflow is Overflow.REJECT_PUBLISH
    assert settings["tmp.a"].idle_expiry_ms == 1_800_000
    assert settings["shop.q"].length_max == 500
    assert settings["dead"] == next(
        each.settings for each in found.queues if each.name.name == "dead"
    )


def _pair(queue: Any) -> tuple[Any, Any]:
    return queue.name, queue.settings


def test_an_export_of_one_virtual_host() -> None:
    found = recorded("vhost_3_10.json")
    assert found.mistakes == []
    assert found.namespaces == ["/"]
    assert found.accounts == []
    assert {each.name.namespace for each in found.queues} == {"/"}
    assert len(found.bindings) == 5


def test_an_export_of_one_virtual_host_goes_where_it_says_or_is_told() -> None:
    text = json.dumps({"queues": [{"name": "q", "durable": True}]}).encode()
    assert read_definitions(text).queues[0].name == QueueName("/", "q")
    told = read_definitions(text, "shop")
    assert told.queues[0].name == QueueName("shop", "q")
    assert told.namespaces == ["/", "shop"]
    named = read(
        rabbitmq_version="4.0.5",
        rabbitmq_definition_format="single_virtual_host",
        original_vhost_name="own",
        queues=[{"name": "q", "durable": True, "auto_delete": False, "arguments": {}}],
    )
    assert named.queues[0].name == QueueName("own", "q")


def test_both_algorithms_of_hashes_and_both_forms_of_tags() -> None:
    sha512 = b64encode(b"salt" + hashlib.sha512(b"saltsecret").digest()).decode()
    found = read(
        users=[
            {
                "name": "a",
                "password_hash": sha512,
                "hashing_algorithm": "rabbit_password_hashing_sha512",
                "tags": "administrator,management",
            },
            {
                "name": "old",
                "password_hash": "x",
                "hashing_algorithm": "rabbit_password_hashing_md5",
            },
            {"name": "plain", "password": "secret", "tags": []},
            {"name": "none", "password_hash": "", "tags": []},
        ]
    )
    a, old, plain, none = found.accounts
    assert a.password_hash == f"rabbitmq-sha512:{sha512}"
    assert a.tags == frozenset({"administrator", "management"})
    assert old.password_hash is None
    assert plain.password_hash is not None
    assert plain.password_hash.startswith("$argon2id$")
    assert none.password_hash is None
    assert [loss.split(":")[0] for loss in found.losses] == [
        "user 'old'",
        "user 'none' has no password",
    ]


def test_what_does_not_exist_here_is_left_out_with_its_bindings() -> None:
    found = read(
        exchanges=[
            {"name": "h", "type": "x-consistent-hash", "durable": True},
            {
                "name": "d",
                "type": "x-delayed-message",
                "durable": True,
                "arguments": {"x-delayed-type": "topic"},
            },
        ],
        queues=[
            {"name": "q", "durable": True, "arguments": {"x-queue-mode": "lazy"}},
            {"name": "s", "durable": True, "arguments": {"x-queue-type": "stream"}},
        ],
        bindings=[
            {"source": "h", "destination": "q", "destination_type": "queue", "routing_key": "1"},
            {"source": "d", "destination": "s", "destination_type": "queue", "routing_key": "a"},
            {"source": "d", "destination": "q", "destination_type": "queue", "routing_key": "a"},
            {"source": "", "destination": "q", "destination_type": "queue", "routing_key": "q"},
        ],
    )
    assert found.mistakes == []
    assert [(each.name.name, each.kind, each.delayed) for each in found.topics] == [
        ("d", "topic", True)
    ]
    assert [(each.source.name, each.target.name) for each in found.bindings] == [("d", "q")]
    losses = "\n".join(found.losses)
    assert "exchanges of type 'x-consistent-hash' are not offered" in losses
    assert "binding of queue 'q' to exchange 'h'" in losses
    assert "x-queue-mode of 1 queues: no effect" in losses


@pytest.mark.parametrize(
    ("sections", "mistake"),
    [
        ({"queues": {}}, "queues: must be a list"),
        ({"queues": ["q"]}, "queues[0]: must be an object"),
        ({"queues": [{"durable": True}]}, "queues[0]: name is missing"),
        ({"queues": [{"name": 5}]}, "queues[0]: name must be text"),
        (
            {"queues": [{"name": "q", "arguments": {"x-message-ttl": "x"}}]},
            "queues[0]: ",
        ),
        ({"exchanges": [{"name": "e", "type": "topic", "internal": 1}]}, "internal must be true"),
        (
            {"bindings": [{"source": "e", "destination": "q", "routing_key": ""}]},
            "bindings[0]: there is no exchange 'e' in vhost '/'",
        ),
        (
            {"bindings": [{"source": "amq.topic", "destination": "q", "routing_key": ""}]},
            "bindings[0]: there is no queue 'q' in vhost '/'",
        ),
        (
            {"users": [{"name": "u", "password_hash": "short"}]},
            "users[0]: the password_hash of user 'u'",
        ),
        (
            {
                "users": [{"name": "u", "password": "x"}],
                "permissions": [
                    {"user": "u", "vhost": "/", "configure": "(", "write": "", "read": ""}
                ],
            },
            "users[0]: a permission of user 'u' is no regular expression",
        ),
        (
            {
                "users": [],
                "permissions": [
                    {"user": "u", "vhost": "/", "configure": "", "write": "", "read": ""}
                ],
            },
            "permissions: there is no user 'u'",
        ),
        ({"policies": [{"name": "p", "pattern": "["}]}, "policies[0]: the pattern '['"),
        (
            {"policies": [{"name": "p", "pattern": "", "definition": {"max-length": -2}}]},
            "policies[0]: max-length must be a whole number",
        ),
        ({"vhosts": [{"name": "a\n"}]}, "vhosts[0]: the name"),
        ({"policies": None}, "policies: must be a list"),
        (
            {"queues": [{"name": "q", "arguments": {"x-queue-type": {}}}]},
            "queues[0]: invalid arg 'x-queue-type'",
        ),
        (
            {
                "exchanges": [{"name": "h", "type": "headers"}],
                "queues": [{"name": "q"}],
                "bindings": [{"source": "h", "destination": "q", "arguments": {"x-match": []}}],
            },
            "bindings[0]: x-match must be one of",
        ),
    ],
)
def test_mistakes_have_places(sections: dict[str, Any], mistake: str) -> None:
    found = read(**sections)
    assert any(mistake in each for each in found.mistakes), found.mistakes


def places_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all that is inside of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inside in items:
        yield (*path, key)
        if isinstance(inside, dict | list):
            yield from places_of(inside, (*path, key))


ODD = st.sampled_from([None, "", "(", [], {}, 5, -1, 1.5, True, [1], {"a": 1}, "\0", 2**70])


@settings(max_examples=300)
@given(st.data())
def test_any_value_in_any_place_is_taken_or_a_mistake(data: st.DataObject) -> None:
    export = json.loads((VECTORS / "definitions_3_10.json").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        *before, last = data.draw(st.sampled_from(list(places_of(export))))
        around = export
        for key in before:
            around = around[key]
        # A copy: a later place may be inside of it.
        around[last] = deepcopy(data.draw(ODD))
    with suppress(DefinitionsInvalid):
        read_definitions(json.dumps(export).encode())


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"a": 1}', b"[" * 100_000, b"\xff"])
def test_what_is_no_export_is_refused(text: bytes) -> None:
    with pytest.raises(DefinitionsInvalid):
        read_definitions(text)

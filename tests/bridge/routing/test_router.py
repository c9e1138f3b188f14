from __future__ import annotations

import pytest

from bridge.messaging.errors import TopicDoesNotExist
from bridge.messaging.limits import Limits
from bridge.messaging.model import Message, UnitOfWork
from bridge.messaging.ports import Queue
from bridge.routing.catalogue import Subscription
from bridge.routing.router import REASON_HEADER
from bridge.routing.rules import Rule
from tests.support.routing import (
    TREE,
    Bench,
    from_mqtt,
    queue_name,
    to_queue,
    to_topic,
    topic_name,
)


def rule(source: str, *targets: str, **fields: object) -> Rule:
    return Rule(name="r", source=source, targets=targets, **fields)  # type: ignore[arg-type]


# -- the default mapping


async def test_publish_to_a_queue() -> None:
    bench = Bench()
    await bench.queue("q")
    publish = to_queue("q")
    for _ in range(2):
        routed, sends = bench.route(publish)
        assert sends == [("q", publish.message)]
        assert (routed.missing, routed.unrouted, routed.failed) == (frozenset(), [], {})


async def test_absent_queue_is_missing_or_unrouted_as_the_publish_says() -> None:
    bench = Bench()
    await bench.queue("q")
    routed, sends = bench.route(to_queue("q"), to_queue("none"), to_queue("q"))
    assert (routed.unrouted, len(sends)) == ([1], 2)
    unit = UnitOfWork()
    routed = bench.router.route([to_queue("q"), to_queue("none", create=True)], unit)
    assert routed.missing == {queue_name("none")}
    assert unit.sends == []


async def test_missing_queues_leave_what_the_unit_already_had() -> None:
    bench = Bench()
    queue = await bench.queue("q")
    unit = UnitOfWork()
    unit.sends.append((queue, to_queue("q").message))
    bench.router.route([to_queue("q"), to_queue("none", create=True)], unit)
    assert len(unit.sends) == 1
    await bench.topology.ensure_queue(queue_name("none"))
    routed = bench.router.route([to_queue("q"), to_queue("none", create=True)], unit)
    assert [queue.name.name for queue, _ in unit.sends] == ["q", "q", "none"]
    assert routed.missing == frozenset()


async def test_deleted_queue_is_looked_up_again() -> None:
    bench = Bench()
    old = await bench.queue("q")
    await bench.topology.subscribe(TREE, queue_name("q"), outlives_queue=True)
    publishes = [to_queue("q"), to_topic("amq.topic", "a")]
    assert bench.reached(*publishes) == ["q", "q"]
    await bench.store.delete_queue(old)
    assert bench.reached(*publishes) == []
    new = await bench.queue("q")
    unit = UnitOfWork()
    bench.router.route(publishes, unit)
    assert [queue for queue, _ in unit.sends] == [new, new]


async def test_unknown_topic_fails_the_publish_only() -> None:
    bench = Bench()
    await bench.queue("q")
    routed, sends = bench.route(to_topic("none", "a"), to_queue("q"))
    assert [type(error) for error in routed.failed.values()] == [TopicDoesNotExist]
    assert list(routed.failed) == [0]
    assert routed.unrouted == []
    assert [name for name, _ in sends] == ["q"]


async def test_topic_without_subscriptions_is_unrouted() -> None:
    routed, _ = Bench().route(to_topic("amq.topic", "a"))
    assert routed.unrouted == [0]


async def test_changes_of_the_catalogue_show_at_once() -> None:
    bench = Bench()
    await bench.queue("q")
    publish = to_topic("amq.topic", "a")
    assert bench.reached(publish) == []
    made = await bench.topology.subscribe(TREE, queue_name("q"), pattern="#")
    assert bench.reached(publish) == ["q"]
    await bench.topology.unsubscribe(made.id)
    assert bench.reached(publish) == []


async def test_each_queue_once_and_the_same_message_to_all() -> None:
    bench = Bench()
    for name in ("a", "b"):
        await bench.queue(name)
        await bench.topology.subscribe(TREE, queue_name(name), pattern="x.#")
    await bench.topology.subscribe(TREE, queue_name("a"), pattern="#")
    publish = to_topic("amq.topic", "x.y")
    _, sends = bench.route(publish)
    assert sorted(name for name, _ in sends) == ["a", "b"]
    assert all(message is publish.message for _, message in sends)


async def test_namespaces_are_apart() -> None:
    bench = Bench()
    await bench.queue("q")
    publish = to_queue("q")
    publish.namespace = "prod"
    assert bench.reached(publish) == []


async def test_remembered_subjects_are_bounded() -> None:
    bench = Bench(limits=Limits(routing_cache_entries_max=3))
    await bench.queue("q")
    await bench.topology.subscribe(TREE, queue_name("q"), pattern="#")
    for count in range(10):
        assert bench.reached(to_topic("amq.topic", f"a.{count}")) == ["q"]
        assert len(bench.router._resolutions) <= 3


async def test_sends_are_traced_back_to_their_publishes() -> None:
    bench = Bench()
    for name in ("a", "b", "c"):
        await bench.queue(name)
        await bench.topology.subscribe(TREE, queue_name(name), pattern="#")
    publishes = [
        to_queue("a"),
        to_topic("amq.topic", "x"),
        to_queue("none"),
        to_queue("b"),
        to_queue("c"),
        to_topic("amq.topic", "x"),
        to_queue("a"),
    ]
    unit = UnitOfWork()
    queue = bench.store.queue(queue_name("a"))
    assert queue is not None
    unit.sends.append((queue, publishes[0].message))
    routed = bench.router.route(publishes, unit)
    found = [routed.publish_of(index) for index in range(1, len(unit.sends))]
    assert found == [0, 1, 1, 1, 3, 4, 5, 5, 5, 6]
    for index, publish in enumerate(found, start=1):
        assert unit.sends[index][1] is publishes[publish].message


# -- conditional subscriptions


async def test_filter_policies_by_attributes_and_body() -> None:
    bench = Bench()
    await bench.queue("attributes")
    await bench.queue("body")
    policy = {"unit": ["kWh", {"prefix": "kW"}]}
    await bench.topology.subscribe(TREE, queue_name("attributes"), filter_policy=policy)
    await bench.topology.subscribe(
        TREE, queue_name("body"), filter_policy=policy, filter_scope="MessageBody"
    )
    matching = to_topic("amq.topic", "a", b'{"unit": "kWp"}', headers={"unit": "m"})
    assert bench.reached(matching) == ["body"]
    assert bench.reached(to_topic("amq.topic", "a", b"?", headers={"unit": "kWh"})) == [
        "attributes"
    ]
    routed, _ = bench.route(to_topic("amq.topic", "a"))
    assert routed.unrouted == [0]


async def test_filters_see_properties_and_the_subject_too() -> None:
    bench = Bench()
    await bench.queue("type")
    await bench.queue("subject")
    await bench.topology.subscribe(
        TREE, queue_name("type"), filter_policy={"content-type": [{"prefix": "text/"}]}
    )
    await bench.topology.subscribe(
        TREE, queue_name("subject"), filter_policy={"landbridge-subject": ["a.b"]}
    )
    plain = to_topic("amq.topic", "a", properties={"content-type": "text/plain"})
    assert bench.reached(plain) == ["type"]
    assert bench.reached(to_topic("amq.topic", "a.b")) == ["subject"]


async def test_wrapped_delivery_and_endpoints_elsewhere() -> None:
    def wrap(subscription: Subscription, message: Message) -> Message:
        return Message("new", b"[" + message.body + b"]", message.sent_at)

    def elsewhere(subscription: Subscription, message: Message) -> list[tuple[Queue, Message]]:
        outbox = bench.store.queue(queue_name("outbox"))
        assert outbox is not None
        assert subscription.endpoint == "https://example.org/"
        return [(outbox, message)]

    bench = Bench(wrap=wrap, deliver_elsewhere=elsewhere)
    for name in ("raw", "wrapped", "outbox"):
        await bench.queue(name)
    await bench.topology.subscribe(TREE, queue_name("raw"))
    await bench.topology.subscribe(TREE, queue_name("wrapped"), raw=False)
    await bench.topology.subscribe(TREE, protocol="https", endpoint="https://example.org/")
    routed, sends = bench.route(to_topic("amq.topic", "a"), to_queue("raw"))
    assert [(name, message.body) for name, message in sends] == [
        ("raw", b"x"),
        ("outbox", b"x"),
        ("wrapped", b"[x]"),
        ("raw", b"x"),
    ]
    assert [routed.publish_of(index) for index in range(4)] == [0, 0, 0, 1]


async def test_queue_with_two_conditional_subscriptions_gets_one_copy() -> None:
    bench = Bench()
    await bench.queue("q")
    for values in (["a"], ["a", "b"]):
        await bench.topology.subscribe(TREE, queue_name("q"), filter_policy={"k": values})
    assert bench.reached(to_topic("amq.topic", "x", headers={"k": "a"})) == ["q"]
    await bench.topology.subscribe(TREE, queue_name("q"))
    assert bench.reached(to_topic("amq.topic", "x", headers={"k": "a"})) == ["q"]


async def test_delayed_topic_delays_by_header() -> None:
    bench = Bench()
    await bench.queue("q")
    await bench.topology.declare_topic(topic_name("later"), "direct", delayed=True)
    await bench.topology.subscribe(topic_name("later"), queue_name("q"), pattern="k")
    for delay, visible in ((1500, 1500), (0, None), ("9", None), (-5, None)):
        publish = to_topic("later", "k", headers={"x-delay": delay})
        _, [(_, message)] = bench.route(publish)
        expected = None if visible is None else publish.message.sent_at + visible
        assert message.visible_at == expected


# -- rules


async def test_rule_replaces_the_default_mapping() -> None:
    bench = Bench(rule("mqtt:plant/{line}/#", "sqs:line-{line}"))
    await bench.queue("line-7")
    await bench.queue("tree")
    await bench.topology.subscribe(TREE, queue_name("tree"), pattern="#")
    publish = from_mqtt("plant/7/meter/kwh")
    _, sends = bench.route(publish)
    assert [name for name, _ in sends] == ["line-7"]
    assert sends[0][1] is publish.message
    assert bench.reached(from_mqtt("other")) == ["tree"]


async def test_rules_match_only_what_came_by_their_protocol() -> None:
    bench = Bench(rule("mqtt:#", "sqs:caught"))
    await bench.queue("caught")
    await bench.queue("tree")
    await bench.topology.subscribe(TREE, queue_name("tree"), pattern="#")
    assert bench.reached(to_topic("amq.topic", "a", source="amqp:amq.topic/a")) == ["tree"]


async def test_default_target_keeps_the_default_mapping() -> None:
    bench = Bench(rule("stomp:/queue/{name}", "default", "sqs:copy"))
    await bench.queue("q")
    await bench.queue("copy")
    assert bench.reached(to_queue("q")) == ["copy", "q"]


async def test_every_matching_rule_applies_and_equal_sends_are_made_once() -> None:
    bench = Bench(
        rule("mqtt:a/#", "sqs:one", "sqs:one"),
        rule("mqtt:+/b", "sqs:one", "sqs:two"),
        rule("mqtt:a/b", "sqs:one", set_attributes={"site": "{user}"}),
    )
    await bench.queue("one")
    await bench.queue("two")
    _, sends = bench.route(from_mqtt("a/b"))
    assert [(name, message.headers) for name, message in sends] == [
        ("one", {}),
        ("two", {}),
        ("one", {"site": "alice"}),
    ]


async def test_filters_of_rules_decide_whether_they_apply() -> None:
    bench = Bench(
        rule("stomp:/queue/q", "sqs:kwh", filter={"unit": ["kWh"]}),
        rule("stomp:/queue/q", "sqs:body", filter={"unit": ["kWh"]}, filter_scope="body"),
    )
    for name in ("q", "kwh", "body"):
        await bench.queue(name)
    assert bench.reached(to_queue("q")) == ["q"]
    assert bench.reached(to_queue("q", headers={"unit": "kWh"})) == ["kwh"]
    assert bench.reached(to_queue("q", b'{"unit":"kWh"}')) == ["body"]


async def test_rule_targets_are_created_on_demand() -> None:
    bench = Bench(rule("mqtt:plant/{line}/#", "sqs:line-{line}", "stomp:/queue/all"))
    unit = UnitOfWork()
    routed = bench.router.route([from_mqtt("plant/1/x"), from_mqtt("plant/2/x")], unit)
    assert routed.missing == {queue_name(name) for name in ("line-1", "line-2", "all")}
    assert unit.sends == []


async def test_topic_targets_publish_there_with_the_subject() -> None:
    bench = Bench(rule("mqtt:m/{id}", "sns:meters", "stomp:/topic/copy.{id}"))
    await bench.topology.declare_topic(topic_name("meters"))
    for name in ("meters", "copies"):
        await bench.queue(name)
    await bench.topology.subscribe(topic_name("meters"), queue_name("meters"), pattern="m.*")
    await bench.topology.subscribe(TREE, queue_name("copies"), pattern="copy.7")
    _, sends = bench.route(from_mqtt("m/7"))
    assert [(name, message.topic, message.subject) for name, message in sends] == [
        ("meters", "meters", "m.7"),
        ("copies", "amq.topic", "copy.7"),
    ]


async def test_what_a_rule_publishes_is_not_matched_again() -> None:
    bench = Bench(rule("stomp:/queue/a", "stomp:/queue/a", "stomp:/queue/b"))
    await bench.queue("a")
    await bench.queue("b")
    assert bench.reached(to_queue("a")) == ["a", "b"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (rule("stomp:/queue/q", "sqs:u-{header:unit}"), "no value for {header:unit}"),
        (rule("stomp:/queue/q", "sns:none"), "topic 'none' does not exist"),
        (
            rule("stomp:/queue/q", "sqs:ok", set_attributes={"unit": "{header:unit}"}),
            "no value for {header:unit}",
        ),
        (
            rule("stomp:/queue/q", "sqs:{property:reply-to}"),
            "the name of a queue or topic is empty",
        ),
    ],
)
async def test_what_a_rule_cannot_send_goes_to_the_dead_letters(broken: Rule, reason: str) -> None:
    bench = Bench(broken)
    await bench.queue("ok")
    publish = to_queue("q", properties={"reply-to": ""})
    unit = UnitOfWork()
    assert bench.router.route([publish], unit).missing == {queue_name("landbridge-dead-letters")}
    await bench.queue("landbridge-dead-letters")
    routed, [(name, message)] = bench.route(publish)
    assert (name, message.body, routed.unrouted) == ("landbridge-dead-letters", b"x", [])
    text = message.headers[REASON_HEADER]
    assert isinstance(text, str)
    assert text.startswith("route 'r': ")
    assert reason in text


async def test_one_missing_value_does_not_hold_up_the_other_targets() -> None:
    bench = Bench(rule("stomp:/queue/q", "sqs:{header:x}", "sqs:ok"))
    await bench.queue("ok")
    await bench.queue("landbridge-dead-letters")
    assert bench.reached(to_queue("q")) == ["landbridge-dead-letters", "ok"]


async def test_rules_are_replaced_while_running() -> None:
    bench = Bench(rule("stomp:/queue/q", "sqs:other"))
    await bench.queue("q")
    await bench.queue("other")
    assert bench.reached(to_queue("q")) == ["other"]
    bench.router.use_rules(Bench().router.rules)
    assert bench.reached(to_queue("q")) == ["q"]


async def test_sends_to_topic_pass_by_the_rules() -> None:
    bench = Bench(rule("mqtt:#", "sqs:caught"))
    await bench.queue("q")
    await bench.topology.subscribe(TREE, queue_name("q"), pattern="#")
    sends = bench.router.sends_to_topic(TREE, from_mqtt("a").message)
    assert [queue.name.name for queue, _ in sends] == ["q"]

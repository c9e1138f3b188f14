"""What would happen to a publish, route by route: for `landbridge explain` and the management page.

It asks the same rules and the same catalogue that routing asks, sends nothing, and says what it
found as steps: first every rule for the protocol, then the default mapping where it applies, then
the queues.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bridge.messaging.errors import InvalidAddress, TopicDoesNotExist
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    Message,
    Origin,
    Publish,
    QueueName,
    TopicName,
    Value,
)
from bridge.routing.addresses import destination, require_one_topic, split_protocol
from bridge.routing.catalogue import TopicKind
from bridge.routing.resolution import resolve
from bridge.routing.router import Router, moved_to
from bridge.routing.rules import DEFAULT_TARGET, CompiledRule, Match, Target
from bridge.routing.templates import MissingValue, Values


class TargetStep(msgspec.Struct, frozen=True, kw_only=True):
    """One destination: as written, as rendered, and the queues that it reaches.

    `created` are those that do not exist yet and would be made. `problem` says why it is not
    reached; the message then goes to the dead-letter queue. `elsewhere` are endpoints besides
    queues.
    """

    target: str
    address: str | None = None
    queues: list[str] = []
    created: list[str] = []
    elsewhere: list[str] = []
    problem: str | None = None


class RuleStep(msgspec.Struct, frozen=True, kw_only=True):
    """One rule for the protocol. `matched`: its `from` covers the address; `accepted`: its filter
    too.
    """

    name: str
    source: str
    matched: bool
    captures: dict[str, str] = {}
    filtered: bool = False
    accepted: bool = False
    set_attributes: dict[str, Value] = {}
    targets: list[TargetStep] = []


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that would happen to one publish. `default` is None where a rule replaces the default
    mapping; `topic_kind` where it is not published to a topic that exists.
    """

    source: str
    namespace: str
    rules: list[RuleStep]
    default: TargetStep | None
    topic_kind: TopicKind | None = None

    def text(self) -> str:
        """For people, one fact to a line."""
        lines = [f"{self.source} in namespace {self.namespace}"]
        for rule in self.rules:
            lines += _rule_lines(rule)
        if self.default is None:
            lines.append("default mapping: replaced by the routes above")
        else:
            lines.append(f"default mapping: {_target_text(self.default)}")
        return "\n".join(lines)


def publish_from_source(
    source: str,
    *,
    namespace: str = DEFAULT_NAMESPACE,
    attributes: Mapping[str, Value] | None = None,
    body: bytes = b"",
    client_id: str | None = None,
    user: str | None = None,
) -> Publish:
    """The publish that `mqtt:plant/7/meter` stands for. Raises `InvalidAddress`."""
    protocol, address = split_protocol(source)
    require_one_topic(protocol, address)
    if "/" not in address:
        # As gateways write them: STOMP's short form of a queue, AMQP's empty routing key.
        address = {"stomp": f"/queue/{address}", "amqp": f"{address}/"}.get(protocol, address)
    to = destination(protocol, address, namespace)
    message = Message(message_id="", body=body, sent_at=0, headers=dict(attributes or {}))
    if to.topic is not None:
        message = moved_to(message, to)
    place = to.queue or to.topic
    assert place is not None
    return Publish(
        Origin(protocol, address, client_id, user),
        message,
        place.namespace,
        None if to.queue is None else to.queue.name,
        create=protocol == "stomp" and address.startswith("/queue/"),
    )


def explain(router: Router, publish: Publish) -> Explanation:
    """Say what `router` would do with `publish`."""
    origin = publish.origin
    matches = {match.rule: match for match in router.rules.matching(origin)}
    rules = [
        _rule_step(router, rule, matches.get(rule), publish)
        for rule in router.rules.all
        if rule.source.protocol == origin.protocol
    ]
    replaced = any(rule.accepted for rule in rules)
    topic = router.topology.topic(TopicName(publish.namespace, publish.message.topic or ""))
    return Explanation(
        source=f"{origin.protocol}:{origin.address}",
        namespace=publish.namespace,
        rules=rules,
        default=None if replaced else _default_step(router, publish, publish.message),
        topic_kind=None if topic is None else topic.kind,
    )


def _rule_step(
    router: Router, rule: CompiledRule, match: Match | None, publish: Publish
) -> RuleStep:
    name, source, filtered = rule.rule.name, rule.rule.source, rule.policy is not None
    if match is None:
        return RuleStep(name=name, source=source, matched=False, filtered=filtered)
    captures = dict(match.captures)
    accepted = rule.accepts(publish.message)
    step = RuleStep(
        name=name,
        source=source,
        matched=True,
        captures=captures,
        filtered=filtered,
        accepted=accepted,
    )
    if not accepted:
        return step
    values = Values(captures, publish.message, publish.origin)
    try:
        changed = rule.with_attributes(values)
    except MissingValue as error:
        problem = TargetStep(target="set", problem=_dead_lettered(router, error))
        return msgspec.structs.replace(step, targets=[problem])
    values = Values(captures, changed, publish.origin)
    return msgspec.structs.replace(
        step,
        set_attributes={key: changed.headers[key] for key, _ in rule.attributes},
        targets=[
            _default_step(router, publish, changed)
            if target.template is None
            else _target_step(router, target, values, publish.namespace)
            for target in rule.targets
        ],
    )


def _target_step(router: Router, target: Target, values: Values, namespace: str) -> TargetStep:
    try:
        to = target.destination(values, namespace)
    except (MissingValue, InvalidAddress) as error:
        return TargetStep(target=target.text, problem=_dead_lettered(router, error))
    if to.topic is not None and router.topology.topic(to.topic) is None:
        absent = TopicDoesNotExist(f"topic {to.topic.name} does not exist")
        return TargetStep(target=target.text, problem=_dead_lettered(router, absent))
    if to.topic is not None:
        return _topic_step(router, target.text, to.topic, moved_to(values.message, to))
    assert to.queue is not None
    return _queue_step(router, target.text, to.queue, create=True)


def _dead_lettered(router: Router, error: Exception) -> str:
    return f"{error}; it goes to queue {router.dead_letter_queue}"


def _default_step(router: Router, publish: Publish, message: Message) -> TargetStep:
    if message.topic:
        name = TopicName(publish.namespace, message.topic)
        return _topic_step(router, DEFAULT_TARGET, name, message)
    name_of_queue = QueueName(publish.namespace, publish.queue or "")
    return _queue_step(router, DEFAULT_TARGET, name_of_queue, create=publish.create)


def _queue_step(router: Router, target: str, name: QueueName, *, create: bool) -> TargetStep:
    address = f"queue {name.name}"
    if router.store.queue(name) is not None:
        return TargetStep(target=target, address=address, queues=[name.name])
    if create:
        return TargetStep(target=target, address=address, created=[name.name])
    return TargetStep(target=target, address=address, problem="the queue does not exist")


def _topic_step(router: Router, target: str, name: TopicName, message: Message) -> TargetStep:
    address = f"topic {name.name}, subject {message.subject or ''}"
    if router.topology.topic(name) is None:
        return TargetStep(target=target, address=address, problem="the topic does not exist")
    resolution = resolve(router.topology, router.store, name, message)
    queues = [queue.name.name for queue in resolution.queues]
    elsewhere: list[str] = []
    for entry, queue in resolution.conditions:
        if not entry.accepts(message):
            continue
        if queue is None:
            subscription = entry.subscription
            elsewhere.append(subscription.endpoint or subscription.id)
        elif queue.name.name not in queues:
            queues.append(queue.name.name)
    return TargetStep(target=target, address=address, queues=sorted(queues), elsewhere=elsewhere)


def _rule_lines(rule: RuleStep) -> list[str]:
    head = f"route {rule.name!r} (from {rule.source})"
    if not rule.matched:
        return [f"{head}: does not match"]
    captured = ", ".join(f"{name}={value}" for name, value in rule.captures.items())
    head += f": matches{' with ' + captured if captured else ''}"
    if not rule.accepted:
        return [f"{head}, but its filter does not"]
    if rule.filtered:
        head += ", and so does its filter"
    lines = [head]
    lines += [f"  sets attribute {key} to {value!r}" for key, value in rule.set_attributes.items()]
    lines += [f"  to {target.target}: {_target_text(target)}" for target in rule.targets]
    return lines


def _target_text(step: TargetStep) -> str:
    if step.problem is not None:
        where = "" if step.address is None else f"{step.address}: "
        return f"{where}{step.problem}"
    reached = [f"queue {name}" for name in step.queues]
    reached += [f"queue {name} (to be created)" for name in step.created]
    reached += step.elsewhere
    if step.queues + step.created == [step.address.removeprefix("queue ") if step.address else ""]:
        return ", ".join(reached)
    return f"{step.address} -> {', '.join(reached) if reached else 'nothing is subscribed'}"

"""The exchanges, queues, bindings, policies and parameters of RabbitMQ's exported definitions."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final, cast

from adapters.amqp091.errors import AmqpError
from adapters.amqp091.events import QueueDeclareRequested
from bridge.messaging.expressions import Expression, PatternInvalid
from bridge.messaging.model import QueueName, TopicName
from bridge.routing.catalogue import BUILT_IN, TOPIC_KINDS, TopicKind
from bridge.routing.exchanges import X_MATCH
from bridge.routing.policies import TRANSLATED, Policy, mistake_in
from mappings.amqp091.arguments import settings_from_declare
from mappings.amqp091.definition_users import read_namespaces, read_users
from mappings.amqp091.definitions import (
    BindingDefinition,
    Definitions,
    Export,
    Item,
    QueueDefinition,
    TopicDefinition,
)
from mappings.amqp091.topology import DELAYED, pattern_of

_NO_EFFECT: Final = {
    "x-queue-mode": "the store keeps the tail of every queue on disk",
    "x-queue-version": "it tunes RabbitMQ's storage",
    "x-queue-master-locator": "there is one node",
    "x-queue-leader-locator": "there is one node",
    "x-quorum-initial-group-size": "there is one node",
    "x-quorum-target-group-size": "there is one node",
    "x-dead-letter-strategy": "dead letters move in one commit: always at least once",
    "x-max-in-memory-length": "the store bounds what is in memory itself",
    "x-max-in-memory-bytes": "the store bounds what is in memory itself",
}
"""Arguments that are taken and change nothing, and why that is no loss of behaviour."""

_PARAMETERS: Final = {
    "shovel": "shovels are not offered; a RabbitMQ's shovel can point here",
    "federation-upstream": "federation upstreams are not offered",
    "federation-upstream-set": "federation upstreams are not offered",
    "vhost-limits": "limits of virtual hosts are not enforced",
    "user-limits": "limits of users are not enforced",
    "operator_policy": "",
}
_POLICY_KEYS: Final = {
    "ha-": "classic mirrored queues: the store is one node, or SQS",
    "federation-": "federation is not offered",
    "queue-mode": _NO_EFFECT["x-queue-mode"],
    "queue-version": _NO_EFFECT["x-queue-version"],
    "dead-letter-strategy": _NO_EFFECT["x-dead-letter-strategy"],
    "max-age": "streams are not offered",
    "stream-": "streams are not offered",
    "queue-master-locator": "there is one node",
    "queue-leader-locator": "there is one node",
    "target-group-size": "there is one node",
    "consumer-timeout": "the timeout is one for all queues",
}


def read_definitions(text: bytes, vhost: str | None = None) -> Definitions:
    """Read an export. `vhost` is for objects that name none. Raises `DefinitionsInvalid`."""
    export = Export(text, vhost)
    found = Definitions(version=export.version)
    read_namespaces(export, found)
    read_users(export, found)
    skipped = {*_read_exchanges(export, found), *_read_queues(export, found)}
    _read_bindings(export, found, skipped)
    _read_policies(export, found)
    _read_parameters(export, found)
    # Sections that are read twice say theirs twice.
    found.mistakes = list(dict.fromkeys(export.mistakes))
    return found


def _read_exchanges(export: Export, found: Definitions) -> set[tuple[str, str, str]]:
    """Returns the exchanges that are left out."""
    skipped: set[tuple[str, str, str]] = set()
    for _, item in export.items("exchanges"):
        name = TopicName(item.vhost, item.text("name"))
        kind = item.text("type")
        arguments = item.table("arguments")
        shown = f"exchange {name.name!r} in vhost {name.namespace!r}"
        if not name.name or name.name in BUILT_IN:
            continue
        delayed = kind == DELAYED
        if delayed:
            kind = str(arguments.get("x-delayed-type", "direct"))
        why = ""
        if kind not in TOPIC_KINDS:
            why = f"exchanges of type {kind!r} are not offered"
        elif not item.data.get("durable", True):
            why = "is not durable: its applications declare it"
        elif name.name.startswith("amq."):
            why = "names that begin with amq. are reserved"
        if why:
            skipped.add(("exchange", *name))
            found.losses.append(f"{shown}: {why}")
            continue
        alternate = arguments.get("alternate-exchange")
        found.topics.append(
            TopicDefinition(
                name,
                cast("TopicKind", kind),
                auto_delete=item.flag("auto_delete"),
                internal=item.flag("internal"),
                delayed=delayed,
                alternate=alternate if isinstance(alternate, str) else None,
                arguments=arguments,
            )
        )
    return skipped


def _read_queues(export: Export, found: Definitions) -> set[tuple[str, str, str]]:
    """Returns the queues that are left out."""
    skipped: set[tuple[str, str, str]] = set()
    without_effect: Counter[str] = Counter()
    for _, item in export.items("queues"):
        name = QueueName(item.vhost, item.text("name"))
        arguments = item.table("arguments")
        kind = arguments.get("x-queue-type", item.data.get("type", "classic"))
        shown = f"queue {name.name!r} in vhost {name.namespace!r}"
        why = ""
        if str(kind) in {"stream", "rabbit_stream_queue"}:
            why = "streams are not offered"
        elif not item.data.get("durable", True) or item.data.get("exclusive") is True:
            why = "is not durable: its applications declare it"
        elif not name.name:
            if item.data.get("name") == "":
                item.mistake("a queue needs a name")
            continue
        if why:
            skipped.add(("queue", *name))
            found.losses.append(f"{shown}: {why}")
            continue
        without_effect.update(arguments.keys() & _NO_EFFECT)
        declared = QueueDeclareRequested(
            0, name.name, False, True, False, item.flag("auto_delete"), False, arguments
        )
        try:
            settings = settings_from_declare(declared, shown, "")
        except AmqpError as error:
            item.mistake(str(error))
            continue
        found.queues.append(QueueDefinition(name, settings))
    for argument, count in sorted(without_effect.items()):
        found.losses.append(f"{argument} of {count} queues: no effect: {_NO_EFFECT[argument]}")
    return skipped


def _read_bindings(export: Export, found: Definitions, skipped: set[tuple[str, str, str]]) -> None:
    kinds = {each.name: each.kind for each in found.topics}
    queues = {each.name for each in found.queues}
    for _, item in export.items("bindings"):
        source = TopicName(item.vhost, item.text("source"))
        destination, to = item.text("destination"), item.text("destination_type", "queue")
        if not source.name:
            continue
        ends = {("exchange", *source), (to, item.vhost, destination)}
        if ends & skipped:
            found.losses.append(
                f"binding of {to} {destination!r} to exchange {source.name!r} in vhost"
                f" {item.vhost!r}: one of the two is left out"
            )
            continue
        kind = kinds.get(source) or BUILT_IN.get(source.name)
        target: QueueName | TopicName = QueueName(item.vhost, destination)
        known = target in queues
        if to == "exchange":
            target = TopicName(item.vhost, destination)
            known = target in kinds or destination in BUILT_IN
        if kind is None:
            item.mistake(f"there is no exchange {source.name!r} in vhost {item.vhost!r}")
        elif not known:
            item.mistake(f"there is no {to} {destination!r} in vhost {item.vhost!r}")
        else:
            arguments = item.table("arguments")
            if kind == "headers" and str(arguments.get("x-match", "all")) not in X_MATCH:
                item.mistake(f"x-match must be one of {', '.join(sorted(X_MATCH))}")
            pattern = pattern_of(kind, item.text("routing_key", ""))
            found.bindings.append(BindingDefinition(source, target, pattern, arguments))


def _read_policies(export: Export, found: Definitions) -> None:
    for _, item in export.items("policies"):
        _add_policy(item, item, found, operator=False)
    for place, item in export.items("parameters"):
        if item.data.get("component") == "operator_policy":
            value = Item(export, f"{place}.value", item.table("value"))
            _add_policy(item, value, found, operator=True)


def _add_policy(item: Item, value: Item, found: Definitions, *, operator: bool) -> None:
    name, pattern = item.text("name"), value.text("pattern")
    definition = value.table("definition")
    shown = f"{'operator policy' if operator else 'policy'} {name!r} in vhost {item.vhost!r}"
    translated = {key: entry for key, entry in definition.items() if key in TRANSLATED}
    apply_to = value.text("apply-to", "all")
    for key in definition:
        if key not in TRANSLATED:
            found.losses.append(f"{shown}: {key}: {_why(key)}")
    try:
        Expression(pattern)
    except PatternInvalid as error:
        value.mistake(f"the pattern {pattern!r} {error}")
    if wrong := mistake_in(translated):
        value.mistake(wrong)
    priority: Any = value.data.get("priority", 0)
    if type(priority) is not int:
        value.mistake("priority must be a whole number")
        return
    if apply_to in {"exchanges", "streams"}:
        if translated:
            found.losses.append(f"{shown}: policies for {apply_to} are not offered")
        return
    # One without any effect of its own still keeps others of lower priority away.
    found.policies.append(
        Policy(
            namespace=item.vhost,
            name=name,
            pattern=pattern,
            apply_to=apply_to,
            priority=priority,
            definition=translated,
            operator=operator,
        )
    )


def _why(key: str) -> str:
    for start, why in _POLICY_KEYS.items():
        if key.startswith(start):
            return why
    if key == "alternate-exchange":
        return "give the exchange the argument instead"
    return "not offered"


def _read_parameters(export: Export, found: Definitions) -> None:
    for _, item in export.items("parameters"):
        component, name = item.text("component"), item.text("name")
        why = _PARAMETERS.get(component, "not offered")
        if why:
            found.losses.append(f"{component} {name!r} in vhost {item.vhost!r}: {why}")
    names = [item.text("name") for _, item in export.items("global_parameters")]
    if names:
        found.losses.append(f"global parameters have no counterpart: {', '.join(sorted(names))}")

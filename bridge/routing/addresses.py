"""Addresses as configuration writes them: `mqtt:plant/+/meter`, `stomp:/queue/orders`,
`amqp:exchange/key`, `sqs:orders`.

Each protocol's addresses split into levels in one way here: MQTT's at `/`; STOMP's into kind
(`/topic`), then words at `.`; AMQP's into exchange and words of the key; a queue's or topic's name
of SQS or SNS is one level. A source pattern may use that protocol's wildcards and `{name}`, each
for a whole level, and becomes one pattern of the matcher.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from bridge.messaging.errors import InvalidAddress
from bridge.messaging.model import DEFAULT_EXCHANGE, TOPIC_TREE, QueueName, TopicName
from bridge.messaging.names import queue_from_sqs_name, topic_from_sns_name
from bridge.messaging.subjects import literal_level, subject_from_dotted, subject_from_slashed

PROTOCOLS: Final = ("mqtt", "amqp", "stomp", "sqs", "sns")
"""The prefixes that an address may have."""

ADDRESS_LENGTH_MAX: Final = 1024
"""Characters of an address that a template may come to."""

_NO_NAMES: Final = ("arn:", "http:", "https:")
_ONE_LEVEL = {"mqtt": "+", "amqp": "*", "stomp": "*", "sqs": "*", "sns": "*"}
_MANY_LEVELS = {"mqtt": "#", "amqp": "#", "stomp": "#>", "sqs": "", "sns": ""}
_CAPTURE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class Destination(NamedTuple):
    """A queue, or a topic and the subject there; `subject` None keeps the message's own."""

    queue: QueueName | None = None
    topic: TopicName | None = None
    subject: str | None = None


class SourcePattern(NamedTuple):
    """What a rule's `from` matches. `captures` says at which level a name is; from the end where
    negative.
    """

    protocol: str
    pattern: str
    captures: dict[str, int]


def split_protocol(address: str) -> tuple[str, str]:
    """Take `mqtt:a/b` apart. Raises `InvalidAddress` without a known protocol.

    AMQP's default exchange has no name; `amqp:amq.default/orders` is `amqp:/orders`.
    """
    protocol, colon, rest = address.partition(":")
    if not colon or protocol not in PROTOCOLS:
        expected = ", ".join(f"{each}:" for each in PROTOCOLS)
        raise InvalidAddress(f"address {address!r} does not begin with one of {expected}")
    if not rest:
        raise InvalidAddress(f"address {address!r} has nothing after {protocol}:")
    if protocol in {"sqs", "sns"} and rest.startswith(_NO_NAMES):
        raise InvalidAddress(f"address {address!r}: {protocol}: takes a name, no ARN or URL")
    if protocol == "amqp":
        exchange, slash, key = rest.partition("/")
        rest = f"{'' if exchange == DEFAULT_EXCHANGE else exchange}{slash}{key}"
    return protocol, rest


def require_one_topic(protocol: str, address: str) -> None:
    """Raise `InvalidAddress` for a filter where messages are sent to (MQTT 5, 4.7.1)."""
    if protocol == "mqtt" and ("+" in address or "#" in address):
        raise InvalidAddress(
            f"{protocol}:{address} has wildcards, which stand for many topics; a message has one"
        )


def subject_of(protocol: str, address: str) -> str:
    """An address as the matcher sees it."""
    return ".".join([_escaped(level) for level in levels_of(protocol, address)])


def levels_of(protocol: str, address: str) -> list[str]:
    """The levels of an address in its protocol's own syntax."""
    if protocol == "mqtt":
        return address.split("/")
    if protocol == "stomp":
        return _stomp_levels(address)
    if protocol == "amqp":
        exchange, _, key = address.partition("/")
        return [exchange, *key.split(".")]
    return [address]


def compiled_source(source: str) -> SourcePattern:
    """Compile a rule's `from`. Raises `InvalidAddress`."""
    protocol, address = split_protocol(source)
    if protocol == "amqp" and "/" not in address:
        address += "/#"
    one, many = _ONE_LEVEL[protocol], _MANY_LEVELS[protocol]
    levels = levels_of(protocol, address)
    parts: list[str] = []
    captures: dict[str, int] = {}
    many_at: list[int] = []
    for position, level in enumerate(levels):
        capture = _CAPTURE.fullmatch(level)
        if level == one:
            parts.append("*")
        elif level and level in many:
            many_at.append(position)
            parts.append("#")
            if protocol == "mqtt" or level == ">":
                _require_last(source, level, position, levels)
        elif capture is None:
            _require_literal(source, level, one + many)
            parts.append(literal_level(_escaped(level)))
        elif capture[1] in captures:
            raise InvalidAddress(f"{source!r} captures {capture[0]} twice")
        else:
            captures[capture[1]] = position
            parts.append("*")
    return SourcePattern(protocol, ".".join(parts), _placed(source, captures, many_at, len(levels)))


def destination(protocol: str, address: str, namespace: str) -> Destination:
    """Where an address leads by default. SQS's and SNS's names are as cloud code would write them.

    Raises `InvalidAddress`.
    """
    if len(address) > ADDRESS_LENGTH_MAX:
        raise InvalidAddress(
            f"address {address[:40]!r}... has {len(address)} characters; "
            f"{ADDRESS_LENGTH_MAX} are allowed"
        )
    if protocol == "sqs":
        return Destination(queue=queue_from_sqs_name(_named(address)))
    if protocol == "sns":
        return Destination(topic=topic_from_sns_name(_named(address)))
    if protocol == "mqtt":
        return _in_tree(namespace, subject_from_slashed(_named(address)))
    if protocol == "amqp":
        exchange, slash, key = address.partition("/")
        if not exchange:
            return Destination(queue=QueueName(namespace, _named(key)))
        return _in_exchange(namespace, exchange, key if slash else None)
    return _stomp_destination(address, namespace)


def _stomp_destination(address: str, namespace: str) -> Destination:
    kind, _, rest = address.removeprefix("/").partition("/")
    if kind == "amq":
        kind, _, rest = rest.partition("/")
    if kind == "queue":
        return Destination(queue=QueueName(namespace, _named(rest)))
    if kind == "topic":
        return _in_tree(namespace, subject_from_dotted(_named(rest)))
    if kind == "exchange":
        exchange, slash, key = rest.partition("/")
        return _in_exchange(namespace, _named(exchange), key if slash else None)
    raise InvalidAddress(
        f"destination {address!r} is none of /queue/NAME, /topic/SUBJECT, /exchange/NAME/KEY"
    )


def _stomp_levels(address: str) -> list[str]:
    if not address.startswith("/"):
        return address.split(".")
    kind, _, rest = address[1:].partition("/")
    if kind == "amq":
        kind, _, rest = rest.partition("/")
        kind = f"amq/{kind}"
    if kind == "exchange":
        exchange, slash, key = rest.partition("/")
        return [f"/{kind}", exchange, *(key.split(".") if slash else ())]
    return [f"/{kind}", *rest.split(".")]


def _in_tree(namespace: str, subject: str) -> Destination:
    return Destination(topic=TopicName(namespace, TOPIC_TREE), subject=subject)


def _in_exchange(namespace: str, exchange: str, key: str | None) -> Destination:
    subject = None if key is None else subject_from_dotted(key)
    return Destination(topic=TopicName(namespace, exchange), subject=subject)


def _named(name: str) -> str:
    if not name:
        raise InvalidAddress("the name of a queue or topic is empty")
    return name


def _escaped(level: str) -> str:
    return level.replace("%", "%25").replace(".", "%2E") if "%" in level or "." in level else level


def _require_literal(source: str, level: str, wildcards: str) -> None:
    for character in "{}" + wildcards:
        if character in level:
            raise InvalidAddress(
                f"level {level!r} of {source!r} contains {character!r}; "
                f"a wildcard or {{capture}} stands for a whole level"
            )


def _require_last(source: str, level: str, position: int, levels: list[str]) -> None:
    if position != len(levels) - 1:
        raise InvalidAddress(f"{level!r} in {source!r} is only allowed as the last level")


def _placed(
    source: str, captures: dict[str, int], many_at: list[int], level_count: int
) -> dict[str, int]:
    """Count the captures behind a `#` from the end; between two of them there is no telling."""
    if not many_at:
        return captures
    placed: dict[str, int] = {}
    for name, position in captures.items():
        if position < many_at[0]:
            placed[name] = position
        elif position > many_at[-1]:
            placed[name] = position - level_count
        else:
            raise InvalidAddress(
                f"{{{name}}} in {source!r} stands between two wildcards of any length"
            )
    return placed

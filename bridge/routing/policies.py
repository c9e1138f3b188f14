"""RabbitMQ's policies: settings that queues get by their names, at their declaration.

Of the policies whose pattern is found in a queue's name, the one of the highest priority counts; an
operator policy counts besides it. As in RabbitMQ the lower of two numbers wins, and what a queue
was declared with wins over a policy's dead-letter target and overflow. They come from `landbridge
import rabbitmq` and stand in the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

import msgspec

from bridge.messaging.expressions import Expression
from bridge.messaging.model import DeadLetterTarget, Overflow, QueueName, QueueSettings
from bridge.messaging.subjects import subject_from_dotted

KIND_POLICY: Final = "policy"

_NUMBERS: Final = {
    "message-ttl": "message_ttl_ms",
    "expires": "idle_expiry_ms",
    "max-length": "length_max",
    "max-length-bytes": "bytes_max",
    "delivery-limit": "return_limit",
}
_TEXTS: Final = ("dead-letter-exchange", "dead-letter-routing-key", "overflow")
TRANSLATED: Final = frozenset([*_NUMBERS, *_TEXTS])
"""The keys of a definition that have an effect here."""
OVERFLOWS: Final = {
    "drop-head": Overflow.DROP_HEAD,
    "reject-publish": Overflow.REJECT_PUBLISH,
    "reject-publish-dlx": Overflow.REJECT_PUBLISH,
}


class Policy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One policy. `apply_to` is RabbitMQ's: all, queues, classic_queues, quorum_queues..."""

    namespace: str
    name: str
    pattern: str
    apply_to: str = "all"
    priority: int = 0
    definition: dict[str, Any] = {}
    operator: bool = False

    @property
    def key(self) -> str:
        """Its key in the state store."""
        kind = "operator" if self.operator else "policy"
        return f"{quote(self.namespace, safe='')}/{kind}/{self.name}"

    def applies_to(self, settings: QueueSettings) -> bool:
        """Whether it is meant for queues of this type."""
        kind = settings.arguments.get("x-queue-type", "classic")
        return self.apply_to in {"all", "queues", f"{kind}_queues"}


def encode_policy(policy: Policy) -> bytes:
    """The policy as the state store keeps it."""
    return msgspec.msgpack.encode(policy)


def decode_policy(data: bytes) -> Policy:
    """Read a record of kind `KIND_POLICY`."""
    return msgspec.msgpack.decode(data, type=Policy)


class Policies:
    """All policies, in the order in which they count."""

    def __init__(self, policies: Iterable[Policy] = ()) -> None:
        """Raises `PatternInvalid`."""
        ordered = sorted(policies, key=lambda each: (-each.priority, each.name))
        self._compiled = [(each, Expression(each.pattern)) for each in ordered]

    @property
    def all(self) -> list[Policy]:
        return [policy for policy, _ in self._compiled]

    def of(
        self, name: QueueName, settings: QueueSettings, *, operator: bool = False
    ) -> Policy | None:
        """The policy that counts for a queue."""
        for policy, pattern in self._compiled:
            if (
                policy.operator is operator
                and policy.namespace == name.namespace
                and policy.applies_to(settings)
                and pattern.matches(name.name)
            ):
                return policy
        return None

    def applied(self, name: QueueName, settings: QueueSettings) -> QueueSettings:
        """The settings of a queue that is declared with these."""
        if self._compiled:
            for operator in (False, True):
                policy = self.of(name, settings, operator=operator)
                if policy is not None:
                    settings = _merged(settings, policy.definition)
        return settings


def _merged(settings: QueueSettings, definition: dict[str, Any]) -> QueueSettings:
    changes: dict[str, Any] = {
        field: _lower(getattr(settings, field), definition[key])
        for key, field in _NUMBERS.items()
        if key in definition and definition[key] >= 0
    }
    if "overflow" in definition and "x-overflow" not in settings.arguments:
        changes["overflow"] = OVERFLOWS[definition["overflow"]]
    declared = settings.dead_letter
    exchange = declared.topic if declared else definition.get("dead-letter-exchange")
    if exchange is not None:
        subject = declared.subject if declared else None
        key = definition.get("dead-letter-routing-key")
        if subject is None and key is not None:
            subject = subject_from_dotted(key)
        changes["dead_letter"] = DeadLetterTarget(exchange, subject)
    return msgspec.structs.replace(settings, **changes)


def _lower(one: int | None, other: int) -> int:
    return other if one is None else min(one, other)


def mistake_in(definition: dict[str, Any]) -> str | None:
    """What is wrong with a definition's values, if anything."""
    for key in _NUMBERS:
        least = 1 if key == "expires" else -1 if key == "delivery-limit" else 0
        value = definition.get(key, least)
        if type(value) is not int or value < least:
            return f"{key} must be a whole number from {least}, not {value!r}"
    for key in _TEXTS:
        if key in definition and not isinstance(definition[key], str):
            return f"{key} must be text, not {definition[key]!r}"
    overflow = definition.get("overflow", "drop-head")
    if overflow not in OVERFLOWS:
        return f"overflow must be one of {', '.join(OVERFLOWS)}, not {overflow!r}"
    return None

"""The `x-` arguments of declarations: what they become, and when two declarations are the same.

RabbitMQ checks only the arguments that it knows, and its sentences about them are what its users
search for. Arguments that only tune RabbitMQ's own storage are accepted and change nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from adapters.amqp091.events import QueueDeclareRequested
from bridge.messaging.model import DeadLetterTarget, Overflow, QueueSettings
from bridge.messaging.ownership import OWNER_TAG
from bridge.messaging.subjects import subject_from_dotted
from mappings.amqp091.errors import precondition_failed
from mappings.amqp091.messages import AT_ONCE_MS, EXPIRATION_MAX

NOT_DURABLE_TAG: Final = "landbridge-not-durable"
"""On queues that were declared so, and are stored as durable ones are."""

_PRIORITY_MAX: Final = 255

Check = Callable[[Any], str | None]


def _whole(minimum: int, maximum: int = 2**63 - 1, over: str = "value_too_large") -> Check:
    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f'"expected integer, got {type_name(value)}"'
        if value < minimum:
            return "{value_zero,0}" if value == 0 else f"{{value_negative,{value}}}"
        return f"{{{over},{value}}}" if value > maximum else None

    return check


def _text(unsupported: str = "", *allowed: str) -> Check:
    def check(value: Any) -> str | None:
        if not isinstance(value, str):
            return f"{{unacceptable_type,{type_name(value)}}}"
        return unsupported.format(value) if allowed and value not in allowed else None

    return check


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"{{unacceptable_type,{type_name(value)}}}"


def _queue_type(value: Any) -> str | None:
    if value == "stream":
        return "streams are not offered, classic and quorum queues are"
    return _text("\"unsupported queue type '{}'\"", "classic", "quorum")(value)


QUEUE_ARGUMENTS: Final[dict[str, Check]] = {
    "x-message-ttl": _whole(0, EXPIRATION_MAX),
    "x-expires": _whole(1, EXPIRATION_MAX),
    "x-max-length": _whole(0),
    "x-max-length-bytes": _whole(0),
    "x-overflow": _text("invalid_overflow", "drop-head", "reject-publish", "reject-publish-dlx"),
    "x-dead-letter-exchange": _text(),
    "x-dead-letter-routing-key": _text(),
    "x-dead-letter-strategy": _text("invalid_dlx_strategy", "at-most-once", "at-least-once"),
    "x-max-in-memory-length": _whole(0),
    "x-max-in-memory-bytes": _whole(0),
    "x-max-priority": _whole(0, _PRIORITY_MAX, "max_value_exceeded"),
    "x-single-active-consumer": _truth,
    "x-delivery-limit": _whole(-1),
    "x-queue-type": _queue_type,
    "x-queue-mode": _text("\"unsupported queue mode '{}'\"", "default", "lazy"),
    "x-queue-version": _whole(1, 2),
    "x-queue-master-locator": _text(),
    "x-queue-leader-locator": _text(
        "invalid_queue_locator_arg", "client-local", "balanced", "least-leaders", "random"
    ),
    "x-quorum-initial-group-size": _whole(1),
}
_OF_CLASSIC_QUEUES: Final = frozenset(
    {"x-max-priority", "x-queue-mode", "x-queue-version", "x-queue-master-locator"}
)
_OF_QUORUM_QUEUES: Final = frozenset(
    {
        "x-dead-letter-strategy",
        "x-delivery-limit",
        "x-max-in-memory-bytes",
        "x-max-in-memory-length",
        "x-quorum-initial-group-size",
    }
)
_OF_STREAMS: Final = frozenset(
    {"x-initial-cluster-size", "x-max-age", "x-stream-max-segment-size-bytes"}
)
_WRONG: Final = {
    "classic": _OF_QUORUM_QUEUES | _OF_STREAMS,
    "quorum": _OF_CLASSIC_QUEUES | _OF_STREAMS,
}
"""By type of queue, the arguments that are those of other types only."""


def check_type(arguments: Mapping[str, Any], where: str) -> None:
    """Raise 406 for an argument that the type of a new queue does not have."""
    kind = arguments.get("x-queue-type", "classic")
    wrong = _WRONG[kind]
    for name in arguments:
        if name in wrong:
            raise precondition_failed(
                f"invalid arg '{name}' for {where} of queue type rabbit_{kind}_queue"
            )


def known_arguments(queue: Mapping[str, Any]) -> list[str]:
    """Those that a declaration of an existing queue must give as its `queue` arguments have them;
    the others mean nothing to it.
    """
    wrong = _WRONG.get(queue.get("x-queue-type", "classic"), frozenset())
    return [name for name in QUEUE_ARGUMENTS if name not in wrong]


def settings_from_declare(event: QueueDeclareRequested, where: str, owner: str) -> QueueSettings:
    """The settings that a queue.declare asks for; `where` is `queue 'q' in vhost '/'`.

    Raises `SoftError` 406 in RabbitMQ's words.
    """
    arguments = event.arguments
    exchange: Any = arguments.get("x-dead-letter-exchange")
    if "x-dead-letter-exchange" in arguments and not isinstance(exchange, str):
        raise precondition_failed(
            f"invalid type '{type_name(exchange)}' for arg 'x-dead-letter-exchange' in {where}"
        )
    for name, check in QUEUE_ARGUMENTS.items():
        if name in arguments and (problem := check(arguments[name])) is not None:
            raise precondition_failed(f"invalid arg '{name}' for {where}: {problem}")
    _check_combinations(event, where)
    key: Any = arguments.get("x-dead-letter-routing-key")
    overflow = arguments.get("x-overflow", "drop-head")
    limit: Any = arguments.get("x-delivery-limit")
    given: dict[str, Any] = arguments
    ttl_ms = given.get("x-message-ttl")
    return QueueSettings(
        message_ttl_ms=None if ttl_ms is None else max(ttl_ms, AT_ONCE_MS),
        idle_expiry_ms=given.get("x-expires"),
        length_max=given.get("x-max-length"),
        bytes_max=given.get("x-max-length-bytes"),
        overflow=Overflow.DROP_HEAD if overflow == "drop-head" else Overflow.REJECT_PUBLISH,
        dead_letter=None if exchange is None else _dead_letter_target(exchange, key),
        return_limit=None if limit is None or limit < 0 else limit,
        priority_max=given.get("x-max-priority", 0),
        single_active_consumer=given.get("x-single-active-consumer", False),
        auto_delete=event.auto_delete,
        arguments=dict(arguments),
        tags={OWNER_TAG: owner} if event.exclusive else {},
    )


def _dead_letter_target(exchange: str, key: str | None) -> DeadLetterTarget:
    if key is None:
        return DeadLetterTarget(exchange)
    return DeadLetterTarget(exchange, subject_from_dotted(key))


def _check_combinations(event: QueueDeclareRequested, where: str) -> None:
    arguments = event.arguments
    if "x-dead-letter-routing-key" in arguments and "x-dead-letter-exchange" not in arguments:
        raise precondition_failed(
            f"invalid arg 'x-dead-letter-routing-key' for {where}: routing_key_but_no_dlx_defined"
        )
    if arguments.get("x-queue-type") == "quorum":
        for wrong, what in (
            (not event.durable, "non-durable"),
            (event.exclusive, "exclusive-owner"),
            (event.auto_delete, "auto-delete"),
        ):
            if wrong:
                raise precondition_failed(f"invalid property '{what}' for {where}")


def check_equivalent(
    where: str,
    flags: Mapping[str, tuple[object, object]],
    received: Mapping[str, Any],
    current: Mapping[str, Any],
    known: Iterable[str],
) -> None:
    """Raise 406 for the first difference; `flags` are name -> (received, current)."""
    for name, (asked, is_now) in flags.items():
        if asked != is_now:
            raise precondition_failed(
                f"inequivalent arg '{name}' for {where}:"
                f" received '{_flag(asked)}' but current is '{_flag(is_now)}'"
            )
    for name in known:
        one, other = received.get(name), current.get(name)
        if one != other and not _both_default(name, one, other):
            if one is None or other is None:
                asked, is_now = _shown(one), _shown(other)
            else:
                asked, is_now = f"'{_flag(one)}'", f"'{_flag(other)}'"
            raise precondition_failed(
                f"inequivalent arg '{name}' for {where}: received {asked} but current is {is_now}"
            )


def _both_default(name: str, one: object, other: object) -> bool:
    """Arguments whose absence means the same as their default, or whose value changes nothing."""
    if name in {"x-queue-mode", "x-queue-version", "x-queue-master-locator"}:
        return True
    return name == "x-queue-type" and {one, other} == {None, "classic"}


def _flag(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    return f"the value '{_flag(value)}' of type '{type_name(value)}'"


def type_name(value: object) -> str:
    """RabbitMQ's name for the type of a table's field."""
    match value:
        case bool():
            return "bool"
        case int():
            return "signedint" if -(2**31) <= value < 2**31 else "long"
        case float():
            return "double"
        case str():
            return "longstr"
        case bytes():
            return "binary"
        case Decimal():
            return "decimal"
        case dict():
            return "table"
        case list():
            return "array"
        case None:
            return "void"
        case _:
            return "timestamp"

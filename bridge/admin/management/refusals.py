"""Refusals as RabbitMQ's API words them, and what the errors of AMQP and of the bridge become."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from adapters.amqp091.errors import AmqpError, ReplyCode
from bridge.messaging.errors import MessagingError, StoreUnavailable
from mappings.amqp091.errors import amqp_error_from

_NOT_AUTHORISED: Final = "not_authorised"
_FILE: Final = "in the configuration file, and changed there"
_IN_FILE: Final = {
    "users": f"this user is set under `users` {_FILE}",
    "vhosts": f"this virtual host is the default one, or is named {_FILE}",
    "permissions": f"this user's permissions are set under `users` {_FILE}",
    "topic-permissions": f"this user's topic permissions are set under `users` {_FILE}",
}
_NO_ACCESS: Final = frozenset({ReplyCode.ACCESS_REFUSED, ReplyCode.NOT_ALLOWED})


class Refused(Exception):
    """Answered with `status` and RabbitMQ's object of `error` and `reason`."""

    def __init__(self, status: int, error: str, reason: Any) -> None:
        super().__init__(reason)
        self.status = status
        self.error = error
        self.reason = reason


def bad_request(reason: Any) -> Refused:
    """400; a list is how RabbitMQ shows a pair of its own."""
    return Refused(400, "bad_request", reason)


def access_refused(reason: str = "Access refused.") -> Refused:
    """401, where the user is known and may not."""
    return Refused(401, _NOT_AUTHORISED, reason)


def vhost_not_found() -> Refused:
    """404, where something was to be declared."""
    return Refused(404, "not_found", "vhost_not_found")


def object_not_found() -> Refused:
    """404."""
    return Refused(404, "Object Not Found", "Not Found")


def refused_declaration(error: AmqpError | MessagingError) -> Refused:
    """What a declaration, a binding or a deletion is answered with."""
    if isinstance(error, StoreUnavailable):
        return _unavailable(error)
    refusal = amqp_error_from(error)
    if refusal.code is ReplyCode.NOT_FOUND:
        return Refused(404, "not_found", refusal.explanation)
    if refusal.code in _NO_ACCESS:
        return access_refused()
    return bad_request(refusal.explanation)


def refused_on_channel(error: AmqpError | MessagingError) -> Refused:
    """What a get is answered with: RabbitMQ does it by way of a channel, and says so."""
    refusal = amqp_error_from(error)
    if refusal.code is ReplyCode.NOT_FOUND:
        return Refused(404, "not_found", refusal.reply_text)
    if refusal.code is ReplyCode.ACCESS_REFUSED:
        return access_refused(refusal.reply_text)
    return refused_publish(error)


def refused_publish(error: AmqpError | MessagingError) -> Refused:
    """What a publish is answered with: whatever closes RabbitMQ's channel, as it stands there."""
    if isinstance(error, StoreUnavailable):
        return _unavailable(error)
    refusal = amqp_error_from(error)
    return bad_request(f"{refusal.code.value} {refusal.reply_text}")


@contextmanager
def refusals() -> Iterator[None]:
    """What AMQP would close the channel for is refused."""
    try:
        yield
    except (AmqpError, MessagingError) as error:
        raise refused_declaration(error) from error


def set_in_file(kind: str) -> Refused:
    """405, for what is the configuration file's."""
    return Refused(405, "method_not_allowed", _IN_FILE[kind])


def _unavailable(error: StoreUnavailable) -> Refused:
    return Refused(503, "service_unavailable", str(error))

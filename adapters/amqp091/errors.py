"""What goes wrong in AMQP, with the reply codes of AMQP 0-9-1, 1.2 and RabbitMQ's wording.

A `SoftError` ends one channel, a `HardError` (AMQP's "hard error") the whole connection.
The reply text is the name of the code, a dash and an explanation, which users search for.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from adapters.errors import RemoteProtocolError

_OCTETS_SHOWN: Final = 16


class ReplyCode(IntEnum):
    """Reply codes; `hard` tells those that end the connection."""

    REPLY_SUCCESS = 200
    CONTENT_TOO_LARGE = 311
    NO_ROUTE = 312
    NO_CONSUMERS = 313
    CONNECTION_FORCED = 320
    INVALID_PATH = 402
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    RESOURCE_ERROR = 506
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541

    @property
    def hard(self) -> bool:
        return self.value >= ReplyCode.FRAME_ERROR or self in {
            ReplyCode.CONNECTION_FORCED,
            ReplyCode.INVALID_PATH,
        }


class AmqpError(RemoteProtocolError):
    """Anything that is answered with a close; `method` is the (class << 16 | method) at fault."""

    def __init__(self, code: ReplyCode, explanation: str, method: int = 0) -> None:
        super().__init__(explanation)
        self.code = code
        self.explanation = explanation
        self.method = method

    @property
    def reply_text(self) -> str:
        return reply_text(self.code, self.explanation)


class HardError(AmqpError):
    """Ends the connection."""


class SoftError(AmqpError):
    """Ends the channel."""


def reply_text(code: ReplyCode, explanation: str) -> str:
    """`NOT_FOUND - no queue 'q' in vhost '/'`: the form that RabbitMQ's users search for."""
    return f"{code.name} - {explanation}"


def octets_shown(kind: int, payload: bytes) -> str:
    """`type 8, all octets = <<"x">>`: a frame as RabbitMQ's errors show it."""
    count = "all" if len(payload) <= _OCTETS_SHOWN else f"first {_OCTETS_SHOWN}"
    return f"type {kind}, {count} octets = {_binary(payload)}"


def _binary(octets: bytes) -> str:
    """The first octets as Erlang writes them."""
    head = octets[:_OCTETS_SHOWN]
    if head and all(0x20 <= octet < 0x7F for octet in head):
        return f'<<"{head.decode("ascii")}">>'
    return f"<<{','.join(str(octet) for octet in head)}>>"


def frame_error(explanation: str, method: int = 0) -> HardError:
    """501: the octets are no frame, or not those of the method that they name."""
    return HardError(ReplyCode.FRAME_ERROR, explanation, method)


def unknown_frame(kind: int, payload: bytes) -> HardError:
    """501: nothing can be made of the payload."""
    return frame_error(f"{octets_shown(kind, payload)}: unknown_frame")


def cannot_decode(fields: bytes, problem: str, method: int) -> HardError:
    """501: these are not the fields of this method."""
    return frame_error(f"cannot decode {_binary(fields)}: {problem}", method)


def malformed_utf8() -> HardError:
    """501: a name or a routing key is not UTF-8 (4.2.5.3); RabbitMQ blames no method for it."""
    return frame_error("Malformed UTF-8 in shortstr")


def syntax_error(explanation: str, method: int = 0) -> HardError:
    """502: a field has an impossible value."""
    return HardError(ReplyCode.SYNTAX_ERROR, explanation, method)


def too_early(size_max: int) -> HardError:
    """506: more was sent than is kept for a client that has not been let in."""
    return HardError(ReplyCode.RESOURCE_ERROR, f"more than {size_max} bytes before connection.tune")


def unexpected_frame(explanation: str, method: int = 0) -> HardError:
    """505: the frame is well-formed and comes at the wrong place."""
    return HardError(ReplyCode.UNEXPECTED_FRAME, explanation, method)


def command_invalid(explanation: str, method: int = 0) -> HardError:
    """503: the method does not fit the state of the connection."""
    return HardError(ReplyCode.COMMAND_INVALID, explanation, method)


def not_allowed(explanation: str, method: int = 0) -> HardError:
    """530: well-formed, understood and against the rules."""
    return HardError(ReplyCode.NOT_ALLOWED, explanation, method)


def not_implemented(explanation: str, method: int = 0) -> HardError:
    """540: understood and not offered."""
    return HardError(ReplyCode.NOT_IMPLEMENTED, explanation, method)


def precondition_failed(explanation: str, method: int = 0) -> SoftError:
    """406: ends the channel, as most refusals of resources do."""
    return SoftError(ReplyCode.PRECONDITION_FAILED, explanation, method)

"""STOMP destinations <-> queues, topics and subjects, as RabbitMQ's STOMP adapter writes them.

    /queue/NAME, NAME       a queue, created on demand
    /amq/queue/NAME         a queue that exists already
    /reply-queue/NAME       where a client waits for replies; for SEND
    /topic/A.B              a subject of the topic tree; subscribers may use * and, last, # or >
    /exchange/NAME[/KEY]    a topic (exchange) that exists already, and a subject in it
    /temp-queue/NAME        the connection's own queue
    /temp-topic/NAME        the connection's own subject of the topic tree

In names `%2F` stands for `/`. Everything else is refused with RabbitMQ's words.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeAlias

from adapters.stomp.frames import FrameError
from bridge.messaging.errors import UnsupportedOperation
from bridge.messaging.model import TOPIC_TREE
from bridge.messaging.subjects import (
    dotted_from_subject,
    pattern_from_dotted,
    subject_from_dotted,
)

TEMP_QUEUE: Final = "/temp-queue/"
TEMP_TOPIC: Final = "/temp-topic/"
REPLY_QUEUE: Final = "/reply-queue/"

KINDS: Final = (
    "/topic",
    "/exchange",
    "/queue",
    "/amq/queue",
    "/reply-queue",
    "/temp-queue",
    "/temp-topic",
)
_KNOWN: Final = frozenset(kind.replace("/", "") for kind in KINDS)
_ELSEWHERE: Final = {
    "remote-temp-queue": "ActiveMQ's remote temporary queues",
    "remote-temp-topic": "ActiveMQ's remote temporary topics",
    "dsub": "/dsub/ destinations",
}

ADDRESS_LENGTH_MAX: Final = 1024


class QueueAddress(NamedTuple):
    """`create`: made on demand. `reply`: gone with the client that waits there."""

    name: str
    create: bool = True
    reply: bool = False


class TopicAddress(NamedTuple):
    """`key` is as the client wrote it: a subject for SEND, a pattern for SUBSCRIBE."""

    topic: str
    key: str

    @property
    def subject(self) -> str:
        return subject_from_dotted(self.key)

    def pattern(self, kind: str) -> str:
        """What to subscribe to in a topic of this kind; ActiveMQ's `>` is `#`."""
        if kind != "topic":
            return self.subject
        words = self.key.split(".")
        return pattern_from_dotted(".".join(["#" if word == ">" else word for word in words]))


class TempQueueAddress(NamedTuple):
    """A queue that belongs to the connection that names it."""

    name: str


class TempTopicAddress(NamedTuple):
    """A subject that belongs to the connection that names it."""

    name: str

    def topic(self, session: str) -> TopicAddress:
        """The subject. As `$` begins it, MQTT's `#` does not see it."""
        return TopicAddress(TOPIC_TREE, f"$temp-topic.{session}.{self.name}")


Address: TypeAlias = QueueAddress | TopicAddress | TempQueueAddress | TempTopicAddress


def address_from_destination(destination: str) -> Address:
    """Raises `FrameError`, in RabbitMQ's words, and `UnsupportedOperation`."""
    if len(destination) > ADDRESS_LENGTH_MAX:
        raise FrameError(
            "Invalid destination",
            f"a destination of {len(destination)} characters, {ADDRESS_LENGTH_MAX} allowed\n",
        )
    if "/" not in destination:
        return _bare(destination)
    if destination.startswith(REPLY_QUEUE) and len(destination) > len(REPLY_QUEUE):
        # Reply queues of other protocols may have slashes in their names.
        return QueueAddress(destination[len(REPLY_QUEUE) :], create=False, reply=True)
    empty, kind, *rest = destination.split("/")
    if kind == "amq" and rest[:1] == ["queue"]:
        kind, rest = "amqqueue", rest[1:]
    if not empty:
        match kind, [_unescaped(part) for part in rest]:
            case "queue", [str(name)] if name:
                return QueueAddress(name)
            case "amqqueue", [str(name)] if name:
                return QueueAddress(name, create=False)
            case "topic", [str(key)] if key:
                return TopicAddress(TOPIC_TREE, key)
            case "exchange", [str(name)] if name:
                return TopicAddress(name, "")
            case "exchange", [str(name), str(key)] if name:
                return TopicAddress(name, key)
            case "temp-queue", [str(name)] if name:
                return TempQueueAddress(name)
            case "temp-topic", [str(name)] if name:
                return TempTopicAddress(name)
            case known, _ if known in _KNOWN:
                raise FrameError(
                    "Invalid destination",
                    f"'{''.join('/' + part for part in rest)}' is not a valid {kind} destination\n",
                )
            case other, _ if other in _ELSEWHERE:
                raise UnsupportedOperation(f"{_ELSEWHERE[other]} are not offered: '{destination}'")
    raise FrameError(
        "Unknown destination",
        f"'{destination}' is not a valid destination.\n"
        f"Valid destination types are: {', '.join(KINDS)}.\n",
    )


def _bare(name: str) -> QueueAddress:
    if not name:
        raise FrameError("Invalid destination", "Destination cannot be blank\n")
    return QueueAddress(_unescaped(name))


def destination_from_topic(topic: str | None, subject: str | None) -> str:
    """The destination that a message published to a topic shows."""
    key = dotted_from_subject(subject or "")
    if topic == TOPIC_TREE:
        return f"/topic/{_escaped(key)}"
    exchange = _escaped(topic or "")
    return f"/exchange/{exchange}/{_escaped(key)}" if key else f"/exchange/{exchange}"


def reply_to_from_temporary(destination: str, session: str) -> str:
    """What others are told for a `reply-to` of `/temp-topic/NAME`: a topic that they can send to.

    Raises like `address_from_destination`.
    """
    address = address_from_destination(destination)
    assert isinstance(address, TempTopicAddress)
    topic = address.topic(session)
    return destination_from_topic(topic.topic, topic.subject)


def destination_from_queue(address: Address, destination: str) -> str:
    """The destination that a message sent to a subscriber's queue shows: `/queue/NAME` however the
    subscriber wrote it, as with RabbitMQ. Only where there is no better name it is the subscriber's
    own `destination`.
    """
    return f"/queue/{_escaped(address.name)}" if isinstance(address, QueueAddress) else destination


def header_from_reply_to(reply_to: str) -> str:
    """A property `reply-to` as STOMP clients can send to it: a bare name, as AMQP clients and this
    gateway's temporary queues give it, is a reply queue.
    """
    return reply_to if reply_to.startswith("/") else REPLY_QUEUE + reply_to


def _unescaped(part: str) -> str:
    return part.replace("%2F", "/") if "%" in part else part


def _escaped(name: str) -> str:
    return name.replace("/", "%2F") if "/" in name else name

"""The port to the faces that topics have outside: with AWS, topics in SNS.

What goes to a topic here may have to go to its face as well, and what others publish to the face
comes in and is routed as any publish. A backend without faces has no such object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeAlias

from bridge.messaging.model import Delivery, QueueName, TopicName
from bridge.messaging.ports import Queue

_MARK: Final = "(topic)"


class TopicUse(NamedTuple):
    """What this side does with a topic. `subscribed`: somebody here gets what comes to it."""

    name: TopicName
    fifo: bool = False
    subscribed: bool = False


class TopicUses(Protocol):
    """The topics that there are."""

    @property
    def version(self) -> object:
        """Another one whenever a use may have changed."""
        ...

    def __iter__(self) -> Iterator[TopicUse]:
        """Those that somebody may want to hear from, or to be heard from, outside."""
        ...

    def __contains__(self, topic: TopicName) -> bool:
        """Whether there is such a topic, wanted or not."""
        ...


Incoming: TypeAlias = Callable[[TopicName, Sequence[Delivery], Callable[[int], None]], None]
"""Takes what was published to a topic's face, routes it, and settles the deliveries; then says how
many are done with.
"""


def face_name(topic: TopicName) -> QueueName:
    """The name of a topic's face among queues."""
    return QueueName(_MARK + topic.namespace, topic.name)


def topic_of_face(name: QueueName) -> TopicName | None:
    """The topic whose face has that name; None for names of queues."""
    if not name.namespace.startswith(_MARK):
        return None
    return TopicName(name.namespace.removeprefix(_MARK), name.name)


class Face(Queue, Protocol):
    """One topic's face, sent to as queues are."""

    @property
    def known(self) -> bool:
        """False until it was found out whether anybody outside wants it; `ready` waits for that."""
        ...


class TopicFaces(Protocol):
    """All faces."""

    def face(self, topic: TopicName, *, fifo: bool = False, always: bool = False) -> Face | None:
        """What to send messages to the topic to, besides the queues bound to it; None: nothing.

        Its name is `face_name`. `always`: whether anybody outside wants
        it or not. A face that is not wanted any more is `deleted`; sends to it do nothing.
        """
        ...

    async def ready(self, topic: TopicName) -> Face:
        """The face, once it is known; deleted where nobody wants it."""
        ...

    def follow(self, uses: TopicUses, changed: Callable[[], None], incoming: Incoming) -> None:
        """Once, before the first `face`: what topics there are, what to call when `face` would
        answer something else, and who takes what comes in.
        """
        ...

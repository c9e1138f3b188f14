"""From a topic and a subject to the queues behind it, through topics subscribed to topics and
alternates.

Each topic is visited once, so evaluation ends whatever the catalogue looks like. What the subject
alone decides is worked out once and remembered by the router; what depends on the message is left
as conditions, or, where a condition decides which topic comes next, makes the whole result good for
this message only (`dynamic`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bridge.messaging.faces import Face
from bridge.messaging.model import Message, QueueName, TopicName
from bridge.messaging.ports import Queue, Store
from bridge.routing.catalogue import Topic
from bridge.routing.exchanges import Entry, TopicIndex
from bridge.routing.topology import Topology


class Resolution:
    """Where messages of one subject go.

    `queues` take every message. `conditions` have to be asked for each, with the queue of each if
    it has one. `unknown` are faces of topics that may or may not be wanted. `absent` are subscribed
    queues that do not exist; once one does, the resolution is out of date. `only` is the queue
    where there is one, unconditional and for good: what the router's fast path looks for.
    `delayed`: the topic delays.
    """

    __slots__ = ("absent", "conditions", "delayed", "dynamic", "only", "queues", "unknown")

    def __init__(
        self,
        queues: tuple[Queue, ...],
        conditions: tuple[tuple[Entry, Queue | None], ...] = (),
        absent: tuple[QueueName, ...] = (),
        *,
        unknown: tuple[Face, ...] = (),
        dynamic: bool = False,
        delayed: bool = False,
    ) -> None:
        self.queues = queues
        self.conditions = conditions
        self.absent = absent
        self.unknown = unknown
        self.dynamic = dynamic or bool(unknown)
        self.delayed = delayed
        plain = len(queues) == 1 and not (conditions or absent or self.dynamic or delayed)
        self.only = queues[0] if plain else None

    def current(self, store: Store) -> bool:
        """Whether the queues still are what they were."""
        for queue in self.queues:
            if queue.deleted:
                return False
        for _, target in self.conditions:
            if target is not None and target.deleted:
                return False
        return all(store.queue(name) is None for name in self.absent)


def resolve(
    topology: Topology,
    store: Store,
    name: TopicName,
    message: Message,
    also: Sequence[str] = (),
) -> Resolution:
    """Follow a subject from topic `name`, and those in `also` with it; nothing where the topic does
    not exist.
    """
    subjects = (message.subject or "", *also)
    queues: dict[QueueName, Queue] = {}
    conditions: list[tuple[Entry, Queue | None]] = []
    absent: list[QueueName] = []
    faces: list[Face] = []
    dynamic = False
    pending = [name]
    seen = {name}
    while pending:
        topic = topology.topic(current := pending.pop())
        index = topology.index(current)
        if topic is None or index is None:
            continue
        dynamic = dynamic or index.looks_at_headers
        if (face := _face_of(topology, topic)) is not None:
            faces.append(face)
        hit = False
        for entry in _found(index, subjects, message):
            subscription = entry.subscription
            if entry.policy is not None and (subscription.destination or topic.alternate):
                dynamic = True
                if not entry.accepts(message):
                    continue
            hit = True
            if subscription.destination is not None:
                if subscription.destination not in seen:
                    seen.add(subscription.destination)
                    pending.append(subscription.destination)
                continue
            queue = None if subscription.queue is None else store.queue(subscription.queue)
            if subscription.queue is not None and queue is None:
                absent.append(subscription.queue)
                if subscription.outlives_queue:
                    # Whoever delivers elsewhere knows what becomes of its messages.
                    conditions.append((entry, None))
            elif entry.conditional:
                conditions.append((entry, queue))
            elif queue is not None:
                queues[queue.name] = queue
        if not hit and topic.alternate is not None:
            alternate = TopicName(current.namespace, topic.alternate)
            if alternate not in seen:
                seen.add(alternate)
                pending.append(alternate)
    unconditional = (*queues.values(), *[face for face in faces if face.known])
    unknown = tuple(face for face in faces if not face.known)
    # A queue that takes every message takes it once: the conditions on it have nothing to add.
    # Raw ones come first: a store keeps a body once that stands in sends next to one another.
    conditions.sort(key=lambda condition: not condition[0].subscription.raw)
    left = tuple((entry, queue) for entry, queue in conditions if queue not in unconditional)
    origin = topology.topic(name)
    delayed = origin is not None and origin.delayed
    return Resolution(
        unconditional, left, tuple(absent), unknown=unknown, dynamic=dynamic, delayed=delayed
    )


def _found(index: TopicIndex, subjects: Sequence[str], message: Message) -> Iterable[Entry]:
    if len(subjects) == 1:
        return index.find(subjects[0], message.headers)
    found = (entry for each in subjects for entry in index.find(each, message.headers))
    return {entry.subscription.id: entry for entry in found}.values()


def _face_of(topology: Topology, topic: Topic) -> Face | None:
    """What gets all that the topic gets, whatever is bound to it here."""
    if topology.faces is None or not topic.has_face:
        return None
    return topology.faces.face(topic.name, fifo=topic.fifo)

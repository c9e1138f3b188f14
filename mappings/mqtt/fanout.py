"""From publishes to sessions: what has to be stored, and what goes straight to a connection.

QoS 0 is never stored for a session: it is written to the connection, or dropped where there is none
or where that does not read. So a publish that only sessions want and nobody is to keep needs no
message and no store at all: a run of them is encoded once for each version and written to every
subscriber in one piece (0.8 us for each publish, one to one). All other publishes are routed like
every protocol's; then the sends to sessions that get QoS 0 are taken out of the unit of work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from adapters.mqtt.packets import Publish as MqttPublish
from adapters.mqtt.publishes import encode_publishes
from bridge.messaging.model import (
    TOPIC_TREE,
    Message,
    Origin,
    Publish,
    QueueName,
    TopicName,
    UnitOfWork,
)
from bridge.messaging.ports import Queue
from bridge.routing.resolution import resolve
from bridge.routing.rules import Rules
from mappings.mqtt.addresses import REMEMBERED_LENGTH_MAX, subject_from_topic
from mappings.mqtt.filters import Match
from mappings.mqtt.messages import FIXED, PROTOCOL, QOS, flags_of, message_from_publish
from mappings.mqtt.session import Session

if TYPE_CHECKING:
    from mappings.mqtt.sessions import Sessions

REMEMBERED_TARGETS_MAX: Final = 10_000


class Target:
    """What a topic means now. `live`: the sessions, where nobody else wants it; None: route it.

    `stored_only`: a publish of QoS 1 or 2 is stored for each that wants it, none gets it at once.
    `only`: the one queue that gets whatever is published, as the router would find (see
    `Resolution`); it may have been deleted since. `always`: the same, where a publish of QoS 1 or 2
    is stored there and nobody gets it at once.
    """

    __slots__ = ("always", "live", "only", "stored_only", "subject")

    def __init__(
        self,
        subject: str,
        live: tuple[tuple[Session, Match], ...] | None,
        *,
        only: Queue | None = None,
        stored_only: bool = False,
    ) -> None:
        self.subject = subject
        self.live = live
        self.only = only
        self.always = only if stored_only or live is None else None
        self.stored_only = stored_only


class Fanout:
    """See the head of this file."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._topology = sessions.services.topology
        self._router = sessions.services.router
        self._targets: dict[str, dict[str, Target]] = {}
        self._topology_version = -1
        self._rules: Rules | None = None
        self.dropped = 0
        """Deliveries of QoS 0 that found no connection that reads, and what sessions that are away
        could not keep.
        """

    def drop(self, count: int) -> None:
        """Count deliveries that nobody will have."""
        if count:
            self.dropped += count
            self._sessions.services.counters.dropped(PROTOCOL, count)

    def changed(self) -> None:
        """Filters or queues of a session are others now."""
        self._targets.clear()

    def targets(self, namespace: str) -> dict[str, Target]:
        """What is known of topics, as long as the caller does not yield to the loop."""
        version, rules = self._topology.version, self._router.rules
        if version != self._topology_version or rules is not self._rules:
            self._topology_version, self._rules = version, rules
            self._targets.clear()
        known = self._targets.get(namespace)
        if known is None:
            known = self._targets[namespace] = {}
        return known

    def target(self, namespace: str, topic: str) -> Target:
        """Find out what a topic means, and remember it."""
        services = self._sessions.services
        subject = subject_from_topic(topic)
        live: tuple[tuple[Session, Match], ...] | None = None
        only = None
        stored_only = False
        rules = services.router.rules
        if PROTOCOL not in rules.protocols or not rules.matching(Origin(PROTOCOL, topic)):
            name = TopicName(namespace, TOPIC_TREE)
            probe = Message("", b"", 0, topic=TOPIC_TREE, subject=subject)
            resolution = resolve(services.topology, services.store, name, probe)
            only = resolution.only
            if not (resolution.conditions or resolution.dynamic or resolution.delayed):
                live = self._live(resolution.queues, subject)
                stored_only = (
                    live is not None
                    and len(live) == len(resolution.queues)
                    and all(match.qos for _, match in live)
                )
        target = Target(subject, live, only=only, stored_only=stored_only)
        if len(topic) <= REMEMBERED_LENGTH_MAX:
            known = self.targets(namespace)
            if len(known) >= REMEMBERED_TARGETS_MAX:
                known.clear()
            known[topic] = target
        return target

    def _live(
        self, queues: Sequence[Queue], subject: str
    ) -> tuple[tuple[Session, Match], ...] | None:
        live: list[tuple[Session, Match]] = []
        for queue in queues:
            session = self._sessions.by_queue.get(queue)
            if session is None:
                return None
            match = session.filters.match(subject)
            if match is not None:
                live.append((session, match))
        return tuple(live)

    def write(
        self,
        live: tuple[tuple[Session, Match], ...],
        publishes: Sequence[MqttPublish],
        own: Session | None,
    ) -> None:
        """Write QoS 0 publishes of one topic, without properties, to their sessions."""
        shared: list[tuple[bytes, int] | None] = [None, None]
        for session, match in live:
            gateway = session.gateway
            if gateway is None or (session is own and match.own_qos is None):
                self.drop(len(publishes) if session is not own else 0)
                continue
            outbound = gateway.outbound
            version_5 = gateway.version_5
            if version_5 and not (outbound.shares_encodings and not match.identifiers):
                outbound.write_publishes(publishes, match)
                continue
            piece = shared[version_5]
            if piece is None:
                piece = shared[version_5] = _encoded(publishes, version_5=version_5)
            outbound.write_shared(piece[0], piece[1], len(publishes), publishes, match)

    def take_live(
        self, unit: UnitOfWork, start: int, own: Session | None = None
    ) -> list[int] | None:
        """Write what goes to connections at once, and leave in `unit` what is to be stored.

        Returns the former indexes of the sends that are left, None where all are.
        """
        by_queue = self._sessions.by_queue
        sends = unit.sends
        taken: list[int] = []
        for index in range(start, len(sends)):
            queue, message = sends[index]
            session = by_queue.get(queue)
            if session is None or message.subject is None:
                continue
            match = session.filters.match(message.subject)
            if match is None:
                taken.append(index)
                continue
            flags = flags_of(message)
            if flags & FIXED:
                continue
            qos = flags & QOS
            if session is own and match.own_qos != match.qos:
                taken += self._own(index, session, match, message, qos)
            elif not qos or not match.qos:
                taken.append(index)
                self._write_message(session, match, message)
        if not taken:
            return None
        gone = set(taken)
        kept = [index for index in range(len(sends)) if index not in gone]
        unit.sends = [sends[index] for index in kept]
        return kept

    def _own(
        self, index: int, session: Session, match: Match, message: Message, qos: int
    ) -> list[int]:
        """What a session published itself, where some of its filters have no-local."""
        if match.own_qos is None:
            return [index]
        if qos and match.own_qos:
            return []
        self._write_message(session, match._replace(qos=match.own_qos), message)
        return [index]

    def _write_message(self, session: Session, match: Match, message: Message) -> None:
        gateway = session.gateway
        if gateway is None:
            self.drop(1)
        else:
            gateway.outbound.write_message(message, match)

    def publish_alone(
        self,
        publish: MqttPublish,
        namespace: str,
        client_id: str | None,
        user: str | None,
        unit: UnitOfWork,
    ) -> frozenset[QueueName]:
        """Put one publish that no connection waits for into `unit`; returns missing queues."""
        services = self._sessions.services
        now_ms = services.clock.epoch_ms()
        subject = subject_from_topic(publish.topic)
        message_id = services.message_ids.next()
        message = message_from_publish(publish, subject, message_id, now_ms, user)
        origin = Origin(PROTOCOL, publish.topic, client_id, user)
        routed = services.router.route([Publish(origin, message, namespace)], unit)
        if routed.missing:
            return routed.missing
        self.take_live(unit, 0)
        if publish.retain:
            change = self._sessions.retained.change(namespace, publish.topic, message)
            if change is not None:
                unit.state.append(change)
        return frozenset()


def _encoded(publishes: Sequence[MqttPublish], *, version_5: bool) -> tuple[bytes, int]:
    """The publishes in one piece, and the size of the largest."""
    pieces: list[bytes] = []
    largest = 0
    for head, tail in encode_publishes(publishes, version_5=version_5):
        size = len(head) + len(tail)
        largest = max(largest, size)
        pieces += (head, tail)
    return b"".join(pieces), largest

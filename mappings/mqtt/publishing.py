"""From the publishes of a chunk to units of work, and from the store's answers to PUBACKs.

Hot path: a run of QoS 0 publishes for connections alone never gets further than `take`. Others
become messages; those of a chunk are routed and submitted together, and answered in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from adapters.mqtt.packets import Publish as MqttPublish
from adapters.mqtt.properties import NO_PROPERTIES
from adapters.mqtt.reason_codes import ReasonCode
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import Origin, Publish, QueueName, UnitOfWork
from bridge.routing.router import Routed
from mappings.mqtt.addresses import REMEMBERED_LENGTH_MAX, SYS_PREFIX
from mappings.mqtt.errors import reason_code_from
from mappings.mqtt.fanout import Target
from mappings.mqtt.messages import PROTOCOL, message_from_publish
from mappings.mqtt.permissions import may_publish

if TYPE_CHECKING:
    from mappings.gateway import Barrier
    from mappings.mqtt.gateway import MqttGateway

_FAILURE: Final = 0x80
ORIGINS_MAX: Final = 256
"""Topics of one connection whose origin is remembered."""


class Publishing:
    """The publishes of one connection."""

    __slots__ = (
        "_codes",
        "_gateway",
        "_next_id",
        "_origins",
        "_positions",
        "_publishes",
        "_rate_left",
        "_rate_since",
        "_received",
    )

    def __init__(self, gateway: MqttGateway) -> None:
        self._gateway = gateway
        self._next_id = gateway.services.message_ids.next
        self._origins: dict[str, Origin] = {}
        self._received: list[MqttPublish] = []
        """What is to be answered, in order."""
        self._publishes: list[Publish] = []
        self._positions: list[int] = []
        """For each of `_publishes` its index in `_received`."""
        self._codes: dict[int, int] = {}
        self._rate_left = 0
        self._rate_since = 0.0

    def start(self) -> None:
        """The client was let in."""
        self._rate_left = self._gateway.services.limits.mqtt_publish_rate_max

    # -- in

    def take(self, publishes: list[MqttPublish]) -> bool:
        """Write what needs no store, collect the rest; False where the connection ends."""
        gateway = self._gateway
        sessions = gateway.sessions
        self._count(publishes)
        if self._rate_left and not self._within_rate(len(publishes)):
            return False
        targets = sessions.fanout.targets(gateway.namespace)
        now_ms = gateway.services.clock.epoch_ms()
        own = gateway.session if gateway.session.filters.has_no_local else None
        permitted: str | None = None
        at, end = 0, len(publishes)
        while at < end:
            publish = publishes[at]
            topic = publish.topic
            if topic != permitted:
                if not self._permitted(topic):
                    at += 1
                    if not self._deny(publish):
                        return False
                    continue
                permitted = topic
            target = targets.get(topic) or sessions.fanout.target(gateway.namespace, topic)
            plain = target.live is not None and _is_plain(publish)
            first = at
            at += 1
            while (
                at < end
                and (publish := publishes[at]).topic == topic
                and plain is (target.live is not None and _is_plain(publish))
            ):
                at += 1
            run = publishes if at - first == end else publishes[first:at]
            if not plain:
                self._collect(run, target, now_ms)
            elif target.live:
                sessions.fanout.write(target.live, run, own)
        return True

    def _permitted(self, topic: str) -> bool:
        gateway = self._gateway
        return not topic.startswith(SYS_PREFIX) and may_publish(
            gateway.account, gateway.namespace, topic, gateway.client
        )

    def _deny(self, publish: MqttPublish) -> bool:
        """Not allowed: MQTT 5 says so. 3.x has no word for it: the client believes that it was
        taken, or (False) is disconnected, as the configuration wants it.
        """
        gateway = self._gateway
        if not gateway.version_5 and gateway.services.limits.mqtt_denied_publish_disconnects:
            gateway.end(ReasonCode.NOT_AUTHORIZED, "not allowed to publish")
            return False
        if publish.qos:
            self._codes[len(self._received)] = ReasonCode.NOT_AUTHORIZED
            self._received.append(publish)
        return True

    def _count(self, publishes: Sequence[MqttPublish]) -> None:
        size = 0
        for publish in publishes:
            size += len(publish.payload)
        figures = self._gateway.sessions.figures
        figures.messages_received += len(publishes)
        figures.publishes_received += len(publishes)
        figures.publish_bytes_received += size
        self._gateway.services.counters.published(PROTOCOL, len(publishes), size)

    def _within_rate(self, count: int) -> bool:
        """Hold the client to its publishes a second."""
        gateway = self._gateway
        limit = gateway.services.limits.mqtt_publish_rate_max
        now = gateway.services.clock.monotonic()
        if now - self._rate_since >= 1:
            self._rate_since, self._rate_left = now, limit + 1
        self._rate_left = max(self._rate_left - count, 1)
        if self._rate_left > 1 or count == 0:
            return True
        gateway.end(ReasonCode.MESSAGE_RATE_TOO_HIGH, f"more than {limit} publishes in a second")
        return False

    def _collect(self, run: list[MqttPublish], target: Target, now_ms: int) -> None:
        """Make messages of publishes to one topic."""
        gateway = self._gateway
        topic = run[0].topic
        origin = self._origins.get(topic)
        if origin is None:
            origin = Origin(PROTOCOL, topic, gateway.client, gateway.user)
            if len(topic) <= REMEMBERED_LENGTH_MAX:
                if len(self._origins) >= ORIGINS_MAX:
                    self._origins.clear()
                self._origins[topic] = origin
        count = len(self._received)
        self._positions.extend(range(count, count + len(run)))
        self._received += run
        subject, user, namespace = target.subject, gateway.user, gateway.namespace
        next_id, append = self._next_id, self._publishes.append
        for publish in run:
            message = message_from_publish(publish, subject, next_id(), now_ms, user)
            append(Publish(origin, message, namespace))

    # -- to the store

    def submit(self) -> Barrier | None:
        """Submit what was collected; a coroutine where queues have to be made first."""
        received, publishes = self._received, self._publishes
        if not received:
            return None
        gateway = self._gateway
        unit = UnitOfWork()
        routed = gateway.services.router.route(publishes, unit)
        if routed.missing:
            return self._make_queues(routed.missing)
        positions, codes = self._positions, self._codes
        self._received, self._publishes, self._positions, self._codes = [], [], [], {}
        for index, error in routed.failed.items():
            codes[positions[index]] = reason_code_from(error)
        for index in routed.unrouted:
            codes.setdefault(positions[index], ReasonCode.NO_MATCHING_SUBSCRIBERS)
        own = gateway.session if gateway.session.filters.has_no_local else None
        kept = gateway.sessions.fanout.take_live(unit, 0, own)
        size_bytes = self._take_states(received, publishes, positions, unit)
        answer = partial(self._answered, received, positions, codes, routed, kept)
        gateway.submit(unit, answer, messages=len(received), size_bytes=size_bytes)
        return None

    def _take_states(
        self,
        received: list[MqttPublish],
        publishes: list[Publish],
        positions: list[int],
        unit: UnitOfWork,
    ) -> int:
        """Put retained messages and packet ids of QoS 2 into the unit; returns the bytes."""
        session, outbound = self._gateway.session, self._gateway.outbound
        retained = self._gateway.sessions.retained
        exactly_once: list[int] = []
        size_bytes = 0
        for publish, position in zip(publishes, positions, strict=True):
            taken = received[position]
            size_bytes += len(taken.payload)
            if taken.retain:
                change = retained.change(publish.namespace, taken.topic, publish.message)
                if change is not None:
                    unit.state.append(change)
            if taken.qos == 2:
                exactly_once.append(taken.packet_id)
                if session.filters.by_text:
                    outbound.hold(taken.packet_id, publish.message)
        if exactly_once and session.outlives_process:
            unit.atomic = True
            unit.state += session.received(exactly_once)
        return size_bytes

    async def _make_queues(self, missing: frozenset[QueueName]) -> None:
        """Make the queues that routes name, then go on."""
        gateway = self._gateway
        for name in missing:
            try:
                await gateway.services.topology.ensure_queue(name)
            except MessagingError as error:
                gateway.fail_store(error)
                return
        # Also for a client that is gone by now: what it sent was taken.
        barrier = self.submit()
        if barrier is not None:
            await barrier

    # -- answers

    def _answered(
        self,
        received: list[MqttPublish],
        positions: list[int],
        codes: dict[int, int],
        routed: Routed,
        kept: list[int] | None,
        unit: UnitOfWork,
    ) -> list[bytes]:
        gateway = self._gateway
        if unit.error is not None:
            gateway.fail_store(unit.error)
            return []
        for send, error in unit.failures.items():
            publish = routed.publish_of(send if kept is None else kept[send])
            if unit.sends[send][0] not in gateway.sessions.by_queue:
                codes[positions[publish]] = reason_code_from(error)
        gateway.flush()
        if not codes:
            gateway.connection.acknowledge(received)
        elif gateway.version_5:
            gateway.connection.acknowledge(
                received, [codes.get(index, 0) for index in range(len(received))]
            )
            refused = [received[at].packet_id for at, code in codes.items() if code >= _FAILURE]
            gateway.outbound.let_go(refused)
        else:
            return self._answer_older(received, codes)
        return gateway.connection.data_to_send()

    def _answer_older(self, received: list[MqttPublish], codes: dict[int, int]) -> list[bytes]:
        """3.x cannot refuse a publish: what was not stored ends the connection, unanswered, so
        that it comes again; what is merely not allowed or wanted by nobody is acknowledged.
        """
        gateway = self._gateway
        harmless = (ReasonCode.NOT_AUTHORIZED, ReasonCode.NO_MATCHING_SUBSCRIBERS)
        bad = [index for index, code in codes.items() if code not in harmless]
        end = min(bad) if bad else len(received)
        gateway.connection.acknowledge(received[:end])
        data = gateway.connection.data_to_send()
        if bad:
            gateway.end(ReasonCode(codes[end]), "a publish could not be stored")
        return data


def _is_plain(publish: MqttPublish) -> bool:
    """Whether a publish can go without a message, if its target is `live`."""
    return not publish.qos and not publish.retain and publish.properties is NO_PROPERTIES

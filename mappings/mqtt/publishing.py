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
from bridge.messaging.errors import MessagingError, StoreUnavailable
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


class Chunk:
    """What was collected and not submitted yet.

    `positions` has for each of `publishes` its index in `received`, which is what is to be
    answered, in order; `codes` are answers that are known, by that index. `stateful`: some are
    retained, or of QoS 2. `live`: some may go to connections at once.
    """

    __slots__ = (
        "codes",
        "live",
        "positions",
        "publishes",
        "received",
        "size_bytes",
        "stateful",
    )

    def __init__(self) -> None:
        self.received: list[MqttPublish] = []
        self.publishes: list[Publish] = []
        self.positions: list[int] = []
        self.codes: dict[int, int] = {}
        self.size_bytes = 0
        self.stateful = False
        self.live = False

    def split(self, count: int) -> Chunk:
        """Take away all behind the first `count` publishes; returns it."""
        rest = Chunk()
        cut = self.positions[count]
        rest.received, self.received = self.received[cut:], self.received[:cut]
        rest.publishes, self.publishes = self.publishes[count:], self.publishes[:count]
        rest.positions = [each - cut for each in self.positions[count:]]
        del self.positions[count:]
        rest.codes = {at - cut: code for at, code in self.codes.items() if at >= cut}
        self.codes = {at: code for at, code in self.codes.items() if at < cut}
        rest.size_bytes = sum(len(each.message.body) for each in rest.publishes)
        self.size_bytes -= rest.size_bytes
        rest.stateful, rest.live = self.stateful, self.live
        return rest


class Publishing:
    """The publishes of one connection."""

    __slots__ = (
        "_chunk",
        "_gateway",
        "_next_id",
        "_origins",
        "_permissions_version",
        "_rate_left",
        "_rate_since",
    )

    def __init__(self, gateway: MqttGateway) -> None:
        self._gateway = gateway
        self._next_id = gateway.services.message_ids.next
        self._chunk = Chunk()
        self._origins: dict[str, Origin] = {}
        """By topics to which the client may publish."""
        self._permissions_version = -1
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
        origins = self._known_origins()
        at, end = 0, len(publishes)
        while at < end:
            publish = publishes[at]
            topic = publish.topic
            origin = origins.get(topic) or self._origin(topic)
            if origin is None:
                at += 1
                if not self._deny(publish):
                    return False
                continue
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
                self._collect(run, target, origin, now_ms)
                if own is not None or not target.stored_only:
                    self._chunk.live = True
            elif target.live:
                sessions.fanout.write(target.live, run, own)
        return True

    def _known_origins(self) -> dict[str, Origin]:
        """Those of topics that were met before, unless a reload has changed the permissions."""
        account = self._gateway.account
        if account is not None and account.permissions.version != self._permissions_version:
            self._permissions_version = account.permissions.version
            self._origins.clear()
        return self._origins

    def _origin(self, topic: str) -> Origin | None:
        """Where a publish to `topic` comes from; None where the client may not publish to it."""
        gateway = self._gateway
        if topic.startswith(SYS_PREFIX) or not may_publish(
            gateway.account, gateway.namespace, topic, gateway.client
        ):
            return None
        origin = Origin(PROTOCOL, topic, gateway.client, gateway.user)
        if len(topic) <= REMEMBERED_LENGTH_MAX:
            if len(self._origins) >= ORIGINS_MAX:
                self._origins.clear()
            self._origins[topic] = origin
        return origin

    def _deny(self, publish: MqttPublish) -> bool:
        """Not allowed: MQTT 5 says so. 3.x has no word for it: the client believes that it was
        taken, or (False) is disconnected, as the configuration wants it.
        """
        gateway = self._gateway
        if not gateway.version_5 and gateway.services.limits.mqtt_denied_publish_disconnects:
            gateway.end(ReasonCode.NOT_AUTHORIZED, "not allowed to publish")
            return False
        if publish.qos:
            chunk = self._chunk
            chunk.codes[len(chunk.received)] = ReasonCode.NOT_AUTHORIZED
            chunk.received.append(publish)
        return True

    def _count(self, publishes: Sequence[MqttPublish]) -> None:
        size = 0
        for publish in publishes:
            size += len(publish.payload)
        figures = self._gateway.sessions.figures
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

    def _collect(self, run: list[MqttPublish], target: Target, origin: Origin, now_ms: int) -> None:
        """Make messages of publishes to one topic."""
        gateway, chunk = self._gateway, self._chunk
        count = len(chunk.received)
        chunk.positions += range(count, count + len(run))
        chunk.received += run
        subject, user, namespace = target.subject, gateway.user, gateway.namespace
        next_id, append = self._next_id, chunk.publishes.append
        size_bytes = 0
        for publish in run:
            message = message_from_publish(publish, subject, next_id(), now_ms, user)
            append(Publish(origin, message, namespace))
            size_bytes += len(publish.payload)
            qos = publish.qos
            if qos != 1 or publish.retain:
                chunk.stateful = True
                if not qos:
                    chunk.live = True
        chunk.size_bytes += size_bytes

    # -- to the store

    def submit(self) -> Barrier | None:
        """Submit what was collected; a coroutine for what has to wait."""
        if not self._chunk.received:
            return None
        missing = self._submit_some()
        return self._submit_rest(missing) if self._chunk.received else None

    def _submit_some(self) -> frozenset[QueueName]:
        """Submit as many publishes as one unit takes, or none where queues are missing."""
        gateway, chunk = self._gateway, self._chunk
        unit = UnitOfWork()
        routed = gateway.route(chunk.publishes, unit)
        if routed.missing:
            return routed.missing
        self._chunk = chunk.split(routed.count) if routed.count < len(chunk.publishes) else Chunk()
        positions, codes = chunk.positions, chunk.codes
        for index, error in routed.failed.items():
            codes[positions[index]] = reason_code_from(error)
        for index in routed.unrouted:
            codes.setdefault(positions[index], ReasonCode.NO_MATCHING_SUBSCRIBERS)
        kept: list[int] | None = None
        if chunk.live:
            own = gateway.session if gateway.session.filters.has_no_local else None
            kept = gateway.sessions.fanout.take_live(unit, 0, own)
        if chunk.stateful:
            self._take_states(chunk, unit)
        answer = partial(self._answered, chunk, routed, kept)
        count = max(len(chunk.received), len(unit.sends))
        gateway.submit(unit, answer, messages=count, size_bytes=chunk.size_bytes)
        return routed.missing

    def _take_states(self, chunk: Chunk, unit: UnitOfWork) -> None:
        """Put retained messages and packet ids of QoS 2 into the unit."""
        session, outbound = self._gateway.session, self._gateway.outbound
        retained = self._gateway.sessions.retained
        exactly_once: list[int] = []
        hears_itself = bool(session.filters.by_text)
        received = chunk.received
        for publish, position in zip(chunk.publishes, chunk.positions, strict=True):
            taken = received[position]
            if taken.retain:
                change = retained.change(publish.namespace, taken.topic, publish.message)
                if change is not None:
                    unit.state.append(change)
            if taken.qos == 2:
                exactly_once.append(taken.packet_id)
                if hears_itself:
                    outbound.hold(taken.packet_id, publish.message)
        if exactly_once and session.outlives_process:
            unit.atomic = True
            unit.state += session.received(exactly_once)

    async def _submit_rest(self, missing: frozenset[QueueName]) -> None:
        """Make the queues that routes name; submit on as the store takes it.

        Also for a client that is gone by now: what it sent was taken.
        """
        gateway = self._gateway
        while self._chunk.received:
            # What sessions want may be different after a wait.
            self._chunk.live = True
            for name in missing:
                try:
                    await gateway.services.topology.ensure_queue(name)
                except MessagingError as error:
                    gateway.fail_store(error)
                    return
            await gateway.room()
            missing = self._submit_some()

    # -- answers

    def _answered(
        self, chunk: Chunk, routed: Routed, kept: list[int] | None, unit: UnitOfWork
    ) -> list[bytes]:
        gateway = self._gateway
        received, codes = chunk.received, chunk.codes
        refused = False
        if unit.error is not None:
            gateway.fail_store(unit.error)
            return []
        for send, error in unit.failures.items():
            publish = routed.publish_of(send if kept is None else kept[send])
            sessions = gateway.sessions.by_queue
            if unit.sends[send][0] not in sessions or isinstance(error, StoreUnavailable):
                code = codes[chunk.positions[publish]] = reason_code_from(error)
                refused = refused or code >= _FAILURE
        if refused:
            self._forget_refused(chunk)
        gateway.flush()
        if not codes:
            gateway.connection.acknowledge(received)
        elif gateway.version_5:
            gateway.connection.acknowledge(
                received, [codes.get(index, 0) for index in range(len(received))]
            )
            gateway.outbound.let_go(_refused_ids(chunk))
        else:
            return self._answer_older(received, codes)
        return gateway.connection.data_to_send()

    def _forget_refused(self, chunk: Chunk) -> None:
        """Packet ids whose messages were not stored are not known: they may come again."""
        session = self._gateway.session
        if chunk.stateful and session.outlives_process:
            packet_ids = _refused_ids(chunk, qos=2)
            self._gateway.sessions.store(*session.received(packet_ids, free=True))

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


def _refused_ids(chunk: Chunk, qos: int = 1) -> list[int]:
    """Of what is refused and has at least that QoS."""
    received = chunk.received
    refused = [received[index] for index, code in chunk.codes.items() if code >= _FAILURE]
    return [each.packet_id for each in refused if each.qos >= qos]


def _is_plain(publish: MqttPublish) -> bool:
    """Whether a publish can go without a message, if its target is `live`."""
    return not publish.qos and not publish.retain and publish.properties is NO_PROPERTIES

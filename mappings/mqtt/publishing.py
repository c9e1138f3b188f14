"""From the publishes of a chunk to units of work, and from the store's answers to PUBACKs.

Hot path: a run of QoS 0 publishes for connections alone never gets further than `take`. Others
become messages; those of a chunk are submitted together, and answered in order. To where they go
the router says, unless each has one queue that takes whatever comes (`Target.only`). A single
publish in its chunk, as clients send that wait for each answer, has a way of its own (`take_one`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from adapters.mqtt.packets import Publish as MqttPublish
from adapters.mqtt.properties import NO_PROPERTIES
from adapters.mqtt.reason_codes import ReasonCode
from bridge.messaging.errors import MessagingError, StoreUnavailable
from bridge.messaging.model import Origin, QueueName, UnitOfWork
from mappings.mqtt.addresses import REMEMBERED_LENGTH_MAX, SYS_PREFIX
from mappings.mqtt.chunk import FAILURE, Chunk
from mappings.mqtt.errors import reason_code_from
from mappings.mqtt.fanout import Target
from mappings.mqtt.messages import PROTOCOL, message_from_publish, messages_from_publishes
from mappings.mqtt.permissions import may_publish

if TYPE_CHECKING:
    from mappings.gateway import Barrier
    from mappings.mqtt.gateway import MqttGateway

ORIGINS_MAX: Final = 256
"""Topics of one connection whose origin is remembered."""


class Publishing:
    """The publishes of one connection."""

    __slots__ = (
        "_chunk",
        "_gateway",
        "_origins",
        "_permissions_version",
        "_rate_left",
        "_rate_since",
    )

    def __init__(self, gateway: MqttGateway) -> None:
        self._gateway = gateway
        self._chunk: Chunk | None = None
        """None where nothing is collected."""
        self._origins: dict[str, Origin] = {}
        """By topics to which the client may publish."""
        self._permissions_version = -1
        self._rate_left = 0
        self._rate_since = 0.0

    def start(self) -> None:
        """The client was let in."""
        self._rate_left = self._gateway.services.limits.mqtt_publish_rate_max

    # -- in

    def take_one(self, publishes: list[MqttPublish]) -> bool:
        """Submit what `MqttConnection.take_one` has taken in, where it is stored in one queue and
        goes nowhere else; False otherwise, with nothing done. Nothing may have been collected.
        """
        (publish,) = publishes
        gateway, topic = self._gateway, publish.topic
        target = gateway.sessions.fanout.targets(gateway.namespace).get(topic)
        if target is None or (queue := target.always) is None or queue.deleted:
            return False
        if publish.retain or self._rate_left or gateway.session.filters.has_no_local:
            return False
        if topic not in self._known_origins():
            return False
        services, size_bytes = gateway.services, len(publish.payload)
        gateway.counts.published += 1
        gateway.counts.published_bytes += size_bytes
        message_id, now_ms = services.message_ids.next(), services.clock.epoch_ms()
        message = message_from_publish(publish, target.subject, message_id, now_ms, gateway.user)
        unit = UnitOfWork()
        unit.sends = [(queue, message)]
        answer = partial(self._answered_one, publishes)
        gateway.submit(unit, answer, messages=1, size_bytes=size_bytes)
        return True

    def take(self, publishes: list[MqttPublish]) -> bool:
        """Write what needs no store, collect the rest; False where the connection ends."""
        gateway = self._gateway
        sessions = gateway.sessions
        size_bytes = _size_of(publishes)
        gateway.counts.published += len(publishes)
        gateway.counts.published_bytes += size_bytes
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
            live = target.live
            plain = not publish.qos and live is not None and _is_plain(publish)
            first = at
            for at in range(first + 1, end):
                publish = publishes[at]
                if publish.topic != topic or plain is not (
                    not publish.qos and live is not None and _is_plain(publish)
                ):
                    break
            else:
                at = end
            whole = at - first == end
            run = publishes if whole else publishes[first:at]
            if plain:
                if live:
                    sessions.fanout.write(live, run, own)
                continue
            chunk = self._collect(run, target, origin, now_ms)
            chunk.size_bytes += size_bytes if whole else _size_of(run)
            if own is not None or not target.stored_only:
                chunk.live = True
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
        gateway.log_refused(f"{gateway.client}: not allowed to publish to {publish.topic[:100]!r}")
        if publish.qos:
            self._collected().refuse(publish, ReasonCode.NOT_AUTHORIZED)
        return True

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

    def _collect(
        self, run: list[MqttPublish], target: Target, origin: Origin, now_ms: int
    ) -> Chunk:
        """Make messages of publishes to one topic."""
        gateway, chunk = self._gateway, self._collected()
        made = gateway.services.message_ids
        message_ids = made.take(len(run)) if len(run) > 1 else [made.next()]
        messages = messages_from_publishes(run, message_ids, target.subject, now_ms, gateway.user)
        queue = target.only
        chunk.add(run, messages, origin, None if queue is None or queue.deleted else queue)
        for publish in run:
            if publish.qos != 1 or publish.retain:
                chunk.stateful = True
                if not publish.qos:
                    chunk.live = True
        return chunk

    def _collected(self) -> Chunk:
        """What was collected, to add to."""
        if self._chunk is None:
            self._chunk = Chunk()
        return self._chunk

    # -- to the store

    def submit(self) -> Barrier | None:
        """Submit what was collected; a coroutine for what has to wait."""
        chunk = self._chunk
        if chunk is None:
            return None
        missing = self._submit_some(chunk)
        return self._submit_rest(missing) if self._chunk is not None else None

    def _submit_some(self, chunk: Chunk) -> frozenset[QueueName]:
        """Submit as many publishes as one unit takes, or none where queues are missing."""
        gateway = self._gateway
        unit = UnitOfWork()
        sends = chunk.sends()
        if sends is not None:
            unit.sends = sends
            self._chunk = None
        elif missing := self._route(chunk, unit):
            return missing
        if chunk.live:
            own = gateway.session if gateway.session.filters.has_no_local else None
            chunk.kept = gateway.sessions.fanout.take_live(unit, 0, own)
        if chunk.stateful:
            self._take_states(chunk, unit)
        count = max(len(chunk.received), len(unit.sends))
        gateway.submit(
            unit, partial(self._answered, chunk), messages=count, size_bytes=chunk.size_bytes
        )
        return frozenset()

    def _route(self, chunk: Chunk, unit: UnitOfWork) -> frozenset[QueueName]:
        """Find where the publishes go; what one unit does not take stays. Returns missing
        queues.
        """
        gateway = self._gateway
        publishes = chunk.to_route(gateway.namespace)
        routed = chunk.routed = gateway.route(publishes, unit)
        if not routed.missing:
            self._chunk = chunk.split(routed.count) if routed.count < len(publishes) else None
            for index, error in routed.failed.items():
                chunk.codes[chunk.position(index)] = reason_code_from(error)
            for index in routed.unrouted:
                code = ReasonCode.NO_MATCHING_SUBSCRIBERS
                chunk.codes.setdefault(chunk.position(index), code)
        return routed.missing

    def _take_states(self, chunk: Chunk, unit: UnitOfWork) -> None:
        """Put retained messages and packet ids of QoS 2 into the unit."""
        session, outbound = self._gateway.session, self._gateway.outbound
        retained = self._gateway.sessions.retained
        exactly_once: list[int] = []
        hears_itself = bool(session.filters.by_text)
        namespace, received = self._gateway.namespace, chunk.received
        if chunk.positions is not None:
            received = [received[position] for position in chunk.positions]
        for taken, message in zip(received, chunk.messages, strict=True):
            if taken.retain:
                change = retained.change(namespace, taken.topic, message)
                if change is not None:
                    unit.state.append(change)
            if taken.qos == 2:
                exactly_once.append(taken.packet_id)
                if hears_itself:
                    outbound.hold(taken.packet_id, message)
        if exactly_once and session.outlives_process:
            unit.atomic = True
            unit.state += session.received(exactly_once)

    async def _submit_rest(self, missing: frozenset[QueueName]) -> None:
        """Make the queues that routes name; submit on as the store takes it.

        Also for a client that is gone by now: what it sent was taken.
        """
        gateway = self._gateway
        while (chunk := self._chunk) is not None:
            # What sessions want may be different after a wait, and where all goes, too.
            chunk.live = True
            chunk.queues = None
            for name in missing:
                try:
                    await gateway.services.topology.ensure_queue(name)
                except MessagingError as error:
                    gateway.fail_store(error)
                    return
            await gateway.room()
            missing = self._submit_some(chunk)

    # -- answers

    def _answered_one(self, publishes: list[MqttPublish], unit: UnitOfWork) -> list[bytes]:
        if unit.error is None and not unit.failures:
            return self._gateway.connection.acknowledgements(publishes)
        return self._answered(Chunk(received=publishes), unit)

    def _answered(self, chunk: Chunk, unit: UnitOfWork) -> list[bytes]:
        gateway = self._gateway
        if unit.error is not None:
            gateway.fail_store(unit.error)
            return []
        if unit.failures:
            self._note_failures(chunk, unit)
        received, codes = chunk.received, chunk.codes
        if not codes:
            return gateway.connection.acknowledgements(received)
        gateway.flush()
        if not gateway.version_5:
            return self._answer_older(received, codes)
        gateway.connection.acknowledge(
            received, [codes.get(index, 0) for index in range(len(received))]
        )
        gateway.outbound.let_go(chunk.refused_ids())
        return gateway.connection.data_to_send()

    def _note_failures(self, chunk: Chunk, unit: UnitOfWork) -> None:
        """Find out what to answer where sends failed by themselves."""
        refused = False
        sessions = self._gateway.sessions.by_queue
        for send, error in unit.failures.items():
            index = send if chunk.kept is None else chunk.kept[send]
            if chunk.routed is not None:
                index = chunk.routed.publish_of(index)
            if unit.sends[send][0] not in sessions or isinstance(error, StoreUnavailable):
                code = chunk.codes[chunk.position(index)] = reason_code_from(error)
                refused = refused or code >= FAILURE
        if refused:
            self._forget_refused(chunk)

    def _forget_refused(self, chunk: Chunk) -> None:
        """Packet ids whose messages were not stored are not known: they may come again."""
        session = self._gateway.session
        if chunk.stateful and session.outlives_process:
            packet_ids = chunk.refused_ids(qos=2)
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


def _size_of(publishes: Sequence[MqttPublish]) -> int:
    size_bytes = 0
    for publish in publishes:
        size_bytes += len(publish.payload)
    return size_bytes


def _is_plain(publish: MqttPublish) -> bool:
    """Whether a publish can go without a message, if its target is `live`."""
    return not publish.qos and not publish.retain and publish.properties is NO_PROPERTIES

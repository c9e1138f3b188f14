"""What is sent to one client from queues; what goes past them is in `live.py`.

Hot path: a list of deliveries becomes one write. A delivery stays with its session's state until it
is acknowledged; those of QoS 0 are settled when they are written. What exceeds the client's quota
waits in `_held`, and what its own handshakes delay in `_unreleased`; the credit of the queues
bounds both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from adapters.mqtt.packets import Publish
from adapters.mqtt.properties import NO_PROPERTIES
from adapters.mqtt.publishes import encode_publishes
from bridge.messaging.model import Delivery, Message, UnitOfWork
from bridge.messaging.ports import Queue
from mappings.mqtt.addresses import begins_with_wildcard, hidden_from_wildcards
from mappings.mqtt.alike import deliver_alike, deliver_one, has_properties
from mappings.mqtt.consumer import MqttConsumer
from mappings.mqtt.filters import Filter, Match
from mappings.mqtt.live import LiveWriter
from mappings.mqtt.messages import FIXED, PROTOCOL, fixed, flags_of, publish_from_message, topic_of
from mappings.mqtt.resending import Resending
from mappings.mqtt.session import NO_SESSION, RELEASED, SENT, Session
from mappings.mqtt.unreleased import Ready, Unreleased

if TYPE_CHECKING:
    from mappings.mqtt.gateway import MqttGateway


_NO_PUBLISH: Final = Publish("", b"")
SHARED_CREDIT_MAX: Final = 100
"""Messages that one member of a shared subscription holds, so that the others get theirs."""


class Outbound(LiveWriter):
    """See the head of this file. One for each connection; `start` gives it the session."""

    __slots__ = (
        "_consumers",
        "_held",
        "_quota",
        "_resending",
        "_sends_alike",
        "_session",
        "_unreleased",
    )

    def __init__(self, gateway: MqttGateway) -> None:
        super().__init__(gateway)
        self._session = NO_SESSION
        self._consumers: dict[Queue, MqttConsumer] = {}
        self._held: list[Ready] = []
        self._resending = Resending(gateway)
        self._quota = 0
        self._sends_alike = False
        self._unreleased: Unreleased | None = None
        """None where the client has released all that it published."""

    def start(self, session: Session) -> None:
        """The connection was accepted."""
        self._session = session
        self._stopped = False
        self._quota = self._connection.send_quota
        self.shares_encodings = self._connection.shares_encodings
        self._sends_alike = self._connection.sends_alike

    # -- consumers

    async def consume(self, queue: Queue, shared: Filter | None = None) -> None:
        """Let a queue's messages come, within the quota."""
        if queue in self._consumers or self._stopped:
            return
        prefetch = self._quota if shared is None else min(self._quota, SHARED_CREDIT_MAX)
        consumer = self._consumers[queue] = MqttConsumer(self.gateway, queue, prefetch, shared)
        await consumer.open()
        consumer.start()

    def consumer(self, queue: Queue) -> MqttConsumer | None:
        return self._consumers.get(queue)

    def leave(self, queue: Queue) -> None:
        """Take nothing more from a queue; what waits for the quota goes back."""
        consumer = self._consumers.pop(queue, None)
        if consumer is None:
            return
        consumer.cancel()
        back: list[Delivery] = []
        for waiting in self._all_waiting():
            back += [delivery for _, delivery in waiting if delivery.queue is queue]
            waiting[:] = [each for each in waiting if each[1].queue is not queue]
        self.gateway.release(back)

    def forget(self, consumer: MqttConsumer) -> None:
        self._consumers.pop(consumer.queue, None)

    # -- deliveries

    def deliver(self, consumer: MqttConsumer, deliveries: Sequence[Delivery]) -> None:
        """Send deliveries; see `bridge.messaging.ports.Consumer`."""
        gateway, session = self.gateway, self._session
        if consumer.closed or self._stopped or gateway.lost or self._connection.closed:
            # `stop` may still be to come, behind what waits for the store.
            consumer.cancel()
            gateway.release(deliveries)
            return
        if (
            self._sends_alike
            and consumer.shared is None
            and self._unreleased is None
            and not (session.resumed or session.discarded or self._held)
        ):
            if len(deliveries) == 1 and deliver_one(gateway, deliveries[0]):
                return
            count = deliver_alike(gateway, deliveries)
            if count < len(deliveries):
                self._deliver_each(consumer, deliveries[count:])
        else:
            self._deliver_each(consumer, deliveries)

    def _deliver_each(self, consumer: MqttConsumer, deliveries: Sequence[Delivery]) -> None:
        """Send what is not alike, and find out what is to be settled or sent again."""
        gateway, session = self.gateway, self._session
        version_5 = gateway.version_5
        may_repeat = consumer.shared is None and not (session.resumed or session.discarded)
        now_ms = gateway.services.clock.epoch_ms()
        settled: list[Delivery] = []
        ready: list[Publish] = []
        tokens: list[Delivery] = []
        known: Message | None = None
        model = _NO_PUBLISH
        for delivery in deliveries:
            message = delivery.message
            if (
                known is not None
                and message.subject == known.subject
                and message.original is known.original
                and not (version_5 and has_properties(message))
            ):
                # All but its payload is as in the one before.
                publish = Publish(model.topic, message.body, model.qos, model.retain)
            else:
                found = self._publish(consumer, delivery, settled, now_ms)
                if found is None:
                    continue
                publish = found
                if may_repeat and _can_be_repeated(publish, message):
                    known, model = message, publish
            if not publish.qos:
                settled.append(delivery)
            ready.append(publish)
            tokens.append(delivery)
        if ready:
            if self._unreleased is not None:
                ready, tokens = self._unreleased.set_aside(ready, tokens)
            self._send_behind(ready, tokens)
        if settled:
            consumer.settle_written(settled)

    def _publish(
        self, consumer: MqttConsumer, delivery: Delivery, settled: list[Delivery], now_ms: int
    ) -> Publish | None:
        """What is sent for a delivery; None where it is `settled`, sent again or moved instead."""
        session, message, shared = self._session, delivery.message, consumer.shared
        if shared is not None:
            match = _match_of_shared(shared, message)
            unwanted = match is None
        else:
            match = None if message.subject is None else session.filters.match(message.subject)
            if (session.resumed or session.discarded) and self._resending.take(
                delivery, match, settled
            ):
                return None
            unwanted = match is None and message.subject is not None and not _is_fixed(message)
        if unwanted:
            settled.append(delivery)
            return None
        version_5 = self.gateway.version_5
        publish = publish_from_message(message, match, version_5=version_5, now_ms=now_ms)
        if publish.qos == 2 and shared is not None:
            self._transfer(delivery, publish, consumer)
            return None
        return publish

    def _send(self, publishes: list[Publish], deliveries: list[Delivery]) -> None:
        """Send what the quota allows, in order; hold the rest."""
        if self._connection.closed:
            self.gateway.release(deliveries)
            return
        quota = self._connection.send_quota
        qos = publishes[0].qos
        if qos and len(publishes) <= quota:
            for publish in publishes:
                if publish.qos != qos:
                    break
            else:
                if qos == 1:
                    self._send_at_once(publishes, deliveries, mixed=False)
                else:
                    self._send_exactly_once(publishes, deliveries)
                return
        at_once: list[Publish] = []
        tokens: list[Delivery] = []
        exactly_once: list[Publish] = []
        reserved: list[Delivery] = []
        for index, publish in enumerate(publishes):
            if publish.qos:
                if not quota:
                    self._held += zip(publishes[index:], deliveries[index:], strict=True)
                    break
                quota -= 1
            if publish.qos == 2:
                exactly_once.append(publish)
                reserved.append(deliveries[index])
            else:
                at_once.append(publish)
                tokens.append(deliveries[index])
        if at_once:
            self._send_at_once(at_once, tokens, mixed=any(not each.qos for each in at_once))
        if exactly_once:
            self._send_exactly_once(exactly_once, reserved)

    def _send_at_once(
        self, publishes: list[Publish], deliveries: list[Delivery], *, mixed: bool
    ) -> None:
        connection, gateway = self._connection, self.gateway
        if mixed or not self.shares_encodings:
            too_large = connection.send(publishes, deliveries)
        else:
            encoded = encode_publishes(publishes, version_5=gateway.version_5)
            too_large = connection.send_encoded(encoded, deliveries, 1)
        size = 0
        for publish in publishes:
            size += len(publish.payload)
        gateway.count_sent(len(publishes), size)
        gateway.flush()
        if too_large:
            # MQTT 5, 3.1.2.11.4 [MQTT-3.1.2-25]: as if it had been sent.
            gateway.settle([each for each in too_large if each is not None])

    def _send_exactly_once(self, publishes: list[Publish], deliveries: list[Delivery]) -> None:
        """Store the packet ids, then send (MQTT 5, 4.3.3)."""
        session = self._session
        packet_ids = self._connection.reserve(deliveries)
        if not session.outlives_process:
            self._send_reserved(publishes, packet_ids, deliveries)
            return

        def stored(unit: UnitOfWork) -> None:
            if unit.error is not None:
                self.gateway.fail_store(unit.error)
            elif not self._stopped and not self.gateway.lost:
                self._send_reserved(publishes, packet_ids, deliveries)

        unit = UnitOfWork(stored, answered=True)
        message_ids = [delivery.message.message_id for delivery in deliveries]
        unit.state += session.sent(SENT, packet_ids, message_ids)
        self.gateway.services.store.submit(unit)

    def _send_reserved(
        self, publishes: list[Publish], packet_ids: list[int], deliveries: list[Delivery]
    ) -> None:
        too_large = self._connection.send_reserved(publishes, packet_ids)
        self.gateway.count_sent(len(publishes), sum(len(each.payload) for each in publishes))
        self.gateway.flush()
        if too_large:
            by_id = dict(zip(packet_ids, deliveries, strict=True))
            self.gateway.settle([by_id[packet_id] for packet_id in too_large], too_large)

    def _transfer(self, delivery: Delivery, publish: Publish, consumer: MqttConsumer) -> None:
        """Move a message from a shared queue to the session's own: once its sending with QoS 2 has
        begun it is nobody else's (MQTT 5, 4.8.2 [MQTT-4.8.2-4]).
        """
        queue = self._session.queue
        assert queue is not None

        def done(unit: UnitOfWork) -> None:
            if unit.error is not None:
                self.gateway.fail_store(unit.error)
            consumer.add_credit(1)

        message = fixed(
            delivery.message,
            self.gateway.services.message_ids.next(),
            2,
            retain=publish.retain,
            identifiers=publish.properties.subscription_identifiers,
        )
        unit = UnitOfWork(done, atomic=True)
        unit.sends.append((queue, message))
        unit.deletes.append(delivery)
        self.gateway.services.store.submit(unit)

    # -- what the client answers

    def done(self, deliveries: Sequence[Delivery]) -> None:
        """Deliveries are over: their queues may send more."""
        if len(self._consumers) == 1:
            (consumer,) = self._consumers.values()
            consumer.add_credit(len(deliveries))
        else:
            counts: dict[Queue, int] = {}
            for delivery in deliveries:
                counts[delivery.queue] = counts.get(delivery.queue, 0) + 1
            for queue, count in counts.items():
                if queue in self._consumers:
                    self._consumers[queue].add_credit(count)
        if self._resending.held:
            self._resending.go_on()
        if self._held and not self._stopped:
            held, self._held = self._held, []
            self._send([publish for publish, _ in held], [delivery for _, delivery in held])

    def hold(self, packet_id: int, message: Message) -> None:
        """The client publishes this with QoS 2: where it comes back, it waits for `let_go`."""
        subject = message.subject
        if subject is not None and self._session.filters.match(subject) is not None:
            if self._unreleased is None:
                self._unreleased = Unreleased()
            self._unreleased.hold(packet_id, message.message_id)

    def let_go(self, packet_ids: Iterable[int]) -> None:
        """The client knows what became of its publishes."""
        unreleased = self._unreleased
        if unreleased is None or self._stopped:
            return
        ready = unreleased.let_go(packet_ids)
        if not unreleased:
            self._unreleased = None
        self._send_behind([publish for publish, _ in ready], [delivery for _, delivery in ready])

    def _send_behind(self, publishes: list[Publish], deliveries: list[Delivery]) -> None:
        """Send, but behind what is held."""
        if self._held:
            self._held += zip(publishes, deliveries, strict=True)
        elif publishes:
            self._send(publishes, deliveries)

    def received(self, packet_ids: list[int], tokens: list[Delivery | None]) -> None:
        """PUBRECs: the messages leave their queue, in one unit with what their ids are now."""
        session = self._session
        unit = UnitOfWork(atomic=session.outlives_process, answered=True)
        unit.deletes += [token for token in tokens if token is not None]
        if session.outlives_process:
            message_ids: list[str] = []
            by_id = {packet_id: name for name, packet_id in session.resumed.items()}
            # Where nodes share a store, deleting is a step of its own.
            gone_with_this = self.gateway.sessions.ownership is None
            for packet_id, token in zip(packet_ids, tokens, strict=True):
                message_id = ""
                if token is None:
                    message_id = by_id.get(packet_id, "")
                    if message_id:
                        session.resumed.pop(message_id)
                        session.discard((message_id,))
                elif not gone_with_this:
                    message_id = token.message.message_id
                message_ids.append(message_id)
            unit.state += session.sent(RELEASED, packet_ids, message_ids)

        def stored(unit: UnitOfWork) -> None:
            if unit.error is not None:
                # The client has them all the same, and they come again.
                session.discard(token.message.message_id for token in tokens if token is not None)
                self.gateway.fail_store(unit.error)
                return
            self._connection.release(packet_ids)
            self.gateway.flush()

        unit.done = stored
        self.gateway.services.store.submit(unit)
        self.gateway.counts.settled += len(unit.deletes)

    def completed(self, packet_ids: list[int], tokens: list[Delivery | None]) -> None:
        """PUBCOMPs: the ids are free."""
        if self._session.outlives_process:
            self.gateway.sessions.store(*self._session.completed(packet_ids))
        self.done([token for token in tokens if token is not None])

    # -- flow and the end

    def pause(self) -> None:
        for consumer in self._consumers.values():
            consumer.pause()

    def resume(self) -> None:
        self._write_late()
        for consumer in list(self._consumers.values()):
            consumer.resume()

    def stop(self) -> None:
        """Give everything back; what was sent keeps its packet id for the next connection."""
        if self._stopped:
            return
        self._stopped = True
        session, state = self._session, self._session.state
        for consumer in self._consumers.values():
            consumer.cancel()
        released: list[Delivery] = []
        for waiting in self._all_waiting():
            released += [delivery for _, delivery in waiting]
            waiting.clear()
        self._unreleased = None
        self._resending.stop()
        for awaiting in (state.awaiting_puback, state.awaiting_pubrec):
            for packet_id, delivery in list(awaiting.items()):
                if delivery is None:
                    continue
                released.append(delivery)
                if delivery.queue is session.queue:
                    session.resumed[delivery.message.message_id] = packet_id
                    awaiting[packet_id] = None
                else:
                    del awaiting[packet_id]
        for packet_id in state.awaiting_pubcomp:
            state.awaiting_pubcomp[packet_id] = None
        for packet_id in list(state.awaiting_release):
            # What is stored decides: the unit that takes it out of its queue is under way.
            state.awaiting_pubcomp[packet_id] = None
            del state.awaiting_release[packet_id]
        self._consumers.clear()
        self._late.clear()
        self.gateway.release(released)

    def _all_waiting(self) -> list[list[Ready]]:
        """The lists of what waits to be sent."""
        unreleased = self._unreleased
        return [self._held, *(() if unreleased is None else unreleased.waiting())]


def _can_be_repeated(publish: Publish, message: Message) -> bool:
    """Whether a message that differs in its payload alone is sent in the same way."""
    return (
        publish.properties is NO_PROPERTIES
        and message.subject is not None
        and message.original is not None
        and message.original[0] == PROTOCOL
    )


def _is_fixed(message: Message) -> bool:
    return flags_of(message) & FIXED != 0


def _match_of_shared(shared: Filter, message: Message) -> Match | None:
    hidden = message.subject is not None and hidden_from_wildcards(message.subject)
    if hidden and begins_with_wildcard(shared.pattern):
        return None
    identifiers = (shared.identifier,) if shared.identifier else ()
    return Match(topic_of(message), shared.qos, identifiers, shared.retain_as_published)

"""SUBSCRIBE and UNSUBSCRIBE: filters of a session, bindings of its queue, retained messages.

Both wait for the store, so they run as barriers of the gateway. A filter of a session that outlives
the process stands in the catalogue with its options, from where it is read at a start.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters.mqtt.packets import Subscribe, Unsubscribe
from adapters.mqtt.packets import Subscription as MqttSubscription
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.topic_filters import TopicFilter
from bridge.messaging.errors import AccessDenied, InvalidAddress, MessagingError, OverLimit
from bridge.messaging.matcher import LEVELS_MAX
from bridge.messaging.model import TOPIC_TREE, TopicName, UnitOfWork
from bridge.messaging.ports import Queue
from bridge.routing.catalogue import Subscription
from mappings.mqtt.addresses import SYS_PREFIX, digest_of, pattern_from_filter
from mappings.mqtt.filters import Filter
from mappings.mqtt.messages import QOS, fixed, flags_of
from mappings.mqtt.retained import Arrivals
from mappings.mqtt.session import Session

if TYPE_CHECKING:
    from mappings.mqtt.gateway import MqttGateway

RETAINED_BATCH: Final = 200
"""Retained messages that are read before other connections have their turn."""
_ARGUMENT: Final = "mqtt"


def filter_from_subscription(subscription: Subscription) -> Filter | None:
    """A session's filter as the catalogue holds it; None for what is no filter of a session."""
    held = subscription.arguments.get(_ARGUMENT)
    return None if held is None else msgspec.convert(held, Filter)


async def subscribe(gateway: MqttGateway, packet: Subscribe) -> None:
    """Add filters, answer, and send what is retained."""
    session = gateway.session
    identifiers = packet.properties.subscription_identifiers
    identifier = identifiers[0] if identifiers else 0
    existed = set(session.filters.by_text)
    wanted = [_filter(gateway, each, identifier) for each in packet.subscriptions]
    queue = await _queue_for(gateway, wanted)
    results = await asyncio.gather(
        *(_subscribe_one(gateway, each, queue) for each in wanted), return_exceptions=True
    )
    try:
        await _answer(gateway, packet, wanted, results, existed)
    except BaseException:
        for each in results:
            if isinstance(each, Arrivals):
                gateway.sessions.retained.sent(each)
        raise


async def _answer(
    gateway: MqttGateway,
    packet: Subscribe,
    wanted: list[Filter],
    results: Sequence[Arrivals | BaseException | None],
    existed: set[str],
) -> None:
    """SUBACK, and what follows it."""
    session = gateway.session
    codes: list[int] = []
    reason = None
    for each, result in zip(wanted, results, strict=True):
        if isinstance(result, MessagingError):
            codes.append(gateway.filter_code(result))
            reason = str(result)
        elif isinstance(result, BaseException):
            raise result
        else:
            codes.append(each.qos)
    if session.shared and session.outlives_process:
        await gateway.stored(session.record())
    gateway.connection.answer_subscribe(packet.packet_id, codes, reason_string=reason)
    gateway.flush()
    for each, arrivals in zip(wanted, results, strict=True):
        if not isinstance(arrivals, Arrivals):
            continue
        if each.retain_handling <= (0 if each.text in existed else 1):
            _send_retained(gateway, each, arrivals)
        else:
            gateway.sessions.retained.sent(arrivals)
    if session.queue is not None:
        await gateway.outbound.consume(session.queue)
    for each, code in zip(wanted, codes, strict=True):
        if each.share_name and code <= ReasonCode.GRANTED_QOS_2:
            queue = gateway.sessions.shared.queue(session, each)
            if queue is not None:
                await gateway.outbound.consume(queue, each)


def _filter(gateway: MqttGateway, wanted: MqttSubscription, identifier: int) -> Filter:
    """The filter that is asked for. A bridge does not want back what it sends, and wants RETAIN."""
    topic_filter: TopicFilter = wanted.topic_filter
    bridge = gateway.is_bridge
    return Filter(
        topic_filter.text,
        pattern_from_filter(topic_filter.pattern),
        wanted.qos,
        wanted.no_local or (bridge and topic_filter.share_name is None),
        wanted.retain_as_published or bridge,
        wanted.retain_handling,
        identifier,
        topic_filter.share_name or "",
    )


async def _queue_for(gateway: MqttGateway, wanted: Sequence[Filter]) -> Queue | MessagingError:
    """The session's queue, or why there is none; one for all filters, as making it takes time."""
    try:
        if any(gateway.may_subscribe(each.text) for each in wanted):
            return await gateway.sessions.queue_of(gateway.session)
    except MessagingError as error:
        return error
    return AccessDenied("not allowed to subscribe")


async def _subscribe_one(
    gateway: MqttGateway, wanted: Filter, queue: Queue | MessagingError
) -> Arrivals | None:
    """What arrives from now on; None for a shared subscription, which gets nothing retained."""
    session, limits = gateway.session, gateway.services.limits
    known = wanted.text in session.filters.by_text or wanted.text in session.shared
    if not gateway.may_subscribe(wanted.text):
        reason = f"not allowed to subscribe to {wanted.text[:100]!r}"
        gateway.log_refused(f"{gateway.client}: {reason}")
        raise AccessDenied(reason)
    count = len(session.filters) + len(session.shared)
    if not known and count >= limits.mqtt_subscriptions_max:
        raise OverLimit(f"{limits.mqtt_subscriptions_max} subscriptions are allowed in a session")
    if wanted.pattern.count(".") >= LEVELS_MAX:
        raise InvalidAddress(f"{LEVELS_MAX} levels are allowed in a topic filter")
    if isinstance(queue, MessagingError):
        raise queue
    if wanted.share_name:
        await _subscribe_shared(gateway, wanted)
        return None
    old = session.filters.put(wanted)
    gateway.sessions.fanout.changed()
    if wanted.text.startswith(SYS_PREFIX):
        gateway.sessions.figures.wanted()
    arrivals = gateway.sessions.retained.expect(session.namespace, wanted.pattern)
    try:
        await _bind(gateway, queue, wanted)
    except MessagingError:
        gateway.sessions.retained.sent(arrivals)
        session.filters.remove(wanted.text)
        if old is not None:
            session.filters.put(old)
        gateway.sessions.fanout.changed()
        raise
    return arrivals


async def _subscribe_shared(gateway: MqttGateway, wanted: Filter) -> None:
    session, groups = gateway.session, gateway.sessions.shared
    queue = await groups.join(session, wanted)
    session.shared[wanted.text] = wanted
    consumer = gateway.outbound.consumer(queue)
    if consumer is not None:
        consumer.shared = wanted


async def _bind(gateway: MqttGateway, queue: Queue, wanted: Filter) -> None:
    """Subscribe the session's queue to the topic tree, with the options where they are to last."""
    session = gateway.session
    arguments: dict[str, Any] = {}
    if session.outlives_process:
        arguments = {_ARGUMENT: msgspec.to_builtins(wanted)}
    await gateway.services.topology.subscribe(
        TopicName(session.namespace, TOPIC_TREE),
        queue.name,
        pattern=wanted.pattern,
        ephemeral=not session.outlives_process,
        arguments=arguments,
        subscription_id=_subscription_id(session, wanted.text),
    )


def _subscription_id(session: Session, text: str) -> str:
    assert session.queue is not None
    return f"mqtt-{digest_of(session.queue.name.namespace, session.queue.name.name, text)}"


async def unsubscribe(gateway: MqttGateway, packet: Unsubscribe) -> None:
    """Remove filters and answer."""
    session = gateway.session
    codes: list[int] = []
    for topic_filter in packet.topic_filters:
        text = topic_filter.text
        shared = session.shared.pop(text, None)
        if shared is not None:
            await gateway.sessions.shared.leave(session, shared)
            if session.outlives_process:
                await gateway.stored(session.record())
        elif session.filters.remove(text) is not None:
            gateway.sessions.fanout.changed()
            await gateway.services.topology.unsubscribe(_subscription_id(session, text))
        else:
            codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
            continue
        codes.append(ReasonCode.SUCCESS)
    gateway.connection.answer_unsubscribe(packet.packet_id, codes)
    gateway.flush()


# -- retained messages


def _send_retained(gateway: MqttGateway, wanted: Filter, arrivals: Arrivals) -> None:
    """Put what is retained for a new subscription into the session's queue, part by part.

    There it waits for the client's quota like everything else, and survives like it. The first part
    goes at once, before what is published from now on.
    """
    sessions, session = gateway.sessions, gateway.session
    if wanted.text.startswith(SYS_PREFIX):
        sessions.figures.send_current(gateway, wanted)
    topics = sessions.retained.topics(session.namespace, wanted.text)
    part = list(islice(topics, RETAINED_BATCH))
    if len(part) < RETAINED_BATCH:
        sessions.retained.sent(arrivals)
    if not part:
        return

    def stored(unit: UnitOfWork) -> None:
        if unit.error is not None:
            sessions.retained.sent(arrivals)
            gateway.fail_store(unit.error)
        elif len(part) == RETAINED_BATCH:
            gateway.services.spawn(_send_more_retained(gateway, wanted, topics, arrivals))

    unit = UnitOfWork(stored, answered=True)
    _take_retained(gateway, wanted, part, arrivals, unit)
    gateway.services.store.submit(unit)


async def _send_more_retained(
    gateway: MqttGateway, wanted: Filter, topics: Iterator[str], arrivals: Arrivals
) -> None:
    session = gateway.session
    try:
        while not gateway.lost and not session.ended:
            part = list(islice(topics, RETAINED_BATCH))
            unit = UnitOfWork()
            _take_retained(gateway, wanted, part, arrivals, unit)
            if unit.sends or unit.state:
                await gateway.committed(unit)
            if len(part) < RETAINED_BATCH:
                return
    finally:
        gateway.sessions.retained.sent(arrivals)


def _take_retained(
    gateway: MqttGateway,
    wanted: Filter,
    topics: Iterable[str],
    arrivals: Arrivals,
    unit: UnitOfWork,
) -> None:
    sessions, session, services = gateway.sessions, gateway.session, gateway.services
    queue = session.queue
    if queue is None or queue.deleted:
        return
    now_ms = services.clock.epoch_ms()
    identifiers = (wanted.identifier,) if wanted.identifier else ()
    for topic in topics:
        if topic in arrivals.topics:
            continue
        message = sessions.retained.message(session.namespace, topic, now_ms)
        if message is None:
            change = sessions.retained.forget_expired(session.namespace, topic, now_ms)
            if change is not None:
                unit.state.append(change)
            continue
        qos = min(flags_of(message) & QOS, wanted.qos)
        copy = fixed(
            message, services.message_ids.next(), qos, retain=True, identifiers=identifiers
        )
        unit.sends.append((queue, copy))

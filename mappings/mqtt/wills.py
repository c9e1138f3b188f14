"""Wills: what a CONNECT leaves to be published when its client goes without a word (MQTT 5, 3.1.2.5
and 3.1.3.2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from adapters.mqtt.packets import Publish, Will
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    Carrier,
    Properties,
    decode_property_values,
    encode_property_values,
)
from adapters.mqtt.wire import Reader
from bridge.messaging.model import QueueName, UnitOfWork
from mappings.mqtt.session import Session, WillRecord

if TYPE_CHECKING:
    from mappings.mqtt.sessions import Sessions

_PROPERTIES_MAX = 100_000


def record_from_will(will: Will | None) -> WillRecord | None:
    """A will as it is kept."""
    if will is None:
        return None
    properties = will.properties
    expiry = properties.message_expiry_interval
    carried = msgspec.structs.replace(
        properties, will_delay_interval=None, message_expiry_interval=None
    )
    return WillRecord(
        will.topic,
        will.payload,
        will.qos,
        will.retain,
        properties.will_delay_interval or 0,
        encode_property_values(carried, Carrier.PUBLISH),
        expiry,
    )


def publish_from_will(will: WillRecord) -> Publish:
    """The PUBLISH that the client would have sent."""
    properties = NO_PROPERTIES
    if will.properties or will.expiry_seconds is not None:
        reader = Reader(will.properties, 0, len(will.properties))
        values = decode_property_values(reader, Carrier.PUBLISH, _PROPERTIES_MAX)
        properties = Properties(**values, message_expiry_interval=will.expiry_seconds)
    return Publish(will.topic, will.payload, will.qos, will.retain, False, 0, properties)


def publish_will(sessions: Sessions, session: Session) -> None:
    """Publish a session's will and forget it. Nobody waits for it, so missing queues are made
    behind its back and what fails then is dead-lettered or gone with its routes.
    """
    will, session.will, session.will_at = session.will, None, 0
    if will is None:
        return
    unit = UnitOfWork()
    missing = sessions.fanout.publish_alone(
        publish_from_will(will), session.namespace, session.client_id, session.user, unit
    )
    if missing:
        sessions.services.spawn(_publish_later(sessions, session, will, missing))
        return
    if session.outlives_process and not session.ended:
        unit.state.append(session.record())
    sessions.services.store.submit(unit)


async def _publish_later(
    sessions: Sessions, session: Session, will: WillRecord, missing: frozenset[QueueName]
) -> None:
    for name in missing:
        await sessions.services.topology.ensure_queue(name)
    session.will = will
    publish_will(sessions, session)

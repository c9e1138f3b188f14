"""CONNECT: who is it, which session, and what CONNACK says (MQTT 5, 3.1.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.mqtt.packets import Connect, ProtocolVersion
from adapters.mqtt.properties import Properties
from adapters.mqtt.reason_codes import ReasonCode
from bridge.messaging.errors import AuthenticationFailed, MessagingError
from mappings.mqtt.addresses import SYS_PREFIX
from mappings.mqtt.errors import reason_code_from
from mappings.mqtt.permissions import may_publish
from mappings.mqtt.session import KIND_RECEIVED, NEVER_SECONDS, Session
from mappings.mqtt.wills import record_from_will

if TYPE_CHECKING:
    from mappings.mqtt.gateway import MqttGateway


async def connect(gateway: MqttGateway, packet: Connect) -> None:
    """Answer CONNECT; runs as the first barrier of every connection."""
    services, transport, connection = gateway.services, gateway.transport, gateway.connection
    gateway.version_5 = packet.version is ProtocolVersion.V5
    gateway.is_bridge = packet.bridge
    gateway.client = packet.client_id or f"auto-{services.message_ids.next()}"
    gateway.user = packet.user_name
    try:
        user = await services.accounts.authenticate(
            packet.user_name,
            packet.password,
            loopback=transport.loopback,
            certificate_user=transport.certificate_user,
        )
    except AuthenticationFailed as error:
        services.counters.login_failed(gateway.protocol)
        _refuse(gateway, ReasonCode.BAD_USER_NAME_OR_PASSWORD, str(error))
        return
    if gateway.lost or connection.closed:
        return
    gateway.account, gateway.user = user, user.name
    if not user.may_open(gateway.namespace):
        _refuse(gateway, ReasonCode.NOT_AUTHORIZED, f"no access to {gateway.namespace!r}")
        return
    will = packet.will
    if will is not None and not may_publish(user, gateway.namespace, will.topic, gateway.client):
        _refuse(gateway, ReasonCode.NOT_AUTHORIZED, "not allowed to publish the will")
        return
    expiry = _expiry_seconds(gateway, packet)
    try:
        session, present = await gateway.sessions.open(
            gateway, gateway.client, clean_start=packet.clean_start, expiry_seconds=expiry
        )
        gateway.entered(session)
        await _store(gateway, session, packet)
    except MessagingError as error:
        _refuse(gateway, reason_code_from(error), str(error))
        return
    if gateway.lost or connection.closed or gateway.finishing:
        gateway.leave_session()
        return
    connection.accept(
        session=session.state,
        session_present=present,
        properties=_answer(gateway, packet, expiry),
    )
    if not connection.accepted:
        text = "the client has no room for CONNACK"
        gateway.note_refusal(text)
        gateway.finish(text)
        gateway.leave_session()
        return
    gateway.outbound.start(session)
    gateway.flush()
    gateway.greet(connection.next_events())
    await _resume(gateway, session)


async def _store(gateway: MqttGateway, session: Session, packet: Connect) -> None:
    """Note who is connected and with which will."""
    session.user = gateway.user
    session.will = record_from_will(packet.will)
    session.will_at = 0
    session.disconnected_at = 0
    if session.outlives_process:
        await gateway.stored(*session.entered())
        state = gateway.services.state
        session.settle_received(lambda key: state.get(KIND_RECEIVED, key))


async def _resume(gateway: MqttGateway, session: Session) -> None:
    """Let come what waits for the session."""
    if session.queue is not None:
        await gateway.outbound.consume(session.queue)
    for each in session.shared.values():
        queue = gateway.sessions.shared.queue(session, each)
        if queue is not None:
            await gateway.outbound.consume(queue, each)
    if any(text.startswith(SYS_PREFIX) for text in session.filters.by_text):
        gateway.sessions.figures.wanted()


def _expiry_seconds(gateway: MqttGateway, packet: Connect) -> int:
    """How long the session lasts after the connection; 3.x knows no end, or with Clean Session
    none at all.
    """
    if packet.version is not ProtocolVersion.V5:
        return 0 if packet.clean_start else NEVER_SECONDS
    wanted = packet.properties.session_expiry_interval or 0
    return min(wanted, gateway.services.limits.mqtt_session_expiry_seconds_max)


def _answer(gateway: MqttGateway, packet: Connect, expiry: int) -> Properties:
    """The properties of CONNACK, beside those that the adapter adds."""
    if packet.version is not ProtocolVersion.V5:
        return Properties()
    limits = gateway.services.limits
    wanted = packet.properties.session_expiry_interval or 0
    keep_alive = packet.keep_alive_seconds
    longest = limits.mqtt_keep_alive_seconds_max
    return Properties(
        assigned_client_identifier=None if packet.client_id else gateway.client,
        session_expiry_interval=expiry if expiry != wanted else None,
        server_keep_alive=longest if longest and not 0 < keep_alive <= longest else None,
    )


def _refuse(gateway: MqttGateway, reason: ReasonCode, text: str) -> None:
    gateway.note_refusal(text)
    gateway.connection.refuse(reason, reason_string=text[:200])
    gateway.finish(text)

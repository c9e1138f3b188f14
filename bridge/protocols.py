"""The table of protocols: what can be spoken, on which ports, and who makes its gateways.

A protocol is added by one folder in `adapters/`, one in `mappings/`, and one line in `PROTOCOLS`.
What speaks it is imported when the first listener does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bridge.auth import User
from bridge.auth.checks import Sending
from bridge.config import ListenerOptions, ProtocolPorts
from bridge.net.driver import GatewayFactory
from bridge.net.websocket import WebSocketOptions
from mappings.amqp091 import permissions as amqp_permissions
from mappings.gateway import Services
from mappings.mqtt import permissions as mqtt_permissions
from mappings.stomp import permissions as stomp_permissions

MakeFactory = Callable[[Services, ListenerOptions], GatewayFactory]
RequirePublish = Callable[[User, Sending], None]
"""Raises `AccessDenied` where the user may not publish that by the protocol."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyProtocol(ProtocolPorts):
    """A protocol that gateways speak; `websocket` says how it is framed there."""

    make_factory: MakeFactory
    require_publish: RequirePublish
    websocket: WebSocketOptions | None = None


def _stomp(services: Services, options: ListenerOptions) -> GatewayFactory:
    from mappings.stomp.gateway import StompGateway

    return lambda transport: StompGateway(services, transport, options)


def _amqp(services: Services, options: ListenerOptions) -> GatewayFactory:
    from mappings.amqp091.gateway import AmqpGateway

    return lambda transport: AmqpGateway(services, transport, options)


def _mqtt(services: Services, options: ListenerOptions) -> GatewayFactory:
    from mappings.mqtt.gateway import MqttGateway
    from mappings.mqtt.sessions import sessions_of

    sessions_of(services)
    return lambda transport: MqttGateway(services, transport, options)


def _mqtt_packets(data: bytes) -> list[bytes]:
    from adapters.mqtt.wire import packets_of

    return packets_of(data)


AWS: Final = ProtocolPorts("aws", "SQS and SNS API", 4566, 4566)
METRICS: Final = ProtocolPorts("metrics", "Metrics and health", 15692, 15692, authenticated=False)
MANAGEMENT: Final = ProtocolPorts("management", "Management API", 15672, 15671)
LEGACY: Final = {
    protocol.name: protocol
    for protocol in (
        LegacyProtocol(
            name="mqtt",
            title="MQTT",
            port=1883,
            tls_port=8883,
            websocket_port=15675,
            make_factory=_mqtt,
            require_publish=mqtt_permissions.require_publish,
            websocket=WebSocketOptions(
                subprotocols=("mqtt", "mqttv3.1"), required=False, cut=_mqtt_packets
            ),
        ),
        LegacyProtocol(
            name="amqp",
            title="AMQP 0-9-1",
            port=5672,
            tls_port=5671,
            make_factory=_amqp,
            require_publish=amqp_permissions.require_publish,
        ),
        LegacyProtocol(
            name="stomp",
            title="STOMP",
            port=61613,
            tls_port=61614,
            websocket_port=15674,
            make_factory=_stomp,
            require_publish=stomp_permissions.require_publish,
            websocket=WebSocketOptions(
                subprotocols=("v12.stomp", "v11.stomp", "v10.stomp"), required=False, text=True
            ),
        ),
    )
}
PROTOCOLS: Final[dict[str, ProtocolPorts]] = {
    **LEGACY,
    **{ports.name: ports for ports in (AWS, MANAGEMENT, METRICS)},
}
"""All that a listener can name as its protocol."""

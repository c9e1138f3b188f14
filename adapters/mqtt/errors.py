"""What a peer can do wrong, with the reason code that says so."""

from __future__ import annotations

from adapters.errors import RemoteProtocolError
from adapters.mqtt.reason_codes import ReasonCode


class MqttError(RemoteProtocolError):
    """The peer broke MQTT; `reason` is what MQTT 5 has to be told (4.13)."""

    def __init__(self, reason: ReasonCode, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def malformed(message: str) -> MqttError:
    """A packet that cannot be parsed (MQTT 5, 1.2 "Malformed Packet")."""
    return MqttError(ReasonCode.MALFORMED_PACKET, message)


def protocol_error(message: str) -> MqttError:
    """Well-formed, and not allowed (MQTT 5, 1.2 "Protocol Error")."""
    return MqttError(ReasonCode.PROTOCOL_ERROR, message)

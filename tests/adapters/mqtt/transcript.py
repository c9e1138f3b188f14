"""A server driven by bytes in hexadecimal, and one with a client; in memory, on a set clock."""

from __future__ import annotations

from typing import TypeVar

from adapters.mqtt.client import ClientConnection
from adapters.mqtt.events import ConnectAnswered, ConnectRequested, Event, PublishesReceived
from adapters.mqtt.limits import DEFAULT_LIMITS, ConnectionLimits
from adapters.mqtt.packets import Connack, Connect, ProtocolVersion, Publish
from adapters.mqtt.properties import NO_PROPERTIES, Properties
from adapters.mqtt.server import ServerConnection
from adapters.mqtt.session import SessionState

E = TypeVar("E")

CONNECTS = {
    ProtocolVersion.V3_1: "10 0f 0006 4d5149736470 03 02 000a 0001 70",
    ProtocolVersion.V3_1_1: "10 0d 0004 4d515454 04 02 000a 0001 70",
    ProtocolVersion.V5: "10 0e 0004 4d515454 05 02 000a 00 0001 70",
}


class Transcript:
    """`send` takes packets in hexadecimal; `answers` gives what came back in the same form."""

    def __init__(self, limits: ConnectionLimits = DEFAULT_LIMITS) -> None:
        self.now = 0.0
        self.connection = ServerConnection(limits, self.now)

    def send(self, *packets: str) -> list[Event]:
        self.connection.receive_data(bytes.fromhex("".join(packets)), self.now)
        return self.connection.next_events()

    def send_one(self, kind: type[E], *packets: str) -> E:
        (event,) = self.send(*packets)
        assert isinstance(event, kind), event
        return event

    def answers(self) -> str:
        return b"".join(self.connection.data_to_send()).hex(" ")

    def connect(
        self,
        version: ProtocolVersion,
        session: SessionState | None = None,
        properties: Properties = NO_PROPERTIES,
    ) -> str:
        """Connect as client `p` with a keep-alive of 10 s; returns the CONNACK."""
        self.send_one(ConnectRequested, CONNECTS[version])
        self.connection.accept(session=session, properties=properties)
        return self.answers()


class Pair:
    """A client pushed against a server in memory."""

    def __init__(
        self,
        connect: Connect,
        *,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        client_session: SessionState | None = None,
        server_session: SessionState | None = None,
        properties: Properties = NO_PROPERTIES,
    ) -> None:
        self.now = 0.0
        self.client = ClientConnection(connect, self.now, session=client_session)
        self.server = ServerConnection(limits, self.now)
        (event,) = self.to_server()
        assert event == ConnectRequested(connect)
        self.server.accept(
            session=server_session,
            session_present=server_session is not None,
            properties=properties,
        )
        answered = self.to_client()[0]
        assert isinstance(answered, ConnectAnswered)
        self.connack: Connack = answered.connack

    def to_server(self) -> list[Event]:
        self.server.receive_data(b"".join(self.client.data_to_send()), self.now)
        return self.server.next_events()

    def to_client(self) -> list[Event]:
        self.client.receive_data(b"".join(self.server.data_to_send()), self.now)
        return self.client.next_events()


def connected(
    version: ProtocolVersion = ProtocolVersion.V3_1_1, session: SessionState | None = None
) -> Transcript:
    """A client that was let in."""
    transcript = Transcript()
    transcript.connect(version, session)
    return transcript


def publishes_in(events: list[Event]) -> list[Publish]:
    found: list[Publish] = []
    for event in events:
        assert isinstance(event, PublishesReceived), event
        found += event.publishes
    return found

"""A client and a server that talk in memory, on a clock that the test moves."""

from __future__ import annotations

from typing import Any

from adapters.amqp091 import events
from adapters.amqp091.client import ClientConnection, MethodReceived
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import decode_method
from adapters.amqp091.server import ServerConnection

CAPABILITIES = {
    "consumer_cancel_notify": True,
    "authentication_failure_close": True,
    "connection.blocked": True,
}


def frames_of(data: bytes) -> list[tuple[int, int, bytes]]:
    """(type, channel, payload) of every frame in `data`."""
    frames = []
    while data:
        size = int.from_bytes(data[3:7], "big")
        assert data[7 + size] == 0xCE
        frames.append((data[0], int.from_bytes(data[1:3], "big"), data[7 : 7 + size]))
        data = data[8 + size :]
    return frames


class Conversation:
    """Both ends; `up` carries the client's octets to the server, `down` the server's."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.now = 100.0
        self.limits = limits or ConnectionLimits()
        self.server = ServerConnection(
            self.limits, self.now, name="c1", server_properties={"product": "Landbridge"}
        )
        self.client = ClientConnection(ConnectionLimits(), self.now)
        self._mistakes: list[events.ConnectionRefused | events.ChannelRefused] = []

    def up(self) -> list[Any]:
        data = b"".join(self.client.data_to_send())
        if data:
            self.server.receive_data(data, self.now)
        return self.happened()

    def down(self) -> list[MethodReceived]:
        data = b"".join(self.server.data_to_send())
        if data:
            self.client.receive_data(data, self.now)
        return self.client.next_events()

    def raw(self, data: bytes) -> list[Any]:
        self.server.receive_data(data, self.now)
        return self.happened()

    def happened(self) -> list[Any]:
        """The server's events; its mistakes are remembered for `refusal`."""
        happened = self.server.next_events()
        self._mistakes += [
            event
            for event in happened
            if isinstance(event, events.ConnectionRefused | events.ChannelRefused)
        ]
        return happened

    def ask(self, channel: int, name: str, **fields: Any) -> list[Any]:
        """Send one method; returns the server's events."""
        self.client.send(channel, name, **fields)
        return self.up()

    def sent(self) -> list[str]:
        """Names of the methods that the server has queued, contents left out."""
        data = b"".join(self.server.data_to_send())
        return [decode_method(payload).name for kind, _, payload in frames_of(data) if kind == 1]

    def start(self, *, capabilities: dict[str, bool] | None = None) -> None:
        assert self.up() == []
        (start,) = self.down()
        assert start.name == "Connection.Start"
        properties = {"capabilities": CAPABILITIES if capabilities is None else capabilities}
        (event,) = self.ask(
            0,
            "Connection.StartOk",
            client_properties=properties,
            mechanism="PLAIN",
            response=b"\0guest\0guest",
            locale="en_US",
        )
        assert isinstance(event, events.AuthenticationRequested)

    def open(
        self, *, heartbeat: int = 0, frame_max: int = 131_072, channel_max: int = 2047, **start: Any
    ) -> Conversation:
        self.start(**start)
        self.server.authenticated()
        (tune,) = self.down()
        assert tune.name == "Connection.Tune"
        self.client.tuned(channel_max, frame_max, heartbeat, self.now)
        (event,) = self.ask(0, "Connection.Open", virtual_host="/")
        assert event == events.OpenRequested("/")
        self.server.opened()
        (opened,) = self.down()
        assert opened.name == "Connection.OpenOk"
        return self

    def channel(self, number: int = 1) -> Conversation:
        assert self.ask(number, "Channel.Open") == [events.ChannelOpenRequested(number)]
        self.server.channel_opened(number)
        (opened,) = self.down()
        assert (opened.channel, opened.name) == (number, "Channel.OpenOk")
        return self

    def consume(self, tag: str = "c", *, channel: int = 1, no_ack: bool = False) -> Any:
        (event,) = self.ask(channel, "Basic.Consume", queue="q", consumer_tag=tag, no_ack=no_ack)
        self.server.answer(event)
        (answer,) = self.down()
        assert answer.name == "Basic.ConsumeOk"
        return event.consumer

    def refuse_mistakes(self) -> list[Any]:
        """Answer the client's mistakes as a gateway would; returns the tokens of their channels."""
        tokens: list[Any] = []
        mistakes, self._mistakes = self._mistakes, []
        for mistake in mistakes:
            if isinstance(mistake, events.ChannelRefused):
                tokens += self.server.refuse_channel(mistake.channel, mistake.error)
            else:
                self.server.refuse(mistake.error, self.now)
        return tokens

    def refusal(self) -> tuple[str, int, str]:
        """The close that the server sends: its method, code and text."""
        self.refuse_mistakes()
        (method,) = [m for m in self.down() if m.name.endswith(".Close")]
        return method.name, method.fields["reply_code"], method.fields["reply_text"]


def opened(channels: int = 1, **options: Any) -> Conversation:
    conversation = Conversation(options.pop("limits", None)).open(**options)
    for number in range(1, channels + 1):
        conversation.channel(number)
    return conversation

"""The server's end of an AMQP connection: its handshake, its channels, and how they end.

AMQP 0-9-1, 1.3 to 1.9 and 2.2, with RabbitMQ's extensions and its wording of errors. States are in
`_State`; a method that does not fit its state is an error of the connection. Gateways answer an
event with `answer`, except where the event names a method of its own. A mistake is an event in its
place, so that what came before it can be answered before the close; from then on its channel or
connection takes in nothing but what belongs to closing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from adapters.amqp091 import events
from adapters.amqp091.answers import ChannelAnswers
from adapters.amqp091.channel import Channel, ChannelState
from adapters.amqp091.codec import ACK, PUBLISH, capability, decode_acks
from adapters.amqp091.errors import (
    AmqpError,
    HardError,
    ReplyCode,
    SoftError,
    not_allowed,
    octets_shown,
    reply_text,
    unexpected_frame,
)
from adapters.amqp091.limits import FRAME_OVERHEAD, FRAME_SIZE_MIN, ConnectionLimits
from adapters.amqp091.methods import (
    FRAME_METHOD,
    INDEX,
    PROTOCOL_HEADER,
    PROTOCOL_HEADER_0_9,
    Method,
    decode_method,
    truncate_short_string,
)
from adapters.amqp091.requests import request_of, second_open
from adapters.errors import LocalProtocolError

SERVER_CAPABILITIES: Final = {
    "publisher_confirms": True,
    "exchange_exchange_bindings": True,
    "basic.nack": True,
    "consumer_cancel_notify": True,
    "connection.blocked": True,
    "consumer_priorities": True,
    "authentication_failure_close": True,
    "per_consumer_qos": True,
    "direct_reply_to": True,
}


class _State(Enum):
    """What the connection waits for; the values are RabbitMQ's words, which its errors show."""

    STARTING = "starting"
    AUTHENTICATING = "securing"
    TUNING = "tuning"
    OPENING = "opening"
    RUNNING = "running"
    CLOSE_RECEIVED = "close received"
    CLOSING = "closing"
    CLOSED = "closed"


_ENDING: Final = frozenset({_State.CLOSE_RECEIVED, _State.CLOSING, _State.CLOSED})
_CLOSED_BY_CLIENT: Final = "the client closed the connection"


class ServerConnection(ChannelAnswers):
    """One client's connection. `name` makes the consumer tags of this connection its own."""

    def __init__(
        self,
        limits: ConnectionLimits,
        now: float,
        *,
        name: str,
        server_properties: Mapping[str, object],
        mechanisms: Sequence[str] = ("PLAIN", "AMQPLAIN"),
    ) -> None:
        super().__init__(limits, now)
        self._name = name
        self._server_properties = server_properties
        self._mechanisms = tuple(mechanisms)
        self._state = _State.STARTING
        self._mistaken = False
        self._client_closes = False
        self._give_up(now + limits.handshake_seconds_max, "handshake_timeout")

    @property
    def running(self) -> bool:
        return self._state is _State.RUNNING

    @property
    def _answering(self) -> bool:
        return self._state is _State.RUNNING or self._state is _State.CLOSE_RECEIVED

    # Answers of the connection class

    def authenticated(self) -> None:
        """Accept the credentials and propose limits (connection.tune); there may be events then."""
        if not self._awaits_authentication():
            return
        self._state = _State.TUNING
        self._send(
            0,
            "Connection.Tune",
            channel_max=self.limits.channel_max,
            frame_max=self.limits.frame_size_max,
            heartbeat=self.limits.heartbeat_seconds,
        )
        self._go_on()

    def authentication_failed(self, explanation: str, now: float) -> None:
        """Refuse the credentials, in words only for a client that understands them."""
        if not self._awaits_authentication():
            return
        if capability(self.client_properties, "authentication_failure_close"):
            self.refuse(HardError(ReplyCode.ACCESS_REFUSED, explanation), now)
        else:
            self.finish(reply_text(ReplyCode.ACCESS_REFUSED, explanation))

    def opened(self) -> None:
        """Answer connection.open."""
        if self._answering and not self._finished:
            self._send(0, "Connection.OpenOk")

    def refuse(self, error: AmqpError, now: float) -> bool:
        """Close the connection with an error; what comes until its close-ok is discarded.

        False where it ends already: a close of the client's own is what is answered then.
        """
        if self._finished or self._state in _ENDING:
            return False
        text = truncate_short_string(error.reply_text)
        if not self._preamble_done:
            self.finish(text)
            return True
        self._state = _State.CLOSING
        self._send(
            0,
            "Connection.Close",
            reply_code=int(error.code),
            reply_text=text,
            class_id=error.method >> 16,
            method_id=error.method & 0xFFFF,
        )
        if self._client_closes:
            self._send(0, "Connection.CloseOk")
            self.finish(text)
        else:
            self._give_up(now + self.limits.close_seconds_max, text)
            self._go_on()
        return True

    def closed(self, now: float) -> None:
        """Answer connection.close. As in RabbitMQ it is the client that ends the transport."""
        if self._finished:
            return
        self._send(0, "Connection.CloseOk")
        self._state = _State.CLOSED
        self._stop_heartbeats()
        self._give_up(now + self.limits.close_seconds_max, _CLOSED_BY_CLIENT)

    def secret_updated(self) -> None:
        """Answer connection.update-secret."""
        self._send(0, "Connection.UpdateSecretOk")

    def block(self, reason: str) -> None:
        """Tell a client that wants to know that publishes are not taken for now."""
        if self.running and capability(self.client_properties, "connection.blocked"):
            self._send(0, "Connection.Blocked", reason=truncate_short_string(reason))

    def unblock(self) -> None:
        """Tell it that they are taken again."""
        if self.running and capability(self.client_properties, "connection.blocked"):
            self._send(0, "Connection.Unblocked")

    def receive_eof(self, now: float) -> None:
        if self._state is _State.CLOSED:
            self.finish(_CLOSED_BY_CLIENT)
        else:
            self.finish("the client closed the connection without connection.close")

    # Frames in

    def _preamble(self, header: bytes, now: float) -> bool:
        if header not in (PROTOCOL_HEADER, PROTOCOL_HEADER_0_9):
            # 4.2.2: whatever else it is (AMQP 1.0, its SASL layer, HTTP), name what is spoken here.
            self._output.append(PROTOCOL_HEADER)
            self.finish(f"bad protocol header {header!r}")
            return False
        self._send(
            0,
            "Connection.Start",
            version_major=0,
            version_minor=9,
            server_properties=self._server_properties,
            mechanisms=" ".join(self._mechanisms),
            locales="en_US",
        )
        return True

    def _broken(self, error: AmqpError, now: float) -> None:
        match self._state:
            case _State.CLOSING:
                # The peer cannot be understood any longer; its close-ok is not waited for.
                self.finish(error.reply_text)
            case _State.CLOSE_RECEIVED | _State.CLOSED:
                # What the client sends behind its own close means nothing (1.4.2.6).
                pass
            case _ if not self._preamble_done:
                self.finish(error.reply_text)
            case _ if not self._mistaken:
                self._mistaken = True
                self._events.append(events.ConnectionRefused(error))

    def _fast(self, data: bytes, position: int, number: int) -> int:
        channel = self.channels.get(number)
        if (
            channel is None
            or channel.state is not ChannelState.OPEN
            or channel.content is not None
            or self._state is not _State.RUNNING
            or self._mistaken
            or len(data) - position < 11
        ):
            return position
        (index,) = INDEX.unpack_from(data, position + 7)
        if index == PUBLISH:
            return self._publishes.decode(data, position, channel, self._events)
        if index == ACK and not channel.transactional:
            tokens: list[Any] = []
            reached = decode_acks(data, position, channel, tokens)
            if tokens:
                self._events.append(events.AcksReceived(number, tokens))
            return reached
        return position

    def _frame(self, kind: int, number: int, payload: bytes, now: float) -> None:
        if self._state is _State.CLOSE_RECEIVED or self._state is _State.CLOSED:
            return
        if number == 0:
            if kind != FRAME_METHOD:
                raise unexpected_frame(octets_shown(kind, payload))
            self._connection_method(decode_method(payload), now)
            return
        if self._state is _State.CLOSING or self._mistaken:
            return
        if self._state is not _State.RUNNING:
            raise _wrong_state(self._state, 0)
        channel = self.channels.get(number)
        if channel is not None and channel.state is not ChannelState.OPEN:
            if kind == FRAME_METHOD:
                self._closing_channel_method(channel, decode_method(payload))
            return
        try:
            if kind == FRAME_METHOD:
                self._channel_method(channel, number, decode_method(payload))
            elif channel is None:
                raise HardError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'")
            else:
                self._contents.take(kind, channel, payload, self._events)
        except SoftError as error:
            if channel is not None:
                self._contents.abandon(channel)
                channel.state = ChannelState.REFUSED
            self._events.append(events.ChannelRefused(number, error))

    def _connection_method(self, method: Method, now: float) -> None:
        if self._state is _State.CLOSING:
            if method.name == "Connection.Close":
                self._send(0, "Connection.CloseOk")
            if method.name in {"Connection.Close", "Connection.CloseOk"}:
                self.finish(self._give_up_reason)
            return
        if self._mistaken:
            self._client_closes |= method.name == "Connection.Close"
            return
        fields = method.fields
        match method.name, self._state:
            case "Connection.StartOk", _State.STARTING:
                self._start_ok(fields)
            case "Connection.TuneOk", _State.TUNING:
                self._tune_ok(fields, method.number, now)
            case "Connection.Open", _State.OPENING:
                self._state = _State.RUNNING
                self._give_up(None)
                self._events.append(events.OpenRequested(fields["virtual_host"]))
            case "Connection.Close", _:
                self._state = _State.CLOSE_RECEIVED
                self._events.append(
                    events.CloseRequested(fields["reply_code"], fields["reply_text"])
                )
            case "Connection.UpdateSecret", _State.RUNNING:
                self._events.append(
                    events.UpdateSecretRequested(fields["new_secret"], fields["reason"])
                )
            case _:
                raise _wrong_state(self._state, method.number)

    def _start_ok(self, fields: dict[str, Any]) -> None:
        self._state = _State.AUTHENTICATING
        # Clients need not wait for tune: what they send at once is read when it was sent.
        self._hold()
        self.client_properties = fields["client_properties"]
        self.mechanism = fields["mechanism"]
        self._events.append(
            events.AuthenticationRequested(
                fields["mechanism"],
                fields["response"],
                fields["client_properties"],
                fields["locale"],
            )
        )

    def _tune_ok(self, fields: dict[str, Any], index: int, now: float) -> None:
        frame_max, channel_max = fields["frame_max"], fields["channel_max"]
        limits = self.limits
        _check_negotiated("frame_max", FRAME_SIZE_MIN, frame_max, limits.frame_size_max, index)
        _check_negotiated("channel_max", 1, channel_max, limits.channel_max, index)
        self._use_frame_size(frame_max)
        self.channel_max = channel_max
        self._publishes.body_size_max = min(frame_max - FRAME_OVERHEAD, limits.message_size_max)
        self._start_heartbeats(fields["heartbeat"], now)
        self._state = _State.OPENING

    def _closing_channel_method(self, channel: Channel, method: Method) -> None:
        """Of a channel that either side closes, only the ends of the handshake count (1.4.2.7).

        Clients with several threads send more behind a close of their own; RabbitMQ ignores it.
        """
        number = channel.number
        match method.name:
            case "Channel.Open" if channel.state is ChannelState.CLOSE_RECEIVED or (
                channel.state is ChannelState.REFUSED and channel.client_closes
            ):
                raise second_open(method)
            case "Channel.Close" if channel.state is ChannelState.CLOSING:
                channel.client_closes = True
                self._send(number, "Channel.CloseOk")
            case "Channel.Close":
                channel.client_closes = True
            case "Channel.CloseOk" if channel.state is ChannelState.CLOSING:
                del self.channels[number]
            case "Channel.Open" if channel.client_closes:
                # Both have closed it, so that nothing can be lost by not waiting for a close-ok.
                del self.channels[number]
                self._open_channel(number, method)

    def _channel_method(self, channel: Channel | None, number: int, method: Method) -> None:
        if channel is None:
            self._open_channel(number, method)
            return
        if channel.content is not None:
            raise unexpected_frame(
                "expected content header for class 60, got non content header frame instead"
                if channel.content.properties is None
                else "expected content body, got non content body frame instead",
                PUBLISH,
            )
        if method.name == "Channel.Close":
            channel.state = ChannelState.CLOSE_RECEIVED
            self._events.append(
                events.ChannelCloseRequested(
                    number, method.fields["reply_code"], method.fields["reply_text"]
                )
            )
            return
        event = request_of(channel, method)
        if event is not None:
            self._events.append(event)

    def _open_channel(self, number: int, method: Method) -> None:
        if method.name == "Channel.CloseOk":
            # The answer to a close that crossed the client's own.
            return
        if method.name != "Channel.Open":
            raise HardError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'", method.number)
        # As in RabbitMQ it is their number that is bounded, not what they are called.
        if len(self.channels) >= self.channel_max:
            raise not_allowed(
                f"number of channels opened ({len(self.channels)}) has reached the negotiated"
                f" channel_max ({self.channel_max})"
            )
        self.channels[number] = Channel(number, self._name, self._payload_max, self._output)
        self._events.append(events.ChannelOpenRequested(number))

    # Small things

    def _awaits_authentication(self) -> bool:
        """False where the connection has ended while the credentials were looked at."""
        if self._finished or self._state in _ENDING:
            return False
        if self._state is not _State.AUTHENTICATING:
            raise LocalProtocolError(f"the connection is {self._state.value}, not securing")
        return True


def _wrong_state(state: _State, index: int) -> HardError:
    return HardError(
        ReplyCode.CHANNEL_ERROR, f"unexpected method in connection state {state.value}", index
    )


def _check_negotiated(field: str, minimum: int, asked: int, offered: int, index: int) -> None:
    """RabbitMQ's rule: 0 asks for no limit, which is more than the server has."""
    shown = f"{asked} (no limit)" if asked == 0 else str(asked)
    if asked != 0 and asked < minimum:
        raise not_allowed(
            f"negotiated {field} = {shown} is lower than the minimum allowed value ({minimum})",
            index,
        )
    if asked == 0 or asked > offered:
        raise not_allowed(
            f"negotiated {field} = {shown} is higher than the maximum allowed value ({offered})",
            index,
        )

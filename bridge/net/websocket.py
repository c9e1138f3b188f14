"""WebSocket (RFC 6455) below the driver: the gateway sees the same stream of bytes as over TCP.

The `websockets` library does frames and handshake sans-IO. What comes in is a stream however it is
cut into messages and fragments. What goes out is one binary message per packet, as some clients see
only one in each (Paho's in C); or, for protocols of text, one message per piece: text where it is
UTF-8 and binary where it is not, as browsers' STOMP clients take it.
"""

from __future__ import annotations

import codecs
import http
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from websockets.exceptions import NegotiationError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bridge.net.driver import INTERNAL_ERROR, Driver, GatewayFactory
from bridge.net.endpoint import Endpoint

MESSAGE_SLACK_BYTES = 1024 * 1024
"""What a protocol's frame may be longer than the longest body: headers, properties."""

_DATA = frozenset((Opcode.TEXT, Opcode.BINARY, Opcode.CONT))
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@dataclass(frozen=True, slots=True)
class WebSocketOptions:
    """How a protocol is spoken over WebSocket; the path is never looked at.

    `subprotocols` in order of preference; `required`: a client that offers none of them is refused.
    `text`: text messages are taken and sent; without it they end the connection (MQTT 5, 6.0.0-1).
    `cut` makes packets of a write, for one message each; without it the write is one message.
    """

    subprotocols: tuple[str, ...]
    required: bool = True
    text: bool = False
    cut: Callable[[bytes], Iterable[bytes]] | None = None


class _Handshake(ServerProtocol):
    """The library's protocol with our choice of subprotocol."""

    def __init__(self, options: WebSocketOptions, message_size_max: int) -> None:
        supported = [Subprotocol(name) for name in options.subprotocols]
        super().__init__(subprotocols=supported, max_size=message_size_max)
        self._options = options

    def select_subprotocol(self, subprotocols: Sequence[Subprotocol]) -> Subprotocol | None:
        for supported in self._options.subprotocols:
            if supported in subprotocols:
                return Subprotocol(supported)
        if self._options.required:
            raise NegotiationError(f"offer one of {', '.join(self._options.subprotocols)}")
        return None


class WebSocketDriver(Driver):
    """A driver whose bytes travel in WebSocket messages; its gateway follows the handshake."""

    __slots__ = ("_decoder", "_options", "_text", "_websocket")

    def __init__(
        self, endpoint: Endpoint, factory: GatewayFactory, options: WebSocketOptions
    ) -> None:
        super().__init__(endpoint, factory)
        self._options = options
        # Each write is a frame.
        self._writes_at_once = False
        self._text = False
        self._decoder = codecs.getincrementaldecoder("utf-8")() if options.text else None
        self._websocket = _Handshake(
            options, endpoint.limits.message_size_max + MESSAGE_SLACK_BYTES
        )

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        websocket = self._websocket
        self._flush_due = True
        payload: list[bytes] = []
        websocket.receive_data(data)
        for event in websocket.events_received():
            if isinstance(event, Frame):
                if event.opcode in _DATA:
                    self._take(event, payload)
            elif isinstance(event, Request):
                self._answer_handshake(event)
        self._write_websocket()
        if self._gateway is None:
            self._refuse_unless_pending()
        elif payload:
            super().data_received(payload[0] if len(payload) == 1 else b"".join(payload))
        if self._gateway is not None and websocket.state is not State.OPEN:
            self._websocket_closed()
        else:
            self.flush()

    def _begin(self) -> None:
        self._restart_timer(self.endpoint.limits.handshake_seconds_max)

    def _too_long(self) -> None:
        if self._gateway is None:
            self.endpoint.refuse(self.peer, "no websocket handshake in time")
            self.abort()
        else:
            super()._too_long()

    # -- handshake

    def _answer_handshake(self, request: Request) -> None:
        websocket = self._websocket
        response = websocket.accept(request)
        websocket.send_response(response)
        if response.status_code == http.HTTPStatus.SWITCHING_PROTOCOLS:
            self._stop_timer()
            self._write_websocket()
            self._open_gateway()

    def _refuse_unless_pending(self) -> None:
        """No gateway: the handshake is not complete, or it failed."""
        problem = self._websocket.handshake_exc
        if problem is None or self._closing:
            return
        if self._websocket.state is State.CONNECTING:
            # The library leaves the answer to what is not HTTP to its user.
            self._transport.write(_BAD_REQUEST)
        self.endpoint.refuse(self.peer, f"websocket handshake failed: {problem}")
        self.close()

    # -- frames

    def _take(self, frame: Frame, payload: list[bytes]) -> None:
        """Collect what a message or fragment carries; its boundaries mean nothing."""
        websocket = self._websocket
        if websocket.state is not State.OPEN:
            return
        data = bytes(frame.data)
        if frame.opcode is Opcode.TEXT:
            if self._decoder is None:
                websocket.fail(CloseCode.UNSUPPORTED_DATA, "only binary messages are taken")
                return
            self._text = True
        elif frame.opcode is Opcode.BINARY:
            self._text = False
        if self._text and self._decoder is not None:
            try:
                self._decoder.decode(data, final=frame.fin)
            except UnicodeDecodeError:
                websocket.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
                return
        payload.append(data)

    def _websocket_closed(self) -> None:
        """The closing handshake is done, or the peer broke the protocol: nothing more is sent."""
        sent = self._websocket.close_sent
        by_client = self._websocket.close_rcvd is not None or sent is None
        self._close_reason = (
            "closed by the client" if by_client or sent is None else f"websocket: {sent.reason}"
        )
        if self._gateway is not None:
            try:
                self._gateway.eof_received()
            except Exception as error:  # noqa: BLE001 - it ends this connection only
                self.endpoint.log.failed(self.endpoint.protocol, self.peer, error)
        self._closing = True
        self.flush()

    def _send(self, pieces: Sequence[bytes]) -> None:
        websocket = self._websocket
        if websocket.state is not State.OPEN:
            return
        if self._options.text:
            for piece in pieces:
                if _is_text(piece):
                    websocket.send_text(piece)
                else:
                    websocket.send_binary(piece)
        else:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            for packet in (data,) if self._options.cut is None else self._options.cut(data):
                websocket.send_binary(packet)
        self._write_websocket()

    def _write_websocket(self) -> None:
        data = self._websocket.data_to_send()
        if data:
            # The empty piece that stands for the end of the stream is left to the farewell.
            self._transport.write(b"".join(data))

    def _goodbye(self) -> None:
        if self._websocket.state is State.OPEN:
            failed = self._close_reason == INTERNAL_ERROR
            self._websocket.send_close(
                CloseCode.INTERNAL_ERROR if failed else CloseCode.NORMAL_CLOSURE
            )
            self._write_websocket()


def _is_text(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True

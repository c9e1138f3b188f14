"""The client's end of an AMQP connection, as far as symmetry gives it for nothing.

It frames, assembles contents and keeps the heartbeat; which method comes when is its user's
business: methods go out by `send` and come in as `MethodReceived`. For tests and for links.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from adapters.amqp091.codec import Content, append_content, decode_content_header
from adapters.amqp091.connection import AmqpConnection
from adapters.amqp091.errors import AmqpError, syntax_error, unexpected_frame
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import (
    FRAME_HEADER,
    FRAME_METHOD,
    PROTOCOL_HEADER,
    Method,
    decode_method,
    encode_method,
)
from adapters.amqp091.properties import Properties, decode_properties

_WITH_CONTENT = frozenset({"Basic.Deliver", "Basic.GetOk", "Basic.Return"})


class MethodReceived(msgspec.Struct):
    """A method of the server, with its content where it has one."""

    channel: int
    name: str
    fields: dict[str, Any]
    properties: Properties | None = None
    body: bytes = b""


class ClientConnection(AmqpConnection):
    """The client's connection; its protocol header is queued at once."""

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        super().__init__(limits, now)
        self._preamble_done = True
        self._needed = 7
        self._contents: dict[int, Content] = {}
        self._output.append(PROTOCOL_HEADER)

    def tuned(self, channel_max: int, frame_max: int, heartbeat_seconds: int, now: float) -> None:
        """Answer connection.tune, and hold to it."""
        self.send(
            0,
            "Connection.TuneOk",
            channel_max=channel_max,
            frame_max=frame_max,
            heartbeat=heartbeat_seconds,
        )
        self._use_frame_size(frame_max)
        self._start_heartbeats(heartbeat_seconds, now)

    def send(self, channel: int, name: str, **fields: Any) -> None:
        """Queue one method."""
        self._output.append(encode_method(channel, name, fields))

    def publish(
        self,
        channel: int,
        body: bytes,
        *,
        exchange: str = "",
        routing_key: str = "",
        mandatory: bool = False,
        properties: bytes = b"\0\0",
    ) -> None:
        """Queue basic.publish with its content."""
        self.send(
            channel,
            "Basic.Publish",
            exchange=exchange,
            routing_key=routing_key,
            mandatory=mandatory,
        )
        append_content(self._output, channel, properties, body, self._payload_max)

    def _preamble(self, header: bytes, now: float) -> bool:
        return True

    def _broken(self, error: AmqpError, now: float) -> None:
        self.finish(error.reply_text)

    def _frame(self, kind: int, number: int, payload: bytes, now: float) -> None:
        content = self._contents.get(number)
        if kind == FRAME_METHOD:
            method = decode_method(payload)
            if content is not None:
                raise unexpected_frame("expected content, got a method frame instead")
            if method.name in _WITH_CONTENT:
                self._contents[number] = Content(method)
            else:
                self._events.append(MethodReceived(number, method.name, method.fields))
            return
        if content is None:
            raise unexpected_frame("expected method frame, got non method frame instead")
        if kind == FRAME_HEADER:
            try:
                _, content.body_size, raw = decode_content_header(payload)
                content.properties = decode_properties(raw)
            except (struct.error, ValueError) as error:
                raise syntax_error(f"malformed content header: {error}") from error
        else:
            content.received += len(payload)
            content.chunks.append(payload)
        if content.received >= content.body_size:
            del self._contents[number]
            method = content.method
            assert isinstance(method, Method)
            body = b"".join(content.chunks)
            self._events.append(
                MethodReceived(number, method.name, method.fields, content.properties, body)
            )

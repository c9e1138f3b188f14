"""Contents that the fast path leaves over: split over frames or chunks, large, or malformed.

AMQP 0-9-1, 4.2.6. A content is announced by its header, so that what is too large is refused before
any of it is kept; what all channels of a connection have announced is bounded as well.
"""

from __future__ import annotations

import struct
from typing import Any

from adapters.amqp091.channel import Channel
from adapters.amqp091.codec import (
    BASIC,
    PUBLISH,
    Content,
    PublishDecoder,
    decode_content_header,
)
from adapters.amqp091.errors import (
    HardError,
    ReplyCode,
    precondition_failed,
    syntax_error,
    unexpected_frame,
    unknown_frame,
)
from adapters.amqp091.events import PublishReceived
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import FRAME_HEADER


class ContentAssembler:
    """Puts the contents of one connection's channels together, frame by frame."""

    __slots__ = ("_announced", "_limits", "_publishes")

    def __init__(self, limits: ConnectionLimits, publishes: PublishDecoder) -> None:
        self._limits = limits
        self._publishes = publishes
        self._announced = 0

    def take(self, kind: int, channel: Channel, payload: bytes, events: list[Any]) -> None:
        """Take in a header or body frame; appends the publish that it completes."""
        content = channel.content
        if content is None:
            raise unexpected_frame("expected method frame, got non method frame instead")
        if kind == FRAME_HEADER:
            self._header(channel, content, payload)
        elif content.properties is None:
            raise unexpected_frame(
                "expected content header for class 60, got non content header frame instead",
                PUBLISH,
            )
        else:
            self._body(content, payload)
        if content.properties is not None and content.received == content.body_size:
            self.abandon(channel)
            events.append(_publish_of(channel, content, content.properties))

    def _header(self, channel: Channel, content: Content, payload: bytes) -> None:
        if content.properties is not None:
            raise unexpected_frame(
                "expected content body, got non content body frame instead", PUBLISH
            )
        try:
            index, size, raw = decode_content_header(payload)
        except struct.error as error:
            raise unknown_frame(FRAME_HEADER, payload) from error
        if index != BASIC:
            raise unexpected_frame(
                f"expected content header for class 60, got one for class {index >> 16} instead",
                PUBLISH,
            )
        properties = self._publishes.learn_properties(raw)
        if properties is None:
            raise syntax_error("malformed properties in a content header", PUBLISH)
        size_max = self._limits.message_size_max
        if size > size_max:
            channel.content = None
            raise precondition_failed(
                f"message size {size} is larger than configured max size {size_max}", PUBLISH
            )
        if self._announced + size > self._limits.partial_bytes_max:
            raise HardError(
                ReplyCode.RESOURCE_ERROR,
                f"contents under way on all channels exceed {self._limits.partial_bytes_max} bytes",
                PUBLISH,
            )
        self._announced += size
        content.properties, content.body_size = properties, size

    def _body(self, content: Content, payload: bytes) -> None:
        content.received += len(payload)
        if content.received > content.body_size:
            raise unexpected_frame(
                f"content body of {content.received} bytes or more,"
                f" {content.body_size} were announced",
                PUBLISH,
            )
        if payload:
            content.chunks.append(payload)

    def abandon(self, channel: Channel) -> None:
        """Forget the content under way on a channel."""
        content = channel.content
        if content is not None and content.properties is not None:
            self._announced -= content.body_size
        channel.content = None


def _publish_of(channel: Channel, content: Content, properties: Any) -> PublishReceived:
    fields = content.method
    if channel.confirming:
        channel.published += 1
    return PublishReceived(
        channel.number,
        channel.published,
        fields["exchange"],
        fields["routing_key"],
        fields["mandatory"],
        properties,
        b"".join(content.chunks),
    )

"""What the server's end answers on channels: -ok methods, messages, returns, confirms, closes.

All of it does nothing on a channel that has gone meanwhile. A channel or connection that the client
closes, or on which it made a mistake, still answers what came before that.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adapters.amqp091 import events
from adapters.amqp091.channel import Channel, ChannelState, Consumer
from adapters.amqp091.codec import PublishDecoder, append_content, capability
from adapters.amqp091.connection import AmqpConnection
from adapters.amqp091.contents import ContentAssembler
from adapters.amqp091.errors import AmqpError, ReplyCode
from adapters.amqp091.limits import ConnectionLimits
from adapters.amqp091.methods import encode_method, truncate_short_string

_ANSWERS: Final[dict[type, str]] = {
    events.ExchangeDeclareRequested: "Exchange.DeclareOk",
    events.ExchangeDeleteRequested: "Exchange.DeleteOk",
    events.ExchangeBindRequested: "Exchange.BindOk",
    events.ExchangeUnbindRequested: "Exchange.UnbindOk",
    events.QueueDeclareRequested: "Queue.DeclareOk",
    events.QueueBindRequested: "Queue.BindOk",
    events.QueueUnbindRequested: "Queue.UnbindOk",
    events.QueuePurgeRequested: "Queue.PurgeOk",
    events.QueueDeleteRequested: "Queue.DeleteOk",
    events.QosRequested: "Basic.QosOk",
    events.ConsumeRequested: "Basic.ConsumeOk",
    events.CancelRequested: "Basic.CancelOk",
    events.RecoverRequested: "Basic.RecoverOk",
    events.FlowRequested: "Channel.FlowOk",
    events.ConfirmSelectRequested: "Confirm.SelectOk",
    events.TxSelectRequested: "Tx.SelectOk",
    events.TxCommitRequested: "Tx.CommitOk",
    events.TxRollbackRequested: "Tx.RollbackOk",
    events.AccessRequested: "Access.RequestOk",
}


class ChannelAnswers(AmqpConnection):
    """The channels of a server's connection, and the answers on them."""

    def __init__(self, limits: ConnectionLimits, now: float) -> None:
        super().__init__(limits, now)
        self.client_properties: Mapping[str, Any] = {}
        self.mechanism = ""
        """By which the client proves who it is."""
        self.channels: dict[int, Channel] = {}
        self._publishes = PublishDecoder(events.PublishReceived)
        self._contents = ContentAssembler(limits, self._publishes)

    @property
    @abstractmethod
    def _answering(self) -> bool:
        """Whether the connection is open, or the client closes it and awaits its last answers."""

    def channel_opened(self, number: int) -> None:
        """Answer channel.open."""
        if number in self.channels:
            self._send(number, "Channel.OpenOk")

    def channel_closed(self, number: int) -> None:
        """Answer channel.close by the client."""
        channel = self.channels.get(number)
        if channel is not None and channel.state is ChannelState.CLOSE_RECEIVED:
            del self.channels[number]
            self._send(number, "Channel.CloseOk")
            if channel.client_closes:
                self._send(number, "Channel.CloseOk")

    def refuse_channel(self, number: int, error: AmqpError) -> list[Any]:
        """Close a channel with an error; returns the tokens that it had not acknowledged.

        Where the client closes it too, that is answered behind it; a channel.close-ok is awaited.
        """
        channel = self.channels.get(number)
        if channel is None or channel.state is ChannelState.CLOSING or not self._answering:
            return []
        self._contents.abandon(channel)
        channel.consumers.clear()
        channel.client_closes |= channel.state is ChannelState.CLOSE_RECEIVED
        channel.state = ChannelState.CLOSING
        self._send(
            number,
            "Channel.Close",
            reply_code=int(error.code),
            reply_text=truncate_short_string(error.reply_text),
            class_id=error.method >> 16,
            method_id=error.method & 0xFFFF,
        )
        if channel.client_closes:
            self._send(number, "Channel.CloseOk")
        return channel.take_unacked()

    def answer(self, event: Any, **fields: Any) -> None:
        """Send the -ok method of a request, unless the client set nowait."""
        channel = self._live(event.channel)
        if channel is None:
            return
        if isinstance(event, events.TxRollbackRequested):
            channel.restore()
        elif isinstance(event, events.TxCommitRequested):
            channel.forget_acknowledged()
        if getattr(event, "nowait", False):
            return
        if isinstance(event, events.ConsumeRequested):
            fields["consumer_tag"] = event.consumer.tag
        elif isinstance(event, events.CancelRequested):
            fields["consumer_tag"] = event.consumer_tag
        elif isinstance(event, events.FlowRequested):
            fields["active"] = True
        elif isinstance(event, events.AccessRequested):
            fields["ticket"] = 1
        self._send(event.channel, _ANSWERS[type(event)], **fields)

    def get_ok(
        self,
        event: events.GetRequested,
        delivery: tuple[Any, bool, str, str, bytes, bytes],
        message_count: int,
    ) -> None:
        """Answer basic.get with a message; the token is held unless the client set no_ack."""
        channel = self._live(event.channel)
        if channel is None:
            return
        token, redelivered, exchange, routing_key, properties, body = delivery
        if event.no_ack:
            channel.last_tag += 1
        else:
            channel.hold(token)
        self._send(
            event.channel,
            "Basic.GetOk",
            delivery_tag=channel.last_tag,
            redelivered=redelivered,
            exchange=exchange,
            routing_key=routing_key,
            message_count=message_count,
        )
        append_content(self._output, event.channel, properties, body, self._payload_max)

    def get_empty(self, event: events.GetRequested) -> None:
        """Answer basic.get: there is no message."""
        if self._live(event.channel) is not None:
            self._send(event.channel, "Basic.GetEmpty")

    def return_message(
        self, publish: events.PublishReceived, code: ReplyCode, text: str | None = None
    ) -> None:
        """Give a mandatory message back to its publisher (basic.return)."""
        if self._live(publish.channel) is None:
            return
        self._send(
            publish.channel,
            "Basic.Return",
            reply_code=int(code),
            reply_text=text or code.name,
            exchange=publish.exchange,
            routing_key=publish.routing_key,
        )
        append_content(
            self._output,
            publish.channel,
            publish.properties.raw,
            publish.body,
            self._payload_max,
        )

    def confirm(self, number: int, sequences: Sequence[int], *, accepted: bool = True) -> None:
        """Confirm publishes, or refuse them with basic.nack; in any order."""
        channel = self._live(number)
        if channel is not None and channel.confirming:
            self._output += channel.confirm(sequences, accepted=accepted)

    def cancel_consumer(self, consumer: Consumer) -> None:
        """The queue is gone: tell a client that wants to know (consumer_cancel_notify)."""
        channel = consumer.channel
        if channel.consumers.get(consumer.tag) is not consumer:
            return
        del channel.consumers[consumer.tag]
        if self._live(channel.number) is channel and capability(
            self.client_properties, "consumer_cancel_notify"
        ):
            self._send(channel.number, "Basic.Cancel", consumer_tag=consumer.tag, nowait=True)

    def take_unacked(self, number: int | None = None) -> list[Any]:
        """Forget the unacknowledged deliveries, of one channel or of all; returns their tokens."""
        if number is None:
            return [each for channel in self.channels.values() for each in channel.take_unacked()]
        channel = self.channels.get(number)
        return [] if channel is None else channel.take_unacked()

    def _live(self, number: int) -> Channel | None:
        channel = self.channels.get(number)
        if channel is None or channel.state is ChannelState.CLOSING or self._finished:
            return None
        return channel if self._answering else None

    def _send(self, channel: int, name: str, **fields: Any) -> None:
        self._output.append(encode_method(channel, name, fields))

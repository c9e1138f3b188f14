"""From a decoded method on an open channel to the event that it is, or the error that it deserves.

AMQP 0-9-1, 1.4 to 1.9 with RabbitMQ's rules. Methods whose event has the fields of the
specification go through one table; the others have a function each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from adapters.amqp091 import events
from adapters.amqp091.channel import Channel
from adapters.amqp091.codec import Content
from adapters.amqp091.errors import (
    HardError,
    ReplyCode,
    command_invalid,
    not_allowed,
    not_implemented,
    precondition_failed,
)
from adapters.amqp091.limits import CONSUMERS_PER_CHANNEL_MAX
from adapters.amqp091.methods import Method

_Handler = Callable[[Channel, Method], Any]


def request_of(channel: Channel, method: Method) -> Any | None:
    """The event of a method; None where nothing is to be told yet."""
    direct = _DIRECT.get(method.name)
    if direct is not None:
        event, names = direct
        fields = method.fields
        return event(channel.number, *[fields[name] for name in names])
    handler = _HANDLERS.get(method.name)
    if handler is None:
        raise command_invalid("unimplemented method", method.number)
    return handler(channel, method)


def _direct(event: Any) -> tuple[Any, tuple[str, ...]]:
    return event, event.__struct_fields__[1:]


_DIRECT: Final[dict[str, tuple[Any, tuple[str, ...]]]] = {
    "Exchange.Declare": _direct(events.ExchangeDeclareRequested),
    "Exchange.Delete": _direct(events.ExchangeDeleteRequested),
    "Exchange.Bind": _direct(events.ExchangeBindRequested),
    "Exchange.Unbind": _direct(events.ExchangeUnbindRequested),
    "Queue.Declare": _direct(events.QueueDeclareRequested),
    "Queue.Bind": _direct(events.QueueBindRequested),
    "Queue.Unbind": _direct(events.QueueUnbindRequested),
    "Queue.Purge": _direct(events.QueuePurgeRequested),
    "Queue.Delete": _direct(events.QueueDeleteRequested),
    "Basic.Get": _direct(events.GetRequested),
    "Access.Request": _direct(events.AccessRequested),
}


def second_open(method: Method) -> HardError:
    """504: the channel is open, or has not been closed to its end."""
    return HardError(ReplyCode.CHANNEL_ERROR, "second 'channel.open' seen", method.number)


def _open_again(_: Channel, method: Method) -> None:
    raise second_open(method)


def _flow(channel: Channel, method: Method) -> events.FlowRequested:
    if not method.fields["active"]:
        raise not_implemented("active=false", method.number)
    return events.FlowRequested(channel.number, True)


def _nothing(channel: Channel, method: Method) -> None:
    """An answer that crossed with something, and that nobody waits for."""


def _publish(channel: Channel, method: Method) -> None:
    if method.fields["immediate"]:
        raise not_implemented("immediate=true", method.number)
    channel.content = Content(method.fields)


def _qos(channel: Channel, method: Method) -> events.QosRequested:
    size = method.fields["prefetch_size"]
    if size:
        raise not_implemented(f"prefetch_size!=0 ({size})", method.number)
    return events.QosRequested(
        channel.number, method.fields["prefetch_count"], method.fields["global_"]
    )


def _consume(channel: Channel, method: Method) -> events.ConsumeRequested:
    fields = method.fields
    if len(channel.consumers) >= CONSUMERS_PER_CHANNEL_MAX:
        raise HardError(
            ReplyCode.RESOURCE_ERROR,
            f"more than {CONSUMERS_PER_CHANNEL_MAX} consumers on a channel",
            method.number,
        )
    tag = fields["consumer_tag"]
    if tag in channel.consumers:
        raise not_allowed(f"attempt to reuse consumer tag '{tag}'", method.number)
    return events.ConsumeRequested(
        channel.number,
        fields["queue"],
        channel.new_consumer(tag, no_ack=fields["no_ack"]),
        fields["no_local"],
        fields["exclusive"],
        fields["nowait"],
        fields["arguments"],
    )


def _cancel(channel: Channel, method: Method) -> events.CancelRequested:
    tag = method.fields["consumer_tag"]
    consumer = channel.consumers.pop(tag, None)
    return events.CancelRequested(channel.number, tag, consumer, method.fields["nowait"])


def _ack(channel: Channel, method: Method) -> events.AcksReceived:
    fields = method.fields
    tokens = channel.settle(fields["delivery_tag"], fields["multiple"], method.number)
    return events.AcksReceived(channel.number, tokens)


def _nack(channel: Channel, method: Method) -> events.NacksReceived:
    fields = method.fields
    tokens = channel.settle(fields["delivery_tag"], fields.get("multiple", False), method.number)
    return events.NacksReceived(channel.number, tokens, fields["requeue"])


def _recover(channel: Channel, method: Method) -> events.RecoverRequested:
    if not method.fields["requeue"]:
        raise not_implemented("requeue=false", method.number)
    silent = method.name == "Basic.RecoverAsync"
    return events.RecoverRequested(channel.number, channel.take_held(), silent)


def _confirm_select(channel: Channel, method: Method) -> events.ConfirmSelectRequested:
    if channel.transactional:
        raise precondition_failed("cannot switch from tx to confirm mode", method.number)
    channel.confirming = True
    return events.ConfirmSelectRequested(channel.number, method.fields["nowait"])


def _tx_select(channel: Channel, method: Method) -> events.TxSelectRequested:
    if channel.confirming:
        raise precondition_failed("cannot switch from confirm to tx mode", method.number)
    channel.transactional = True
    return events.TxSelectRequested(channel.number)


def _tx_end(channel: Channel, method: Method) -> Any:
    if not channel.transactional:
        raise precondition_failed("channel is not transactional", method.number)
    if method.name == "Tx.Commit":
        return events.TxCommitRequested(channel.number)
    return events.TxRollbackRequested(channel.number)


_HANDLERS: Final[dict[str, _Handler]] = {
    "Channel.Open": _open_again,
    "Channel.Flow": _flow,
    "Channel.FlowOk": _nothing,
    "Basic.Publish": _publish,
    "Basic.Qos": _qos,
    "Basic.Consume": _consume,
    "Basic.Cancel": _cancel,
    "Basic.CancelOk": _nothing,
    "Basic.Ack": _ack,
    "Basic.Nack": _nack,
    "Basic.Reject": _nack,
    "Basic.Recover": _recover,
    "Basic.RecoverAsync": _recover,
    "Confirm.Select": _confirm_select,
    "Tx.Select": _tx_select,
    "Tx.Commit": _tx_end,
    "Tx.Rollback": _tx_end,
}

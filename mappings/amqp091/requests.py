"""The methods on channels that are owed an answer, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from adapters.amqp091 import events
from adapters.amqp091.errors import AmqpError
from adapters.amqp091.methods import NUMBER_OF
from adapters.amqp091.names import name_of
from bridge.messaging.errors import MessagingError, QueueElsewhere, ResourceLocked
from bridge.messaging.model import Delivery, UnitOfWork
from bridge.messaging.ports import Queue
from mappings.amqp091.arguments import type_name
from mappings.amqp091.channel import GatewayChannel, Transaction, counted
from mappings.amqp091.consumer import AmqpConsumer
from mappings.amqp091.errors import access_refused, precondition_failed
from mappings.amqp091.messages import DIRECT_REPLY, counts_deliveries, outgoing_of

if TYPE_CHECKING:
    from mappings.amqp091.gateway import AmqpGateway
    from mappings.gateway import Barrier

Operation = Callable[["Requests", Any, GatewayChannel], Awaitable[None]]


class Requests:
    """Answers the requests of one connection."""

    __slots__ = ("_gateway",)

    def __init__(self, gateway: AmqpGateway) -> None:
        self._gateway = gateway

    def handle(self, event: Any) -> Barrier | None:
        """Answer an event; a coroutine where the answer has to wait."""
        gateway = self._gateway
        channel = gateway.channels.get(event.channel)
        if channel is None:
            # Closed for a mistake that came before.
            gateway.discard([event])
            return None
        operation = _OPERATIONS.get(type(event))
        if operation is not None:
            return self._run(event, channel, *operation)
        match event:
            case events.TxCommitRequested():
                return gateway.settling.commit(event)
            case events.TxRollbackRequested():
                gateway.settling.rollback(event)
            case events.RecoverRequested():
                gateway.settling.recover(event)
            case events.TxSelectRequested():
                channel.transaction = channel.transaction or Transaction()
                gateway.connection.answer(event)
            case events.QosRequested():
                self._qos(event, channel)
                gateway.connection.answer(event)
            case _:
                gateway.connection.answer(event)
        return None

    async def _run(
        self, event: Any, channel: GatewayChannel, method: str, operation: Operation
    ) -> None:
        try:
            await operation(self, event, channel)
        except (AmqpError, MessagingError) as error:
            self._gateway.refuse_channel(channel.number, error, NUMBER_OF[method])

    # Declarations

    async def declare_exchange(
        self, event: events.ExchangeDeclareRequested, channel: GatewayChannel
    ) -> None:
        self._answer(event, await self._gateway.declarations.declare_exchange(event))

    async def delete_exchange(
        self, event: events.ExchangeDeleteRequested, channel: GatewayChannel
    ) -> None:
        self._answer(event, await self._gateway.declarations.delete_exchange(event))

    async def bind_exchange(
        self, event: events.ExchangeBindRequested, channel: GatewayChannel
    ) -> None:
        self._answer(event, await self._gateway.declarations.bind_exchange(event))

    async def unbind_exchange(
        self, event: events.ExchangeUnbindRequested, channel: GatewayChannel
    ) -> None:
        self._answer(event, await self._gateway.declarations.unbind_exchange(event))

    async def declare_queue(
        self, event: events.QueueDeclareRequested, channel: GatewayChannel
    ) -> None:
        declarations = self._gateway.declarations
        if event.queue == DIRECT_REPLY:
            self._answer(event, {"queue": DIRECT_REPLY})
            return
        fields = await declarations.declare_queue(event, channel.last_queue)
        channel.last_queue = fields["queue"]
        self._answer(event, fields)

    async def bind_queue(self, event: events.QueueBindRequested, channel: GatewayChannel) -> None:
        declarations = self._gateway.declarations
        self._answer(event, await declarations.bind_queue(event, channel.last_queue))

    async def unbind_queue(
        self, event: events.QueueUnbindRequested, channel: GatewayChannel
    ) -> None:
        declarations = self._gateway.declarations
        self._answer(event, await declarations.unbind_queue(event, channel.last_queue))

    async def purge_queue(self, event: events.QueuePurgeRequested, channel: GatewayChannel) -> None:
        declarations = self._gateway.declarations
        self._answer(event, await declarations.purge_queue(event, channel.last_queue))

    async def delete_queue(
        self, event: events.QueueDeleteRequested, channel: GatewayChannel
    ) -> None:
        gateway = self._gateway
        gateway.deleting = True
        try:
            fields = await gateway.declarations.delete_queue(event, channel.last_queue)
            self._answer(event, fields)
        finally:
            gateway.deleting = False
            gateway.tell_ended()

    def _answer(self, event: Any, fields: dict[str, Any]) -> None:
        self._gateway.connection.answer(event, **fields)

    # Consuming

    def _qos(self, event: events.QosRequested, channel: GatewayChannel) -> None:
        if not event.global_:
            channel.prefetch = event.prefetch_count
            return
        if event.prefetch_count and not channel.prefetch_max:
            held = self._gateway.connection.channels[channel.number].unacked.values()
            channel.outstanding = counted(held)
        channel.prefetch_max = event.prefetch_count
        if not channel.prefetch_max:
            surplus = list(channel.surplus)
            channel.surplus.clear()
            for consumer, delivery in surplus:
                consumer.send([delivery])
        else:
            channel.settled()
        most = self._gateway.services.limits.prefetch_max
        prefetch = min(channel.prefetch_max or most, most)
        for consumer in list(channel.consumers.values()):
            consumer.raise_prefetch(prefetch)

    def prefetch_of(self, channel: GatewayChannel, *, no_ack: bool) -> int:
        """The credit of a new consumer: RabbitMQ's 0 is no limit, ours has one."""
        most = self._gateway.services.limits.prefetch_max
        if no_ack:
            return most
        wanted = channel.prefetch or channel.prefetch_max
        return min(wanted, most) if wanted else most

    async def consume(self, event: events.ConsumeRequested, channel: GatewayChannel) -> None:
        gateway = self._gateway
        number = len(channel.consumers)
        if number >= gateway.services.limits.consumers_per_connection_max:
            raise precondition_failed(f"{number} consumers on a channel are the most")
        if event.queue == DIRECT_REPLY:
            queue = await self._reply_queue(event, channel)
        else:
            queue = gateway.declarations.queue_to_read(event.queue, channel.last_queue)
        priority = event.arguments.get("x-priority", 0)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise precondition_failed(
                f"invalid arg 'x-priority' for queue '{queue.name.name}' in vhost"
                f" '{queue.name.namespace}': \"expected integer, got {type_name(priority)}\""
            )
        consumer = AmqpConsumer(
            gateway,
            channel,
            queue,
            event.consumer,
            self.prefetch_of(channel, no_ack=event.consumer.no_ack),
        )
        consumer.follows_channel = not (channel.prefetch or event.consumer.no_ack)
        exclusive = event.exclusive
        try:
            await consumer.open(priority=priority, exclusive=exclusive)
        except QueueElsewhere:
            raise
        except ResourceLocked as error:
            name = queue.name
            raise access_refused(
                f"queue '{name.name}' in vhost '{name.namespace}' in exclusive use"
            ) from error
        if gateway.lost or gateway.channels.get(channel.number) is not channel:
            consumer.cancel()
            return
        channel.consumers[event.consumer.tag] = consumer
        gateway.connection.answer(event)
        gateway.flush()
        consumer.start()

    async def _reply_queue(self, event: events.ConsumeRequested, channel: GatewayChannel) -> Queue:
        if not event.consumer.no_ack:
            raise precondition_failed("reply consumer cannot acknowledge")
        if channel.reply_queue is not None:
            raise precondition_failed("reply consumer already set")
        name = self._reply_name(channel)
        queue = await self._gateway.declarations.reply_queue(name)
        channel.reply_queue = name
        return queue

    def _reply_name(self, channel: GatewayChannel) -> str:
        """In RabbitMQ's form, which ends in base64 with its padding."""
        key = name_of(f"{self._gateway.name}/{channel.number}")
        return f"{DIRECT_REPLY}.{self._gateway.name}.{key}=="

    async def cancel(self, event: events.CancelRequested, channel: GatewayChannel) -> None:
        consumer = channel.consumers.get(event.consumer_tag)
        if consumer is not None:
            self._gateway.end_consumer(channel, consumer)
            await self._gateway.forget_orphans()
        self._gateway.connection.answer(event)

    async def get(self, event: events.GetRequested, channel: GatewayChannel) -> None:
        gateway = self._gateway
        queue = gateway.declarations.queue_to_read(event.queue, channel.last_queue)
        store = gateway.services.store
        delivery = await store.take(queue)
        if delivery is None and (await store.counts(queue)).visible:
            # What is counted and cannot be taken is being committed: dead letters, transactions.
            await self._committed()
            delivery = await store.take(queue)
        if delivery is None:
            gateway.connection.get_empty(event)
            return
        if gateway.lost or gateway.channels.get(channel.number) is not channel:
            gateway.release([delivery])
            return
        counts = await store.counts(queue)
        self._answer_get(event, channel, delivery, counts.visible)

    async def _committed(self) -> None:
        """Wait until all that was submitted so far has been committed, or refused."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        unit = UnitOfWork(lambda _: None if done.done() else done.set_result(None), atomic=True)
        self._gateway.services.store.submit(unit)
        await done

    def _answer_get(
        self,
        event: events.GetRequested,
        channel: GatewayChannel,
        delivery: Delivery,
        message_count: int,
    ) -> None:
        gateway = self._gateway
        queue = delivery.queue
        outgoing = outgoing_of(delivery, None, queue.name.name, counts=counts_deliveries(queue))
        gateway.connection.get_ok(event, outgoing, message_count)
        gateway.count_delivered(1, len(delivery.message.body))
        if event.no_ack:
            unit = UnitOfWork()
            unit.deletes.append(delivery)
            gateway.services.store.submit(unit)


_OPERATIONS: Final[dict[type, tuple[str, Operation]]] = {
    events.ExchangeDeclareRequested: ("Exchange.Declare", Requests.declare_exchange),
    events.ExchangeDeleteRequested: ("Exchange.Delete", Requests.delete_exchange),
    events.ExchangeBindRequested: ("Exchange.Bind", Requests.bind_exchange),
    events.ExchangeUnbindRequested: ("Exchange.Unbind", Requests.unbind_exchange),
    events.QueueDeclareRequested: ("Queue.Declare", Requests.declare_queue),
    events.QueueBindRequested: ("Queue.Bind", Requests.bind_queue),
    events.QueueUnbindRequested: ("Queue.Unbind", Requests.unbind_queue),
    events.QueuePurgeRequested: ("Queue.Purge", Requests.purge_queue),
    events.QueueDeleteRequested: ("Queue.Delete", Requests.delete_queue),
    events.ConsumeRequested: ("Basic.Consume", Requests.consume),
    events.CancelRequested: ("Basic.Cancel", Requests.cancel),
    events.GetRequested: ("Basic.Get", Requests.get),
}
"""By event: the method at fault where the operation fails, and the operation."""

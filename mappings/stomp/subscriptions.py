"""The subscriptions of one STOMP connection, and its temporary queues.

Opening and closing one waits for the store, so both run as barriers of the gateway. A temporary
queue is made when it is first named: by SUBSCRIBE, or by a SEND that wants its replies there. The
latter alone, as with RabbitMQ, subscribes the client to it, under the id `/temp-queue/NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from adapters.stomp.events import SendReceived, SubscribeRequested, UnsubscribeReceived
from adapters.stomp.frames import FrameError
from adapters.stomp.subscription import AckMode, Subscription
from bridge.messaging.errors import InvalidParameter, MessagingError, OverLimit
from bridge.messaging.model import Delivery
from bridge.messaging.ports import Queue
from mappings.stomp.addresses import (
    TEMP_QUEUE,
    Address,
    QueueAddress,
    TempQueueAddress,
    TempTopicAddress,
    TopicAddress,
    address_from_destination,
    destination_from_queue,
)
from mappings.stomp.consumer import StompConsumer
from mappings.stomp.queues import (
    Source,
    close_source,
    delete_durable,
    goes_with_its_consumers,
    is_durable,
    open_source,
    own_queue,
    refuse_idioms,
)

if TYPE_CHECKING:
    from mappings.gateway import Barrier
    from mappings.stomp.gateway import StompGateway

_DIGITS_MAX: Final = 9


class Subscriptions:
    """What the client is subscribed to."""

    __slots__ = ("_gateway", "_left", "_temporary", "consumers")

    def __init__(self, gateway: StompGateway) -> None:
        self.consumers: dict[Subscription, StompConsumer] = {}
        self._gateway = gateway
        self._temporary: dict[str, Queue] = {}
        self._left: list[Source] = []

    # -- SUBSCRIBE

    async def open(self, event: SubscribeRequested) -> None:
        gateway = self._gateway
        try:
            consumer = await self._consumer_for(event)
            priority = _integer(event.headers, ("x-priority", "activemq.priority"), 0)
            await consumer.open(priority=priority, exclusive=consumer.source.exclusive)
        except (FrameError, MessagingError) as error:
            gateway.refuse(error, event.receipt)
            return
        if event.receipt is not None:
            # The client may wait for its RECEIPT before it is ready for messages.
            await gateway.all_answered()
            gateway.answer_receipt(event.receipt)
        consumer.start()

    async def _consumer_for(self, event: SubscribeRequested) -> StompConsumer:
        gateway, subscription, headers = self._gateway, event.subscription, event.headers
        refuse_idioms(headers)
        address = address_from_destination(subscription.destination)
        _check(address, subscription.id, headers)
        prefetch = self._prefetch(headers)
        shown: str | None = None
        if isinstance(address, TempTopicAddress):
            address, shown = address.topic(gateway.session), subscription.destination
        if isinstance(address, TempQueueAddress):
            source = Source(await self._make_queue(subscription.destination))
            self._end_implicit(subscription.destination)
        else:
            source = await open_source(
                gateway.services,
                gateway.namespace,
                gateway.rights,
                address,
                headers,
                subscription.id,
                gateway.client,
                gateway.session,
            )
        own = destination_from_queue(address, subscription.destination)
        consumer = StompConsumer(gateway, subscription, source, prefetch, own, shown)
        self.consumers[subscription] = consumer
        return consumer

    def _prefetch(self, headers: Mapping[str, str]) -> int:
        """How many unsettled messages at once; 0 is RabbitMQ's and ActiveMQ's "no limit"."""
        limits = self._gateway.services.limits
        names = ("prefetch-count", "activemq.prefetchSize")
        wanted = _integer(headers, names, limits.prefetch_default)
        return min(wanted or limits.prefetch_max, limits.prefetch_max)

    # -- UNSUBSCRIBE

    def close(self, event: UnsubscribeReceived) -> Barrier | None:
        """A coroutine where a queue goes with the subscription."""
        consumer = None
        if event.subscription is not None:
            consumer = self.consumers.pop(event.subscription, None)
        if consumer is not None:
            # Closed first, or what is released would come back here.
            self._gateway.release([*event.deliveries, *consumer.close()])
        if consumer is None or is_durable(event.headers):
            return self._delete_durable(event, consumer)
        if goes_with_its_consumers(consumer.source):
            return self._close(consumer.source, event)
        self._gateway.answer_receipt(event.receipt)
        return None

    async def _close(self, source: Source, event: UnsubscribeReceived) -> None:
        try:
            await close_source(self._gateway.services, source)
        except MessagingError as error:
            self._gateway.refuse(error, event.receipt)
            return
        self._gateway.answer_receipt(event.receipt)

    async def _delete_durable(
        self, event: UnsubscribeReceived, consumer: StompConsumer | None
    ) -> None:
        gateway = self._gateway
        destination = event.headers.get("destination")
        if consumer is not None:
            destination = consumer.subscription.destination
        try:
            address = None if destination is None else address_from_destination(destination)
            topic = address if isinstance(address, TopicAddress) else None
            found = is_durable(event.headers) and await delete_durable(
                gateway.services,
                gateway.namespace,
                gateway.rights,
                topic,
                event.headers,
                event.subscription_id,
                gateway.client,
            )
            if not found and consumer is not None:
                await close_source(gateway.services, consumer.source)
            elif not found:
                raise FrameError(
                    "No subscription found",
                    "UNSUBSCRIBE must refer to an existing subscription.\n"
                    f"Subscription to id='{event.subscription_id}' not found.\n",
                )
        except (FrameError, MessagingError) as error:
            gateway.refuse(error, event.receipt)
            return
        gateway.answer_receipt(event.receipt)

    # -- temporary queues

    def temporary_queue(self, destination: str) -> Queue | None:
        """The connection's queue of that name, if it was made."""
        queue = self._temporary.get(destination)
        return None if queue is None or queue.deleted else queue

    async def make_temporary(self, send: SendReceived) -> None:
        """Make what a SEND names: its destination, or where it wants replies."""
        gateway = self._gateway
        try:
            reply_to = send.headers.get("reply-to", "")
            if send.destination.startswith(TEMP_QUEUE):
                await self._make_queue(send.destination)
            if reply_to.startswith(TEMP_QUEUE):
                address_from_destination(reply_to)
                queue = await self._make_queue(reply_to)
                await self._subscribe_implicitly(reply_to, queue)
        except (FrameError, MessagingError) as error:
            gateway.refuse(error, send.receipt)

    async def _make_queue(self, destination: str) -> Queue:
        queue = self.temporary_queue(destination)
        if queue is None:
            gateway = self._gateway
            limit = gateway.services.limits.consumers_per_connection_max
            if len(self._temporary) >= limit:
                raise OverLimit(f"{limit} temporary queues allowed in a connection")
            queue = await own_queue(gateway.services, gateway.namespace, gateway.session)
            self._temporary[destination] = queue
            self._left.append(Source(queue, temporary=True))
        return queue

    async def _subscribe_implicitly(self, destination: str, queue: Queue) -> None:
        gateway = self._gateway
        if any(consumer.source.queue is queue for consumer in self.consumers.values()):
            return
        subscription = gateway.connection.add_subscription(destination, destination, AckMode.AUTO)
        prefetch = gateway.services.limits.prefetch_default
        consumer = StompConsumer(gateway, subscription, Source(queue), prefetch, destination)
        self.consumers[subscription] = consumer
        await consumer.open()
        consumer.start()

    def _end_implicit(self, destination: str) -> None:
        """The client subscribes to the queue itself now."""
        for subscription in list(self.consumers):
            if subscription.id == destination and subscription.ack_mode is AckMode.AUTO:
                self.consumers.pop(subscription).close()
                self._gateway.connection.remove_subscription(subscription)

    # -- the end

    def source_ended(self, consumer: StompConsumer) -> None:
        """The queue of a subscription was deleted."""
        subscription = consumer.subscription
        self.consumers.pop(subscription, None)
        self._gateway.connection.remove_subscription(subscription)
        self._gateway.refuse(
            FrameError(
                "Server cancelled subscription",
                "The server has canceled a subscription.\n"
                f"No more messages will be delivered for id='{subscription.id}'.\n",
            ),
            headers=[("subscription", subscription.id)],
        )

    def stop(self) -> list[Delivery]:
        """Close all consumers; returns what they hold, to be released."""
        deliveries: list[Delivery] = []
        for consumer in self.consumers.values():
            deliveries += consumer.close()
            self._left.append(consumer.source)
        self.consumers.clear()
        return deliveries

    @property
    def leaves_queues(self) -> bool:
        """Whether queues have to be removed for consumers that were stopped."""
        return any(goes_with_its_consumers(source) for source in self._left)

    async def dispose(self) -> None:
        """Remove the queues that go with the connection."""
        left, self._left = self._left, []
        for source in left:
            try:
                await close_source(self._gateway.services, source)
            except MessagingError:
                # The store is gone, or somebody was faster; a restart forgets such queues anyway.
                continue


def _check(address: Address, subscription_id: str, headers: Mapping[str, str]) -> None:
    if isinstance(address, QueueAddress) and address.reply:
        raise FrameError(
            "Invalid destination",
            f"'/reply-queue/{address.name}' is not a valid destination for 'SUBSCRIBE'\n",
        )
    if isinstance(address, TopicAddress) and is_durable(headers) and "id" not in headers:
        raise FrameError("Missing Header", "Header 'id' is required for durable subscriptions\n")
    if isinstance(address, TempTopicAddress) and is_durable(headers):
        raise FrameError("Invalid header", "a temporary topic has no durable subscriptions\n")
    if subscription_id.startswith(TEMP_QUEUE) and "id" in headers:
        raise FrameError("Invalid id", f"SUBSCRIBE 'id' may not start with {TEMP_QUEUE}\n")


def _integer(headers: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    for name in names:
        text = headers.get(name)
        if text is not None:
            digits = text.strip()
            sign = -1 if digits.startswith("-") and name.endswith("priority") else 1
            digits = digits.removeprefix("-") if sign < 0 else digits
            if not digits.isdecimal() or len(digits) > _DIGITS_MAX:
                wanted = "a number" if name.endswith("priority") else "a number from 0 on"
                raise InvalidParameter(f"{name} '{text[:40]}' is not {wanted}")
            return sign * int(digits)
    return default

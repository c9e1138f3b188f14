"""What management shows of an AMQP connection: its channels, their consumers, its client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mappings.connections import ChannelDetails, ConnectionDetails, ConsumerDetails

if TYPE_CHECKING:
    from mappings.amqp091.channel import GatewayChannel
    from mappings.amqp091.gateway import AmqpGateway


def connection_details(gateway: AmqpGateway) -> ConnectionDetails:
    """Gathered when somebody looks."""
    connection = gateway.connection
    return ConnectionDetails(
        version="AMQP 0-9-1",
        client_properties=connection.client_properties,
        channels=[_channel_details(gateway, each) for each in list(gateway.channels.values())],
        heartbeat_seconds=connection.heartbeat_seconds,
        frame_max=connection.frame_size_max,
        channel_max=connection.channel_max,
        mechanism=connection.mechanism,
    )


def _channel_details(gateway: AmqpGateway, channel: GatewayChannel) -> ChannelDetails:
    spoken = gateway.connection.channels.get(channel.number)
    return ChannelDetails(
        number=channel.number,
        consumers=[
            ConsumerDetails(
                tag,
                consumer.queue.name,
                consumer.prefetch_asked,
                not consumer.protocol_consumer.no_ack,
            )
            for tag, consumer in channel.consumers.items()
        ],
        prefetch=channel.prefetch,
        prefetch_global=channel.prefetch_max,
        unacknowledged=None if spoken is None else len(spoken.unacked),
        confirms=spoken is not None and spoken.confirming,
        transactional=channel.transaction is not None,
    )

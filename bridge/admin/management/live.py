"""Connections, channels and consumers as RabbitMQ's API shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bridge.admin.management.access import Viewer
from bridge.admin.management.sources import Json, ManagementSources
from bridge.messaging.model import QueueName
from mappings.connections import ChannelDetails, ConnectionDetails, ConsumerDetails, LiveConnection


class Live:
    """Answers for one request."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer

    def connections(self, namespace: str | None = None) -> list[Json]:
        return [self._connection(each) for each in self._seen(namespace)]

    def connection(self, name: str) -> LiveConnection | None:
        """The connection of that name, whoever's it is."""
        return next((each for each in self._sources.connections if _name(each) == name), None)

    def connections_of(self, user: str) -> list[LiveConnection]:
        """All connections of a user."""
        return [each for each in self._sources.connections if each.user == user]

    def channels(self, namespace: str | None = None) -> list[Json]:
        return [
            self._channel(connection, channel)
            for connection in self._seen(namespace)
            for channel in connection.details().channels
        ]

    def consumers(self, namespace: str | None = None, queue: QueueName | None = None) -> list[Json]:
        return [
            self._consumer(connection, channel, consumer)
            for connection in self._seen(namespace)
            for channel in connection.details().channels
            for consumer in channel.consumers
            if queue is None or consumer.queue == queue
        ]

    def _seen(self, namespace: str | None) -> Iterator[LiveConnection]:
        viewer = self._viewer
        for each in self._sources.connections:
            if namespace not in {None, each.namespace} or not viewer.sees(each.namespace):
                continue
            if viewer.sees_all_connections or each.user == viewer.user.name:
                yield each

    def _connection(self, connection: LiveConnection) -> Json:
        details, transport = connection.details(), connection.transport
        host, port = _host_and_port(transport.local)
        provided = _provided_name(connection, details)
        return {
            **_connection_details(connection),
            "host": host,
            "port": port,
            "ssl": transport.secure,
            "auth_mechanism": details.mechanism,
            "node": self._sources.node.name,
            "type": "network",
            "state": "flow" if connection.reading_paused else "running",
            "protocol": _protocol(connection, details),
            "vhost": connection.namespace,
            "user": connection.user,
            **({} if provided is None else {"user_provided_name": provided}),
            "user_who_performed_action": connection.user,
            "client_properties": dict(details.client_properties),
            "connected_at": connection.opened_at,
            "channels": len(details.channels),
            "channel_max": details.channel_max or 0,
            **({} if details.frame_max is None else {"frame_max": details.frame_max}),
            "timeout": int(details.heartbeat_seconds),
            "send_pend": 0,
            "messages_unconfirmed": connection.unanswered_count,
        }

    def _channel(self, connection: LiveConnection, channel: ChannelDetails) -> Json:
        return {
            "name": f"{_name(connection)} ({channel.number})",
            "number": channel.number,
            "node": self._sources.node.name,
            "state": "flow" if connection.reading_paused else "running",
            "vhost": connection.namespace,
            "user": connection.user,
            "user_who_performed_action": connection.user,
            "connection_details": _connection_details(connection),
            "consumer_count": len(channel.consumers),
            "prefetch_count": channel.prefetch,
            "global_prefetch_count": channel.prefetch_global,
            "messages_unacknowledged": channel.unacknowledged or 0,
            "confirm": channel.confirms,
            "transactional": channel.transactional,
        }

    def _consumer(
        self, connection: LiveConnection, channel: ChannelDetails, consumer: ConsumerDetails
    ) -> Json:
        connected = _connection_details(connection)
        return {
            "consumer_tag": consumer.tag,
            "queue": {"name": consumer.queue.name, "vhost": consumer.queue.namespace},
            "ack_required": consumer.ack_required,
            "prefetch_count": consumer.prefetch,
            "active": True,
            "activity_status": "up",
            "exclusive": False,
            "arguments": {},
            "channel_details": {
                "connection_name": connected["name"],
                "name": f"{connected['name']} ({channel.number})",
                "node": self._sources.node.name,
                "number": channel.number,
                "peer_host": connected["peer_host"],
                "peer_port": connected["peer_port"],
                "user": connection.user,
            },
        }


def named(items: Iterable[Json], name: str) -> Json | None:
    """The connection or channel of that name."""
    return next((item for item in items if item["name"] == name), None)


def _name(connection: LiveConnection) -> str:
    return f"{connection.peer} -> {connection.transport.local}"


def _protocol(connection: LiveConnection, details: ConnectionDetails) -> str:
    return details.version or connection.protocol.upper()


def _provided_name(connection: LiveConnection, details: ConnectionDetails) -> str | None:
    """What the client calls itself; where the protocol has names of programs too, they are none."""
    properties = details.client_properties
    name = properties.get("connection_name", None if "product" in properties else connection.client)
    return name if isinstance(name, str) else None


def _connection_details(connection: LiveConnection) -> Json:
    host, port = _host_and_port(connection.peer)
    return {"name": _name(connection), "peer_host": host, "peer_port": port}


def _host_and_port(peer: str) -> tuple[str, int]:
    host, _, port = peer.rpartition(":")
    return host.strip("[]") or peer, int(port) if port.isdecimal() else 0

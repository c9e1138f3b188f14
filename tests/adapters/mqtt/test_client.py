"""The client role, pushed against the server in memory."""

from __future__ import annotations

import pytest

from adapters.connection import ConnectionFailed
from adapters.mqtt.client import ClientConnection
from adapters.mqtt.events import (
    ConnectAnswered,
    DeliveriesAcknowledged,
    DeliveriesCompleted,
    DeliveriesReceived,
    DisconnectReceived,
    PublishesReceived,
    ReleasesReceived,
    SubscribeAnswered,
    SubscribeRequested,
    UnsubscribeAnswered,
    UnsubscribeRequested,
)
from adapters.mqtt.limits import DEFAULT_LIMITS
from adapters.mqtt.packets import (
    Connack,
    Connect,
    Disconnect,
    ProtocolVersion,
    Publish,
    Suback,
    Subscription,
    Unsuback,
    Will,
)
from adapters.mqtt.properties import Properties
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.server import ServerConnection
from adapters.mqtt.session import SessionState
from adapters.mqtt.topic_filters import TopicFilter
from tests.adapters.mqtt.transcript import Pair

VERSIONS = pytest.mark.parametrize("version", ProtocolVersion)
V5 = ProtocolVersion.V5


def connect(version: ProtocolVersion) -> Connect:
    will = Will("gone", b"!", 1)
    return Connect(version, "c", keep_alive_seconds=30, user_name="u", password=b"p", will=will)


@VERSIONS
def test_publishing(version: ProtocolVersion) -> None:
    pair = Pair(connect(version))
    assert not pair.connack.session_present
    publishes = [Publish("a/b", b"%d" % n, n % 2) for n in range(10)]
    pair.client.send(publishes, list(range(10)))
    (received,) = pair.to_server()
    assert isinstance(received, PublishesReceived)
    assert [publish.payload for publish in received.publishes] == [b"%d" % n for n in range(10)]
    pair.server.acknowledge(received.publishes)
    assert pair.to_client() == [DeliveriesAcknowledged([1, 3, 5, 7, 9])]


@VERSIONS
@pytest.mark.parametrize("from_client", [True, False])
def test_exactly_once(version: ProtocolVersion, from_client: bool) -> None:
    pair = Pair(connect(version))
    sender, receiver = pair.client, pair.server
    to_receiver, to_sender = pair.to_server, pair.to_client
    if not from_client:
        sender, receiver = receiver, sender  # type: ignore[assignment]
        to_receiver, to_sender = to_sender, to_receiver
    packet_ids = sender.reserve(["x", "y"])
    sender.send_reserved([Publish("a", b"1", 2), Publish("a", b"2", 2)], packet_ids)
    (received,) = to_receiver()
    assert isinstance(received, PublishesReceived)
    receiver.acknowledge(received.publishes)
    assert to_sender() == [DeliveriesReceived(packet_ids, ["x", "y"])]
    sender.release(packet_ids)
    assert to_receiver() == [ReleasesReceived(packet_ids)]
    receiver.complete(packet_ids)
    assert to_sender() == [DeliveriesCompleted(packet_ids, ["x", "y"])]
    assert sender.session.in_flight == 0
    assert receiver.session.received == {}


@VERSIONS
def test_subscribing(version: ProtocolVersion) -> None:
    pair = Pair(connect(version))
    packet_id = pair.client.subscribe([Subscription(TopicFilter("a/#", "a/#"), 1)])
    (requested,) = pair.to_server()
    assert isinstance(requested, SubscribeRequested)
    assert requested.subscribe.subscriptions == [Subscription(TopicFilter("a/#", "a/#"), 1)]
    pair.server.answer_subscribe(requested.subscribe.packet_id, [1])
    assert pair.to_client() == [SubscribeAnswered(Suback(packet_id, [1]))]
    packet_id = pair.client.unsubscribe(["a/#", "$share/g/x"])
    (event,) = pair.to_server()
    assert isinstance(event, UnsubscribeRequested)
    assert event.unsubscribe.topic_filters[1] == TopicFilter("$share/g/x", "x", "g")
    pair.server.answer_unsubscribe(packet_id, [0, 0x11])
    codes = [0, 0x11] if version is V5 else []
    assert pair.to_client() == [UnsubscribeAnswered(Unsuback(packet_id, codes))]


@VERSIONS
def test_leaving(version: ProtocolVersion) -> None:
    pair = Pair(connect(version))
    pair.client.disconnect()
    assert pair.to_server() == [DisconnectReceived(Disconnect())]
    pair = Pair(connect(version))
    pair.server.disconnect(ReasonCode.ADMINISTRATIVE_ACTION)
    events = pair.to_client()
    if version is V5:
        assert events == [DisconnectReceived(Disconnect(ReasonCode.ADMINISTRATIVE_ACTION))]
    else:
        assert events == []


def test_keep_alive() -> None:
    pair = Pair(connect(V5), properties=Properties(server_keep_alive=10))
    assert pair.client.next_deadline() == 10
    assert pair.server.next_deadline() == 15
    pair.now = 10
    pair.client.handle_deadline(10)
    assert pair.to_server() == []
    assert pair.server.next_deadline() == 25
    assert pair.to_client() == []
    assert pair.client.next_deadline() == 20


def test_being_refused() -> None:
    client = ClientConnection(connect(V5), 0.0)
    server = ServerConnection(DEFAULT_LIMITS, 0.0)
    server.receive_data(b"".join(client.data_to_send()), 0.0)
    server.refuse(ReasonCode.NOT_AUTHORIZED, reason_string="no")
    client.receive_data(b"".join(server.data_to_send()), 0.0)
    properties = Properties(reason_string="no")
    assert client.next_events() == [ConnectAnswered(Connack(False, 0x87, properties))]
    assert client.closed


def test_what_each_allows_the_other() -> None:
    hello = Connect(V5, "c", properties=Properties(receive_maximum=2, topic_alias_maximum=3))
    pair = Pair(hello, properties=Properties(receive_maximum=7))
    assert (pair.client.send_quota, pair.server.send_quota) == (7, 2)
    for publish_count in range(4):
        pair.server.send([Publish("topic", b"%d" % publish_count)], [None])
        pair.client.send([Publish("topic", b"%d" % publish_count)], [None])
        for events in (pair.to_client(), pair.to_server()):
            (event,) = events
            assert isinstance(event, PublishesReceived)
            assert event.publishes[0].topic == "topic"


def test_resuming() -> None:
    client_session, server_session = SessionState(), SessionState()
    pair = Pair(connect(V5), client_session=client_session, server_session=server_session)
    packet_ids = pair.client.reserve(["x"])
    pair.client.send_reserved([Publish("a", b"", 2)], packet_ids)
    (received,) = pair.to_server()
    assert isinstance(received, PublishesReceived)
    pair.server.acknowledge(received.publishes)
    pair.to_client()
    pair.client.release(packet_ids)  # and the PUBREL is lost

    pair = Pair(connect(V5), client_session=client_session, server_session=server_session)
    assert pair.connack.session_present
    assert pair.to_server() == [ReleasesReceived(packet_ids)]


@pytest.mark.parametrize(
    "packets", ["c0 00", "82 07 0001 00 0001 61 00", "20 03 00 00 00", "90 04 0009 00 00"]
)
def test_what_servers_must_not_send(packets: str) -> None:
    pair = Pair(connect(V5))
    pair.client.receive_data(bytes.fromhex(packets), 0.0)
    (event,) = pair.client.next_events()
    assert isinstance(event, ConnectionFailed)
    (answered,) = pair.to_server()
    assert isinstance(answered, DisconnectReceived)
    assert answered.disconnect.reason_code == ReasonCode.PROTOCOL_ERROR


def test_a_first_packet_that_is_not_connack() -> None:
    client = ClientConnection(connect(V5), 0.0)
    client.receive_data(b"\xd0\x00", 0.0)
    assert isinstance(client.next_events()[0], ConnectionFailed)

"""The server role: CONNECT and its answers, time, subscriptions and the end of a connection."""

from __future__ import annotations

import pytest

from adapters.connection import Connection, ConnectionFailed
from adapters.errors import LocalProtocolError
from adapters.mqtt.events import (
    ConnectRequested,
    DisconnectReceived,
    Event,
    PublishesReceived,
    SubscribeRequested,
    UnsubscribeRequested,
)
from adapters.mqtt.limits import DEFAULT_LIMITS, ConnectionLimits
from adapters.mqtt.packets import (
    Disconnect,
    ProtocolVersion,
    Publish,
    Subscribe,
    Subscription,
    Unsubscribe,
)
from adapters.mqtt.properties import Properties
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.server import ServerConnection
from adapters.mqtt.topic_filters import TopicFilter
from tests.adapters.mqtt.transcript import CONNECTS, Transcript, connected

V3_1, V3_1_1, V5 = ProtocolVersion.V3_1, ProtocolVersion.V3_1_1, ProtocolVersion.V5


def test_it_keeps_the_contract_of_connections() -> None:
    connection: Connection[Event] = ServerConnection(DEFAULT_LIMITS, 0.0)
    assert connection.next_events() == []


# -- CONNECT


@pytest.mark.parametrize(
    ("version", "answer"),
    [
        (V3_1, "20 02 00 00"),
        (V3_1_1, "20 02 00 00"),
        (V5, "20 0e 00 00 0b 21 03 e8 22 00 20 27 01 10 00 00"),
    ],
)
def test_accept(version: ProtocolVersion, answer: str) -> None:
    transcript = Transcript()
    assert transcript.send_one(ConnectRequested, CONNECTS[version]).connect.client_id == "p"
    assert transcript.answers() == ""
    assert not transcript.connection.accepted
    transcript.connection.accept()
    assert transcript.answers() == answer
    assert transcript.connection.accepted


def test_session_present() -> None:
    for version, answer in ((V3_1, "20 02 00 00"), (V3_1_1, "20 02 01 00"), (V5, "20 0e 01 00")):
        transcript = Transcript()
        transcript.send(CONNECTS[version])
        transcript.connection.accept(session_present=True)
        assert transcript.answers().startswith(answer)


def test_properties_of_connack() -> None:
    transcript = Transcript(ConnectionLimits(topic_aliases_in_max=0))
    answer = transcript.connect(
        V5, properties=Properties(assigned_client_identifier="x", receive_maximum=5)
    )
    assert answer == "20 0f 00 00 0c 12 00 01 78 21 00 05 27 01 10 00 00"


def test_a_client_without_room_for_connack_is_not_let_in() -> None:
    transcript = Transcript()
    transcript.send("10 12 00 04 4d 51 54 54 05 02 00 00 05 27 00 00 00 0f 00 00")
    transcript.connection.accept()
    assert transcript.answers() == ""
    assert not transcript.connection.accepted
    (event,) = transcript.connection.next_events()
    assert isinstance(event, ConnectionFailed)


@pytest.mark.parametrize(
    ("version", "reason", "answer"),
    [
        (V3_1, ReasonCode.NOT_AUTHORIZED, "20 02 00 05"),
        (V3_1_1, ReasonCode.BAD_USER_NAME_OR_PASSWORD, "20 02 00 04"),
        (V3_1_1, ReasonCode.SERVER_UNAVAILABLE, "20 02 00 03"),
        (V3_1_1, ReasonCode.TOPIC_NAME_INVALID, ""),
        (V5, ReasonCode.BANNED, "20 03 00 8a 00"),
    ],
)
def test_refuse(version: ProtocolVersion, reason: ReasonCode, answer: str) -> None:
    transcript = Transcript()
    transcript.send(CONNECTS[version])
    transcript.connection.refuse(reason)
    assert transcript.answers() == answer
    assert transcript.connection.closed
    assert transcript.send("c0 00") == []


def test_refuse_with_words() -> None:
    transcript = Transcript()
    transcript.send(CONNECTS[V5])
    transcript.connection.refuse(
        ReasonCode.USE_ANOTHER_SERVER, reason_string="r", server_reference="s"
    )
    assert transcript.answers() == "20 0b 00 9c 08 1c 00 01 73 1f 00 01 72"


def test_what_follows_connect_waits_for_accept() -> None:
    transcript = Transcript()
    transcript.send_one(ConnectRequested, CONNECTS[V3_1_1], "30 04 0001 61 31", "30 04 00")
    assert transcript.send("01 61 32") == []
    assert transcript.send("c0 00") == []
    transcript.connection.accept()
    (event,) = transcript.connection.next_events()
    assert isinstance(event, PublishesReceived)
    assert [publish.payload for publish in event.publishes] == [b"1", b"2"]
    assert transcript.answers() == "20 02 00 00 d0 00"
    assert transcript.send("c0 00") == []
    assert transcript.answers() == "d0 00"


def test_what_waits_for_accept_is_bounded() -> None:
    transcript = Transcript(ConnectionLimits(packet_size_max=100))
    transcript.send(CONNECTS[V3_1_1])
    assert transcript.send("c000" * 50) == []
    transcript.send_one(ConnectionFailed, "c0")
    assert transcript.answers() == "20 02 00 03"


def test_connect_size_bound() -> None:
    limits = ConnectionLimits(connect_size_max=15)
    assert isinstance(Transcript(limits).send(CONNECTS[V3_1_1])[0], ConnectRequested)
    Transcript(limits).send_one(ConnectionFailed, "10 0e 0004")


def test_calls_at_the_wrong_time() -> None:
    transcript = Transcript()
    with pytest.raises(LocalProtocolError):
        transcript.connection.accept()
    transcript.connect(V5)
    with pytest.raises(LocalProtocolError):
        transcript.connection.accept()
    with pytest.raises(LocalProtocolError):
        transcript.connection.refuse(ReasonCode.BANNED)


def test_accepting_somebody_who_has_gone_is_harmless() -> None:
    transcript = Transcript()
    transcript.send(CONNECTS[V5])
    transcript.connection.receive_eof(0.0)
    transcript.connection.accept()
    assert transcript.answers() == ""


# -- time


def test_connect_timeout() -> None:
    transcript = Transcript(ConnectionLimits(connect_timeout_seconds=5))
    connection = transcript.connection
    assert connection.next_deadline() == 5
    transcript.now = 4
    transcript.send("10 0d")
    connection.handle_deadline(4.9)
    assert connection.next_events() == []
    connection.handle_deadline(connection.next_deadline() or 0)
    assert isinstance(connection.next_events()[0], ConnectionFailed)
    assert transcript.answers() == ""
    assert connection.next_deadline() is None


def test_no_deadline_while_the_gateway_thinks() -> None:
    transcript = Transcript()
    transcript.send(CONNECTS[V5])
    assert transcript.connection.next_deadline() is None


@pytest.mark.parametrize(("version", "ends"), [(V3_1_1, ""), (V5, "e0 23 8d")])
def test_keep_alive(version: ProtocolVersion, ends: str) -> None:
    transcript = connected(version)
    connection = transcript.connection
    assert connection.next_deadline() == 15
    transcript.now = 9
    transcript.send("c0 00")
    assert transcript.answers() == "d0 00"
    assert connection.next_deadline() == 24
    connection.handle_deadline(23.9)
    assert connection.next_events() == []
    connection.handle_deadline(24)
    assert isinstance(connection.next_events()[0], ConnectionFailed)
    assert transcript.answers().startswith(ends)
    connection.handle_deadline(24)
    assert connection.next_events() == []


def test_keep_alive_0_is_for_ever() -> None:
    transcript = Transcript()
    transcript.send("10 0d 0004 4d515454 04 02 0000 0001 70")
    transcript.connection.accept()
    assert transcript.connection.next_deadline() is None


def test_server_keep_alive() -> None:
    transcript = Transcript()
    transcript.connect(V5, properties=Properties(server_keep_alive=100))
    assert transcript.connection.next_deadline() == 150


def test_a_few_bytes_are_no_sign_of_life_but_a_large_packet_is() -> None:
    transcript = connected(V3_1_1)
    connection = transcript.connection
    transcript.now = 1
    transcript.send("30 e8 07 0001 61")
    transcript.now = 2
    transcript.send("00")
    assert connection.next_deadline() == 1 + 15
    transcript = connected(V3_1_1)
    connection = transcript.connection
    transcript.send("30 e8 7f 0001 61")
    transcript.now = 2
    transcript.send("00")
    assert connection.next_deadline() == 2 + 15


def test_paused_time_does_not_count() -> None:
    transcript = connected(V3_1_1)
    connection = transcript.connection
    connection.receive_data(b"", 1_000)
    connection.handle_deadline(1_000)
    assert connection.next_deadline() == 1_015
    transcript.now = 1_001
    transcript.send("30 e8 07 0001 61")
    connection.receive_data(b"", 2_000)
    assert connection.next_deadline() == 2_015
    assert transcript.send("00") == []


# -- subscriptions


def test_subscribe() -> None:
    transcript = connected(V5)
    event = transcript.send_one(SubscribeRequested, "82 0d 000a 02 0b05 0001 61 1d 0001 2b 02")
    assert event.subscribe == Subscribe(
        10,
        [
            Subscription(
                TopicFilter("a", "a"), 1, no_local=True, retain_as_published=True, retain_handling=1
            ),
            Subscription(TopicFilter("+", "+"), 2),
        ],
        Properties(subscription_identifiers=(5,)),
    )
    transcript.connection.answer_subscribe(10, [1, ReasonCode.NOT_AUTHORIZED])
    assert transcript.answers() == "90 05 00 0a 00 01 87"


def test_subscribe_in_mqtt_3() -> None:
    transcript = connected(V3_1_1)
    transcript.send_one(SubscribeRequested, "82 0a 000a 0001 61 01 0001 2b 02")
    transcript.connection.answer_subscribe(10, [1, ReasonCode.NOT_AUTHORIZED], reason_string="no")
    assert transcript.answers() == "90 04 00 0a 01 80"


def test_unsubscribe() -> None:
    transcript = connected(V5)
    event = transcript.send_one(UnsubscribeRequested, "a2 09 000a 00 0001 61 0001 62")
    assert event.unsubscribe == Unsubscribe(10, [TopicFilter("a", "a"), TopicFilter("b", "b")])
    transcript.connection.answer_unsubscribe(10, [0, 0x11], reason_string="r")
    assert transcript.answers() == "b0 09 00 0a 04 1f 00 01 72 00 11"
    transcript = connected(V3_1_1)
    transcript.connection.answer_unsubscribe(10, [0, 0x11])
    assert transcript.answers() == "b0 02 00 0a"


def test_no_words_for_clients_that_want_none() -> None:
    transcript = Transcript()
    transcript.send("10 10 0004 4d515454 05 02 000a 02 1700 0001 70")
    transcript.connection.accept(properties=Properties(reason_string="r"))
    assert "1f 00 01 72" in transcript.answers()  # CONNACK may (MQTT 5, 3.1.2.11.7)
    transcript.connection.answer_subscribe(10, [0x87], reason_string="no")
    transcript.connection.answer_unsubscribe(10, [0x87], reason_string="no")
    assert transcript.answers() == "90 04 00 0a 00 87 b0 04 00 0a 00 87"


def test_filters_are_bounded() -> None:
    limits = ConnectionLimits(filters_per_packet_max=2)
    for first, each in (("82", "000161 00"), ("a2", "000161")):
        transcript = Transcript(limits)
        transcript.connect(V5)
        for count in (2, 3):
            body = "0001 00" + each * count
            events = transcript.send(f"{first} {len(bytes.fromhex(body)):02x}", body)
            assert isinstance(events[0], ConnectionFailed) == (count == 3)
        assert transcript.answers()[6:8] == "97"


# -- the end


@pytest.mark.parametrize(
    ("version", "sent", "disconnect"),
    [
        (V3_1_1, "e0 00", Disconnect()),
        (V5, "e0 00", Disconnect()),
        (V5, "e0 01 04", Disconnect(ReasonCode.DISCONNECT_WITH_WILL)),
    ],
)
def test_disconnect_from_the_client(
    version: ProtocolVersion, sent: str, disconnect: Disconnect
) -> None:
    transcript = connected(version)
    event = transcript.send_one(DisconnectReceived, sent, "c0 00")
    assert event.disconnect == disconnect
    assert transcript.connection.closed
    assert transcript.answers() == ""


def test_what_came_before_disconnect_is_answered() -> None:
    transcript = connected(V3_1_1)
    publishes, subscribe, _ = transcript.send(
        "32 05 0001 61 0001", "34 05 0001 61 0002", "82 06 0003 0001 61 01", "e0 00"
    )
    assert isinstance(publishes, PublishesReceived)
    assert isinstance(subscribe, SubscribeRequested)
    transcript.connection.acknowledge(publishes.publishes)
    transcript.connection.answer_subscribe(3, [1])
    transcript.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    assert transcript.answers() == "40 02 00 01 50 02 00 02 90 03 00 03 01"


def test_nothing_else_follows_disconnect() -> None:
    transcript = connected(V5)
    transcript.send("e0 00")
    transcript.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    transcript.connection.send([Publish("a", b"x", 1)], [None])
    assert transcript.answers() == ""


def test_disconnect_changes_a_session_expiry_interval() -> None:
    transcript = Transcript()
    transcript.send("10 13 0004 4d515454 05 02 000a 05 1100000001 0001 70")
    transcript.connection.accept()
    event = transcript.send_one(DisconnectReceived, "e0 07 00 05 11000000ff")
    assert event.disconnect.properties.session_expiry_interval == 255


@pytest.mark.parametrize(("version", "answer"), [(V3_1_1, ""), (V5, "e0 01 8e")])
def test_disconnect_from_the_server(version: ProtocolVersion, answer: str) -> None:
    transcript = connected(version)
    transcript.connection.disconnect(ReasonCode.SESSION_TAKEN_OVER)
    assert transcript.answers() == answer
    assert transcript.connection.closed


def test_disconnect_with_words() -> None:
    transcript = connected(V5)
    transcript.connection.disconnect(
        ReasonCode.SERVER_MOVED, reason_string="r", server_reference="s"
    )
    assert transcript.answers() == "e0 0a 9d 08 1c 00 01 73 1f 00 01 72"


def test_no_disconnect_before_connack() -> None:
    transcript = Transcript()
    transcript.send(CONNECTS[V5])
    transcript.connection.disconnect(ReasonCode.SERVER_SHUTTING_DOWN)
    assert transcript.answers() == ""
    assert transcript.connection.closed


def test_a_bridge_says_so() -> None:
    event = Transcript().send_one(ConnectRequested, "10 0d 0004 4d515454 84 00 003c 0001 62")
    assert event.connect.bridge
    event = Transcript().send_one(ConnectRequested, "10 0f 0006 4d5149736470 83 00 000a 0001 70")
    assert (event.connect.bridge, event.connect.version) == (True, V3_1)


def test_mqtt_3_1_ignores_what_it_does_not_use() -> None:
    sent = "14 0f 0006 4d5149736470 03 c3 000a 0001 70"  # flags, and credentials that are not there
    connect = Transcript().send_one(ConnectRequested, sent).connect
    assert (connect.user_name, connect.password) == (None, None)

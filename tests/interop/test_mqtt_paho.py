"""paho-mqtt, in all versions of the protocol, over TCP and WebSocket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions
from websockets.sync.client import connect as websocket_connect
from websockets.typing import Subprotocol

from tests.interop.lost_on_aws import MQTT_ORDER, in_order
from tests.support.program import Place, Program

WAIT_SECONDS = 60
WEBSOCKET = (
    "--set=listeners.web.protocol=mqtt",
    "--set=listeners.web.websocket=true",
    "--set=listeners.web.port=0",
)
V31, V311, V5 = (
    MQTTProtocolVersion.MQTTv31,
    MQTTProtocolVersion.MQTTv311,
    MQTTProtocolVersion.MQTTv5,
)


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(*WEBSOCKET, directory=tmp_path_factory.mktemp("paho")) as program:
        yield program


class Client:
    """A connected client and what it has seen."""

    def __init__(
        self,
        program: Program,
        version: MQTTProtocolVersion,
        *,
        name: str = "",
        transport: Any = "tcp",
        clean: bool = True,
        expiry: int = 0,
        will: tuple[str, str] | None = None,
    ) -> None:
        self.messages: list[paho.MQTTMessage] = []
        self.session_present = False
        self._connected = self._subscribed = False
        self._changed = threading.Condition()
        options = {"clean_session": clean} if version != V5 else {}
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2, name, protocol=version, transport=transport, **options
        )
        self.paho.connect_timeout = WAIT_SECONDS
        self.paho.on_connect = self._on_connect
        self.paho.on_subscribe = self._on_subscribe
        self.paho.on_message = self._on_message
        if will is not None:
            self.paho.will_set(*will, qos=1)
        properties: Any = None
        if version == V5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = expiry
        port = program.port("web" if transport == "websockets" else "mqtt")
        start: dict[str, Any] = {"clean_start": clean} if version == V5 else {}
        self.paho.connect("127.0.0.1", port, properties=properties, **start)
        self.paho.loop_start()
        self.wait(lambda: self._connected)

    def _note(self, act: Callable[[], object]) -> None:
        with self._changed:
            act()
            self._changed.notify_all()

    def _on_connect(self, _c: Any, _u: Any, flags: Any, reason: Any, _p: Any) -> None:
        assert not reason.is_failure, reason
        self.session_present = flags.session_present

        def act() -> None:
            self._connected = True

        self._note(act)

    def _on_subscribe(self, *_: Any) -> None:
        def act() -> None:
            self._subscribed = True

        self._note(act)

    def _on_message(self, _c: Any, _u: Any, message: paho.MQTTMessage) -> None:
        self._note(lambda: self.messages.append(message))

    def wait(self, condition: Callable[[], object]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_SECONDS), self.messages

    def subscribe(self, topic: str, qos: int = 0, **options: Any) -> None:
        self._subscribed = False
        if options:
            self.paho.subscribe(topic, options=SubscribeOptions(qos, **options))
        else:
            self.paho.subscribe(topic, qos)
        self.wait(lambda: self._subscribed)

    def take(self, count: int) -> list[paho.MQTTMessage]:
        self.wait(lambda: len(self.messages) >= count)
        taken, self.messages = self.messages[:count], self.messages[count:]
        return taken

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    def cut(self) -> None:
        """Go without DISCONNECT."""
        self.paho.loop_stop()
        socket = self.paho.socket()
        assert socket is not None
        socket.close()


@pytest.mark.parametrize("transport", ["tcp", "websockets"])
@pytest.mark.parametrize("version", [V31, V311, V5])
def test_every_qos(program: Program, version: MQTTProtocolVersion, transport: str) -> None:
    client = Client(program, version, name=f"qos-{version}-{transport}", transport=transport)
    client.subscribe(f"paho/{transport}/+", 2)
    for qos in (0, 1, 2):
        info = client.paho.publish(f"paho/{transport}/{qos}", f"m{qos}" * 1000, qos)
        info.wait_for_publish(WAIT_SECONDS)
    received = {(each.topic, each.payload, each.qos) for each in client.take(3)}
    assert received == {
        (f"paho/{transport}/{qos}", f"m{qos}".encode() * 1000, qos) for qos in (0, 1, 2)
    }
    client.close()


@pytest.mark.parametrize("version", [V311, V5])
def test_a_persistent_session(place: Place, program: Program, version: MQTTProtocolVersion) -> None:
    options: dict[str, Any] = {"name": f"persistent-{version}", "clean": False, "expiry": 100}
    client = Client(program, version, **options)
    assert not client.session_present
    client.subscribe(f"kept/{version}", 2)
    client.close()
    other = Client(program, version, name=f"other-{version}")
    for number in range(20):
        info = other.paho.publish(f"kept/{version}", str(number), 1 + number % 2)
        info.wait_for_publish(WAIT_SECONDS)
    other.close()
    client = Client(program, version, **options)
    assert client.session_present
    payloads = [int(each.payload) for each in client.take(20)]
    for qos in (1, 2):
        of_one_qos = [each for each in payloads if each % 2 == qos - 1]
        assert in_order(place, MQTT_ORDER, of_one_qos) == list(range(qos - 1, 20, 2))
    client.close()


@pytest.mark.parametrize("version", [V311, V5])
def test_retained_and_will(program: Program, version: MQTTProtocolVersion) -> None:
    name = f"rw-{version}"
    client = Client(program, version, name=name, will=(f"{name}/will", "gone"))
    client.paho.publish(f"{name}/r", "kept", 1, retain=True).wait_for_publish(WAIT_SECONDS)
    watching = Client(program, version, name=f"{name}-watching")
    watching.subscribe(f"{name}/#", 1)
    (retained,) = watching.take(1)
    assert (retained.payload, retained.retain) == (b"kept", True)
    client.cut()
    (will,) = watching.take(1)
    assert (will.topic, will.payload, will.retain) == (f"{name}/will", b"gone", False)
    client.paho.loop_stop()
    watching.close()


def test_properties(program: Program) -> None:
    client = Client(program, V5, name="properties")
    client.subscribe("props", 1, noLocal=False)
    properties: Any = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("b", "1"), ("a", "2"), ("b", "3")]
    properties.ContentType = "text/plain"
    properties.ResponseTopic = "reply"
    properties.CorrelationData = b"\x00\xff"
    properties.MessageExpiryInterval = 3600
    properties.PayloadFormatIndicator = 1
    client.paho.publish("props", "x", 1, properties=properties).wait_for_publish(WAIT_SECONDS)
    (message,) = client.take(1)
    assert message.properties is not None
    received: Any = message.properties
    assert received.UserProperty == [("b", "1"), ("a", "2"), ("b", "3")]
    assert (received.ContentType, received.ResponseTopic) == ("text/plain", "reply")
    assert received.CorrelationData == b"\x00\xff"
    assert 3500 < received.MessageExpiryInterval <= 3600
    client.close()


def test_two_megabytes(program: Program) -> None:
    client = Client(program, V5, name="large")
    client.subscribe("large", 1)
    client.paho.publish("large", b"\xff" * 2**21, 1).wait_for_publish(WAIT_SECONDS)
    (message,) = client.take(1)
    assert message.payload == b"\xff" * 2**21
    client.close()


def test_many_messages_in_order(place: Place, program: Program) -> None:
    client = Client(program, V311, name="many")
    client.subscribe("many", 1)
    for number in range(2_000):
        client.paho.publish("many", str(number), 1)
    payloads = [int(each.payload) for each in client.take(2_000)]
    assert in_order(place, MQTT_ORDER, payloads) == list(range(2_000))
    client.close()


def test_each_packet_is_a_websocket_message(program: Program) -> None:
    """Paho's library in C leaves the second packet of a message until the next comes."""
    url = f"ws://127.0.0.1:{program.port('web')}/mqtt"
    with websocket_connect(
        url, subprotocols=[Subprotocol("mqtt")], proxy=None, compression=None
    ) as websocket:
        # CONNECT, SUBSCRIBE to `a` at QoS 1, PUBLISH there: it comes back beside its PUBACK.
        websocket.send(bytes.fromhex("100c00044d5154540402003c0000"))
        websocket.send(bytes.fromhex("8206000100016101"))
        websocket.send(bytes.fromhex("3208000161000278797a"))
        received = [websocket.recv(WAIT_SECONDS) for _ in range(4)]
    assert sorted(received) == sorted(
        bytes.fromhex(packet)
        for packet in ("20020000", "9003000101", "3208000161000178797a", "40020002")
    )

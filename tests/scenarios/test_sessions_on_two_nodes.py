"""Two brokers on one AWS account: MQTT sessions follow their clients, also from a node that was
killed; moto for AWS.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from tests.support.moto_server import let_visibility_end, moto_server
from tests.support.program import Program, node_on_aws

WAIT_SECONDS = 25
TAKEN_OVER = 0x8E


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
def nodes(
    moto_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Program, Program]]:
    place = request.node.name.replace("_", "-")[5:40]
    with ExitStack() as stack:
        yield (
            stack.enter_context(node_on_aws(moto_url, tmp_path / "one", place)),
            stack.enter_context(node_on_aws(moto_url, tmp_path / "two", place)),
        )


class Client:
    """An MQTT 5 client of a session that lasts; what comes is in `received`."""

    def __init__(
        self, program: Program, client_id: str, delay_seconds: int = 1, **will: Any
    ) -> None:
        self.received: queue.Queue[tuple[bytes, int]] = queue.Queue()
        self._answers: queue.Queue[Any] = queue.Queue()
        self.ends: queue.Queue[int] = queue.Queue()
        self.client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id, protocol=mqtt.MQTTv5
        )
        self.client.reconnect_delay_set(100, 100)
        self.client.on_message = lambda _c, _u, each: self.received.put(
            (bytes(each.payload), each.qos)
        )
        self.client.on_subscribe = lambda *_: self._answers.put(None)
        self.client.on_connect = lambda _c, _u, flags, *_: self._answers.put(flags.session_present)
        self.client.on_disconnect = lambda _c, _u, _f, reason, _p: self.ends.put(reason.value)
        if will:
            delay = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]
            delay.WillDelayInterval = delay_seconds
            self.client.will_set(**will, properties=delay)
        lasting = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        lasting.SessionExpiryInterval = 3_600
        self.client.connect(
            "127.0.0.1", program.port("mqtt"), clean_start=False, properties=lasting
        )
        self.client.loop_start()
        self.present: bool = self._answers.get(timeout=WAIT_SECONDS)

    def subscribe(self, topic: str, qos: int) -> None:
        self.client.subscribe(topic, qos)
        self._answers.get(timeout=WAIT_SECONDS)

    def publish(self, topic: str, body: str, qos: int) -> None:
        sent = self.client.publish(topic, body, qos)
        sent.wait_for_publish(WAIT_SECONDS)
        assert sent.is_published()

    def next(self) -> tuple[bytes, int]:
        return self.received.get(timeout=WAIT_SECONDS)

    def expect(self, body: bytes) -> None:
        """Wait for a message; others, and it again, may come."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            let_visibility_end("")
            try:
                if self.received.get(timeout=0.2)[0] == body:
                    return
            except queue.Empty:
                continue
        raise AssertionError(body)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def test_a_session_follows_its_client(nodes: tuple[Program, Program]) -> None:
    one, two = nodes
    publisher = Client(two, "publisher")
    first = Client(one, "moving")
    assert not first.present
    first.subscribe("t/#", 2)
    publisher.publish("t/x", "at the first", 1)
    assert first.next() == (b"at the first", 1)
    second = Client(two, "moving")
    assert second.present
    assert first.ends.get(timeout=WAIT_SECONDS) == TAKEN_OVER
    publisher.publish("t/x", "at the second", 2)
    assert second.next() == (b"at the second", 2)
    second.close()
    publisher.publish("t/x", "while away", 1)
    third = Client(one, "moving")
    assert third.present
    assert third.next() == (b"while away", 1)
    for each in (first, third, publisher):
        each.close()


def test_a_killed_node_s_sessions(nodes: tuple[Program, Program]) -> None:
    one, two = nodes
    watcher = Client(two, "watcher")
    watcher.subscribe("will/#", 1)
    left_behind = Client(one, "left-behind", topic="will/left", payload=b"gone", qos=1)
    first = Client(one, "moving")
    first.subscribe("t/#", 1)
    first.publish("t/x", "before", 1)
    assert first.next() == (b"before", 1)
    one.kill()
    killed_at = time.monotonic()
    watcher.publish("t/x", "after", 1)
    second = Client(two, "moving")
    assert second.present
    assert time.monotonic() - killed_at < 15
    second.expect(b"after")
    assert watcher.next() == (b"gone", 1)
    for each in (first, left_behind, second, watcher):
        each.close()


def test_wills_of_clients_that_come_back_from_a_killed_node(nodes: tuple[Program, Program]) -> None:
    one, two = nodes
    watcher = Client(two, "watcher")
    watcher.subscribe("will/#", 1)
    clients = [
        Client(one, "soon", 0, topic="will/soon", payload=b"due at once", qos=1),
        Client(one, "late", 600, topic="will/late", payload=b"was back in time", qos=1),
    ]
    one.kill()
    for name in ("soon", "late"):
        clients.append(Client(two, name))
        assert clients[-1].present
    assert watcher.next() == (b"due at once", 1)
    watcher.publish("will/end", "the end", 1)
    assert watcher.next() == (b"the end", 1)
    for each in (*clients, watcher):
        each.close()

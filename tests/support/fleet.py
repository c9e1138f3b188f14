"""Clients of all protocols at several nodes that are killed and started again, and what they saw.

Each client is a thread of its own, works at one node and goes on at the next living one when that
is gone, or when it has done its share there, as behind a load balancer. What was confirmed to
publishers and what was delivered to consumers stands in a `Ledger`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as mqtt
import pika
import pika.exceptions
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from tests.support.program import Program, node_on_aws
from tests.support.stomp_client import StompClient

PREFETCH: Final = 20
WINDOW: Final = 5
"""Publishes of one client that wait for their confirms."""
SHARE: Final = 60
"""Messages after which a client moves to another node."""
PAUSE_SECONDS: Final = 0.1
PACE_SECONDS: Final = 0.01
"""Between two messages of a publisher that would be too fast for the others."""
WAIT_SECONDS: Final = 60
IDLE_SECONDS_MAX: Final = 600
LINES_SHOWN: Final = 20


class Cluster:
    """Nodes of one place on one endpoint."""

    def __init__(self, stack: ExitStack, url: str, directory: Path, place: str, count: int) -> None:
        self._stack = stack
        self._url = url
        self._directory = directory
        self._place = place
        self._lock = threading.Lock()
        self._turn = 0
        self.killed: set[Program] = set()
        self.nodes = [self._start(number) for number in range(count)]

    def _start(self, number: int) -> Program:
        directory = self._directory / f"node-{number}"
        return self._stack.enter_context(node_on_aws(self._url, directory, self._place))

    def next(self) -> Program:
        """The node that a client is to work at now."""
        with self._lock:
            living = [each for each in self.nodes if each not in self.killed]
            self._turn += 1
            return living[self._turn % len(living)]

    def kill(self, number: int) -> None:
        with self._lock:
            self.killed.add(self.nodes[number])
        self.nodes[number].kill()

    def restart(self, number: int) -> None:
        started = self._start(number)
        with self._lock:
            self.nodes[number] = started


class Ledger:
    """What the clients were told, by body; deliveries with the node that each came from."""

    def __init__(self) -> None:
        self.confirmed: set[str] = set()
        self.delivered: dict[str, list[Program]] = {}
        self.delivered_at = 0.0
        self.changed = threading.Condition()

    def confirm(self, body: str) -> None:
        with self.changed:
            self.confirmed.add(body)
            self.changed.notify_all()

    def deliver(self, body: str, node: Program) -> None:
        with self.changed:
            self.delivered.setdefault(body, []).append(node)
            self.delivered_at = time.monotonic()
            self.changed.notify_all()

    def twice(self) -> list[str]:
        """What came more than once, each as often as it came too often."""
        return [body for body, at in self.delivered.items() for _ in at[1:]]

    def unexplained(self, killed: set[Program]) -> list[str]:
        """What came once more although the node that had handed it out was not killed."""
        return [
            body for body, at in self.delivered.items() for node in at[:-1] if node not in killed
        ]


class FleetClient(ABC, threading.Thread):
    """One client; `failed` is what ended it, if anything did."""

    def __init__(self, cluster: Cluster, ledger: Ledger, name: str) -> None:
        super().__init__(name=name)
        self.cluster = cluster
        self.ledger = ledger
        self.over = threading.Event()
        self.failed: BaseException | None = None
        self.number = 0
        self.share = SHARE
        self.count = 0
        """What was confirmed to it, or delivered."""

    @abstractmethod
    def work(self, node: Program) -> None:
        """Be a client of `node` until the share is done; raises where that is gone."""

    def confirmed(self, body: str) -> None:
        self.count += 1
        self.ledger.confirm(body)

    def delivered(self, body: str, node: Program) -> None:
        self.share -= 1
        self.count += 1
        self.ledger.deliver(body, node)

    def next_body(self) -> str:
        self.number += 1
        self.share -= 1
        return f"{self.name}-{self.number}"

    @property
    def done(self) -> bool:
        """Whether to leave the node in peace."""
        return self.share <= 0 or self.over.is_set()

    def run(self) -> None:
        while not self.over.is_set():
            node = self.cluster.next()
            self.share = SHARE
            try:
                self.work(node)
            except (OSError, EOFError, pika.exceptions.AMQPError) as error:
                if node not in self.cluster.killed and not self.over.is_set():
                    self._fail(error, node)
                    return
            except BaseException as error:  # noqa: BLE001 - the test's thread says it
                self._fail(error, node)
                return

    def _fail(self, error: BaseException, node: Program) -> None:
        error.add_note(f"{self.name}, at a node that said: " + "\n".join(node.log[-LINES_SHOWN:]))
        self.failed = error

    def check(self) -> None:
        """Raise what ended it before its time."""
        if self.failed is not None:
            raise AssertionError(self.name) from self.failed

    def end(self) -> None:
        self.over.set()
        self.join(WAIT_SECONDS)
        assert not self.is_alive(), self.name
        self.check()


# -- AMQP


def channel_of(node: Program) -> Any:
    parameters = pika.ConnectionParameters("127.0.0.1", node.port("amqp"))
    return pika.BlockingConnection(parameters).channel()


class AmqpPublisher(FleetClient):
    """Publishes with confirms, one after the other."""

    def __init__(
        self, cluster: Cluster, ledger: Ledger, name: str, exchange: str, key: str
    ) -> None:
        super().__init__(cluster, ledger, name)
        self._to = exchange, key

    def work(self, node: Program) -> None:
        channel = channel_of(node)
        channel.confirm_delivery()
        while not self.done:
            body = self.next_body()
            channel.basic_publish(*self._to, body.encode(), mandatory=True)
            self.confirmed(body)
            self.over.wait(PACE_SECONDS)
        channel.connection.close()


class AmqpConsumer(FleetClient):
    """Consumes with acknowledgements."""

    def __init__(self, cluster: Cluster, ledger: Ledger, name: str, queue: str) -> None:
        super().__init__(cluster, ledger, name)
        self._queue = queue

    def work(self, node: Program) -> None:
        channel = channel_of(node)
        channel.basic_qos(prefetch_count=PREFETCH)
        for method, _, body in channel.consume(self._queue, inactivity_timeout=PAUSE_SECONDS):
            if body is not None:
                self.delivered(body.decode(), node)
                channel.basic_ack(method.delivery_tag)
            if self.done:
                channel.connection.close()
                return


# -- STOMP


class StompPublisher(FleetClient):
    """Sends with receipts, some at once."""

    def __init__(self, cluster: Cluster, ledger: Ledger, name: str, destination: str) -> None:
        super().__init__(cluster, ledger, name)
        self._destination = destination

    def work(self, node: Program) -> None:
        asyncio.run(self._work(node))

    async def _work(self, node: Program) -> None:
        client = await StompClient.connect(node.port("stomp"))
        waiting: deque[str] = deque()
        try:
            while waiting or not self.done:
                while len(waiting) < WINDOW and not self.done:
                    body = self.next_body()
                    waiting.append(body)
                    headers = {"destination": self._destination, "receipt": body}
                    client.send("SEND", headers, body.encode())
                frame = await client.receive()
                assert frame.command == "RECEIPT", frame
                assert frame.headers["receipt-id"] == waiting.popleft()
                self.confirmed(frame.headers["receipt-id"])
                self.over.wait(PACE_SECONDS)
        finally:
            await client.close()


class StompConsumer(FleetClient):
    """Subscribes with acknowledgements of single messages."""

    def __init__(self, cluster: Cluster, ledger: Ledger, name: str, destination: str) -> None:
        super().__init__(cluster, ledger, name)
        self._destination = destination

    def work(self, node: Program) -> None:
        asyncio.run(self._work(node))

    async def _work(self, node: Program) -> None:
        client = await StompClient.connect(node.port("stomp"))
        client.TIMEOUT_SECONDS = IDLE_SECONDS_MAX
        try:
            subscription = {
                "destination": self._destination,
                "id": "0",
                "ack": "client-individual",
                "prefetch-count": str(PREFETCH),
            }
            client.send("SUBSCRIBE", subscription)
            coming = asyncio.ensure_future(client.receive())
            while not self.done:
                await asyncio.wait([coming], timeout=PAUSE_SECONDS)
                if not coming.done():
                    continue
                frame = coming.result()
                assert frame.command == "MESSAGE", frame
                self.delivered(frame.body.decode(), node)
                client.send("ACK", {"id": frame.headers["ack"]})
                coming = asyncio.ensure_future(client.receive())
            client.send("DISCONNECT", {"receipt": "end"})
            while (await coming).command != "RECEIPT":
                # It is not acknowledged, and comes again.
                coming = asyncio.ensure_future(client.receive())
        finally:
            coming.cancel()
            await client.close()


# -- MQTT


class MqttFleetClient(FleetClient):
    """A client of a lasting session, which moves with it."""

    def __init__(self, cluster: Cluster, ledger: Ledger, name: str, topic: str, qos: int) -> None:
        super().__init__(cluster, ledger, name)
        self.topic = topic
        self.qos = qos
        self.node: Program
        self.ready = threading.Event()
        self.sessions_found: list[bool] = []
        """Of each connection: whether the session was there."""
        self._connected = False
        self.leaving = False
        self.heard = False
        """While leaving: whether something came since this was False."""
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self.client.max_inflight_messages_set(WINDOW)
        self.client.on_connect = self._on_connect

    def _on_connect(self, _client: Any, _data: Any, flags: Any, *_: Any) -> None:
        self._connected = True
        self.sessions_found.append(flags.session_present)

    def busy(self) -> bool:
        """Whether something of it is on its way."""
        return False

    def step(self) -> None:
        """Do what there is to do while connected."""

    def work(self, node: Program) -> None:
        self.node = node
        self._connected = self.leaving = False
        self.client.connect("127.0.0.1", node.port("mqtt"))
        while not (self.done and not self.busy()):
            if self.client.loop(PAUSE_SECONDS) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise ConnectionError(self.name)
            if self._connected:
                self.step()
        self._leave()

    def _leave(self) -> None:
        """Go once nothing comes any more: a connection that is closed with unread data is reset,
        and its node may not get the last acknowledgements.
        """
        self.leaving = self.heard = True
        while self.heard:
            self.heard = False
            if self.client.loop(PAUSE_SECONDS) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                raise ConnectionError(self.name)
        self.client.disconnect()


class MqttPublisher(MqttFleetClient):
    """Publishes, some at once; what is not acknowledged at one node is sent again at the next."""

    def __init__(self, cluster: Cluster, ledger: Ledger, name: str, topic: str, qos: int) -> None:
        super().__init__(cluster, ledger, name, topic, qos)
        self._waiting: dict[int, str] = {}
        self.sent_again: set[str] = set()
        """What was not acknowledged when its node was killed."""
        self.client.on_publish = self._on_publish

    def _on_publish(self, _client: Any, _data: Any, packet_id: int, *_: Any) -> None:
        self.confirmed(self._waiting.pop(packet_id))

    def busy(self) -> bool:
        return bool(self._waiting)

    def work(self, node: Program) -> None:
        try:
            super().work(node)
        except OSError:
            self.sent_again.update(self._waiting.values())
            raise

    def step(self) -> None:
        while len(self._waiting) < WINDOW and not self.done:
            body = self.next_body()
            self._waiting[self.client.publish(self.topic, body, self.qos).mid] = body


class MqttSubscriber(MqttFleetClient):
    """Subscribes once, and has what comes from then on; `ready` is set then."""

    def __init__(self, cluster: Cluster, ledger: Ledger, name: str, topic: str, qos: int) -> None:
        super().__init__(cluster, ledger, name, topic, qos)
        self.client.manual_ack_set(True)
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *_: self.ready.set()

    def _on_connect(self, client: Any, data: Any, flags: Any, *rest: Any) -> None:
        super()._on_connect(client, data, flags, *rest)
        if not self.ready.is_set():
            client.subscribe(self.topic, self.qos)

    def _on_message(self, client: Any, _data: Any, message: Any) -> None:
        self.heard = True
        if self.leaving and message.qos == 1:
            # It is not acknowledged, and comes again.
            return
        self.delivered(message.payload.decode(), self.node)
        client.ack(message.mid, message.qos)

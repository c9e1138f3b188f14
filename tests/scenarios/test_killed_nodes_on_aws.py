"""Three brokers on one AWS account under the load of clients of all protocols, killed in turn and
started again: no confirmed message is lost, sessions go on at other nodes, and what comes twice is
what a killed node had handed out, or what it had not acknowledged to its publisher.

moto stands for AWS; `make test-nodes` lets two nodes go through the same on our own API on a bad
day, where what a dead node had stays hidden for a minute.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.aws_clients import client
from tests.support.bad_aws import bad_aws
from tests.support.fleet import (
    PREFETCH,
    WAIT_SECONDS,
    AmqpConsumer,
    AmqpPublisher,
    Cluster,
    FleetClient,
    Ledger,
    MqttPublisher,
    MqttSubscriber,
    StompConsumer,
    StompPublisher,
    channel_of,
)
from tests.support.moto_server import let_visibility_end, messages_in_sqs, moto_server
from tests.support.program import Program

_LOG = logging.getLogger(__name__)
NODES = 3
EACH = 20
"""Messages of each client before a node is killed, after it, and once it is back."""
HIDDEN_SECONDS = 60.0
"""How long what a dead node had stays hidden, unless the test lets that end."""
QUIET_SECONDS = 2.0


class Fleet:
    """The clients: a queue that several protocols publish to and consume, and two MQTT sessions
    that get what goes to topics.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.work, self.once, self.exactly = Ledger(), Ledger(), Ledger()
        """What came from the queue, and at the sessions of QoS 1 and 2."""
        self.mqtt_publishers = [
            MqttPublisher(cluster, self.work, "mqtt-1", "work/1", 1),
            MqttPublisher(cluster, self.work, "mqtt-2", "work/2", 2),
        ]
        self.publishers: list[FleetClient] = [
            AmqpPublisher(cluster, self.work, "amqp", "", "work"),
            AmqpPublisher(cluster, self.work, "amqp-key", "amq.topic", "work.amqp"),
            StompPublisher(cluster, self.work, "stomp", "/queue/work"),
            StompPublisher(cluster, self.work, "stomp-topic", "/topic/work.stomp"),
            *self.mqtt_publishers,
        ]
        self.subscribers = [
            MqttSubscriber(cluster, self.once, "session-1", "work/1", 1),
            MqttSubscriber(cluster, self.exactly, "session-2", "work/2", 2),
        ]
        self.consumers: list[FleetClient] = [
            AmqpConsumer(cluster, self.work, "amqp-consumer-1", "work"),
            AmqpConsumer(cluster, self.work, "amqp-consumer-2", "work"),
            StompConsumer(cluster, self.work, "stomp-consumer", "/queue/work"),
            *self.subscribers,
        ]

    def start(self) -> None:
        for each in self.consumers:
            each.start()
        for session in self.subscribers:
            assert session.ready.wait(WAIT_SECONDS), session.failed
        for each in self.publishers:
            each.start()

    def wait_for_more(self) -> None:
        """Until so many more are confirmed to each publisher, and have come to each consumer."""
        clients = [*self.publishers, *self.consumers]
        targets = [(each, each.count + EACH) for each in clients]

        def met() -> bool:
            return all(each.count >= target for each, target in targets)

        deadline = time.monotonic() + WAIT_SECONDS
        while not met():
            assert time.monotonic() < deadline, [
                each.name for each, target in targets if each.count < target
            ]
            for each in clients:
                each.check()
            with self.work.changed:
                self.work.changed.wait(QUIET_SECONDS)

    def ledgers(self) -> list[tuple[Ledger, str]]:
        """With what its bodies begin with."""
        return [(self.work, ""), (self.once, "mqtt-1-"), (self.exactly, "mqtt-2-")]

    def missing(self) -> list[str]:
        return [
            body
            for ledger, prefix in self.ledgers()
            for body in self.work.confirmed - ledger.delivered.keys()
            if body.startswith(prefix)
        ]

    def wait_for_all(
        self, left: Callable[[], list[Any]], hidden_comes_back: Callable[[], None]
    ) -> None:
        """Until all that was confirmed has come, and nothing is left of it."""
        deadline = time.monotonic() + 2 * HIDDEN_SECONDS
        while self.missing() or left():
            assert time.monotonic() < deadline, (self.missing(), left())
            latest = max(ledger.delivered_at for ledger, _ in self.ledgers())
            if time.monotonic() - latest > QUIET_SECONDS:
                hidden_comes_back()
            with self.work.changed:
                self.work.changed.wait(QUIET_SECONDS)


def run_and_kill(
    cluster: Cluster, left: Callable[[], list[Any]], hidden_comes_back: Callable[[], None]
) -> Fleet:
    """`left` tells what is in SQS still; `hidden_comes_back` is called when nothing else comes."""
    channel = channel_of(cluster.next())
    channel.queue_declare("work", durable=True)
    channel.queue_bind("work", "amq.topic", "work.#")
    channel.connection.close()
    fleet = Fleet(cluster)
    fleet.start()
    try:
        for number in range(len(cluster.nodes)):
            fleet.wait_for_more()
            cluster.kill(number)
            fleet.wait_for_more()
            cluster.restart(number)
        fleet.wait_for_more()
        for each in fleet.publishers:
            each.end()
        fleet.wait_for_all(left, hidden_comes_back)
    finally:
        for each in [*fleet.publishers, *fleet.consumers]:
            each.over.set()
    for each in fleet.consumers:
        each.end()
    return fleet


def check(fleet: Fleet, killed: set[Program]) -> None:
    """Nothing twice but what had to be expected, and not too much of that."""
    _LOG.info(
        "%d confirmed; twice: %d from the queue, %d at QoS 1, %d at QoS 2",
        len(fleet.work.confirmed),
        *[len(ledger.twice()) for ledger, _ in fleet.ledgers()],
    )
    again: set[str] = set()
    for publisher in fleet.mqtt_publishers:
        again |= publisher.sent_again
    queue_consumers = 3
    assert len(fleet.work.twice()) <= queue_consumers * 2 * PREFETCH * NODES + len(again)
    assert set(fleet.work.unexplained(killed)) <= again
    assert set(fleet.once.unexplained(killed)) <= again
    # The session of QoS 2 gets nothing twice but what its publisher had to send again.
    unasked = {each: fleet.exactly.delivered[each] for each in fleet.exactly.twice()}
    assert unasked.keys() <= again, (unasked, killed)
    for each in fleet.subscribers:
        assert each.sessions_found == [False] + [True] * (len(each.sessions_found) - 1)


def test_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    with moto_server() as url, ExitStack() as stack:
        cluster = Cluster(stack, url, tmp_path, "killed", NODES)
        fleet = run_and_kill(
            cluster,
            lambda: messages_in_sqs("killed-"),
            lambda: let_visibility_end("killed-"),
        )
        check(fleet, cluster.killed)


def not_empty(sqs: Any) -> list[str]:
    """The queues that have something, with their counts."""
    names = [f"ApproximateNumberOfMessages{each}" for each in ("", "NotVisible")]
    found = []
    for url in sqs.list_queues(QueueNamePrefix="killed-").get("QueueUrls", []):
        counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        if any(int(count) for count in counts.values()):
            found.append(f"{url} {counts}")
    return found


@pytest.mark.skipif("LANDBRIDGE_LONG_TESTS" not in os.environ, reason="make test-nodes runs it")
def test_nothing_confirmed_is_lost_on_a_bad_day(tmp_path: Path) -> None:
    with bad_aws() as url, ExitStack() as stack:
        sqs = client(url, "sqs")

        def left() -> list[str]:
            try:
                return not_empty(sqs)
            except ClientError as error:
                return [str(error)]

        cluster = Cluster(stack, url, tmp_path, "killed", 2)
        # What the killed nodes had comes back when its time has come.
        fleet = run_and_kill(cluster, left, lambda: None)
        check(fleet, cluster.killed)

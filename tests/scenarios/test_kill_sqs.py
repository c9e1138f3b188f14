"""kill -9 under load through the SQS API, again and again: what was answered is still true.

Real processes and boto3: several programs send batches and several receive and delete them until
the broker is killed after a random number of answers, whatever time they take, and started again on
the same directory.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.support.aws_clients import client
from tests.support.program import FREE_PORTS, Program, start

ROUNDS = 4
ACCEPTED_MIN, DELETED_MIN = 150, 60
"""In each round, before the kill."""
WAIT_SECONDS = 120
QUEUES: dict[str, dict[str, str]] = {"plain": {}, "ordered.fifo": {"FifoQueue": "true"}}
CHANGED = threading.Condition()


@dataclass
class Ledger:
    """What the clients were told, by body."""

    sent: int = 0
    accepted: set[str] = field(default_factory=set)
    received: set[str] = field(default_factory=set)
    deleted: dict[str, float] = field(default_factory=dict)
    """With the time at which the client knew."""
    came_back: set[str] = field(default_factory=set)
    last: dict[str, tuple[int, float]] = field(default_factory=dict)
    """The latest message that was deleted, by group."""
    out_of_order: list[str] = field(default_factory=list)

    def bodies(self, count: int) -> list[str]:
        with CHANGED:
            first, self.sent = self.sent, self.sent + count
        return [str(number) for number in range(first, first + count)]

    def receive(self, body: str, group: str, asked_at: float) -> None:
        """A message was received by a request that was made at `asked_at`."""
        with CHANGED:
            self.received.add(body)
            if self.deleted.get(body, asked_at) < asked_at:
                self.came_back.add(body)
            # A repeated delivery may be older than the last, never older than a deleted one.
            number, known_at = self.last.get(group, (-1, asked_at))
            if group and known_at < asked_at and int(body) < number:
                self.out_of_order.append(body)

    def delete(self, body: str, group: str) -> None:
        with CHANGED:
            now = self.deleted[body] = time.monotonic()
            if group and int(body) > self.last.get(group, (-1, 0.0))[0]:
                self.last[group] = (int(body), now)
            CHANGED.notify_all()

    def accept(self, bodies: Iterable[str]) -> None:
        with CHANGED:
            self.accepted.update(bodies)
            CHANGED.notify_all()

    def grow(self, accepted: int, deleted: int) -> None:
        """Wait until so many more are accepted, and deleted."""
        accepted, deleted = len(self.accepted) + accepted, len(self.deleted) + deleted

        def grown() -> bool:
            return len(self.accepted) >= accepted and len(self.deleted) >= deleted

        with CHANGED:
            assert CHANGED.wait_for(grown, WAIT_SECONDS)


def queue_url(program: Program, queue: str) -> str:
    return f"http://127.0.0.1:{program.port('aws')}/000000000000/{queue}"


def sqs_of(program: Program) -> Any:
    return client(f"http://127.0.0.1:{program.port('aws')}", "sqs")


def send(sqs: Any, url: str, group: str, ledger: Ledger) -> None:
    try:
        while True:
            bodies = ledger.bodies(5)
            entries: list[dict[str, str]] = [{"Id": each, "MessageBody": each} for each in bodies]
            for entry in entries if url.endswith(".fifo") else ():
                entry |= {"MessageGroupId": group, "MessageDeduplicationId": entry["Id"]}
            answer = sqs.send_message_batch(QueueUrl=url, Entries=entries)
            ledger.accept(each["Id"] for each in answer["Successful"])
    except (BotoCoreError, ClientError):
        return


def take(sqs: Any, url: str, ledger: Ledger, *, until_empty: bool = False) -> None:
    """Receive, and delete what was received; half of it while there is load."""
    try:
        while True:
            asked_at = time.monotonic()
            answer = sqs.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=10,
                VisibilityTimeout=1,
                WaitTimeSeconds=2,
                AttributeNames=["MessageGroupId"],
            )
            messages = answer.get("Messages", [])
            if not messages and until_empty:
                return
            groups = {
                each["Body"]: each.get("Attributes", {}).get("MessageGroupId", "")
                for each in messages
            }
            for body, group in groups.items():
                ledger.receive(body, group, asked_at)
            chosen = messages if until_empty else messages[: len(messages) // 2]
            entries = [
                {"Id": each["Body"], "ReceiptHandle": each["ReceiptHandle"]} for each in chosen
            ]
            if not entries:
                continue
            answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
            for done in answer.get("Successful", []):
                ledger.delete(done["Id"], groups[done["Id"]])
    except (BotoCoreError, ClientError):
        return


def run_until_killed(program: Program, ledger: Ledger, accepted: int) -> None:
    workers = []
    # One client for all threads: it may be shared, and making one takes longer than the load.
    sqs = sqs_of(program)
    for queue in QUEUES:
        url = queue_url(program, queue)
        for group in ("a", "b"):
            workers.append(threading.Thread(target=send, args=(sqs, url, group, ledger)))
            workers.append(threading.Thread(target=take, args=(sqs, url, ledger)))
    for worker in workers:
        worker.start()
    try:
        ledger.grow(accepted, DELETED_MIN)
    finally:
        program.kill()
        for worker in workers:
            worker.join(WAIT_SECONDS)
    assert not any(worker.is_alive() for worker in workers)
    sqs.close()


@pytest.mark.timeout(600)
def test_no_answer_of_the_api_is_lost_to_kill_9(tmp_path: Path) -> None:
    ledger = Ledger()
    dice = random.Random(11)
    for number in range(ROUNDS):
        program = start(*FREE_PORTS, directory=tmp_path)
        try:
            if number == 0:
                for queue, attributes in QUEUES.items():
                    sqs_of(program).create_queue(QueueName=queue, Attributes=attributes)
            run_until_killed(program, ledger, dice.randint(ACCEPTED_MIN, 5 * ACCEPTED_MIN))
        finally:
            program.kill()
    program = start(*FREE_PORTS, directory=tmp_path)
    try:
        for queue in QUEUES:
            take(sqs_of(program), queue_url(program, queue), ledger, until_empty=True)
        assert program.stop() == 0
    finally:
        if program.process.poll() is None:
            program.kill()
    assert len(ledger.accepted) >= ROUNDS * ACCEPTED_MIN
    assert len(ledger.deleted) >= ROUNDS * DELETED_MIN
    assert ledger.accepted - ledger.received == set()
    assert ledger.came_back == set()
    assert ledger.out_of_order == []

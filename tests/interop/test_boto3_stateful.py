"""Random operations through boto3, held to a small model of a queue: standard and FIFO.

Time stands still for the model: no timeout ends by itself, a message comes back when its visibility
is set to 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.support.aws_api import RunningApi, running_api
from tests.support.aws_clients import client, name

GROUPS = ("a", "b", "c")
DEDUPLICATION_IDS = ("1", "2", "3", "4", "5", "6")


@dataclass
class Sent:
    """A message as the model knows it; `handle` while it is in flight."""

    id: str
    body: str
    group: str
    handle: str | None = None
    receive_count: int = 0


@dataclass
class Model:
    """A queue: what is in it, in order, and what it has accepted."""

    messages: list[Sent] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)

    @property
    def in_flight(self) -> list[Sent]:
        return [each for each in self.messages if each.handle is not None]

    def receivable(self, group: str | None = None) -> list[Sent]:
        """What a receive may hand out: of a group, nothing behind what is in flight."""
        free: list[Sent] = []
        for each in self.messages:
            if group is not None and each.group == group and each.handle is not None:
                return free
            if each.handle is None and group in (None, each.group):
                free.append(each)
        return free

    def find(self, message_id: str) -> Sent:
        return next(each for each in self.messages if each.id == message_id)


class QueueMachine(RuleBasedStateMachine):
    """What both kinds of queue do."""

    sqs: Any
    attributes: ClassVar[dict[str, str]] = {}
    suffix = ""

    def __init__(self) -> None:
        super().__init__()
        made = self.sqs.create_queue(QueueName=name() + self.suffix, Attributes=self.attributes)
        self.url = made["QueueUrl"]
        self.model = Model()
        self.count = 0

    def body(self) -> str:
        self.count += 1
        return f"message {self.count}"

    def received(self, count: int) -> list[Sent]:
        answer = self.sqs.receive_message(
            QueueUrl=self.url, MaxNumberOfMessages=count, AttributeNames=["All"]
        )
        found = []
        for message in answer.get("Messages", []):
            sent = self.model.find(message["MessageId"])
            assert sent.handle is None, "it was in flight"
            assert message["Body"] == sent.body
            sent.receive_count += 1
            sent.handle = message["ReceiptHandle"]
            assert message["Attributes"]["ApproximateReceiveCount"] == str(sent.receive_count)
            found.append(sent)
        return found

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.model.in_flight))
        self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=sent.handle)
        self.model.messages.remove(sent)

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data())
    def delete_batch(self, data: st.DataObject) -> None:
        chosen = data.draw(
            st.lists(st.sampled_from(self.model.in_flight), min_size=1, unique_by=id)
        )[:10]
        entries = [{"Id": str(n), "ReceiptHandle": each.handle} for n, each in enumerate(chosen)]
        answer = self.sqs.delete_message_batch(QueueUrl=self.url, Entries=entries)
        assert len(answer["Successful"]) == len(chosen)
        for each in chosen:
            self.model.messages.remove(each)

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.model.in_flight))
        self.sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=sent.handle, VisibilityTimeout=0
        )
        sent.handle = None

    @precondition(lambda self: self.model.in_flight)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.model.in_flight))
        self.sqs.change_message_visibility(
            QueueUrl=self.url, ReceiptHandle=sent.handle, VisibilityTimeout=600
        )

    @invariant()
    def counts(self) -> None:
        shown = self.sqs.get_queue_attributes(
            QueueUrl=self.url,
            AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
        )["Attributes"]
        flying = len(self.model.in_flight)
        assert int(shown["ApproximateNumberOfMessagesNotVisible"]) == flying
        assert int(shown["ApproximateNumberOfMessages"]) == len(self.model.messages) - flying


class StandardMachine(QueueMachine):
    """A standard queue: everything that is there can be received, once at a time."""

    @rule()
    def send(self) -> None:
        body = self.body()
        answer = self.sqs.send_message(QueueUrl=self.url, MessageBody=body)
        self.model.messages.append(Sent(answer["MessageId"], body, ""))

    @rule(count=st.integers(1, 10))
    def send_batch(self, count: int) -> None:
        bodies = [self.body() for _ in range(count)]
        entries = [{"Id": str(n), "MessageBody": body} for n, body in enumerate(bodies)]
        answer = self.sqs.send_message_batch(QueueUrl=self.url, Entries=entries)
        for body, each in zip(bodies, answer["Successful"], strict=True):
            self.model.messages.append(Sent(each["MessageId"], body, ""))

    @rule(count=st.integers(1, 10))
    def receive(self, count: int) -> None:
        expected = min(count, len(self.model.receivable()))
        assert len(self.received(count)) == expected


class FifoMachine(QueueMachine):
    """A FIFO queue: groups in order and locked while in flight, duplicates suppressed."""

    attributes: ClassVar[dict[str, str]] = {"FifoQueue": "true"}
    suffix = ".fifo"

    @rule(group=st.sampled_from(GROUPS), deduplication_id=st.sampled_from(DEDUPLICATION_IDS))
    def send_maybe_again(self, group: str, deduplication_id: str) -> None:
        self._send(group, deduplication_id)

    @rule(group=st.sampled_from(GROUPS))
    def send(self, group: str) -> None:
        self._send(group, f"new-{self.count}")

    def _send(self, group: str, deduplication_id: str) -> None:
        body = self.body()
        answer = self.sqs.send_message(
            QueueUrl=self.url,
            MessageBody=body,
            MessageGroupId=group,
            MessageDeduplicationId=deduplication_id,
        )
        known = self.model.accepted.get(deduplication_id)
        if known is not None:
            assert answer["MessageId"] == known
            return
        self.model.accepted[deduplication_id] = answer["MessageId"]
        self.model.messages.append(Sent(answer["MessageId"], body, group))

    @rule(count=st.integers(1, 10))
    def receive(self, count: int) -> None:
        free = {group: self.model.receivable(group) for group in GROUPS}
        found = self.received(count)
        assert len(found) == min(count, sum(len(each) for each in free.values()))
        for group in GROUPS:
            of_group = [each for each in found if each.group == group]
            assert of_group == free[group][: len(of_group)]
        # One group is emptied before the next.
        order = [each.group for each in found]
        assert len([g for n, g in enumerate(order) if n == 0 or order[n - 1] != g]) == len(
            set(order)
        )


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    with running_api(tmp_path_factory.mktemp("stateful") / "data") as running:
        yield running


@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", [StandardMachine, FifoMachine])
def test_random_operations(api: RunningApi, machine: type[QueueMachine]) -> None:
    class Machine(machine):  # type: ignore[misc, valid-type]
        sqs = client(api.url, "sqs")

    Machine.TestCase.settings = settings(
        max_examples=40,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    Machine.TestCase().runTest()

"""How many messages of one queue may be in flight, with a small bound in the place of AWS's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bridge.api import ApiOptions
from tests.support.aws_api import running_api
from tests.support.aws_clients import client, name, refusal

MAX = 5


@pytest.fixture(scope="module")
def sqs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path: Path = tmp_path_factory.mktemp("api")
    with running_api(path / "data", ApiOptions(in_flight_max=MAX)) as api:
        yield client(api.url, "sqs")


def receive(sqs: Any, url: str, **arguments: Any) -> list[Any]:
    answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, **arguments)
    return list(answer.get("Messages", []))


def send(sqs: Any, url: str, count: int) -> None:
    entries = [{"Id": str(n), "MessageBody": str(n)} for n in range(count)]
    for entry in entries if url.endswith(".fifo") else ():
        entry |= {"MessageGroupId": entry["Id"], "MessageDeduplicationId": entry["Id"]}
    sqs.send_message_batch(QueueUrl=url, Entries=entries)


def test_a_standard_queue_refuses_a_short_poll(sqs: Any) -> None:
    url = sqs.create_queue(QueueName=name())["QueueUrl"]
    send(sqs, url, MAX + 2)
    held = receive(sqs, url)
    assert len(held) == MAX
    found = refusal(sqs.receive_message, QueueUrl=url)
    assert found[:3] == ("OverLimit", "OverLimit", 403)
    assert receive(sqs, url, WaitTimeSeconds=1) == []
    sqs.delete_message(QueueUrl=url, ReceiptHandle=held[0]["ReceiptHandle"])
    assert len(receive(sqs, url)) == 1


def test_a_fifo_queue_has_nothing_to_give(sqs: Any) -> None:
    made = sqs.create_queue(QueueName=f"{name()}.fifo", Attributes={"FifoQueue": "true"})
    send(sqs, made["QueueUrl"], MAX + 2)
    assert len(receive(sqs, made["QueueUrl"])) == MAX
    assert receive(sqs, made["QueueUrl"]) == []

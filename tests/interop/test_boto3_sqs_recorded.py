"""SQS through boto3 where AWS was recorded to do what its documentation does not say."""

from __future__ import annotations

from typing import Any

from tests.support.aws_clients import api, fifo_url, name, queue_url, sqs

__all__ = ["api", "fifo_url", "queue_url", "sqs"]


def test_booleans_are_taken_in_any_case(sqs: Any) -> None:
    attributes = {"FifoQueue": "True", "ContentBasedDeduplication": "TRUE"}
    url = sqs.create_queue(QueueName=name() + ".fifo", Attributes=attributes)["QueueUrl"]
    sqs.set_queue_attributes(
        QueueUrl=url, Attributes={"FifoQueue": "True", "SqsManagedSseEnabled": "False"}
    )
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert shown["FifoQueue"] == "true"
    assert shown["ContentBasedDeduplication"] == "true"
    assert shown["SqsManagedSseEnabled"] == "false"
    again = sqs.create_queue(QueueName=url.rpartition("/")[2], Attributes=attributes)
    assert again["QueueUrl"] == url


def test_quiet_tenants_are_not_kept_waiting_by_a_noisy_one(sqs: Any, queue_url: str) -> None:
    def send(group: str, count: int) -> None:
        for start in range(0, count, 10):
            entries = [
                {"Id": str(number), "MessageBody": group, "MessageGroupId": group}
                for number in range(start, min(start + 10, count))
            ]
            answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
            assert all("SequenceNumber" not in each for each in answer["Successful"])

    send("noisy", 100)
    send("quiet", 3)
    groups = []
    for _ in range(5):
        answer = sqs.receive_message(
            QueueUrl=queue_url, MaxNumberOfMessages=10, AttributeNames=["MessageGroupId"]
        )
        groups += [each["Attributes"]["MessageGroupId"] for each in answer["Messages"]]
    assert groups.count("quiet") == 3

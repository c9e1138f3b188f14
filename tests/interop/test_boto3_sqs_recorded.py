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

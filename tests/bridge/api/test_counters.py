"""What goes through the API is counted as what goes through the legacy protocols is."""

from __future__ import annotations

from pathlib import Path

from tests.support.aws_api import running_api
from tests.support.aws_clients import client, name


def test_messages_are_counted(tmp_path: Path) -> None:
    with running_api(tmp_path / "data") as api:
        sqs, sns = client(api.url, "sqs"), client(api.url, "sns")
        url = sqs.create_queue(QueueName=name())["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody="12345")
        entries = [{"Id": str(number), "MessageBody": "123"} for number in range(3)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
        topic = sns.create_topic(Name=name("topic"))["TopicArn"]
        sns.publish(TopicArn=topic, Message="1234")
        counted = api.counters.protocols["aws"]
        assert (counted.published, counted.published_bytes) == (5, 18)
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert (counted.delivered, counted.delivered_bytes) == (4, 14)
        handles = [each["ReceiptHandle"] for each in received]
        sqs.delete_message(QueueUrl=url, ReceiptHandle=handles[0])
        sqs.delete_message_batch(
            QueueUrl=url,
            Entries=[{"Id": str(n), "ReceiptHandle": each} for n, each in enumerate(handles[1:])],
        )
        assert counted.settled == 4

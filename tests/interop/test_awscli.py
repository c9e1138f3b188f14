"""The AWS command line against the real program: a session that a person would type.

With `--endpoint-url`, since version 1 of the command line passes over `AWS_ENDPOINT_URL` for SQS.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Program, running

AWS = Path(sys.executable).with_name("aws")
Aws = Callable[..., Any]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running(directory=tmp_path_factory.mktemp("awscli")) as started:
        yield started


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    return {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_PAGER": "",
    }


@pytest.fixture(scope="module")
def aws(program: Program, environment: dict[str, str]) -> Aws:
    endpoint = f"http://127.0.0.1:{program.port('aws')}"

    def call(*arguments: str) -> Any:
        done = subprocess.run(
            [str(AWS), "--endpoint-url", endpoint, *arguments, "--output", "json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            return done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    return call


@pytest.mark.timeout(600)
def test_a_session(aws: Aws) -> None:
    url = aws("sqs", "create-queue", "--queue-name", "orders")["QueueUrl"]
    assert url.endswith("/000000000000/orders")
    arn = aws("sqs", "get-queue-attributes", "--queue-url", url, "--attribute-names", "QueueArn")[
        "Attributes"
    ]["QueueArn"]
    topic = aws("sns", "create-topic", "--name", "shop")["TopicArn"]
    aws(
        *("sns", "subscribe", "--topic-arn", topic, "--protocol", "sqs"),
        *("--notification-endpoint", arn, "--attributes", "RawMessageDelivery=true"),
    )
    aws("sns", "publish", "--topic-arn", topic, "--message", "by topic")
    sent = aws("sqs", "send-message", "--queue-url", url, "--message-body", "straight")
    received = aws(
        *("sqs", "receive-message", "--queue-url", url),
        *("--max-number-of-messages", "10", "--wait-time-seconds", "1"),
    )["Messages"]
    assert [each["Body"] for each in received] == ["by topic", "straight"]
    assert received[1]["MD5OfBody"] == sent["MD5OfMessageBody"]
    handle = received[1]["ReceiptHandle"]
    assert aws("sqs", "delete-message", "--queue-url", url, "--receipt-handle", handle) is None
    assert url in aws("sqs", "list-queues")["QueueUrls"]
    assert aws("sqs", "purge-queue", "--queue-url", url) is None
    assert "PurgeQueueInProgress" in aws("sqs", "purge-queue", "--queue-url", url)
    assert "NonExistentQueue" in aws("sqs", "get-queue-url", "--queue-name", "nothing")

"""Characters that SQS does not take, written in JSON in the ways in which clients write them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from tests.support.aws_api import RunningApi
from tests.support.aws_clients import api, queue_url, sqs

__all__ = ["api", "queue_url", "sqs"]


def post(api: RunningApi, action: str, body: str) -> dict[str, Any]:
    """The JSON answer to a request whose body is exactly this."""
    request = urllib.request.Request(
        api.url, body.encode(), {"X-Amz-Target": f"AmazonSQS.{action}"}
    )
    try:
        with urllib.request.urlopen(request) as response:
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        answer = json.load(error)
    return answer


@pytest.mark.parametrize("spelled", ["\uffff", r"\uffff", r"\u0001", r"\b", r"a\fb", "ü\ufffe"])
def test_illegal_characters_are_refused(api: RunningApi, queue_url: str, spelled: str) -> None:
    single = f'{{"QueueUrl": "{queue_url}", "MessageBody": "{spelled}"}}'
    refused = post(api, "SendMessage", single)
    assert refused["__type"] == "com.amazonaws.sqs#InvalidMessageContents"
    entries = f'[{{"Id": "a", "MessageBody": "x"}}, {{"Id": "b", "MessageBody": "{spelled}"}}]'
    batch = post(api, "SendMessageBatch", f'{{"QueueUrl": "{queue_url}", "Entries": {entries}}}')
    assert [each["Id"] for each in batch["Successful"]] == ["a"]
    assert [each["Code"] for each in batch["Failed"]] == ["InvalidMessageContents"]


@pytest.mark.parametrize(
    "spelled", ["plain \x7f~", "grün \U0001f600", r"\n\t\"\\b", r"\u20ac", "/"]
)
def test_all_others_are_taken(api: RunningApi, queue_url: str, sqs: Any, spelled: str) -> None:
    single = f'{{"QueueUrl": "{queue_url}", "MessageBody": "{spelled}"}}'
    assert "MessageId" in post(api, "SendMessage", single)
    entries = f'[{{"Id": "a", "MessageBody": "{spelled}"}}]'
    batch = post(api, "SendMessageBatch", f'{{"QueueUrl": "{queue_url}", "Entries": {entries}}}')
    assert [each["Id"] for each in batch["Successful"]] == ["a"]
    received = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10)["Messages"]
    assert [each["Body"] for each in received] == [json.loads(f'"{spelled}"')] * 2

"""The Query protocol of SQS over plain HTTP, and what else reaches the endpoint besides boto3's"
" JSON."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from tests.support.aws_api import RunningApi
from tests.support.aws_clients import api, client, name, query, queue_url, sqs

__all__ = ["api", "queue_url", "sqs"]

EMPTY = "AWS.SimpleQueueService.EmptyBatchRequest"


def test_a_session_in_query(api: RunningApi) -> None:
    created = query(
        api.url,
        Action="CreateQueue",
        Version="2012-11-05",
        QueueName=(queue := name()),
        Attribute__1__Name="DelaySeconds",
        Attribute__1__Value="0",
        Tag__1__Key="a",
        Tag__1__Value="b",
    )
    url = created.find("CreateQueueResult/QueueUrl")
    assert created.status == 200
    assert created.content_type == "text/xml"
    assert 'xmlns="http://queue.amazonaws.com/doc/2012-11-05/"' in created.text
    assert url == f"{api.url}/000000000000/{queue}"
    assert created.find("ResponseMetadata/RequestId")

    sent = query(
        url,
        Action="SendMessage",
        MessageBody='say "hi"\r\n<&>',
        MessageAttribute__1__Name="n",
        MessageAttribute__1__Value__DataType="Number",
        MessageAttribute__1__Value__StringValue="1",
        MessageAttribute__2__Name="b",
        MessageAttribute__2__Value__DataType="Binary",
        MessageAttribute__2__Value__BinaryValue="AAE=",
    )
    message_id = sent.find("SendMessageResult/MessageId")
    received = query(
        url,
        Action="ReceiveMessage",
        AttributeName__1="All",
        MessageAttributeName__1="All",
        MaxNumberOfMessages="10",
    )
    assert "say &quot;hi&quot;&#xD;\n&lt;&amp;&gt;" in received.text
    message = "ReceiveMessageResult/Message"
    assert received.find(f"{message}/MessageId") == message_id
    assert received.find(f"{message}/Attribute/Name") == "SenderId"
    assert received.find(f"{message}/MessageAttribute/Value/StringValue") == "1"
    assert "<BinaryValue>AAE=</BinaryValue>" in received.text
    handle = received.find(f"{message}/ReceiptHandle") or ""
    deleted = query(
        url,
        Action="DeleteMessageBatch",
        DeleteMessageBatchRequestEntry__1__Id="good",
        DeleteMessageBatchRequestEntry__1__ReceiptHandle=handle,
        DeleteMessageBatchRequestEntry__2__Id="bad",
        DeleteMessageBatchRequestEntry__2__ReceiptHandle="garbage",
    )
    result = "DeleteMessageBatchResult"
    assert deleted.find(f"{result}/DeleteMessageBatchResultEntry/Id") == "good"
    failed = f"{result}/BatchResultErrorEntry"
    assert deleted.find(f"{failed}/Code") == "ReceiptHandleIsInvalid"
    assert deleted.find(f"{failed}/SenderFault") == "true"
    listed = query(api.url, Action="ListQueues", QueueNamePrefix=queue)
    assert listed.find("ListQueuesResult/QueueUrl") == url
    tags = query(url, Action="ListQueueTags")
    assert tags.find("ListQueueTagsResult/Tag/Key") == "a"
    gone = query(api.url, Action="DeleteQueue", QueueUrl=url)
    assert "<DeleteQueueResult" not in gone.text


def test_get_on_the_queue_url(queue_url: str) -> None:
    answer = query(
        queue_url, "GET", Action="GetQueueAttributes", AttributeName__1="VisibilityTimeout"
    )
    assert answer.find("GetQueueAttributesResult/Attribute/Name") == "VisibilityTimeout"
    assert answer.find("GetQueueAttributesResult/Attribute/Value") == "30"


def test_json_for_those_who_accept_it(queue_url: str) -> None:
    answer = query(
        queue_url,
        "GET",
        {"Accept": "application/json"},
        Action="GetQueueAttributes",
        AttributeName__1="DelaySeconds",
    )
    shown = json.loads(answer.text)["GetQueueAttributesResponse"]
    assert shown["GetQueueAttributesResult"] == {
        "Attributes": [{"Name": "DelaySeconds", "Value": "0"}]
    }


def test_messages_as_json(queue_url: str) -> None:
    """Other names than in XML, and null for what is not there: so API Gateway shows it."""

    def ask(action: str, **parameters: str) -> dict[str, Any]:
        answer = query(
            queue_url, "GET", {"Accept": "application/json"}, Action=action, **parameters
        )
        result = json.loads(answer.text)[f"{action}Response"][f"{action}Result"]
        assert isinstance(result, dict)
        return result

    assert ask("ReceiveMessage") == {"messages": None}
    body = '{"a": "b\\rc&quot;"}'
    sent = ask("SendMessage", MessageBody=body)
    assert sent["MD5OfMessageAttributes"] is None
    [message] = ask("ReceiveMessage", AttributeName__1="ApproximateReceiveCount")["messages"]
    assert message["Body"] == body
    assert message["MessageId"] == sent["MessageId"]
    assert message["MessageAttributes"] is None
    assert message["Attributes"] == [{"Name": "ApproximateReceiveCount", "Value": "1"}]


@pytest.mark.parametrize(
    ("parameters", "status", "code", "message"),
    [
        (
            {"Action": "FooBar"},
            400,
            "InvalidAction",
            "The action FooBar is not valid for this endpoint.",
        ),
        (
            {"Action": "CreateQueue", "QueueName": "x"},
            400,
            "InvalidAction",
            "The action CreateQueue is not valid for this endpoint.",
        ),
        (
            {"Action": "ListQueues"},
            400,
            "InvalidAction",
            "The action ListQueues is not valid for this endpoint.",
        ),
        (
            {"Action": "SendMessage"},
            400,
            "MissingParameter",
            "The request must contain the parameter MessageBody.",
        ),
        (
            {"Action": "SendMessage", "MessageBody": ""},
            400,
            "MissingParameter",
            "The request must contain the parameter MessageBody.",
        ),
        # So SDKs write an empty list.
        (
            {"Action": "SendMessageBatch", "SendMessageBatchRequestEntry": ""},
            400,
            EMPTY,
            None,
        ),
        ({"Action": "DeleteMessageBatch", "Entries": ""}, 400, EMPTY, None),
        ({"Action": "ReceiveMessage", "MaxNumberOfMessages": "x"}, 400, "MalformedInput", None),
        ({"Action": "SendMessage", "MessageBody": "\x01"}, 400, "InvalidMessageContents", None),
        (
            {"Action": "DeleteMessageBatch", "DeleteMessageBatchRequestEntry.x.Id": "1"},
            400,
            "MalformedInput",
            None,
        ),
    ],
)
def test_errors(
    queue_url: str, parameters: dict[str, str], status: int, code: str, message: str | None
) -> None:
    answer = query(queue_url, "POST", None, **parameters)
    assert answer.status == status
    assert answer.find("Error/Code") == code
    assert answer.find("Error/Type") == "Sender"
    assert answer.find("Error/Detail") == ""
    if message is not None:
        assert answer.find("Error/Message") == message


def test_a_queue_that_is_not_there_has_other_words(api: RunningApi) -> None:
    answer = query(f"{api.url}/000000000000/not-there", Action="PurgeQueue")
    assert answer.status == 400
    assert answer.find("Error/Code") == "AWS.SimpleQueueService.NonExistentQueue"
    assert answer.find("Error/Message") == (
        "The specified queue does not exist for this wsdl version."
    )


def test_a_second_purge(queue_url: str) -> None:
    assert query(queue_url, Action="PurgeQueue").status == 200
    answer = query(queue_url, Action="PurgeQueue")
    assert answer.status == 403
    assert answer.find("Error/Code") == "AWS.SimpleQueueService.PurgeQueueInProgress"


def test_the_queue_url_without_an_action(queue_url: str) -> None:
    answer = query(queue_url, "GET")
    assert answer.status == 404
    assert "<UnknownOperationException" in answer.text


# -- JSON beside boto3


def post(url: str, target: str | None, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    headers["Content-Type"] = "application/x-amz-json-1.0"
    if target is not None:
        headers["X-Amz-Target"] = target
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            shown = json.loads(error.read())
            shown["x"] = error.headers["x-amzn-query-error"]
            return error.code, shown


def test_json_on_the_queue_url(queue_url: str) -> None:
    body = json.dumps({"QueueUrl": queue_url}).encode()
    assert post(queue_url, "AmazonSQS.ReceiveMessage", body) == (200, {})


def test_a_bare_name_stands_for_its_queue(queue_url: str) -> None:
    body = json.dumps({"QueueUrl": queue_url.rpartition("/")[2], "MessageBody": "x"}).encode()
    status, answer = post(queue_url, "AmazonSQS.SendMessage", body)
    assert status == 200
    assert answer["MessageId"]


@pytest.mark.parametrize(
    ("target", "body", "kind", "code"),
    [
        ("AmazonSQS.Foo", b"{}", "com.amazon.coral.service#UnknownOperationException", None),
        (
            "AmazonSQS.SendMessage",
            b"{",
            "com.amazon.coral.service#SerializationException",
            None,
        ),
        (
            "AmazonSQS.SendMessage",
            b"[]",
            "com.amazon.coral.service#SerializationException",
            None,
        ),
        (
            "AmazonSQS.SendMessage",
            b'{"QueueUrl": 1, "MessageBody": "x"}',
            "com.amazon.coral.service#SerializationException",
            None,
        ),
        (
            "AmazonSQS.SendMessage",
            b'{"QueueUrl": "x"}',
            "com.amazon.coral.service#MissingRequiredParameterException",
            "MissingParameter;Sender",
        ),
        (
            "AmazonSQS.SendMessage",
            b'{"QueueUrl": "x", "MessageBody": null}',
            "com.amazon.coral.service#MissingRequiredParameterException",
            "MissingParameter;Sender",
        ),
        (
            "AmazonSQS.SendMessageBatch",
            b'{"QueueUrl": "x", "Entries": [{"Id": "1", "MessageBody": null}]}',
            "com.amazon.coral.service#MissingRequiredParameterException",
            "MissingParameter;Sender",
        ),
        (
            "AmazonSQS.SendMessage",
            b"\xff" * 10,
            "com.amazon.coral.service#SerializationException",
            None,
        ),
        (
            "AmazonSQS.SendMessage",
            b"[" * 200_000,
            "com.amazon.coral.service#SerializationException",
            None,
        ),
        (
            "AmazonSQS.GetQueueUrl",
            b'{"QueueName": "not-there"}',
            "com.amazonaws.sqs#QueueDoesNotExist",
            "AWS.SimpleQueueService.NonExistentQueue;Sender",
        ),
    ],
)
def test_json_errors(
    api: RunningApi, target: str, body: bytes, kind: str, code: str | None
) -> None:
    status, answer = post(api.url, target, body)
    assert status == 400
    assert answer["__type"] == kind
    assert answer["message"]
    if code is not None:
        assert answer["x"] == code


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-central-1.localhost:4566", "eu-central-1"),
        ("eu-west-3.queue.amazonaws.com", "eu-west-3"),
        ("localhost:4566", "us-east-1"),
    ],
)
def test_the_host_says_the_region_and_comes_back(api: RunningApi, host: str, region: str) -> None:
    created = query(api.url, "POST", {"Host": host}, Action="CreateQueue", QueueName=name())
    url = created.find("CreateQueueResult/QueueUrl") or ""
    assert url.startswith(f"http://{host}/000000000000/")
    answer = query(
        api.url,
        "POST",
        {"Host": host},
        Action="GetQueueAttributes",
        AttributeName__1="QueueArn",
        QueueUrl=url,
    )
    arn = answer.find("GetQueueAttributesResult/Attribute/Value") or ""
    assert arn.startswith(f"arn:aws:sqs:{region}:000000000000:")


def test_a_list_of_one_needs_no_number(queue_url: str) -> None:
    answer = query(queue_url, Action="GetQueueAttributes", AttributeName="VisibilityTimeout")
    assert answer.status == 200
    assert answer.find("GetQueueAttributesResult/Attribute/Name") == "VisibilityTimeout"
    query(queue_url, Action="SendMessage", MessageBody="x")
    received = query(queue_url, Action="ReceiveMessage", AttributeName="SenderId")
    assert received.find("ReceiveMessageResult/Message/Attribute/Name") == "SenderId"


def test_a_map_of_one_needs_no_number(queue_url: str) -> None:
    changed = query(
        queue_url,
        Action="SetQueueAttributes",
        Attribute__Name="VisibilityTimeout",
        Attribute__Value="35",
    )
    assert changed.status == 200
    answer = query(queue_url, Action="GetQueueAttributes", AttributeName="VisibilityTimeout")
    assert answer.find("GetQueueAttributesResult/Attribute/Value") == "35"


@pytest.mark.parametrize("written", ["Tag", "Tags"])
def test_tags_as_the_sdks_write_them(api: RunningApi, queue_url: str, written: str) -> None:
    tags = {f"{written}__1__Key": "team", f"{written}__1__Value": "blue"}
    assert query(queue_url, "POST", None, Action="TagQueue", **tags).status == 200
    answer = query(queue_url, Action="ListQueueTags")
    assert answer.find("ListQueueTagsResult/Tag/Key") == "team"
    created = query(api.url, "POST", None, Action="CreateQueue", QueueName=name(), **tags)
    url = created.find("CreateQueueResult/QueueUrl") or ""
    answer = query(url, Action="ListQueueTags")
    assert answer.find("ListQueueTagsResult/Tag/Value") == "blue"


def test_topics_as_json_for_old_clients(api: RunningApi) -> None:
    def ask(action: str, **parameters: str) -> dict[str, Any]:
        parameters |= {"Version": "2010-03-31", "ContentType": "JSON"}
        answer = query(api.url, "POST", None, Action=action, **parameters)
        shown = json.loads(answer.text)
        assert isinstance(shown, dict)
        return shown

    created = ask("CreateTopic", Name=name("topic"))
    arn = created["CreateTopicResponse"]["CreateTopicResult"]["TopicArn"]
    found = ask("GetTopicAttributes", TopicArn=arn)
    shown = found["GetTopicAttributesResponse"]["GetTopicAttributesResult"]["Attributes"]
    assert shown["TopicArn"] == arn
    refused = ask("GetTopicAttributes", TopicArn=f"{arn}-not-there")
    assert refused["Error"]["Code"] == "NotFound"


def test_a_target_beside_a_form_does_not_count(api: RunningApi) -> None:
    target = {"X-Amz-Target": "AmazonSQSv20121105.CreateQueue"}
    created = query(api.url, "POST", target, Action="CreateQueue", QueueName=name())
    assert created.status == 200
    assert created.find("CreateQueueResult/QueueUrl")
    refused = query(api.url, "POST", target, Action="Nope")
    assert refused.find("Error/Code") == "InvalidAction"


def test_a_result_with_nothing_in_it_is_an_empty_element(queue_url: str) -> None:
    assert "<ReceiveMessageResult/>" in query(queue_url, "GET", Action="ReceiveMessage").text


def test_the_account_that_programs_ask_for(api: RunningApi) -> None:
    identity = client(api.url, "sts").get_caller_identity()
    assert identity["Account"] == "000000000000"
    assert identity["Arn"] == "arn:aws:iam::000000000000:user/landbridge"
    assert identity["UserId"] == "000000000000"

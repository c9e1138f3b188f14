"""SNS through boto3: topics, subscriptions of queues, publishing, refusals."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.aws_api import RunningApi
from tests.support.aws_clients import REGION, Refusal, api, name, query, refusal, sns, sqs
from tests.support.sns_signatures import check_signature

__all__ = ["api", "sns", "sqs"]

ACCOUNT = "000000000000"


def sns_invalid(message: str) -> Refusal:
    return Refusal("InvalidParameter", None, 400, f"Invalid parameter: {message}")


def make_queue(sqs: Any, *, fifo: bool = False, **attributes: str) -> tuple[str, str]:
    """URL and ARN of a new queue."""
    own = name() + (".fifo" if fifo else "")
    if fifo:
        attributes["FifoQueue"] = "true"
    url = sqs.create_queue(QueueName=own, Attributes=attributes)["QueueUrl"]
    return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{own}"


def make_topic(sns: Any, **attributes: str) -> str:
    own = name("topic") + (".fifo" if "FifoTopic" in attributes else "")
    return str(sns.create_topic(Name=own, Attributes=attributes)["TopicArn"])


def subscribe(sns: Any, topic: str, endpoint: str, **attributes: str) -> str:
    answer = sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint, Attributes=attributes)
    return str(answer["SubscriptionArn"])


def receive(sqs: Any, url: str) -> list[Any]:
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=10,
        AttributeNames=["All"],
        MessageAttributeNames=["All"],
    )
    return list(answer.get("Messages", []))


@pytest.fixture
def topic(sns: Any) -> str:
    return make_topic(sns)


# -- topics


def test_a_topic_and_its_attributes(sns: Any) -> None:
    own = name("topic")
    arn = sns.create_topic(Name=own)["TopicArn"]
    assert arn == f"arn:aws:sns:{REGION}:{ACCOUNT}:{own}"
    shown = sns.get_topic_attributes(TopicArn=arn)["Attributes"]
    assert set(shown) == {
        "DisplayName",
        "EffectiveDeliveryPolicy",
        "Owner",
        "Policy",
        "SubscriptionsConfirmed",
        "SubscriptionsDeleted",
        "SubscriptionsPending",
        "TopicArn",
    }
    sns.set_topic_attributes(TopicArn=arn, AttributeName="DisplayName", AttributeValue="Shown")
    assert sns.get_topic_attributes(TopicArn=arn)["Attributes"]["DisplayName"] == "Shown"
    assert {"TopicArn": arn} in sns.list_topics()["Topics"]
    sns.delete_topic(TopicArn=arn)
    sns.delete_topic(TopicArn=arn)
    assert refusal(sns.get_topic_attributes, TopicArn=arn) == Refusal(
        "NotFound", None, 404, "Topic does not exist"
    )


def test_creating_again(sns: Any) -> None:
    own = name("topic")
    tags = [{"Key": "k", "Value": "v"}]
    attributes = {"DisplayName": "a"}
    arn = sns.create_topic(Name=own, Attributes=attributes, Tags=tags)["TopicArn"]
    assert sns.create_topic(Name=own)["TopicArn"] == arn
    assert sns.create_topic(Name=own, Attributes=attributes, Tags=tags)["TopicArn"] == arn
    assert sns.create_topic(Name=own, Tags=[])["TopicArn"] == arn
    assert refusal(sns.create_topic, Name=own, Attributes={"DisplayName": "b"}) == sns_invalid(
        "Attributes Reason: Topic already exists with different attributes"
    )
    assert refusal(sns.create_topic, Name=own, Tags=[{"Key": "x", "Value": "y"}]) == sns_invalid(
        "Tags Reason: Topic already exists with different tags"
    )


def test_tags(sns: Any, topic: str) -> None:
    sns.tag_resource(
        ResourceArn=topic, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    )
    sns.untag_resource(ResourceArn=topic, TagKeys=["a"])
    sns.tag_resource(ResourceArn=topic, Tags=[{"Key": "b", "Value": "3"}])
    shown = sns.list_tags_for_resource(ResourceArn=topic)["Tags"]
    assert shown == [{"Key": "b", "Value": "3"}]
    twice = [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]
    assert refusal(sns.tag_resource, ResourceArn=topic, Tags=twice) == sns_invalid(
        "Duplicated keys are not allowed."
    )


def test_permissions(sns: Any, topic: str) -> None:
    sns.add_permission(
        TopicArn=topic, Label="l", AWSAccountId=["111111111111"], ActionName=["Publish"]
    )
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert policy["Statement"][1] == {
        "Sid": "l",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
        "Action": "SNS:Publish",
        "Resource": topic,
    }
    sns.remove_permission(TopicArn=topic, Label="l")
    policy = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])
    assert len(policy["Statement"]) == 1


# -- subscriptions of queues


def test_a_notification_is_an_envelope(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs)
    subscription = subscribe(sns, topic, arn)
    attributes = {
        "s": {"DataType": "String", "StringValue": "v"},
        "b": {"DataType": "Binary", "BinaryValue": b"\0\1"},
    }
    sent = sns.publish(
        TopicArn=topic, Message="hällo", Subject="subject", MessageAttributes=attributes
    )
    (message,) = receive(sqs, url)
    assert "MessageAttributes" not in message
    envelope = json.loads(message["Body"])
    assert envelope["MessageId"] == sent["MessageId"]
    assert envelope["Type"] == "Notification"
    assert envelope["TopicArn"] == topic
    assert envelope["Subject"] == "subject"
    assert envelope["Message"] == "hällo"
    assert envelope["MessageAttributes"] == {
        "s": {"Type": "String", "Value": "v"},
        "b": {"Type": "Binary", "Value": "AAE="},
    }
    assert f"SubscriptionArn={subscription}" in envelope["UnsubscribeURL"]
    check_signature(envelope)
    sns.set_topic_attributes(TopicArn=topic, AttributeName="SignatureVersion", AttributeValue="2")
    sns.publish(TopicArn=topic, Message="again")
    (message,) = receive(sqs, url)
    envelope = json.loads(message["Body"])
    assert envelope["SignatureVersion"] == "2"
    assert "Subject" not in envelope
    check_signature(envelope)
    assert query(envelope["UnsubscribeURL"], "GET").status == 200
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []


def test_raw_delivery_keeps_attributes(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs)
    subscribe(sns, topic, arn, RawMessageDelivery="true")
    attributes = {"n": {"DataType": "Number.int", "StringValue": "1.0"}}
    sns.publish(TopicArn=topic, Message="raw", Subject="lost", MessageAttributes=attributes)
    (message,) = receive(sqs, url)
    assert message["Body"] == "raw"
    assert message["MessageAttributes"] == attributes


def test_eleven_attributes_go_to_the_dead_letters_when_raw(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs)
    dead_url, dead = make_queue(sqs)
    redrive = json.dumps({"deadLetterTargetArn": dead})
    subscribe(sns, topic, arn, RawMessageDelivery="true", RedrivePolicy=redrive)
    eleven = {f"a{n}": {"DataType": "String", "StringValue": "v"} for n in range(11)}
    assert sns.publish(TopicArn=topic, Message="x", MessageAttributes=eleven)["MessageId"]
    assert receive(sqs, url) == []
    assert len(receive(sqs, dead_url)) == 1


def test_filter_policies(sqs: Any, sns: Any, topic: str) -> None:
    by_attribute, arn = make_queue(sqs)
    subscription = subscribe(sns, topic, arn, FilterPolicy=json.dumps({"kind": ["a"]}))
    by_body, arn = make_queue(sqs)
    subscribe(
        sns,
        topic,
        arn,
        FilterPolicyScope="MessageBody",
        FilterPolicy=json.dumps({"object": {"key": [{"prefix": "au"}]}}),
    )
    body = json.dumps({"object": {"key": "auto"}})

    def publish(kind: str) -> None:
        attributes = {"kind": {"DataType": "String", "StringValue": kind}}
        sns.publish(TopicArn=topic, Message=body, MessageAttributes=attributes)

    publish("a")
    publish("b")
    assert len(receive(sqs, by_attribute)) == 1
    assert len(receive(sqs, by_body)) == 2
    shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert shown["FilterPolicyScope"] == "MessageAttributes"
    sns.set_subscription_attributes(
        SubscriptionArn=subscription,
        AttributeName="FilterPolicy",
        AttributeValue=json.dumps({"kind": ["b"]}),
    )
    publish("b")
    assert len(receive(sqs, by_attribute)) == 1


def test_texts_by_protocol(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs)
    subscribe(sns, topic, arn, RawMessageDelivery="true")
    for texts in ({"default": "d", "sqs": "s"}, {"default": "d", "http": "h"}):
        sns.publish(TopicArn=topic, Message=json.dumps(texts), MessageStructure="json")
    assert [each["Body"] for each in receive(sqs, url)] == ["s", "d"]


def test_a_batch_has_both_lists(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs)
    subscribe(sns, topic, arn, RawMessageDelivery="true")
    entries = [{"Id": str(n), "Message": str(n)} for n in range(10)]
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert answer["Failed"] == []
    assert len(answer["Successful"]) == 10
    assert len(receive(sqs, url)) == 10


def test_a_group_reaches_a_standard_queue(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs)
    subscribe(sns, topic, arn, RawMessageDelivery="true")
    sns.publish(TopicArn=topic, Message="x", MessageGroupId="tenant")
    (message,) = receive(sqs, url)
    assert message["Attributes"]["MessageGroupId"] == "tenant"


def test_subscribing_again(sqs: Any, sns: Any, topic: str) -> None:
    _, arn = make_queue(sqs)
    subscription = subscribe(sns, topic, arn, RawMessageDelivery="true")
    assert subscribe(sns, topic, arn) == subscription
    assert subscribe(sns, topic, arn, RawMessageDelivery="true") == subscription
    call = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": arn}
    assert refusal(
        sns.subscribe, **call, Attributes={"RawMessageDelivery": "false"}
    ) == sns_invalid("Attributes Reason: Subscription already exists with different attributes")
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == [
        {
            "SubscriptionArn": subscription,
            "Owner": ACCOUNT,
            "Protocol": "sqs",
            "Endpoint": arn,
            "TopicArn": topic,
        }
    ]
    sns.unsubscribe(SubscriptionArn=subscription)
    sns.unsubscribe(SubscriptionArn=subscription)
    assert refusal(sns.get_subscription_attributes, SubscriptionArn=subscription) == Refusal(
        "NotFound", None, 404, "Subscription does not exist"
    )


# -- FIFO


def test_a_fifo_topic(api: RunningApi, sqs: Any, sns: Any) -> None:
    topic = make_topic(sns, FifoTopic="true", ContentBasedDeduplication="true")
    ordered, ordered_arn = make_queue(sqs, fifo=True)
    plain, plain_arn = make_queue(sqs)
    subscribe(sns, topic, ordered_arn, RawMessageDelivery="true")
    subscribe(sns, topic, plain_arn)
    first = sns.publish(TopicArn=topic, Message="a", MessageGroupId="g")
    again = sns.publish(TopicArn=topic, Message="a", MessageGroupId="h")
    assert len(first["SequenceNumber"]) == 20
    assert again["MessageId"] == first["MessageId"]
    (message,) = receive(sqs, ordered)
    assert message["Attributes"]["MessageGroupId"] == "g"
    assert message["Attributes"]["MessageDeduplicationId"]
    (message,) = receive(sqs, plain)
    assert "MessageGroupId" not in message["Attributes"]
    envelope = json.loads(message["Body"])
    assert envelope["SequenceNumber"] == first["SequenceNumber"]
    assert "Signature" not in envelope
    with api.clock.later(301):
        later = sns.publish(TopicArn=topic, Message="a", MessageGroupId="g")
    assert later["MessageId"] != first["MessageId"]


def test_what_fifo_topics_refuse(sqs: Any, sns: Any, topic: str) -> None:
    fifo = make_topic(sns, FifoTopic="true")
    _, arn = make_queue(sqs, fifo=True)
    assert refusal(sns.publish, TopicArn=fifo, Message="x") == sns_invalid(
        "The MessageGroupId parameter is required for FIFO topics"
    )
    assert refusal(sns.publish, TopicArn=fifo, Message="x", MessageGroupId="g") == sns_invalid(
        "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId"
        " provided explicitly"
    )
    assert refusal(
        sns.publish, TopicArn=topic, Message="x", MessageDeduplicationId="d"
    ) == sns_invalid(
        "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that"
        " is not valid for this topic type"
    )
    assert refusal(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=arn) == sns_invalid(
        "Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS"
        " topics"
    )


# -- refusals


def test_publishing(sns: Any, topic: str) -> None:
    def publish(**arguments: Any) -> Refusal:
        return refusal(sns.publish, **{"TopicArn": topic, "Message": "x", **arguments})

    assert publish(Message="") == sns_invalid("Empty message")
    assert publish(Subject="") == sns_invalid("Subject")
    assert publish(Subject="a" * 100) == sns_invalid("Subject")
    assert publish(Message="a" * 262_145) == sns_invalid("Message too long")
    assert publish(TopicArn=topic + "x") == Refusal("NotFound", None, 404, "Topic does not exist")
    assert publish(TopicArn="randomstring") == sns_invalid(
        "TopicArn Reason: An ARN must have at least 6 elements, not 1"
    )
    assert publish(TopicArn=topic.replace(REGION, "us-west-2")) == sns_invalid("TopicArn")
    assert publish(MessageStructure="json", Message="{}") == sns_invalid(
        "Message Structure - No default entry in JSON message body"
    )
    assert publish(MessageStructure="json", Message="no json") == sns_invalid(
        "Message Structure - JSON message body failed to parse"
    )


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"a": {"DataType": "String", "StringValue": ""}},
            (
                "The message attribute 'a' must contain non-empty message attribute value for"
                " message"
                " attribute type 'String'."
            ),
        ),
        (
            {"a": {"DataType": "Foo", "StringValue": "v"}},
            (
                "The message attribute 'a' has an invalid message attribute type, the set of"
                " supported"
                " type prefixes is Binary, Number, and String."
            ),
        ),
        (
            {"a": {"DataType": "String", "BinaryValue": b"v"}},
            "The message attribute 'a' with type 'String' must use field 'String'.",
        ),
        (
            {"a" * 257: {"DataType": "String", "StringValue": "v"}},
            "Length of message attribute name must be less than 256 bytes.",
        ),
        ({"a^": {"DataType": "String", "StringValue": "v"}}, None),
        ({".a": {"DataType": "String", "StringValue": "v"}}, None),
        ({"a..b": {"DataType": "String", "StringValue": "v"}}, None),
    ],
)
def test_attributes(sns: Any, topic: str, attributes: dict[str, Any], message: str | None) -> None:
    found = refusal(sns.publish, TopicArn=topic, Message="x", MessageAttributes=attributes)
    assert found[:3] == ("ParameterValueInvalid", None, 400)
    if message is not None:
        assert found.message == message


@pytest.mark.parametrize(
    ("ids", "code"),
    [
        ([str(n) for n in range(11)], "TooManyEntriesInBatchRequest"),
        (["a", "a"], "BatchEntryIdsNotDistinct"),
        (["a b"], "InvalidBatchEntryId"),
        (["a" * 81], "InvalidBatchEntryId"),
        ([], "EmptyBatchRequest"),
    ],
)
def test_batches(sns: Any, topic: str, ids: list[str], code: str) -> None:
    entries = [{"Id": each, "Message": "x"} for each in ids]
    if not ids:
        answer = query(sns.meta.endpoint_url, Action="PublishBatch", Version="2010-03-31")
        assert answer.status == 400
        return
    found = refusal(sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries)
    assert found[:3] == (code, None, 400)


def test_the_sum_of_a_batch(sns: Any, topic: str) -> None:
    entries = [{"Id": each, "Message": "a" * 140_000} for each in ("a", "b")]
    found = refusal(sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries)
    assert found == Refusal(
        "BatchRequestTooLong",
        None,
        400,
        "The length of all the messages put together is more than the limit.",
    )


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (
            {"RawMessageDelivery": "wrong"},
            "Attributes Reason: RawMessageDelivery: Invalid value [wrong]. Must be true or false.",
        ),
        (
            {"FilterPolicyScope": "wrong"},
            (
                "Attributes Reason: FilterPolicyScope: Invalid value [wrong]. Please use either"
                " MessageBody or MessageAttributes"
            ),
        ),
        ({"FilterPolicy": "{"}, None),
        ({"FilterPolicy": json.dumps({f"k{n}": ["v"] for n in range(6)})}, None),
        ({"FilterPolicy": json.dumps({"k": [str(n) for n in range(151)]})}, None),
        ({"Foo": "x"}, None),
    ],
)
def test_subscription_attributes(
    sqs: Any, sns: Any, topic: str, attributes: dict[str, str], message: str | None
) -> None:
    _, arn = make_queue(sqs)
    call = {"TopicArn": topic, "Protocol": "sqs", "Endpoint": arn, "Attributes": attributes}
    found = refusal(sns.subscribe, **call)
    assert found[:3] == ("InvalidParameter", None, 400)
    if message is not None:
        assert found == sns_invalid(message)


@pytest.mark.parametrize("protocol", ["lambda", "email", "sms", "application", "foo"])
def test_protocols(sns: Any, topic: str, protocol: str) -> None:
    found = refusal(sns.subscribe, TopicArn=topic, Protocol=protocol, Endpoint="15550100")
    assert found == sns_invalid(f"Amazon SNS does not support this protocol string: {protocol}")

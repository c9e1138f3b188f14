"""SNS through boto3, where AWS was recorded to answer otherwise than one would guess."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.config import Config

from tests.interop.test_boto3_sns import (
    make_queue,
    make_topic,
    receive,
    sns_invalid,
    subscribe,
)
from tests.support.aws_api import RunningApi
from tests.support.aws_clients import REGION, Refusal, api, name, query, refusal, sns, sqs

__all__ = ["api", "sns", "sqs"]

TEXT = {"DataType": "String", "StringValue": "v"}


@pytest.fixture
def topic(sns: Any) -> str:
    return make_topic(sns)


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (".a", "Invalid message attribute name starting with character '.' was found."),
        ("a.", "Invalid message attribute name ending with character '.' was found."),
        ("a..b", "Message attribute name can not have successive '.' character."),
        (
            "a^",
            (
                "Invalid non-alphanumeric character '#x5E' was found in the message attribute name."
                " Can only include alphanumeric characters, hyphens, underscores, or dots."
            ),
        ),
    ],
)
def test_names_of_attributes(sns: Any, topic: str, attribute: str, message: str) -> None:
    found = refusal(sns.publish, TopicArn=topic, Message="x", MessageAttributes={attribute: TEXT})
    assert found == Refusal("ParameterValueInvalid", None, 400, message)


def test_a_wrong_entry_refuses_the_whole_batch(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs)
    subscribe(sns, topic, arn)

    def batch(topic: str, **entry: Any) -> Refusal:
        entries = [{"Id": "1", "Message": "good"}, {"Id": "2", "Message": "x", **entry}]
        for each in entries if topic.endswith(".fifo") else ():
            each["MessageGroupId"] = "g"
        return refusal(sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries)

    empty = {"a": {"DataType": "String", "StringValue": ""}}
    assert batch(topic, MessageAttributes=empty).code == "ParameterValueInvalid"
    assert batch(topic, MessageStructure="json", Message='{"sqs": "x"}') == sns_invalid(
        "Message Structure - No default entry in JSON message body"
    )
    fifo = make_topic(sns, FifoTopic="true")
    faults = [{"Id": "1", "Message": '{"sqs": "x"}', "MessageStructure": "json"}]
    assert refusal(
        sns.publish_batch, TopicArn=fifo, PublishBatchRequestEntries=faults
    ) == sns_invalid("Message Structure - No default entry in JSON message body")
    assert batch(fifo) == sns_invalid(
        "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId"
        " provided explicitly"
    )
    assert receive(sqs, url) == []


def test_ending_what_is_no_subscription(sns: Any, topic: str) -> None:
    assert refusal(sns.unsubscribe, SubscriptionArn="randomstring") == sns_invalid(
        "SubscriptionArn Reason: An ARN must have at least 6 elements, not 1"
    )
    assert refusal(sns.unsubscribe, SubscriptionArn=topic) == sns_invalid("SubscriptionId")


def test_targets_that_are_no_topics(sns: Any, topic: str) -> None:
    endpoint = topic.rpartition(":")[0] + ":endpoint/APNS/app/12345"
    assert refusal(sns.publish, TargetArn=endpoint, Message="x") == sns_invalid(
        "TargetArn Reason: No endpoint found for the target arn specified"
    )
    assert refusal(sns.publish, PhoneNumber="+1a234", Message="x") == sns_invalid(
        "PhoneNumber Reason: +1a234 is not valid to publish to"
    )


def test_tokens_that_confirm_nothing(sns: Any, topic: str) -> None:
    made_up = "51b2ff3edb475b7d91550e0ab6edf0c1de2a34e6ebaf6c2262a001bcb7e051c4" * 4
    assert refusal(sns.confirm_subscription, TopicArn=topic + "i", Token=made_up) == sns_invalid(
        "Token"
    )
    for token in (made_up, "abc123"):
        found = refusal(sns.confirm_subscription, TopicArn=topic, Token=token)
        assert found == sns_invalid("Token")
    found = refusal(sns.confirm_subscription, TopicArn=topic, Token="randomtoken")
    assert found == Refusal("InvalidParameter", None, 400, "Invalid token")
    assert refusal(sns.confirm_subscription, TopicArn="nothing", Token=made_up) == sns_invalid(
        "Topic"
    )


def test_the_scope_is_shown_with_its_policy_only(sqs: Any, sns: Any, topic: str) -> None:
    _, arn = make_queue(sqs)
    subscription = subscribe(sns, topic, arn, RawMessageDelivery="true")
    same = {"RawMessageDelivery": "true", "FilterPolicyScope": "MessageAttributes"}
    assert subscribe(sns, topic, arn, **same) == subscription
    assert subscribe(sns, topic, arn, FilterPolicyScope="MessageAttributes") == subscription

    def change(name: str, value: str) -> dict[str, str]:
        sns.set_subscription_attributes(
            SubscriptionArn=subscription, AttributeName=name, AttributeValue=value
        )
        return dict(sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"])

    assert "FilterPolicyScope" not in change("FilterPolicyScope", "MessageBody")
    assert change("FilterPolicy", '{"a": ["b"]}')["FilterPolicyScope"] == "MessageBody"
    assert "FilterPolicyScope" not in change("FilterPolicy", "")


def test_delivery_policies_of_topics(sns: Any) -> None:
    def http(shown: dict[str, str]) -> tuple[Any, Any]:
        own = json.loads(shown["DeliveryPolicy"])["http"] if "DeliveryPolicy" in shown else None
        return own, json.loads(shown["EffectiveDeliveryPolicy"])["http"]

    json_type = {"defaultRequestPolicy": {"headerContentType": "application/json"}}
    topic = make_topic(sns, DeliveryPolicy=json.dumps({"http": json_type}))
    shown = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    own, effective = http(shown)
    assert own == {"disableSubscriptionOverrides": False, **json_type}
    assert effective["defaultRequestPolicy"] == json_type["defaultRequestPolicy"]
    assert effective["defaultHealthyRetryPolicy"]["numRetries"] == 3

    def change(policy: str) -> tuple[Any, Any]:
        sns.set_topic_attributes(
            TopicArn=topic, AttributeName="DeliveryPolicy", AttributeValue=policy
        )
        return http(sns.get_topic_attributes(TopicArn=topic)["Attributes"])

    retries = {"minDelayTarget": 5, "maxDelayTarget": 6, "numRetries": 1}
    own, effective = change(json.dumps({"http": {"defaultHealthyRetryPolicy": retries}}))
    assert own == {"defaultHealthyRetryPolicy": retries, "disableSubscriptionOverrides": False}
    assert effective["defaultHealthyRetryPolicy"] == {
        **retries,
        "numMaxDelayRetries": 0,
        "numNoDelayRetries": 0,
        "numMinDelayRetries": 0,
        "backoffFunction": "linear",
    }
    assert effective["defaultRequestPolicy"] == {"headerContentType": "text/plain; charset=UTF-8"}
    own, effective = change('{"http": {"defaultHealthyRetryPolicy": null}}')
    assert own == {"disableSubscriptionOverrides": False}
    assert effective["defaultHealthyRetryPolicy"]["minDelayTarget"] == 20
    assert change("")[0] is None


def test_delivery_policies_of_subscriptions(sns: Any, topic: str) -> None:
    def shown(topic: str, policy: Any) -> tuple[Any, Any]:
        arn = sns.subscribe(
            TopicArn=topic,
            Protocol="http",
            Endpoint=f"http://127.0.0.1:9/{name()}",
            Attributes={"DeliveryPolicy": json.dumps(policy)},
            ReturnSubscriptionArn=True,
        )["SubscriptionArn"]
        found = sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]
        return json.loads(found["DeliveryPolicy"]), json.loads(found["EffectiveDeliveryPolicy"])

    nothing = {
        "healthyRetryPolicy": None,
        "sicklyRetryPolicy": None,
        "throttlePolicy": None,
        "requestPolicy": None,
        "guaranteed": False,
    }
    csv = {"requestPolicy": {"headerContentType": "text/csv"}}
    own, effective = shown(topic, csv)
    assert own == {**nothing, **csv}
    assert effective["requestPolicy"] == csv["requestPolicy"]
    assert effective["healthyRetryPolicy"]["numRetries"] == 3
    assert effective["guaranteed"] is False
    other = make_topic(
        sns,
        DeliveryPolicy=json.dumps(
            {"http": {"defaultRequestPolicy": {"headerContentType": "application/json"}}}
        ),
    )
    retries = {
        "healthyRetryPolicy": {"minDelayTarget": 1, "maxDelayTarget": 1, "numRetries": 0},
        "throttlePolicy": {"maxReceivesPerSecond": 1000},
    }
    own, effective = shown(other, retries)
    healthy = {
        "minDelayTarget": 1,
        "maxDelayTarget": 1,
        "numRetries": 0,
        "numMaxDelayRetries": 0,
        "numNoDelayRetries": 0,
        "numMinDelayRetries": 0,
        "backoffFunction": "linear",
    }
    assert own == {**nothing, **retries, "healthyRetryPolicy": healthy}
    assert effective["healthyRetryPolicy"] == healthy
    assert effective["throttlePolicy"] == {"maxReceivesPerSecond": 1000}
    assert effective["requestPolicy"] == {"headerContentType": "application/json"}


def test_a_trace_header_goes_on_to_the_queue(api: RunningApi, sqs: Any, sns: Any) -> None:
    url, arn = make_queue(sqs)
    topic = make_topic(sns)
    subscribe(sns, topic, arn)
    trace = "Root=1-3152b799-8954dae64eda91bc9a23a7e8;Parent=7fa8c0f79203be72;Sampled=1"
    answer = query(
        api.url,
        headers={"X-Amzn-Trace-Id": trace},
        Action="Publish",
        Version="2010-03-31",
        TopicArn=topic,
        Message="x",
    )
    assert answer.status == 200
    (message,) = receive(sqs, url)
    assert message["Attributes"]["AWSTraceHeader"] == trace
    assert "MessageAttributes" not in message
    assert "MessageAttributes" not in json.loads(message["Body"])


@pytest.mark.parametrize("raw", ["true", "false"])
@pytest.mark.parametrize("fifo", [False, True])
def test_a_deleted_queue_feeds_the_dead_letters(
    sqs: Any, sns: Any, raw: str, *, fifo: bool
) -> None:
    topic = make_topic(sns, FifoTopic="true") if fifo else make_topic(sns)
    url, arn = make_queue(sqs, fifo=fifo)
    dead_url, dead_arn = make_queue(sqs, fifo=fifo)
    policy = json.dumps({"deadLetterTargetArn": dead_arn})
    subscription = subscribe(sns, topic, arn, RawMessageDelivery=raw, RedrivePolicy=policy)
    sqs.delete_queue(QueueUrl=url)
    ids = {"MessageGroupId": "g", "MessageDeduplicationId": "d"} if fifo else {}
    attributes = {
        "attr1": {"DataType": "Number", "StringValue": "111"},
        "attr2": {"DataType": "Binary", "BinaryValue": b"\x02\x03\x04"},
    }
    sns.publish(TopicArn=topic, Message="left over", MessageAttributes=attributes, **ids)
    (message,) = receive(sqs, dead_url)
    if raw == "true":
        assert message["Body"] == "left over"
        assert message["MessageAttributes"] == attributes
    else:
        envelope = json.loads(message["Body"])
        assert envelope["Message"] == "left over"
        assert set(envelope["MessageAttributes"]) == set(attributes)
    if fifo:
        assert message["Attributes"]["MessageGroupId"] == "g"
        assert message["Attributes"]["MessageDeduplicationId"] == "d"
    listed = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert [each["SubscriptionArn"] for each in listed] == [subscription]


def test_dead_letters_are_of_the_kind_of_the_queue(sqs: Any, sns: Any) -> None:
    topic = make_topic(sns, FifoTopic="true")
    (url, plain), (dead_url, dead), (_, fifo) = (
        make_queue(sqs),
        make_queue(sqs),
        make_queue(sqs, fifo=True),
    )
    policy = json.dumps({"deadLetterTargetArn": dead})
    refused = refusal(
        sns.subscribe,
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=fifo,
        Attributes={"RedrivePolicy": policy},
    )
    text = "RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic."
    assert refused == sns_invalid(f"Attributes Reason: {text}")
    subscription = subscribe(sns, topic, fifo)
    change = {"AttributeName": "RedrivePolicy", "AttributeValue": policy}
    change_of = sns.set_subscription_attributes
    assert refusal(change_of, SubscriptionArn=subscription, **change) == sns_invalid(text)
    change_of(SubscriptionArn=subscribe(sns, topic, plain), **change)
    sqs.delete_queue(QueueUrl=url)
    sns.publish(TopicArn=topic, Message="x", MessageGroupId="g", MessageDeduplicationId="d")
    (message,) = receive(sqs, dead_url)
    assert json.loads(message["Body"])["Message"] == "x"


@pytest.mark.parametrize("data_type", ["String.", "Stringlike", "string"])
def test_types_that_are_none(sns: Any, topic: str, data_type: str) -> None:
    attributes = {"a": {"DataType": data_type, "StringValue": "v"}}
    text = (
        "The message attribute 'a' has an invalid message attribute type, the set of supported"
        " type prefixes is Binary, Number, and String."
    )
    refused = refusal(sns.publish, TopicArn=topic, Message="x", MessageAttributes=attributes)
    assert refused == Refusal("ParameterValueInvalid", None, 400, text)


def test_an_envelope_over_the_limit_of_its_queue(sqs: Any, sns: Any, topic: str) -> None:
    url, arn = make_queue(sqs, MaximumMessageSize="1024")
    dead_url, dead_arn = make_queue(sqs)
    policy = json.dumps({"deadLetterTargetArn": dead_arn})
    subscribe(sns, topic, arn, RedrivePolicy=policy)
    sns.publish(TopicArn=topic, Message="a" * 900)
    assert receive(sqs, url) == []
    (message,) = receive(sqs, dead_url)
    assert json.loads(message["Body"])["Message"] == "a" * 900


def test_archives_are_refused(sqs: Any, sns: Any) -> None:
    fifo = make_topic(sns, FifoTopic="true")
    found = refusal(
        sns.set_topic_attributes,
        TopicArn=fifo,
        AttributeName="ArchivePolicy",
        AttributeValue='{"MessageRetentionPeriod": "30"}',
    )
    assert found == sns_invalid("ArchivePolicy: message archiving is not supported")
    _, arn = make_queue(sqs, fifo=True)
    found = refusal(
        sns.subscribe,
        TopicArn=fifo,
        Protocol="sqs",
        Endpoint=arn,
        Attributes={"ReplayPolicy": '{"PointType": "Timestamp"}'},
    )
    assert found == sns_invalid("Attributes Reason: ReplayPolicy: message replay is not supported")


def test_topics_for_large_messages_have_100_subscriptions(sqs: Any, sns: Any) -> None:
    topic = make_topic(sns, MaximumMessageSize="1048576")
    base = make_queue(sqs)[1]
    for number in range(100):
        subscribe(sns, topic, f"{base}-{number}")
    found = refusal(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=base)
    assert found == sns_invalid(
        "A topic with MaximumMessageSize greater than 262144 bytes supports a maximum of 100"
        " subscriptions"
    )


def test_fifo_topics_have_100_subscriptions(sqs: Any, sns: Any) -> None:
    topic = make_topic(sns, FifoTopic="true")
    base = make_queue(sqs)[1]
    for number in range(100):
        subscribe(sns, topic, f"{base}-{number}")
    found = refusal(sns.subscribe, TopicArn=topic, Protocol="sqs", Endpoint=base)
    assert found[:3] == ("SubscriptionLimitExceeded", None, 403)


def test_booleans_are_taken_in_any_case(sqs: Any, sns: Any) -> None:
    topic = make_topic(sns, FifoTopic="True", ContentBasedDeduplication="False")
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="ContentBasedDeduplication", AttributeValue="TRUE"
    )
    shown = sns.get_topic_attributes(TopicArn=topic)["Attributes"]
    assert (shown["FifoTopic"], shown["ContentBasedDeduplication"]) == ("true", "true")
    _, arn = make_queue(sqs, fifo=True)
    subscription = subscribe(sns, topic, arn, RawMessageDelivery="True")
    found = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert found["RawMessageDelivery"] == "true"


def test_a_deleted_topic_leaves_nothing_behind(sqs: Any, sns: Any) -> None:
    own = name("topic") + ".fifo"
    plain = make_topic(sns)
    sns.subscribe(TopicArn=plain, Protocol="http", Endpoint="http://127.0.0.1:9/")
    sns.delete_topic(TopicArn=plain)
    listed = sns.list_subscriptions()["Subscriptions"]
    assert not [each for each in listed if each["TopicArn"] == plain]
    bodies = []
    for text in ("one", "two"):
        topic = sns.create_topic(Name=own, Attributes={"FifoTopic": "true"})["TopicArn"]
        url, arn = make_queue(sqs, fifo=True)
        subscribe(sns, topic, arn, RawMessageDelivery="true")
        sns.publish(TopicArn=topic, Message=text, MessageGroupId="g", MessageDeduplicationId="d")
        bodies += [message["Body"] for message in receive(sqs, url)]
        sns.delete_topic(TopicArn=topic)
    assert bodies == ["one", "two"]


def test_every_queue_gets_a_message_of_its_own(sqs: Any, sns: Any, topic: str) -> None:
    queues = [make_queue(sqs) for _ in range(3)]
    for number, (_, arn) in enumerate(queues):
        subscribe(sns, topic, arn, RawMessageDelivery="true" if number else "false")
    published = sns.publish(TopicArn=topic, Message="text")["MessageId"]
    received = [receive(sqs, url)[0] for url, _ in queues]
    assert json.loads(received[0]["Body"])["MessageId"] == published
    assert [message["Body"] for message in received[1:]] == ["text", "text"]
    assert len({published, *(message["MessageId"] for message in received)}) == 4


def test_fewer_tags_are_no_difference(sns: Any) -> None:
    own = name("topic")
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    arn = sns.create_topic(Name=own, Tags=tags)["TopicArn"]
    assert sns.create_topic(Name=own, Tags=tags[:1])["TopicArn"] == arn
    assert refusal(sns.create_topic, Name=own, Tags=[{"Key": "c", "Value": ""}]) == sns_invalid(
        "Tags Reason: Topic already exists with different tags"
    )


def test_members_that_are_not_there(api: RunningApi, sns: Any, topic: str) -> None:
    lenient = boto3.client(
        "sns",
        endpoint_url=api.url,
        region_name=REGION,
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret-key",
        config=Config(parameter_validation=False),
    )
    assert refusal(lenient.unsubscribe) == sns_invalid(
        "SubscriptionArn Reason: no value for required parameter"
    )
    untyped = {"a": {"StringValue": "v"}}
    refused = refusal(lenient.publish, TopicArn=topic, Message="x", MessageAttributes=untyped)
    null = "Value null at '{}' failed to satisfy constraint: Member must not be null"
    assert refused.code == "ValidationError"
    path = "messageAttributes.a.member.dataType"
    assert refused.message == f"1 validation error detected: {null.format(path)}"
    entries = [
        {"Id": "1", "Message": "x"},
        {"Id": "2", "Message": "x", "MessageAttributes": untyped},
    ]
    refused = refusal(lenient.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries)
    path = f"publishBatchRequestEntries.2.member.{path}"
    assert refused.message == f"1 validation error detected: {null.format(path)}"


@pytest.mark.parametrize(
    ("own", "fifo"),
    [("plain", "true"), ("a.fifo", "false"), ("a b", "false"), ("a" * 257, "false")],
)
def test_names_of_topics(sns: Any, own: str, fifo: str) -> None:
    assert refusal(sns.create_topic, Name=own, Attributes={"FifoTopic": fifo}) == sns_invalid(
        "Topic Name"
    )


def test_faults_of_filters_come_before_the_protocol(sns: Any, topic: str) -> None:
    def subscribe_as(protocol: str, endpoint: str = "+15550100") -> Refusal:
        return refusal(
            sns.subscribe,
            TopicArn=topic,
            Protocol=protocol,
            Endpoint=endpoint,
            Attributes={"FilterPolicy": json.dumps({"k": [str(n) for n in range(151)]})},
        )

    assert subscribe_as("sms") == sns_invalid(
        "Attributes Reason: FilterPolicy: Filter policy is too complex"
    )
    assert subscribe_as("pigeon") == sns_invalid(
        "Amazon SNS does not support this protocol string: pigeon"
    )
    assert subscribe_as("sms", "x15550100").message == "Invalid SMS endpoint: x15550100"


def test_all_attributes_of_a_fresh_subscription(sqs: Any, sns: Any, topic: str) -> None:
    _, arn = make_queue(sqs)
    subscription = subscribe(sns, topic, arn)
    shown = sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert shown == {
        "ConfirmationWasAuthenticated": "true",
        "Endpoint": arn,
        "Owner": "000000000000",
        "PendingConfirmation": "false",
        "Protocol": "sqs",
        "RawMessageDelivery": "false",
        "SubscriptionArn": subscription,
        "SubscriptionPrincipal": "arn:aws:iam::000000000000:user/landbridge",
        "TopicArn": topic,
    }

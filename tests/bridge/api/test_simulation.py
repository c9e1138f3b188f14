"""`simulate: aws`, fault by fault, as boto3 sees it: each alone, at a rate that leaves no doubt."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from bridge.api import ApiOptions
from bridge.api.simulation import Faults
from bridge.api.simulation.faults import Dice
from bridge.config.simulation import Simulation
from tests.support.aws_api import RunningApi, running_api
from tests.support.aws_clients import client, query

PATIENCE_SECONDS = 60
names = itertools.count(1)


class Endpoint:
    """An API with faults, and its clients, which try once."""

    def __init__(self, api: RunningApi) -> None:
        self.api = api
        self.url = api.url
        self.sqs = client(api.url, "sqs")
        self.sns = client(api.url, "sns")

    def queue(self, name: str = "", **attributes: str) -> str:
        own = name or f"queue-{next(names)}"
        return str(self.sqs.create_queue(QueueName=own, Attributes=attributes)["QueueUrl"])

    def fifo(self) -> str:
        attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        return self.queue(f"queue-{next(names)}.fifo", **attributes)

    def send(self, url: str, *bodies: str) -> Any:
        entries = [{"Id": str(at), "MessageBody": body} for at, body in enumerate(bodies)]
        return self.sqs.send_message_batch(QueueUrl=url, Entries=entries)

    def receive(self, url: str, count: int = 10, wait: int = 1, **options: Any) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=count,
            WaitTimeSeconds=wait,
            AttributeNames=["All"],
            **options,
        )
        return list(answer.get("Messages", []))

    def delete(self, url: str, *messages: Any) -> None:
        for each in messages:
            self.sqs.delete_message(QueueUrl=url, ReceiptHandle=each["ReceiptHandle"])

    def attributes(self, url: str) -> dict[str, str]:
        shown = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return dict(shown["Attributes"])

    def use(self, **faults: Any) -> None:
        """Have other faults from now on."""
        self.api.use(**faults)


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[Callable[..., Endpoint]]:
    with ExitStack() as stack:

        def start(**faults: Any) -> Endpoint:
            options = ApiOptions(name_reuse_seconds=0, faults=Faults(**faults))
            place = tmp_path / f"api{next(names)}"
            return Endpoint(stack.enter_context(running_api(place, options)))

        yield start


def code_of(call: Callable[..., Any], **arguments: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def until(check: Callable[[], bool], endpoint: Endpoint) -> None:
    """Ask again until it holds: bounded by the number of long polls that it takes."""
    pause = endpoint.queue()
    for _ in range(PATIENCE_SECONDS):
        if check():
            return
        endpoint.receive(pause)
    raise AssertionError


# -- receiving


def test_a_deleted_message_comes_once_more_and_never_a_third_time(endpoint: Any) -> None:
    here = endpoint(duplicate_rate=1.0, duplicate_seconds=0.2)
    url = here.queue()
    here.send(url, "x")
    (first,) = here.receive(url)
    assert first["Attributes"]["ApproximateReceiveCount"] == "1"
    here.delete(url, first)
    (again,) = here.receive(url, wait=20)
    assert again["MessageId"] == first["MessageId"]
    assert again["Attributes"]["ApproximateReceiveCount"] == "2"
    here.delete(url, again)
    assert here.receive(url, wait=1) == []


def test_a_duplicate_of_what_is_in_flight_settles_it(endpoint: Any) -> None:
    here = endpoint(duplicate_rate=1.0, duplicate_seconds=0.1)
    url = here.queue()
    here.send(url, "x")
    (first,) = here.receive(url, VisibilityTimeout=5)
    (again,) = here.receive(url, wait=20)
    assert again["MessageId"] == first["MessageId"]
    here.delete(url, again)
    assert here.receive(url, wait=6) == []


def test_a_fifo_queue_has_no_duplicates_and_its_order(endpoint: Any) -> None:
    here = endpoint(
        duplicate_rate=1.0,
        duplicate_seconds=0.1,
        reorder_rate=1.0,
        reorder_seconds=0.5,
        partial_receive_rate=1.0,
        empty_receive_rate=0.5,
    )
    url = here.fifo()
    for number in range(30):
        here.sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId="g")
    got: list[str] = []
    while taken := here.receive(url, count=7):
        got += [each["Body"] for each in taken]
        here.delete(url, *taken)
    assert got == [str(number) for number in range(30)]


def test_messages_overtake_one_another_and_none_is_lost(endpoint: Any) -> None:
    here = endpoint(reorder_rate=0.5, reorder_seconds=3.0)
    url = here.queue()
    sent = [str(number) for number in range(50)]
    for start in range(0, 50, 10):
        here.send(url, *sent[start : start + 10])
    got: list[str] = []
    while len(got) < 50:
        taken = here.receive(url, wait=20)
        got += [each["Body"] for each in taken]
    assert got != sent
    assert sorted(got, key=int) == sent


def test_short_polls_may_miss_what_a_long_poll_finds(endpoint: Any) -> None:
    here = endpoint(empty_receive_rate=1.0)
    url = here.queue()
    here.send(url, "x")
    assert here.receive(url, wait=0) == []
    assert len(here.receive(url, wait=1)) == 1


def test_fewer_than_there_are_may_come(endpoint: Any) -> None:
    here = endpoint(partial_receive_rate=1.0)
    url = here.queue()
    here.send(url, *"abcdefghij")
    shares = []
    while taken := here.receive(url):
        shares.append(len(taken))
    assert sum(shares) == 10
    assert len(shares) > 1


def test_in_flight_is_bounded(endpoint: Any) -> None:
    here = endpoint(in_flight_max=2)
    url = here.queue()
    here.send(url, *"abc")
    assert len(here.receive(url)) == 2
    assert code_of(here.receive, url=url, wait=0) == ("OverLimit", 403)
    assert here.receive(url, wait=1) == []


# -- what is late


def test_settings_take_effect_late_and_build_on_one_another(endpoint: Any) -> None:
    here = endpoint(settings_lag_seconds=6.0)
    # The name decides when, by the seed: for this one after 5.1 s, and after 3 s.
    url = here.queue("late")
    here.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    assert here.attributes(url)["VisibilityTimeout"] == "30"
    here.sqs.set_queue_attributes(QueueUrl=url, Attributes={"DelaySeconds": "5"})
    assert here.attributes(url)["VisibilityTimeout"] == "77"
    until(lambda: here.attributes(url)["DelaySeconds"] == "5", here)


def test_settings_do_not_pass_on_to_a_later_queue_of_the_name(endpoint: Any) -> None:
    here = endpoint(settings_lag_seconds=1.5)
    url = here.queue("late")
    here.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    here.sqs.delete_queue(QueueUrl=url)
    here.queue("late")
    pause = here.queue()
    for _ in range(2):
        here.receive(pause)
    assert here.attributes(url)["VisibilityTimeout"] == "30"


def test_settings_that_a_stop_interrupts_take_effect_at_the_next_start(tmp_path: Path) -> None:
    options = ApiOptions(faults=Faults(settings_lag_seconds=900))
    with running_api(tmp_path / "data", options, durability="fsync") as api:
        here = Endpoint(api)
        url = here.queue("late")
        here.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
        assert here.attributes(url)["VisibilityTimeout"] == "30"
    with running_api(tmp_path / "data", ApiOptions(), durability="fsync") as api:
        here = Endpoint(api)
        url = here.sqs.get_queue_url(QueueName="late")["QueueUrl"]
        until(lambda: here.attributes(url)["VisibilityTimeout"] == "77", here)


def subscribed(here: Endpoint, policy: str | None, name: str = "") -> tuple[str, str, str]:
    """A topic, its only queue and the subscription."""
    url = here.queue()
    arn = here.attributes(url)["QueueArn"]
    topic = here.sns.create_topic(Name=name or f"topic-{next(names)}")["TopicArn"]
    attributes = {"RawMessageDelivery": "true"} | ({"FilterPolicy": policy} if policy else {})
    made = here.sns.subscribe(
        TopicArn=topic,
        Protocol="sqs",
        Endpoint=arn,
        Attributes=attributes,
        ReturnSubscriptionArn=True,
    )
    return topic, url, made["SubscriptionArn"]


def publish(here: Endpoint, topic: str, kind: str) -> None:
    here.sns.publish(
        TopicArn=topic,
        Message=kind,
        MessageAttributes={"kind": {"DataType": "String", "StringValue": kind}},
    )


def test_a_filter_policy_filters_late(endpoint: Any) -> None:
    here = endpoint(filter_policy_lag_seconds=12.0)
    policy = json.dumps({"kind": ["a"]})
    # By its name, after 6 s.
    topic, url, subscription = subscribed(here, policy, "filtered")
    shown = here.sns.get_subscription_attributes(SubscriptionArn=subscription)["Attributes"]
    assert json.loads(shown["FilterPolicy"]) == {"kind": ["a"]}
    publish(here, topic, "b")
    assert [each["Body"] for each in here.receive(url)] == ["b"]

    def filters() -> bool:
        publish(here, topic, "b")
        return not here.receive(url)

    until(filters, here)
    publish(here, topic, "a")
    assert [each["Body"] for each in here.receive(url)] == ["a"]
    other = json.dumps({"kind": ["b"]})
    here.sns.set_subscription_attributes(
        SubscriptionArn=subscription, AttributeName="FilterPolicy", AttributeValue=other
    )
    publish(here, topic, "b")
    assert here.receive(url) == []
    until(lambda: not filters(), here)


def test_a_filter_policy_filters_after_a_restart(tmp_path: Path) -> None:
    options = ApiOptions(faults=Faults(filter_policy_lag_seconds=900))
    with running_api(tmp_path / "data", options, durability="fsync") as api:
        here = Endpoint(api)
        topic, url, _ = subscribed(here, json.dumps({"kind": ["a"]}))
        publish(here, topic, "b")
        assert len(here.receive(url)) == 1
        name = url.rpartition("/")[2]
    with running_api(tmp_path / "data", ApiOptions(), durability="fsync") as api:
        here = Endpoint(api)
        url = here.sqs.get_queue_url(QueueName=name)["QueueUrl"]

        def filters() -> bool:
            publish(here, topic, "b")
            return not here.receive(url)

        until(filters, here)


def test_lists_lag(endpoint: Any) -> None:
    here = endpoint(list_lag_seconds=6.0)
    url = here.queue("listed")
    assert "QueueUrls" not in here.sqs.list_queues(QueueNamePrefix="listed")
    until(lambda: "QueueUrls" in here.sqs.list_queues(QueueNamePrefix="listed"), here)
    here.sqs.delete_queue(QueueUrl=url)
    assert here.sqs.list_queues(QueueNamePrefix="listed")["QueueUrls"] == [url]
    until(lambda: "QueueUrls" not in here.sqs.list_queues(QueueNamePrefix="listed"), here)


def test_counts_lag(endpoint: Any) -> None:
    here = endpoint(counts_lag_seconds=6.0)
    url = here.queue()
    assert here.attributes(url)["ApproximateNumberOfMessages"] == "0"
    here.send(url, "x")
    assert here.attributes(url)["ApproximateNumberOfMessages"] == "0"
    until(lambda: here.attributes(url)["ApproximateNumberOfMessages"] == "1", here)


def test_a_new_queue_is_not_known_everywhere(endpoint: Any) -> None:
    here = endpoint(new_queue_seconds=900)
    url = here.queue()
    outcomes = []
    for _ in range(20):
        try:
            here.send(url, "x")
        except ClientError as error:
            outcomes.append(error.response["Error"]["Code"])
        else:
            outcomes.append("sent")
    assert set(outcomes) == {"sent", "AWS.SimpleQueueService.NonExistentQueue"}


# -- what is refused, fails, or is not answered


def test_throttling_has_the_codes_of_each_service(endpoint: Any) -> None:
    here = endpoint(throttle_rate=1.0)
    assert code_of(here.sqs.list_queues) == ("RequestThrottled", 403)
    assert code_of(here.sns.list_topics) == ("Throttled", 429)
    answer = query(here.url, Action="ListQueues", Version="2012-11-05")
    assert (answer.status, answer.find("Error/Code")) == (403, "RequestThrottled")


def test_errors_leave_nothing_behind(endpoint: Any) -> None:
    here = endpoint()
    url = here.queue()
    here.use(error_rate=1.0)
    seen = {code_of(here.sqs.send_message, QueueUrl=url, MessageBody="x") for _ in range(20)}
    assert seen == {("InternalFailure", 500), ("ServiceUnavailable", 503)}
    here.use()
    assert here.receive(url) == []


def test_an_answer_may_be_lost_after_success(endpoint: Any) -> None:
    here = endpoint()
    url = here.queue()
    here.use(lost_reply_rate=1.0)
    kinds = set()
    for _ in range(8):
        with pytest.raises((ClientError, BotoCoreError)) as caught:
            here.sqs.send_message(QueueUrl=url, MessageBody="x")
        kinds.add(type(caught.value).__name__)
    assert kinds == {"ClientError", "ConnectionClosedError"}
    here.use()
    assert len(here.receive(url)) == 8


def test_entries_of_batches_fail_by_themselves(endpoint: Any) -> None:
    here = endpoint(batch_failure_rate=0.5)
    url = here.queue()
    answer = here.send(url, *"abcdefghij")
    stored = {each["Id"] for each in answer["Successful"]}
    failed = {each["Id"]: each for each in answer["Failed"]}
    assert stored
    assert failed
    assert stored | failed.keys() == {str(number) for number in range(10)}
    assert all(not each["SenderFault"] for each in failed.values())
    got = {each["Body"] for each in here.receive(url)}
    assert got == {"abcdefghij"[int(number)] for number in stored}
    topic, own, _ = subscribed(here, None)
    entries = [{"Id": str(number), "Message": str(number)} for number in range(10)]
    answer = here.sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert answer["Failed"]
    got = {each["Body"] for each in here.receive(own)}
    assert got == {each["Id"] for each in answer["Successful"]}


def test_nothing_overtakes_a_failed_entry_of_its_group(endpoint: Any) -> None:
    here = endpoint(batch_failure_rate=0.3)
    url = here.fifo()
    entries = [
        {"Id": str(number), "MessageBody": str(number), "MessageGroupId": "ab"[number % 2]}
        for number in range(10)
    ]
    answer = here.sqs.send_message_batch(QueueUrl=url, Entries=entries)
    failed = [int(each["Id"]) for each in answer["Failed"]]
    for parity in (0, 1):
        own = [number for number in failed if number % 2 == parity]
        assert sorted(own) == list(range(min(own, default=10), 10))[:: 2 if own else 1]


def test_answers_may_be_slow(endpoint: Any) -> None:
    here = endpoint()
    url = here.queue()
    hasty = boto3.client(
        "sqs",
        endpoint_url=here.url,
        region_name="eu-west-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret-key",
        config=Config(retries={"max_attempts": 0}, read_timeout=0.2),
    )
    here.use(slow_rate=1.0, slow_seconds=60)
    with pytest.raises(BotoCoreError, match="timeout"):
        hasty.send_message(QueueUrl=url, MessageBody="x")
    here.use()
    assert len(here.receive(url)) == 1


def test_fifo_queues_have_a_quota(endpoint: Any) -> None:
    here = endpoint(fifo_calls_per_second=1)
    url = here.fifo()
    standard = here.queue()
    codes = []
    for number in range(20):
        try:
            here.sqs.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId="g")
        except ClientError as error:
            codes.append(error.response["Error"]["Code"])
        here.send(standard, "x")
    assert set(codes) == {"ThrottlingException"}


def test_filter_policies_have_a_quota(endpoint: Any) -> None:
    here = endpoint(filter_policies_max=1)
    subscribed(here, '{"kind": ["a"]}')
    with pytest.raises(ClientError) as caught:
        subscribed(here, '{"kind": ["a"]}')
    assert caught.value.response["Error"]["Code"] == "FilterPolicyLimitExceeded"


# -- the seed


def outcomes_of(here: Endpoint, url: str, other: str | None) -> list[str]:
    """What fifty sends to one queue come to, with or without sends to another between them."""
    outcomes = []
    for number in range(50):
        for target in [url] if other is None else [other, url]:
            try:
                here.sqs.send_message(QueueUrl=target, MessageBody=str(number))
                outcome = "sent"
            except ClientError as error:
                outcome = error.response["Error"]["Code"]
            except BotoCoreError:
                outcome = "nothing"
            if target == url:
                outcomes.append(outcome)
    return outcomes


def test_the_same_seed_gives_the_same_faults_whatever_else_goes_on(endpoint: Any) -> None:
    told = []
    for seed, noise in ((5, False), (5, True), (6, False)):
        here = endpoint()
        url, other = here.queue("told"), here.queue("noise")
        here.use(seed=seed, throttle_rate=0.2, error_rate=0.2, lost_reply_rate=0.2)
        told.append(outcomes_of(here, url, other if noise else None))
    assert told[0] == told[1]
    assert told[0] != told[2]
    assert len(set(told[0])) >= 4


# -- bounds


def test_every_fault_is_an_option_and_no_option_means_nothing() -> None:
    faults = [each.name for each in fields(Faults)]
    assert list(Simulation.model_fields) == faults


def test_what_the_dice_remember_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.api.simulation.faults.PLACES_MAX", 2)
    dice = Dice(Faults())
    first = [dice.throw("fault", place) for place in ("a", "b")]
    assert dice.throw("fault", "a") not in first
    # A third place makes all of them begin again.
    dice.throw("fault", "c")
    assert [dice.throw("fault", place) for place in ("a", "b")] == first


def test_copies_are_bounded(endpoint: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.api.simulation.receiving.DUPLICATES_MAX", 2)
    here = endpoint(duplicate_rate=1.0, duplicate_seconds=0.1)
    url = here.queue()
    here.send(url, "a", "b", "c")
    here.delete(url, *here.receive(url))
    copies: list[Any] = []
    while len(copies) < 2:
        copies += here.receive(url, wait=20)
    assert here.receive(url) == []

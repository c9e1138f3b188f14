"""SNS with HTTP endpoints: confirmation, delivery, retries, dead letters, the last goodbye."""

from __future__ import annotations

import json
import queue as queues
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from tests.support.aws_clients import REGION, Refusal, api, name, query, refusal, sns, sqs
from tests.support.sns_signatures import check_signature

__all__ = ["api", "sns", "sqs"]


@pytest.fixture
def topic(sns: Any) -> str:
    return str(sns.create_topic(Name=name("topic"))["TopicArn"])


class Posted(NamedTuple):
    headers: dict[str, str]
    body: str

    @property
    def envelope(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


GARBAGE = 0
"""In place of a status: an answer that is not HTTP's."""


class Endpoint(ThreadingHTTPServer):
    """Takes what is posted; the first answers come from `statuses`, the others are 200."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.posted: queues.Queue[Posted] = queues.Queue()
        self.statuses: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}/endpoint"

    def next(self) -> Posted:
        return self.posted.get(timeout=60)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Endpoint)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        headers = {key.lower(): value for key, value in self.headers.items()}
        status = server.statuses.pop(0) if server.statuses else 200
        if status == GARBAGE:
            self.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")
        else:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        server.posted.put(Posted(headers, body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def confirmed(sns: Any, topic: str, endpoint: Endpoint, **attributes: str) -> str:
    answer = sns.subscribe(
        TopicArn=topic, Protocol="http", Endpoint=endpoint.url, Attributes=attributes
    )
    assert answer["SubscriptionArn"] == "pending confirmation"
    assert sns.get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsPending"] == "1"
    asked = endpoint.next()
    assert asked.headers["x-amz-sns-message-type"] == "SubscriptionConfirmation"
    assert asked.headers["content-type"] == "text/plain; charset=UTF-8"
    assert asked.headers["user-agent"] == "Amazon Simple Notification Service Agent"
    assert asked.headers["accept-encoding"] == "gzip,deflate"
    check_signature(asked.envelope)
    link = f"/?Action=ConfirmSubscription&TopicArn={topic}&Token={asked.envelope['Token']}"
    assert asked.envelope["SubscribeURL"].endswith(link)
    answer = query(asked.envelope["SubscribeURL"], "GET")
    assert answer.status == 200
    arn = answer.find("ConfirmSubscriptionResult/SubscriptionArn") or ""
    again = sns.confirm_subscription(TopicArn=topic, Token=asked.envelope["Token"])
    assert again["SubscriptionArn"] == arn
    return arn


def test_an_http_endpoint(sns: Any, topic: str, endpoint: Endpoint) -> None:
    arn = confirmed(sns, topic, endpoint)
    texts = {"default": "d", "http": "h"}
    sns.publish(TopicArn=topic, Message=json.dumps(texts), MessageStructure="json", Subject="s")
    posted = endpoint.next()
    assert posted.headers["x-amz-sns-message-type"] == "Notification"
    assert posted.headers["x-amz-sns-subscription-arn"] == arn
    assert posted.envelope["Message"] == "h"
    check_signature(posted.envelope)
    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true"
    )
    sns.publish(TopicArn=topic, Message="raw")
    posted = endpoint.next()
    assert posted.body == "raw"
    assert posted.headers["x-amz-sns-rawdelivery"] == "true"
    sns.unsubscribe(SubscriptionArn=arn)
    goodbye = endpoint.next()
    assert goodbye.headers["x-amz-sns-message-type"] == "UnsubscribeConfirmation"
    assert sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"] == []
    assert query(goodbye.envelope["SubscribeURL"], "GET").status == 200
    sns.publish(TopicArn=topic, Message="back")
    assert endpoint.next().body == "back"


def test_an_http_endpoint_that_fails(sqs: Any, sns: Any, topic: str, endpoint: Endpoint) -> None:
    own = name()
    url = sqs.create_queue(QueueName=own)["QueueUrl"]
    dead = f"arn:aws:sqs:{REGION}:000000000000:{own}"
    arn = confirmed(sns, topic, endpoint, RedrivePolicy=json.dumps({"deadLetterTargetArn": dead}))
    policy = {"healthyRetryPolicy": {"numRetries": 2, "numNoDelayRetries": 2}}
    sns.set_subscription_attributes(
        SubscriptionArn=arn, AttributeName="DeliveryPolicy", AttributeValue=json.dumps(policy)
    )
    endpoint.statuses = [GARBAGE, 503]
    sns.publish(TopicArn=topic, Message="third time lucky")
    assert {endpoint.next().envelope["Message"] for _ in range(3)} == {"third time lucky"}
    endpoint.statuses = [403]
    sns.publish(TopicArn=topic, Message="forbidden")
    endpoint.next()
    answer = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
    assert json.loads(answer["Messages"][0]["Body"])["Message"] == "forbidden"


def test_tokens(sns: Any, topic: str) -> None:
    assert refusal(sns.confirm_subscription, TopicArn=topic, Token="x") == Refusal(
        "InvalidParameter", None, 400, "Invalid token"
    )

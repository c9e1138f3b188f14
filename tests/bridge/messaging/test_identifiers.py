"""ARNs and queue URLs, made and taken apart."""

from __future__ import annotations

import pytest

from bridge.messaging.errors import InvalidParameter
from bridge.messaging.identifiers import (
    Arn,
    QueueAddress,
    parse_arn,
    parse_queue_url,
    queue_arn,
    queue_url,
    region_of_host,
    subscription_arn,
    topic_arn,
)

TOPIC = "arn:aws:sns:eu-west-1:000000000000:events"


def test_arns_there_and_back() -> None:
    arn = queue_arn("eu-west-1", "000000000000", "orders.fifo")
    assert arn == "arn:aws:sqs:eu-west-1:000000000000:orders.fifo"
    assert parse_arn(arn) == Arn("aws", "sqs", "eu-west-1", "000000000000", "orders.fifo")
    assert str(parse_arn(arn)) == arn
    assert topic_arn("eu-west-1", "000000000000", "events") == TOPIC
    assert topic_arn("cn-north-1", "1", "t") == "arn:aws-cn:sns:cn-north-1:1:t"
    assert queue_arn("us-gov-west-1", "1", "q") == "arn:aws-us-gov:sqs:us-gov-west-1:1:q"
    assert subscription_arn(TOPIC, "s-1") == f"{TOPIC}:s-1"


@pytest.mark.parametrize(
    ("arn", "message"),
    [
        ("", "at least 6 elements, not 1"),
        ("orders", "at least 6 elements, not 1"),
        ("arn:aws:sqs:eu-west-1:1", "at least 6 elements, not 5"),
        ("urn:aws:sqs:eu-west-1:1:q", "begins with arn:"),
    ],
)
def test_malformed_arns(arn: str, message: str) -> None:
    with pytest.raises(InvalidParameter, match=message):
        parse_arn(arn)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:4566/000000000000/orders", (None, "000000000000", "orders")),
        ("http://127.0.0.1:4566/queue/000000000000/orders", (None, "000000000000", "orders")),
        (
            "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo",
            ("eu-west-1", "123456789012", "jobs.fifo"),
        ),
        ("http://sqs.eu-west-1.localhost:4566/1/orders", ("eu-west-1", "1", "orders")),
        ("https://us-west-2.queue.amazonaws.com/1/q", ("us-west-2", "1", "q")),
        ("/000000000000/orders", (None, "000000000000", "orders")),
        ("/000000000000/orders/", (None, "000000000000", "orders")),
        ("orders", (None, None, "orders")),
    ],
)
def test_queue_urls(url: str, address: tuple[str | None, str | None, str]) -> None:
    assert parse_queue_url(url) == QueueAddress(*address)


def test_queue_urls_are_made() -> None:
    assert queue_url("http://h:4566", "1", "q") == "http://h:4566/1/q"


@pytest.mark.parametrize("url", ["", "/", "http://127.0.0.1:4566", "http://h/a/b/c", "http://[/a"])
def test_malformed_queue_urls(url: str) -> None:
    with pytest.raises(InvalidParameter):
        parse_queue_url(url)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("sns.eu-central-1.localhost", "eu-central-1"),
        ("localhost", None),
        ("sqs.localhost", None),
        ("127.0.0.1", None),
    ],
)
def test_regions_of_hosts(host: str, region: str | None) -> None:
    assert region_of_host(host) == region

"""ARNs and queue URLs: how SQS and SNS name what `bridge.messaging.names` spelled."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from bridge.messaging.errors import InvalidParameter

ACCOUNT: Final = "000000000000"
"""The account of a broker that stands for AWS."""

REGION: Final = "us-east-1"
"""The region where a request names none."""

_PARTITIONS = (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"))
_REGION_IN_HOST = re.compile(r"(?:^|\.)(?:sqs|sns)\.([a-z]{2,}(?:-[a-z]+)+-\d+)\.")
_LEGACY_REGION_IN_HOST = re.compile(r"^([a-z]{2,}(?:-[a-z]+)+-\d+)\.queue\.")


class Arn(NamedTuple):
    """An Amazon resource name, taken apart; `resource` is all behind the fifth colon."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    def __str__(self) -> str:
        return "arn:" + ":".join(self)


class QueueAddress(NamedTuple):
    """What a queue URL says; None where it does not."""

    region: str | None
    account: str | None
    name: str


def partition_of(region: str) -> str:
    """The part of AWS that a region belongs to."""
    for prefix, partition in _PARTITIONS:
        if region.startswith(prefix):
            return partition
    return "aws"


def caller_arn(region: str) -> str:
    """Of whoever calls: all access keys are one user's."""
    return f"arn:{partition_of(region)}:iam::{ACCOUNT}:user/landbridge"


def queue_arn(region: str, account: str, name: str) -> str:
    """The ARN of the SQS queue `name`."""
    return str(Arn(partition_of(region), "sqs", region, account, name))


def topic_arn(region: str, account: str, name: str) -> str:
    """The ARN of the SNS topic `name`."""
    return str(Arn(partition_of(region), "sns", region, account, name))


def subscription_arn(topic: str, subscription_id: str) -> str:
    """The ARN of a subscription to the topic whose ARN is `topic`."""
    return f"{topic}:{subscription_id}"


def parse_arn(text: str) -> Arn:
    """Take an ARN apart. Raises `InvalidParameter` in AWS's words."""
    parts = text.split(":", 5)
    if len(parts) < 6:
        raise InvalidParameter(f"An ARN must have at least 6 elements, not {len(parts)}")
    if parts[0] != "arn":
        raise InvalidParameter(f"an ARN begins with arn:, not with {parts[0]!r}")
    return Arn(*parts[1:])


def queue_url(base: str, account: str, name: str) -> str:
    """The URL of a queue; `base` is scheme, host and port as the client knows them."""
    return f"{base}/{account}/{name}"


def parse_queue_url(url: str) -> QueueAddress:
    """Read a queue URL, its path alone, or a bare queue name, all of which AWS accepts.

    Raises `InvalidParameter` where there is no name in it.
    """
    try:
        split = urlsplit(url)
    except ValueError:
        raise InvalidParameter(f"queue URL {url!r} is not a URL") from None
    parts = [unquote(part) for part in split.path.split("/") if part]
    if not parts or len(parts) > 2 + (parts[0] == "queue"):
        raise InvalidParameter(f"queue URL {url!r} is not of the form scheme://host/account/name")
    account = parts[-2] if len(parts) > 1 else None
    return QueueAddress(region_of_host(split.hostname or ""), account, parts[-1])


def region_of_host(host: str) -> str | None:
    """The region in a host such as `sqs.eu-west-1.localhost` or `eu-west-1.queue.amazonaws.com`."""
    found = _REGION_IN_HOST.search(host) or _LEGACY_REGION_IN_HOST.match(host)
    return found[1] if found else None

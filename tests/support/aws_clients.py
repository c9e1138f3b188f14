"""Fixtures of clients for the API: boto3's, and plain HTTP for the Query protocol."""

from __future__ import annotations

import itertools
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.support.aws_api import RunningApi, running_api

REGION = "eu-west-1"
_numbers = itertools.count(1)


def client(url: str, service: str, *, key: str = "AKIDEXAMPLE", secret: str = "secret-key") -> Any:
    """A boto3 client that tries once."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 0}, read_timeout=120),
    )


def name(stem: str = "queue") -> str:
    """A name that no other test uses."""
    return f"{stem}-{next(_numbers)}"


class Refusal(NamedTuple):
    """The three things by which boto3 programs tell errors apart, and the text."""

    code: str
    query_error_code: str | None
    status: int
    message: str


def refusal(call: Callable[..., Any], **arguments: Any) -> Refusal:
    """How a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    error = caught.value.response["Error"]
    assert error["Type"] == "Sender"
    return Refusal(
        error["Code"],
        error.get("QueryErrorCode"),
        caught.value.response["ResponseMetadata"]["HTTPStatusCode"],
        error["Message"],
    )


class QueryAnswer(NamedTuple):
    status: int
    content_type: str
    text: str

    def find(self, path: str) -> str | None:
        """The text of an element, by local names."""
        steps = "/".join(f"{{*}}{step}" for step in path.split("/"))
        return ET.fromstring(self.text).findtext(steps)


def query(
    url: str, method: str = "POST", headers: dict[str, str] | None = None, **parameters: str
) -> QueryAnswer:
    """Ask in the Query protocol; dots in names are written as two underscores."""
    encoded = urllib.parse.urlencode(
        {key.replace("__", "."): value for key, value in parameters.items()}
    )
    data = encoded.encode() if method == "POST" else None
    target = url if method == "POST" or not encoded else f"{url}?{encoded}"
    request = urllib.request.Request(target, data, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return QueryAnswer(
                answer.status, answer.headers["Content-Type"], answer.read().decode()
            )
    except urllib.error.HTTPError as error:
        with error:
            return QueryAnswer(error.code, error.headers["Content-Type"], error.read().decode())


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    path: Path = tmp_path_factory.mktemp("aws")
    with running_api(path / "data") as running:
        yield running


@pytest.fixture(scope="module")
def sqs(api: RunningApi) -> Any:
    return client(api.url, "sqs")


@pytest.fixture(scope="module")
def sns(api: RunningApi) -> Any:
    return client(api.url, "sns")


@pytest.fixture
def queue_url(sqs: Any) -> str:
    return str(sqs.create_queue(QueueName=name())["QueueUrl"])


@pytest.fixture
def fifo_url(sqs: Any) -> str:
    return str(
        sqs.create_queue(QueueName=name() + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    )

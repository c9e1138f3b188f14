"""The endpoints that are held to SQS and SNS: ours, moto's where it is right, and any other that
`CONFORMANCE_ENDPOINT` names (`aws` for the real one, with credentials from the environment).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest

from bridge.api import ApiOptions
from tests.support.aws_api import running_api
from tests.support.aws_clients import client

OTHER = os.environ.get("CONFORMANCE_ENDPOINT")
_numbers = count(1)


@dataclass(frozen=True)
class Endpoint:
    """Clients of one endpoint, and names that nothing else there has."""

    sqs: Any
    sns: Any

    def name(self, stem: str) -> str:
        return f"landbridge-{stem}-{os.getpid()}-{next(_numbers)}"

    def queue(self, *, fifo: bool = False, **attributes: str) -> str:
        """The URL of a new queue."""
        if fifo:
            attributes = {"FifoQueue": "true", **attributes}
        own = self.name("queue") + (".fifo" if fifo else "")
        return str(self.sqs.create_queue(QueueName=own, Attributes=attributes)["QueueUrl"])

    def arn(self, url: str) -> str:
        shown = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        return str(shown["Attributes"]["QueueArn"])

    def receive(self, url: str, count: int = 10, **arguments: Any) -> list[Any]:
        answer = self.sqs.receive_message(
            QueueUrl=url, MaxNumberOfMessages=count, WaitTimeSeconds=1, **arguments
        )
        return list(answer.get("Messages", []))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "endpoint" not in metafunc.fixturenames:
        return
    wrong = any(metafunc.definition.iter_markers("moto_differs"))
    kinds = ["landbridge"] if wrong else ["landbridge", "moto"]
    metafunc.parametrize("endpoint", [*kinds, *(["other"] if OTHER else [])], indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "moto_differs: AWS was recorded to do what moto does not")


@pytest.fixture(scope="module")
def endpoint(
    request: pytest.FixtureRequest, moto_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Endpoint]:
    match request.param:
        case "moto":
            yield Endpoint(client(moto_url, "sqs"), client(moto_url, "sns"))
        case "other":
            url = None if OTHER == "aws" else OTHER
            yield Endpoint(
                boto3.client("sqs", endpoint_url=url), boto3.client("sns", endpoint_url=url)
            )
        case _:
            path: Path = tmp_path_factory.mktemp("api")
            with running_api(path / "data", ApiOptions()) as api:
                yield Endpoint(client(api.url, "sqs"), client(api.url, "sns"))

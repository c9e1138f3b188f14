"""The program with its queues in SQS: STOMP on one side, boto3 on the other; AWS good and bad."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from tests.support.bad_aws import bad_aws
from tests.support.moto_server import moto_server
from tests.support.program import Program, run_landbridge, running

WAIT_SECONDS = 60
KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}
PREFIX = "legacy-"


@pytest.fixture(scope="module", params=[moto_server, bad_aws], ids=["moto", "bad-aws"])
def aws_url(request: pytest.FixtureRequest) -> Iterator[str]:
    with request.param() as url:
        yield url


def on_aws(url: str, **options: str) -> list[str]:
    given = {
        "kind": "aws",
        "region": "eu-west-1",
        "endpoint_url": url,
        "prefix": PREFIX,
        **options,
    }
    return [f"--set=backend.{name}={value}" for name, value in given.items()]


@pytest.fixture(scope="module")
def program(aws_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    directory = tmp_path_factory.mktemp("broker")
    with running(*on_aws(aws_url), directory=directory, environment=KEYS) as started:
        yield started


@pytest.fixture
def sqs(aws_url: str) -> Any:
    return boto3.client(
        "sqs",
        region_name="eu-west-1",
        endpoint_url=aws_url,
        aws_access_key_id="AKIATEST",
        aws_secret_access_key="secret",
    )


class Client:
    """A STOMP client that speaks in frames."""

    def __init__(self, program: Program) -> None:
        self.socket = socket.create_connection(("127.0.0.1", program.port("stomp")), WAIT_SECONDS)
        self._input = b""
        self.send("CONNECT", "accept-version:1.2", "host:/")
        assert self.frame().startswith("CONNECTED\n")

    def send(self, command: str, *headers: str, body: str = "") -> None:
        self.socket.sendall("\n".join([command, *headers, "", body + "\0"]).encode())

    def frame(self) -> str:
        while b"\0" not in self._input.lstrip(b"\n"):
            data = self.socket.recv(65_536)
            assert data, "the broker closed the connection"
            self._input += data
        frame, _, self._input = self._input.lstrip(b"\n").partition(b"\0")
        return frame.decode()

    def subscribe(self, queue: str) -> None:
        self.send("SUBSCRIBE", "id:s", f"destination:/queue/{queue}", "ack:client-individual")

    def header(self, frame: str, name: str) -> str:
        return next(
            line.partition(":")[2] for line in frame.split("\n") if line.startswith(f"{name}:")
        )

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def clients(program: Program) -> Iterator[Any]:
    opened: list[Client] = []

    def connect() -> Client:
        opened.append(Client(program))
        return opened[-1]

    yield connect
    for each in opened:
        each.close()


def test_a_receipt_comes_once_the_message_is_in_sqs(clients: Any, sqs: Any) -> None:
    client = clients()
    client.send("SEND", "destination:/queue/out", "receipt:1", "unit:kWh", body="42")
    assert client.frame().startswith("RECEIPT\nreceipt-id:1\n")
    url = sqs.get_queue_url(QueueName=f"{PREFIX}out")["QueueUrl"]
    (message,) = sqs.receive_message(
        QueueUrl=url, MessageAttributeNames=["All"], WaitTimeSeconds=20
    )["Messages"]
    assert message["Body"] == "42"
    assert message["MessageAttributes"]["unit"]["StringValue"] == "kWh"


def test_cloud_code_reaches_a_subscriber(clients: Any, sqs: Any) -> None:
    client = clients()
    client.subscribe("in")
    client.send("SEND", "destination:/queue/in", "receipt:made", body="first")
    frames = sorted([client.frame(), client.frame()])
    assert frames[0].startswith("MESSAGE\n")
    client.send("ACK", f"id:{client.header(frames[0], 'ack')}")
    url = sqs.get_queue_url(QueueName=f"{PREFIX}in")["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="from the cloud")
    message = client.frame()
    assert message.endswith("\n\nfrom the cloud")
    client.send("ACK", f"id:{client.header(message, 'ack')}", "receipt:done")
    assert client.frame().startswith("RECEIPT\nreceipt-id:done\n")
    counts = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessagesNotVisible"] == "0"
    assert counts["ApproximateNumberOfMessages"] == "0"


def test_what_a_lost_client_held_goes_to_the_next_at_once(clients: Any) -> None:
    first = clients()
    first.subscribe("jobs")
    first.send("SEND", "destination:/queue/jobs", body="job")
    assert "\n\njob" in first.frame()
    first.close()
    second = clients()
    second.subscribe("jobs")
    message = second.frame()
    assert message.endswith("\n\njob")
    assert second.header(message, "redelivered") == "true"


def test_a_name_that_sqs_forbids_is_found_again(clients: Any, sqs: Any) -> None:
    client = clients()
    client.send("SEND", "destination:/queue/a.b", "receipt:1", body="x")
    assert client.frame().startswith("RECEIPT\n")
    (url,) = sqs.list_queues(QueueNamePrefix=f"{PREFIX}a-b--")["QueueUrls"]
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"]["landbridge-name"] == "YS5i"


def test_without_credentials_the_start_is_refused(aws_url: str, tmp_path: Path) -> None:
    nowhere = {
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
    }
    ended = run_landbridge("serve", *on_aws(aws_url), directory=tmp_path, environment=nowhere)
    assert ended.returncode != 0
    assert "no AWS credentials" in ended.stderr


def test_an_endpoint_that_is_not_there_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    ended = run_landbridge("serve", *on_aws(url), directory=tmp_path, environment=KEYS)
    assert ended.returncode != 0
    assert f"127.0.0.1:{port} cannot be reached" in ended.stderr

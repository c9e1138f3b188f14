"""Signature Version 4, against botocore's own signers."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bridge.api import ApiOptions
from tests.support.aws_api import RunningApi, running_api
from tests.support.aws_clients import REGION, client, name, query, refusal

KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApi]:
    path: Path = tmp_path_factory.mktemp("aws")
    with running_api(path / "data", ApiOptions(access_keys={KEY: SECRET})) as running:
        yield running


def test_the_right_key_is_let_in(guarded: RunningApi) -> None:
    sqs = client(guarded.url, "sqs", key=KEY, secret=SECRET)
    url = sqs.create_queue(QueueName=name())["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="x")
    topic = client(guarded.url, "sns", key=KEY, secret=SECRET).create_topic(Name="t")["TopicArn"]
    assert topic.endswith(":t")


@pytest.mark.parametrize("service", ["sqs", "sns"])
def test_others_are_refused(guarded: RunningApi, service: str) -> None:
    def call(key: str, secret: str) -> Any:
        asked = client(guarded.url, service, key=key, secret=secret)
        found = refusal(asked.list_queues if service == "sqs" else asked.list_topics)
        return found.code, found.status

    assert call("AKIDOTHER", SECRET) == ("InvalidClientTokenId", 403)
    assert call(KEY, "wrong") == ("SignatureDoesNotMatch", 403)


def test_nobody_is_let_in_unsigned(guarded: RunningApi) -> None:
    answer = query(guarded.url, Action="ListQueues")
    assert answer.status == 403
    assert answer.find("Error/Code") == "MissingAuthenticationToken"


@pytest.mark.parametrize(("shift", "ok"), [(890, True), (910, False), (-890, True), (-910, False)])
def test_a_signature_is_good_for_15_minutes(guarded: RunningApi, shift: int, ok: bool) -> None:
    sqs = client(guarded.url, "sqs", key=KEY, secret=SECRET)
    with guarded.clock.later(shift):
        if ok:
            sqs.list_queues()
        else:
            found = refusal(sqs.list_queues)
            assert (found.code, found.status) == ("SignatureDoesNotMatch", 403)


def test_of_two_targets_the_one_that_was_signed_counts(guarded: RunningApi) -> None:
    signed = AWSRequest("POST", f"{guarded.url}/", {"X-Amz-Target": "AmazonSQS.ListQueues"}, b"{}")
    SigV4Auth(Credentials(KEY, SECRET), "sqs", REGION).add_auth(signed)
    names = [(each, value) for each, value in signed.headers.items() if each != "X-Amz-Target"]
    host, port = guarded.url.removeprefix("http://").split(":")
    connection = HTTPConnection(host, int(port))
    connection.putrequest("POST", "/")
    for each, value in [
        *names,
        ("X-Amz-Target", "AmazonSQS.Nothing"),
        ("x-amz-target", "AmazonSQS.ListQueues"),
        ("Content-Length", "2"),
    ]:
        connection.putheader(each, value)
    connection.endheaders(b"{}")
    assert connection.getresponse().status == 200
    connection.close()


def presigned(url: str, expires: int = 60) -> str:
    request = AWSRequest("GET", f"{url}?Action=GetQueueAttributes&AttributeName.1=All")
    SigV4QueryAuth(Credentials(KEY, SECRET), "sqs", REGION, expires=expires).add_auth(request)
    return str(request.url)


def test_presigned_urls(guarded: RunningApi) -> None:
    sqs = client(guarded.url, "sqs", key=KEY, secret=SECRET)
    url = presigned(sqs.create_queue(QueueName=name())["QueueUrl"])
    assert query(url, "GET").status == 200
    changed = query(url.replace("AttributeName.1=All", "AttributeName.1=Policy"), "GET")
    assert changed.status == 403
    assert changed.find("Error/Code") == "SignatureDoesNotMatch"
    with guarded.clock.later(61):
        late = query(url, "GET")
    assert late.status == 400
    assert late.find("Error/Code") == "RequestExpired"


@pytest.mark.parametrize(
    "header",
    [
        "AWS4-HMAC-SHA256",
        "Basic abc",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20261121/{REGION}/sqs/aws4_request",
        f"AWS4-HMAC-SHA256 Credential={KEY}, SignedHeaders=host, Signature=x",
    ],
)
def test_incomplete_signatures(guarded: RunningApi, header: str) -> None:
    headers = {"Authorization": header, "X-Amz-Date": "20261121T000000Z"}
    answer = query(guarded.url, "POST", headers, Action="ListQueues")
    assert answer.status == 400
    assert answer.find("Error/Code") == "IncompleteSignature"


def test_another_body_than_the_signed_one(guarded: RunningApi) -> None:
    request = AWSRequest("POST", f"{guarded.url}/", data="Action=ListQueues")
    request.headers["Content-Type"] = "application/x-www-form-urlencoded"
    SigV4Auth(Credentials(KEY, SECRET), "sqs", REGION).add_auth(request)
    headers = dict(request.headers.items())
    assert query(f"{guarded.url}/", "POST", headers, Action="ListQueues").status == 200
    other = query(f"{guarded.url}/", "POST", headers, Action="ListQueues", QueueNamePrefix="x")
    assert other.find("Error/Code") == "SignatureDoesNotMatch"

"""Signatures against botocore's."""

from __future__ import annotations

import datetime as dt

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from bridge.backends.aws.connections import endpoint_from_url
from bridge.backends.aws.signing import JSON, QUERY, Keys, Signer

NOW = dt.datetime(2026, 11, 21, 12, 0, 0, tzinfo=dt.UTC)
TARGET = "AmazonSQS.SendMessageBatch"


@pytest.mark.parametrize("content_type", [JSON, QUERY])
@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize(
    "url",
    [
        "https://sqs.eu-west-1.amazonaws.com",
        "http://127.0.0.1:4566",
        "https://proxy.example/sqs",
        "http://[::1]:80",
    ],
)
def test_the_signature_is_botocores(
    monkeypatch: pytest.MonkeyPatch, url: str, token: str | None, content_type: str
) -> None:
    body = b'{"QueueUrl":"x"}'
    target = TARGET if content_type == JSON else None
    signer = Signer(endpoint_from_url(url), "eu-west-1", "sqs", content_type)
    head = signer.head(target, body, Keys("AKIA", "s3cret", token), int(NOW.timestamp() * 1000))
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:] if line)

    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    request = AWSRequest(
        method="POST",
        url=url if "/" in url.partition("://")[2] else f"{url}/",
        data=body,
        headers={"Content-Type": content_type, **({"X-Amz-Target": target} if target else {})},
    )
    SigV4Auth(Credentials("AKIA", "s3cret", token), "sqs", "eu-west-1").add_auth(request)
    assert headers["X-Amz-Date"] == request.headers["X-Amz-Date"]
    assert headers["Authorization"] == request.headers["Authorization"]
    assert headers.get("X-Amz-Security-Token") == token
    assert headers["Content-Length"] == str(len(body))


def test_the_key_of_the_day_is_made_anew() -> None:
    signer = Signer(endpoint_from_url("http://x"), "eu-west-1", "sqs")
    fresh = Signer(endpoint_from_url("http://x"), "eu-west-1", "sqs")
    keys = Keys("AKIA", "s3cret", None)
    signer.head(TARGET, b"", keys, 0)
    tomorrow = 86_400_000
    assert signer.head(TARGET, b"", keys, tomorrow) == fresh.head(TARGET, b"", keys, tomorrow)
    other = Keys("AKIA", "other", None)
    assert signer.head(TARGET, b"", other, tomorrow) != fresh.head(TARGET, b"", keys, tomorrow)


@pytest.mark.parametrize("url", ["", "sqs", "ftp://x", "http://"])
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        endpoint_from_url(url)

"""The Query protocol: forms as botocore writes them, answers in XML."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import botocore.session
import pytest
from botocore.serialize import create_serializer

from bridge.backends.aws import forms
from bridge.backends.aws.errors import error_from_xml, messaging_error_from
from bridge.messaging.errors import (
    AccessDenied,
    MessageTooLong,
    StoreUnavailable,
    TopicDoesNotExist,
)

ANSWER = (
    b'<ListTopicsResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ListTopicsResult>'
    b"<Topics><member><TopicArn>a</TopicArn></member><member><TopicArn>b&amp;c</TopicArn></member>"
    b"</Topics><Attributes><entry><key>k</key><value>v</value></entry></Attributes>"
    b"</ListTopicsResult></ListTopicsResponse>"
)


def botocores(action: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """The form that botocore would send."""
    model = botocore.session.get_session().get_service_model("sns")
    serializer = create_serializer("query")
    body: dict[str, Any] = serializer.serialize_to_request(
        parameters, model.operation_model(action)
    )["body"]
    return body


def test_a_form_is_botocores() -> None:
    sent = forms.form(
        "CreateTopic",
        [
            ("Name", "a.fifo"),
            *forms.entries("Attributes", [("FifoTopic", "true"), ("DisplayName", "ä & b=c")]),
            *forms.tags([("k", "v"), ("x", "y+z")]),
        ],
    )
    read = {name: values[0] for name, values in parse_qs(sent.decode()).items()}
    assert read == botocores(
        "CreateTopic",
        {
            "Name": "a.fifo",
            "Attributes": {"FifoTopic": "true", "DisplayName": "ä & b=c"},
            "Tags": [{"Key": "k", "Value": "v"}, {"Key": "x", "Value": "y+z"}],
        },
    )


def test_an_answer() -> None:
    root = forms.parse(ANSWER)
    found = forms.members(root, "ListTopicsResult", "Topics")
    assert [forms.text(each, "TopicArn") for each in found] == ["a", "b&c"]
    assert forms.mapping(root, "ListTopicsResult", "Attributes") == {"k": "v"}
    assert forms.text(root, "ListTopicsResult", "NextToken") is None


@pytest.mark.parametrize("body", [b"", b"{}", b"<a>", b"\xff"])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(ValueError):
        forms.parse(body)
    error = error_from_xml("Publish", 502, body)
    assert (error.code, error.retryable) == ("", True)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "retryable"),
    [
        (404, "NotFound", "Topic does not exist", TopicDoesNotExist, False),
        (403, "AuthorizationError", "no", AccessDenied, False),
        (400, "InvalidParameter", "Invalid parameter: Message too long", MessageTooLong, False),
        (400, "BatchRequestTooLong", "", MessageTooLong, False),
        (429, "Throttled", "", StoreUnavailable, True),
        (500, "InternalError", "", StoreUnavailable, True),
    ],
)
def test_errors(
    status: int, code: str, message: str, kind: type[Exception], retryable: bool
) -> None:
    body = (
        f"<ErrorResponse xmlns='http://sns.amazonaws.com/doc/2010-03-31/'><Error><Type>Sender"
        f"</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    )
    error = error_from_xml("Publish", status, body.encode())
    assert error.retryable is retryable
    assert type(messaging_error_from(error)) is kind

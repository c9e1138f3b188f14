"""One API request on its way through: what was asked, in which protocol, and where from.

Region and host are worked out only when something needs them: Send, Receive and Delete do not.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import TYPE_CHECKING

from bridge.messaging.identifiers import ACCOUNT, REGION, queue_arn, region_of_host, topic_arn

if TYPE_CHECKING:
    from bridge.net.http_messages import HttpRequest

PROTOCOL = "aws"
"""What the API is called in the log and in metrics."""

_SCOPE = re.compile(
    r"Credential=[^/]*/\d{8}/(?P<region>[a-z0-9-]+)/(?P<service>[a-z0-9-]+)/aws4_request"
)
_PRESIGNED_SCOPE = re.compile(
    r"X-Amz-Credential=[^&]*?(?:/|%2F)\d{8}(?:/|%2F)(?P<region>[a-z0-9-]+)(?:/|%2F)"
    r"(?P<service>[a-z0-9-]+)(?:/|%2F)aws4_request",
    re.IGNORECASE,
)
_SERVICE_HOST = re.compile(r"^(?:(?P<service>sqs|sns)\.|[a-z0-9-]+\.queue\.)")


class Wire(Enum):
    """Which protocol a request came in, and so which one its answer takes."""

    JSON = "json"
    QUERY = "query"
    QUERY_AS_JSON = "query-as-json"


class Call:
    """The context of one request."""

    __slots__ = (
        "_external_url",
        "_scope",
        "named_region",
        "queue_path",
        "request",
        "request_id",
        "sns",
        "wire",
    )

    def __init__(
        self, request: HttpRequest, request_id: str, wire: Wire, external_url: str | None
    ) -> None:
        self.request = request
        self.request_id = request_id
        self.wire = wire
        self._external_url = external_url
        self.sns = False
        """Whether it is SNS that answers."""
        self.queue_path: str | None = None
        """The path of the queue URL that the request was sent to, if it was."""
        self._scope: tuple[str, str | None] | None = None
        self.named_region: str | None = None
        """The region of the ARN that an unsigned request names: links in messages are unsigned."""

    @property
    def host(self) -> str:
        return self.request.headers.get("host", "localhost")

    @property
    def trace_header(self) -> str | None:
        """X-Ray's header of the request; it goes on with the messages that the request sends."""
        return self.request.header("x-amzn-trace-id")

    @property
    def holds_plain_text(self) -> bool:
        """Whether no text in the request can hold a character that SQS does not take. False tells
        nothing: JSON has control characters and the rest in escapes only, but so it has others.
        """
        body = self.request.body
        return self.wire is Wire.JSON and body.isascii() and b"\\" not in body

    @property
    def base_url(self) -> str:
        """What queue URLs begin with: they lead back to where the client came in, or to where the
        configuration says that all come in.
        """
        return self._external_url or f"{self.request.scheme}://{self.host}"

    @property
    def region(self) -> str:
        """Of the credential scope; of the host where nothing is signed."""
        return self._scoped()[0]

    @property
    def service(self) -> str | None:
        """`sqs` or `sns` as the credential scope or the host name it."""
        return self._scoped()[1]

    def sqs_arn(self, name: str) -> str:
        return queue_arn(self.region, ACCOUNT, name)

    def sns_arn(self, name: str) -> str:
        return topic_arn(self.region, ACCOUNT, name)

    def queue_url(self, name: str) -> str:
        return f"{self.base_url}/{ACCOUNT}/{name}"

    def _scoped(self) -> tuple[str, str | None]:
        if self._scope is None:
            self._scope = self._find_scope()
        return self._scope

    def _find_scope(self) -> tuple[str, str | None]:
        headers = self.request.headers
        if found := _SCOPE.search(headers.get("authorization", "")):
            return found["region"], found["service"]
        if found := _PRESIGNED_SCOPE.search(self.request.target):
            return found["region"], found["service"]
        host = self.host
        service = None
        if found := _SERVICE_HOST.match(host):
            service = found["service"] or "sqs"
        return region_of_host(host) or self.named_region or REGION, service

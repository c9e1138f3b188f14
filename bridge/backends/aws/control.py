"""The rare calls to SQS: making, finding, reading, changing and deleting queues."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.node import Node
from bridge.messaging.errors import InvalidParameter
from bridge.messaging.model import QueueCounts

_PAGE_MAX = 1_000
_GONE_RECENTLY = "QueueDeletedRecently"


class SqsControl:
    """Coroutines over single calls. They raise the bridge's own errors."""

    def __init__(self, node: Node) -> None:
        self._node = node

    async def list_urls(self, prefix: str) -> list[str]:
        """URLs of all queues whose name starts with `prefix`."""
        urls: list[str] = []
        token: str | None = None
        while True:
            request: dict[str, Any] = {"MaxResults": _PAGE_MAX}
            if prefix:
                request["QueueNamePrefix"] = prefix
            if token:
                request["NextToken"] = token
            reply = await self._call("ListQueues", request)
            urls += reply.get("QueueUrls", [])
            token = reply.get("NextToken")
            if not token:
                return urls

    async def url_of(self, sqs_name: str) -> str | None:
        """The URL of a queue; None where there is none of that name."""
        try:
            reply = await self._try("GetQueueUrl", {"QueueName": sqs_name})
        except AwsError as error:
            if error.queue_is_gone:
                return None
            raise messaging_error_from(error) from None
        url: str = reply["QueueUrl"]
        return url

    async def create(
        self, sqs_name: str, attributes: Mapping[str, str], tags: Mapping[str, str]
    ) -> str:
        """Create a queue and return its URL; waits while SQS still holds its name."""
        request: dict[str, Any] = {"QueueName": sqs_name, "Attributes": dict(attributes)}
        if tags:
            request["tags"] = dict(tags)
        node = self._node
        end = node.clock.monotonic() + node.limits.name_reuse_seconds_max
        while True:
            try:
                reply = await self._try("CreateQueue", request)
            except AwsError as error:
                pause = node.limits.retry_delay_seconds_max
                late = node.clock.monotonic() + pause >= end
                if late or not error.code.endswith(_GONE_RECENTLY):
                    raise messaging_error_from(error) from None
                await asyncio.sleep(pause)
            else:
                url: str = reply["QueueUrl"]
                return url

    async def attributes(self, url: str) -> dict[str, str]:
        reply = await self._call("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": ["All"]})
        return dict(reply.get("Attributes", {}))

    async def tags(self, url: str) -> dict[str, str]:
        return dict((await self._call("ListQueueTags", {"QueueUrl": url})).get("Tags", {}))

    async def set_attributes(self, url: str, attributes: Mapping[str, str]) -> None:
        await self._call("SetQueueAttributes", {"QueueUrl": url, "Attributes": dict(attributes)})

    async def set_tags(self, url: str, old: Mapping[str, str], new: Mapping[str, str]) -> None:
        """Make `new` of the tags that are `old`."""
        gone = [key for key in old if key not in new]
        if gone:
            await self._call("UntagQueue", {"QueueUrl": url, "TagKeys": gone})
        added = {key: value for key, value in new.items() if old.get(key) != value}
        if added:
            await self._call("TagQueue", {"QueueUrl": url, "Tags": added})

    async def change_visibility(self, url: str, handle: str, seconds: int) -> None:
        """Raises `InvalidParameter` for what is not in flight, unless it is to be given back."""
        request = {"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": seconds}
        try:
            await self._call("ChangeMessageVisibility", request)
        except InvalidParameter:
            # A try whose answer was lost may have given it back.
            if seconds:
                raise

    async def delete(self, url: str) -> None:
        await self._call("DeleteQueue", {"QueueUrl": url})

    async def counts(self, *urls: str) -> QueueCounts:
        """About how many messages are in a queue, or in several together."""
        total = QueueCounts(0, 0, 0)
        for url in urls:
            counts = await self._counts(url)
            total = QueueCounts(*[a + b for a, b in zip(total, counts, strict=True)])
        return total

    async def _counts(self, url: str) -> QueueCounts:
        prefix = "ApproximateNumberOfMessages"
        names = [prefix, f"{prefix}NotVisible", f"{prefix}Delayed"]
        reply = await self._call("GetQueueAttributes", {"QueueUrl": url, "AttributeNames": names})
        attributes = reply.get("Attributes", {})
        return QueueCounts(*[int(attributes.get(name, 0)) for name in names])

    async def _call(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await self._try(action, request)
        except AwsError as error:
            raise messaging_error_from(error) from None

    async def _try(self, action: str, request: Mapping[str, Any]) -> dict[str, Any]:
        node = self._node
        body = await node.sqs.call(
            action,
            msgspec.json.encode(request),
            deadline=node.control_deadline(node.sqs),
        )
        return _object(action, body)


def _object(action: str, body: bytes) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise AwsError(action, 0, "", f"the answer cannot be read: {error}") from None


def slices(urls: list[str], size: int) -> Iterator[list[str]]:
    """`urls` in runs of at most `size`."""
    for start in range(0, len(urls), size):
        yield urls[start : start + size]

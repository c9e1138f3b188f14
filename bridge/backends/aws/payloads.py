"""Payloads over the limit as claim checks in S3, as AWS's extended clients for Java and Python do.

The body of the message is a pointer, an attribute says how many bytes the real one has; both names
of that attribute and both names of the pointer's class are read. Objects go when their message is
deleted. Objects of messages that SQS itself drops (retention) are for a lifecycle rule.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import closing
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import botocore.exceptions
import msgspec

from bridge.backends.aws.counters import CallCounters
from bridge.messaging.blocking import in_thread
from bridge.messaging.clock import MessageIds
from bridge.messaging.errors import AccessDenied, MessagingError, StoreUnavailable

if TYPE_CHECKING:
    from bridge.backends.aws.limits import AwsLimits
    from bridge.backends.aws.options import AwsOptions
    from bridge.backends.aws.tasks import Tasks

SIZE_ATTRIBUTE: Final = "ExtendedPayloadSize"
LEGACY_SIZE_ATTRIBUTE: Final = "SQSLargePayloadSize"
SIZE_ATTRIBUTES: Final = (SIZE_ATTRIBUTE, LEGACY_SIZE_ATTRIBUTE)

_CLASS: Final = "software.amazon.payloadoffloading.PayloadS3Pointer"
_CLASSES: Final = frozenset({_CLASS, "com.amazon.sqs.javamessaging.MessageS3Pointer"})
_MISSING: Final = frozenset({"NoSuchKey", "404", "NotFound"})


class Pointer(NamedTuple):
    """Where a payload is."""

    bucket: str
    key: str


class PayloadMissing(MessagingError):
    """The message is there, its payload is not, or is none."""


def body_from_pointer(pointer: Pointer) -> str:
    """What stands in SQS instead of the payload."""
    value = [_CLASS, {"s3BucketName": pointer.bucket, "s3Key": pointer.key}]
    return msgspec.json.encode(value).decode()


def pointer_from_body(body: str) -> Pointer | None:
    """None where the body is no pointer, whatever an attribute says."""
    try:
        match msgspec.json.decode(body):
            case [str() as name, {"s3BucketName": str() as bucket, "s3Key": str() as key}] if (
                name in _CLASSES
            ):
                return Pointer(bucket, key)
    except (msgspec.DecodeError, RecursionError):
        pass
    return None


def is_claim(attributes: Mapping[str, object]) -> bool:
    """Whether the attributes say that the body is elsewhere."""
    return SIZE_ATTRIBUTE in attributes or LEGACY_SIZE_ATTRIBUTE in attributes


class Payloads:
    """Objects in S3. botocore's client is blocking: its calls run in threads."""

    def __init__(
        self,
        options: AwsOptions,
        make_client: Callable[[], Any],
        counters: CallCounters,
        tasks: Tasks,
        limits: AwsLimits,
    ) -> None:
        """`make_client` may block; it is called when the first payload is met."""
        # Anybody may point to anything.
        self._bytes_max = limits.payload_read_bytes_max
        self._free = asyncio.Semaphore(limits.payload_calls_max)
        self._options = options
        self._make_client = make_client
        self._counters = counters
        self._tasks = tasks
        self._ids = MessageIds()
        self._client: Any = None
        self._making = asyncio.Lock()
        self.size_attribute = (
            LEGACY_SIZE_ATTRIBUTE if options.legacy_payload_attribute else SIZE_ATTRIBUTE
        )

    @property
    def threshold_bytes(self) -> float:
        """Messages over this size leave their body in S3; infinite where there is no bucket."""
        return inf if self._options.payload_bucket is None else self._options.payload_bytes_max

    async def put(self, text: str) -> Pointer:
        """Store a body. Raises `StoreUnavailable`, `AccessDenied`."""
        assert self._options.payload_bucket is not None, "it is not offered"
        key = f"{self._options.payload_prefix}{self._ids.next()}"
        pointer = Pointer(self._options.payload_bucket, key)
        body = text.encode("utf-8", "surrogatepass")
        await self._call("PutObject", "put_object", pointer, Body=body)
        return pointer

    async def get(self, pointer: Pointer) -> str:
        """Read a body. Raises `PayloadMissing`, `StoreUnavailable`, `AccessDenied`."""
        body: bytes = await self._call("GetObject", "get_object", pointer)
        try:
            return body.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise PayloadMissing(f"s3://{pointer.bucket}/{pointer.key} is no text") from None

    def discard(self, pointer: Pointer) -> None:
        """Delete a body whose message is gone; a failure leaves it to the lifecycle rule."""
        self._tasks.spawn(self._discard(pointer))

    async def _discard(self, pointer: Pointer) -> None:
        try:
            await self._call("DeleteObject", "delete_object", pointer)
        except MessagingError:
            return

    async def _call(self, action: str, method: str, pointer: Pointer, **arguments: Any) -> Any:
        try:
            async with self._making:
                if self._client is None:
                    self._client = await in_thread(self._make_client)
            async with self._free:
                self._counters.called("s3", action, 0, 0)
                return await in_thread(partial(self._blocking, method, pointer, arguments))
        except PayloadMissing:
            raise
        except botocore.exceptions.ClientError as error:
            self._counters.failed("s3", action)
            code = str(error.response.get("Error", {}).get("Code", ""))
            text = f"{action} of s3://{pointer.bucket}/{pointer.key}: {error}"
            if code in _MISSING:
                raise PayloadMissing(text) from None
            if code == "AccessDenied":
                raise AccessDenied(text) from None
            raise StoreUnavailable(text) from None
        except Exception as error:  # noqa: BLE001 - also those of what botocore reads with
            self._counters.failed("s3", action)
            raise StoreUnavailable(f"{action} of s3://{pointer.bucket}: {error}") from None

    def _blocking(self, method: str, pointer: Pointer, arguments: dict[str, Any]) -> Any:
        reply = getattr(self._client, method)(Bucket=pointer.bucket, Key=pointer.key, **arguments)
        if "Body" not in reply:
            return None
        with closing(reply["Body"]) as body:
            length = reply["ContentLength"]
            if length > self._bytes_max:
                raise PayloadMissing(
                    f"s3://{pointer.bucket}/{pointer.key} has {length} bytes,"
                    f" {self._bytes_max} are allowed"
                )
            return body.read()

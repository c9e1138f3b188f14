"""Calls to one service of AWS: signed, counted, tried again under one deadline.

Services speak JSON, or, as SNS does, the Query protocol: forms in, XML out.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from bridge.backends.aws.connections import Endpoint, HttpFailure, Pool, Unreachable
from bridge.backends.aws.counters import CallCounters
from bridge.backends.aws.credentials import Credentials
from bridge.backends.aws.errors import (
    EXPIRED_CREDENTIALS,
    AwsError,
    error_from_reply,
    error_from_xml,
)
from bridge.backends.aws.limits import AwsLimits
from bridge.backends.aws.signing import JSON, QUERY, Signer
from bridge.messaging.outage import Outage

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock

_log = logging.getLogger("landbridge.aws")

FIFO: Final = b'.fifo"'
"""What a request to a FIFO queue has within its first `MARK_BYTES`: its URL comes first."""
MARK_BYTES: Final = 256

Random = Callable[[], float]
"""A number from 0 up to 1."""


class Backoff:
    """Pauses between tries: twice as long each time, with full jitter."""

    __slots__ = ("_delay", "_limits", "_random")

    def __init__(self, limits: AwsLimits, random: Random) -> None:
        self._limits = limits
        self._random = random
        self._delay = limits.retry_delay_seconds

    def next_seconds(self) -> float:
        delay = self._delay
        self._delay = min(delay * 2, self._limits.retry_delay_seconds_max)
        return delay * self._random()


class Service:
    """One service at one endpoint."""

    def __init__(  # noqa: PLR0913 - what a call is made of
        self,
        name: str,
        target: str | None,
        *,
        endpoint: Endpoint,
        region: str,
        credentials: Credentials,
        clock: Clock,
        random: Random,
        tls: ssl.SSLContext | None,
        counters: CallCounters,
        limits: AwsLimits,
    ) -> None:
        """`target` is the prefix of X-Amz-Target: `AmazonSQS`, `DynamoDB_20120810`; None for the
        Query protocol, whose requests name their action themselves.
        """
        self.name = name
        self.region = region
        self._target = target
        self._credentials = credentials
        self._clock = clock
        self._random = random
        self._counters = counters
        self._limits = limits
        self._signer = Signer(endpoint, region, name, QUERY if target is None else JSON)
        self._calls = Pool(endpoint, tls, limits, limits.connections_max)
        self._polls = Pool(endpoint, tls, limits, limits.polling_connections_max)
        self._failing = 0
        self._outage = Outage(_log, f"{name} does not answer", f"{name} answers again")
        self.not_known_yet: Callable[[bytes], bool] = lambda _: False
        """Whether a request is for something so new that it may seem not to exist."""

    @property
    def failing(self) -> bool:
        """True once several calls in a row were not answered, until one is."""
        return self._failing >= self._limits.failing_calls_max

    def _failed(self, error: Exception) -> None:
        self._failing += 1
        if self.failing:
            self._outage.goes_on(error)

    def _answered(self) -> None:
        self._failing = 0
        self._outage.ends()

    def backoff(self) -> Backoff:
        return Backoff(self._limits, self._random)

    def deadline_in(self, seconds: float) -> float:
        return self._clock.monotonic() + seconds

    def carried(self, action: str, entries: int) -> None:
        """Count entries of a batch that are done."""
        self._counters.carried(action, entries)

    async def call(
        self,
        action: str,
        body: bytes,
        *,
        deadline: float,
        again: Callable[[], bytes] | None = None,
    ) -> bytes:
        """Call until it succeeds, is refused for good, or `deadline` (monotonic) has come.

        `again` makes the request for tries after one that may have succeeded. Raises `AwsError`.
        """
        backoff: Backoff | None = None
        while True:
            try:
                return await self._try(self._calls, action, body, self._limits.call_seconds_max)
            except AwsError as error:
                if not self._is_worth_another_try(error, body):
                    raise
                backoff = backoff or self.backoff()
                pause = backoff.next_seconds()
                if self._clock.monotonic() + pause >= deadline:
                    raise
                if again is not None and error.perhaps_done:
                    body, again = again(), None
            await asyncio.sleep(pause)

    async def poll(
        self, action: str, body: bytes, wait_seconds: int, *, deadline: float | None = None
    ) -> bytes:
        """Call once, giving the service `wait_seconds` more to answer; with `deadline`, as `call`.

        What is not known yet is asked for again in any case. Raises `AwsError`.
        """
        pool = self._polls if wait_seconds else self._calls
        seconds_max = self._limits.call_seconds_max + wait_seconds
        backoff: Backoff | None = None
        while True:
            try:
                return await self._try(pool, action, body, seconds_max)
            except AwsError as error:
                again = error.queue_is_gone and self.not_known_yet(body)
                backoff = backoff or self.backoff()
                pause = backoff.next_seconds()
                if not again and (
                    deadline is None
                    or not error.retryable
                    or self._clock.monotonic() + pause >= deadline
                ):
                    raise
            await asyncio.sleep(pause)

    def close(self) -> None:
        self._calls.close()
        self._polls.close()

    def _is_worth_another_try(self, error: AwsError, body: bytes) -> bool:
        return error.retryable or (error.queue_is_gone and self.not_known_yet(body))

    async def _try(self, pool: Pool, action: str, body: bytes, seconds_max: float) -> bytes:
        target = None if self._target is None else f"{self._target}.{action}"
        head = self._signer.head(target, body, self._credentials.keys, self._clock.epoch_ms())
        try:
            reply = await pool.request(head, body, seconds_max)
        except HttpFailure as failure:
            self._failed(failure)
            self._counters.called(self.name, action, len(body), 0, fifo=FIFO in body[:MARK_BYTES])
            self._counters.failed(self.name, action)
            sent = not isinstance(failure, Unreachable)
            raise AwsError(action, 0, "", str(failure), sent=sent) from None
        self._counters.called(
            self.name, action, len(body), len(reply.body), fifo=FIFO in body[:MARK_BYTES]
        )
        if reply.status == 200:
            self._answered()
            return reply.body
        self._counters.failed(self.name, action)
        read = error_from_xml if self._target is None else error_from_reply
        error = read(action, reply.status, reply.body)
        if error.status >= 500:
            self._failed(error)
        else:
            self._answered()
        if error.code in EXPIRED_CREDENTIALS:
            await self._credentials.refresh()
        raise error

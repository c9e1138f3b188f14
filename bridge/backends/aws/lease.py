"""A lease in DynamoDB: one holder at a time, with an epoch that tells it from former ones.

The holder beats; who wants the lease takes it once the beat has stood still for the lease's time by
its own clock, so clocks need not agree. A holder that could not beat for that long must assume that
it has been followed: it is no longer `held`, until a beat succeeds again.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.node import Node

KIND = "#lease"
"""Kinds that begin with # are the backend's own, not state."""

_LOST = frozenset({"ConditionalCheckFailedException"})


class Lease:
    """One lease, named `key`."""

    def __init__(self, node: Node, table: str, key: str, owner: str) -> None:
        self._node = node
        self._table = table
        self._key = {"kind": {"S": KIND}, "key": {"S": key}}
        self._owner = owner
        self._beat = 0
        self._beaten_at = 0.0
        self.epoch = 0
        """Higher with each holder; 0 before the first `acquire`."""

    @property
    def held(self) -> bool:
        """Whether nobody else can have taken the lease."""
        since = self._node.clock.monotonic() - self._beaten_at
        return self.epoch > 0 and since < self._node.limits.lease_seconds

    async def acquire(self) -> bool:
        """Take the lease, waiting for one that its holder left behind; False if somebody has it.

        Raises `AwsError`.
        """
        limits, clock = self._node.limits, self._node.clock
        seen: tuple[str, int] | None = None
        since = clock.monotonic()
        while True:
            found = await self._read()
            if found is None:
                if await self._put(epoch=1, condition="attribute_not_exists(beat)", values={}):
                    return True
                continue
            owner, epoch, beat = found
            if seen is None:
                seen = (owner, beat)
            elif seen != (owner, beat):
                return False
            elif clock.monotonic() - since >= limits.lease_seconds:
                values = {":owner": {"S": owner}, ":beat": {"N": str(beat)}}
                condition = "holder = :owner AND beat = :beat"
                return await self._put(epoch=epoch + 1, condition=condition, values=values)
            await asyncio.sleep(limits.lease_beat_seconds / 4)

    async def keep(self) -> None:
        """Beat until cancelled, or until another node has taken the lease."""
        while True:
            await asyncio.sleep(self._node.limits.lease_beat_seconds)
            values = {":owner": {"S": self._owner}, ":epoch": {"N": str(self.epoch)}}
            condition = "holder = :owner AND epoch = :epoch"
            try:
                if not await self._put(epoch=self.epoch, condition=condition, values=values):
                    self.epoch = 0
                    return
            except AwsError:
                # Not held any more once the time is over; the next beat may succeed.
                continue

    async def release(self) -> None:
        """Let the next one have it at once."""
        if not self.held:
            return
        request = {
            "TableName": self._table,
            "Key": self._key,
            "ConditionExpression": "holder = :owner",
            "ExpressionAttributeValues": {":owner": {"S": self._owner}},
        }
        self.epoch = 0
        try:
            await self._call("DeleteItem", request)
        except AwsError:
            # It ends by itself.
            return

    async def _read(self) -> tuple[str, int, int] | None:
        """Holder, epoch and beat."""
        request = {"TableName": self._table, "Key": self._key, "ConsistentRead": True}
        item = (await self._call("GetItem", request)).get("Item")
        if not item:
            return None
        return item["holder"]["S"], int(item["epoch"]["N"]), int(item["beat"]["N"])

    async def _put(self, *, epoch: int, condition: str, values: dict[str, Any]) -> bool:
        """Write the lease with the next beat; False where the condition does not hold."""
        # What counts is when the beat was sent: others wait from when they saw it, which is later.
        now = self._node.clock.monotonic()
        self._beat += 1
        item = {
            **self._key,
            "holder": {"S": self._owner},
            "epoch": {"N": str(epoch)},
            "beat": {"N": str(self._beat)},
        }
        request: dict[str, Any] = {
            "TableName": self._table,
            "Item": item,
            "ConditionExpression": condition,
        }
        if values:
            request["ExpressionAttributeValues"] = values
        try:
            await self._call("PutItem", request)
        except AwsError as error:
            if error.code in _LOST:
                return False
            raise
        self.epoch = epoch
        self._beaten_at = now
        return True

    async def _call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        service = self._node.dynamodb
        deadline = service.deadline_in(self._node.limits.lease_seconds)
        body = await service.call(action, msgspec.json.encode(request), deadline=deadline)
        return msgspec.json.decode(body, type=dict[str, Any])

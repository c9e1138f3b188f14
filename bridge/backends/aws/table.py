"""The state table in DynamoDB: its items by (kind, key), and the calls that read and write them.

Kinds that begin with # are the backend's own: `#log` and `#checkpoint` (`changelog`), `#node`
(`membership`).
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterable, Mapping
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.node import Node
from bridge.messaging.errors import StoreUnavailable
from bridge.messaging.model import StateChange

TRANSACTION_ITEMS_MAX: Final = 100
KEY_BYTES_MAX: Final = 1_000
"""DynamoDB takes 1,024 for a sort key; above this, a hash stands for the key."""
DELETES_MAX: Final = 25
"""What BatchWriteItem takes."""

_CONDITION_FAILED: Final = "ConditionalCheckFailedException"
_CANCELED: Final = "TransactionCanceledException"


class StoredItem(NamedTuple):
    """An entry of the state as it stands in the table; `version` 0 where it has none."""

    kind: str
    key: str
    value: bytes
    version: int


class Table:
    """Coroutines over single calls. They raise `AwsError`."""

    def __init__(self, node: Node, name: str, seconds_max: float | None = None) -> None:
        """`seconds_max`: when a call is given up, with all its tries."""
        self._node = node
        self._seconds_max = seconds_max
        self.name = name

    def unusable(self, error: AwsError) -> StoreUnavailable:
        return StoreUnavailable(f"the state table {self.name!r} cannot be used: {error}")

    async def ensure(self, *, create: bool) -> None:
        """Make the table where it is absent and `create` allows it."""
        try:
            status = await self._status()
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            if not create:
                raise StoreUnavailable(
                    f"the state table {self.name!r} does not exist and backend.create is never:"
                    " make it with partition key `kind` and sort key `key`, both strings"
                ) from None
            await self._create()
            status = await self._status()
        backoff = self._node.dynamodb.backoff()
        while status != "ACTIVE":
            await asyncio.sleep(backoff.next_seconds())
            status = await self._status()

    async def _status(self) -> str:
        reply = await self._call("DescribeTable", {})
        return str(reply["Table"]["TableStatus"])

    async def _create(self) -> None:
        keys = {"kind": "HASH", "key": "RANGE"}
        request = {
            "BillingMode": "PAY_PER_REQUEST",
            "AttributeDefinitions": [
                {"AttributeName": name, "AttributeType": "S"} for name in keys
            ],
            "KeySchema": [{"AttributeName": name, "KeyType": role} for name, role in keys.items()],
        }
        try:
            await self._call("CreateTable", request)
        except AwsError as error:
            # Another node that starts at the same time was first.
            if error.code != "ResourceInUseException":
                raise

    # -- reading

    async def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """The item at a stored key."""
        request = {"Key": item_key(kind, key), "ConsistentRead": True}
        item: dict[str, Any] | None = (await self._call("GetItem", request)).get("Item")
        return item or None

    async def state(self) -> AsyncIterator[StoredItem]:
        """All entries of the state."""
        async for item in self._pages("Scan", {}):
            if not item["kind"]["S"].startswith("#"):
                yield _stored(item)

    async def entries(self, kind: str, prefix: str) -> list[StoredItem]:
        """The entries of one kind whose stored key begins with `prefix`."""
        return [_stored(item) async for item in self.query(kind, "begins_with(#k, :p)", prefix)]

    async def after(self, kind: str, key: str) -> list[dict[str, Any]]:
        """The items of one of the backend's own kinds that stand behind `key`, in order."""
        return [item async for item in self.query(kind, "#k > :p", key)]

    async def query(self, kind: str, condition: str, operand: str) -> AsyncIterator[dict[str, Any]]:
        """`condition` is on the sort key `#k` and the value `:p`, which is `operand`."""
        values = {":kind": {"S": kind}}
        expression = "kind = :kind"
        names = {}
        if operand:
            values[":p"] = {"S": operand}
            expression += f" AND {condition}"
            names["#k"] = "key"
        request: dict[str, Any] = {
            "KeyConditionExpression": expression,
            "ExpressionAttributeValues": values,
        }
        if names:
            request["ExpressionAttributeNames"] = names
        async for item in self._pages("Query", request):
            yield item

    async def _pages(self, action: str, request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        start: Any = None
        while True:
            page = {**request, "ConsistentRead": True}
            if start is not None:
                page["ExclusiveStartKey"] = start
            reply = await self._call(action, page)
            for item in reply.get("Items", []):
                yield item
            start = reply.get("LastEvaluatedKey")
            if not start:
                return

    # -- writing

    async def put(self, item: dict[str, Any], condition: str = "", **values: int) -> bool:
        """Write an item; False where `condition`, over numbers `values`, does not hold."""
        return await self._conditionally("PutItem", {"Item": item}, condition, values)

    async def delete(self, kind: str, key: str, condition: str = "", **values: int) -> bool:
        request = {"Key": item_key(kind, key)}
        return await self._conditionally("DeleteItem", request, condition, values)

    async def update(self, kind: str, key: str, change: str, condition: str, **values: int) -> bool:
        """`change` is an update expression over numbers `values`."""
        request = {"Key": item_key(kind, key), "UpdateExpression": change}
        return await self._conditionally("UpdateItem", request, condition, values)

    async def transact(self, requests: list[dict[str, Any]]) -> bool:
        """Do all of it or nothing; False where a condition does not hold, or another transaction
        was at the same items.
        """
        named = [
            {action: {"TableName": self.name, **what}}
            for each in requests
            for action, what in each.items()
        ]
        try:
            await self._call("TransactWriteItems", {"TransactItems": named})
        except AwsError as error:
            if error.code != _CANCELED:
                raise
            return False
        return True

    async def delete_all(self, kind: str, keys: Iterable[str]) -> None:
        """Delete items without a condition."""
        waiting = [{"DeleteRequest": {"Key": item_key(kind, key)}} for key in keys]
        backoff = self._node.dynamodb.backoff()
        while waiting:
            some, waiting = waiting[:DELETES_MAX], waiting[DELETES_MAX:]
            reply = await self._call("BatchWriteItem", {"RequestItems": {self.name: some}})
            left = reply.get("UnprocessedItems", {}).get(self.name, [])
            if left:
                # The table takes no more for now.
                waiting += left
                await asyncio.sleep(backoff.next_seconds())

    async def _conditionally(
        self, action: str, request: dict[str, Any], condition: str, values: Mapping[str, int]
    ) -> bool:
        if condition:
            request["ConditionExpression"] = condition
        if values:
            request["ExpressionAttributeValues"] = numbers(values)
        try:
            await self._call(action, request)
        except AwsError as error:
            if error.code != _CONDITION_FAILED:
                raise
            return False
        return True

    async def _call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        if action not in {"BatchWriteItem", "TransactWriteItems"}:
            request = {"TableName": self.name, **request}
        service = self._node.dynamodb
        deadline = self._node.control_deadline(service)
        if self._seconds_max is not None:
            deadline = service.deadline_in(self._seconds_max)
        body = await service.call(action, msgspec.json.encode(request), deadline=deadline)
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise AwsError(action, 0, "", f"the answer cannot be read: {error}") from None


def item_key(kind: str, key: str) -> dict[str, dict[str, str]]:
    """The primary key of an item; `key` as it is stored."""
    return {"kind": {"S": kind}, "key": {"S": key}}


def numbers(values: Mapping[str, int]) -> dict[str, dict[str, str]]:
    """Values of an expression, `name` as `:name`."""
    return {f":{name}": {"N": str(value)} for name, value in values.items()}


def item_from_change(change: StateChange, value: bytes) -> dict[str, Any]:
    """The item of an entry with this value."""
    stored = stored_key(change.key)
    item: dict[str, Any] = {
        **item_key(change.kind, stored),
        "value": {"B": b64encode(value).decode()},
    }
    if stored != marked(change.key):
        item["name"] = {"S": change.key}
    return item


def stored_key(key: str) -> str:
    """What stands in the table for a key."""
    stored = marked(key)
    if len(stored.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
        return "\x01" + sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return stored


def marked(key: str) -> str:
    """DynamoDB takes no empty keys; a mark in front also keeps hashed keys apart."""
    return f"\x00{key}" if not key or key[0] in "\x00\x01" else key


def _stored(item: dict[str, Any]) -> StoredItem:
    key = item["name"]["S"] if "name" in item else item["key"]["S"].removeprefix("\x00")
    version = int(item["version"]["N"]) if "version" in item else 0
    return StoredItem(item["kind"]["S"], key, b64decode(item["value"]["B"]), version)

"""The state store in DynamoDB: read whole when opening, then answered from memory.

An item is (kind, key) with its value and a version. Every write is conditional on the version that
this node has seen, so two nodes cannot overwrite each other unseen; several changes that are
waiting together are one transaction. Writes of one key keep the order of their submission.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from bridge.backends.aws.errors import AwsError, messaging_error_from
from bridge.backends.aws.node import Node
from bridge.messaging.errors import MessagingError, OverLimit, StoreUnavailable
from bridge.messaging.model import StateChange

TRANSACTION_ITEMS_MAX: Final = 100
KEY_BYTES_MAX: Final = 1_000
"""DynamoDB takes 1,024 for a sort key; above this, a hash stands for the key."""
VALUE_BYTES_MAX: Final = 390 * 1024
"""DynamoDB takes 400 KiB for an item."""

_ENDED: Final = "the state table changed at another node; the change was not made"


class _Item:
    """One key: what was submitted last and what DynamoDB is known to have."""

    __slots__ = ("stored", "submitted", "value", "version", "written")

    def __init__(self, value: bytes | None, version: int) -> None:
        self.value = value
        self.stored = value
        self.version = version
        """0 where DynamoDB has no such item."""
        self.submitted = 0
        """Number of the latest submission, and of the latest that was written."""
        self.written = 0


class _Write:
    """The changes of one unit of work, waiting to be written."""

    __slots__ = ("changes", "done")

    def __init__(
        self, changes: list[tuple[StateChange, int]], done: asyncio.Future[MessagingError | None]
    ) -> None:
        self.changes = changes
        self.done = done


class AwsState:
    """See `bridge.messaging.ports.StateStore`."""

    def __init__(self, node: Node, table: str) -> None:
        self._node = node
        self._table = table
        self._kinds: dict[str, dict[str, _Item]] = {}
        self._submissions = 0
        self._waiting: list[_Write] = []
        self._writing = False

    # -- StateStore

    def get(self, kind: str, key: str) -> bytes | None:
        item = self._kinds.get(kind, {}).get(key)
        return None if item is None else item.value

    def scan(self, kind: str, prefix: str = "") -> Iterable[tuple[str, bytes]]:
        items = self._kinds.get(kind, {})
        return [
            (key, item.value)
            for key, item in sorted(items.items())
            if item.value is not None and key.startswith(prefix)
        ]

    def watch(
        self, kinds: Iterable[str], on_changes: Callable[[Sequence[StateChange]], None]
    ) -> None:
        """Nobody else changes anything: one node at a time has the table."""

    def own(self, kinds: Iterable[str]) -> None:
        """All of them are this node's own."""

    async def refresh(self, kind: str, prefix: str = "") -> None:
        """Reads always see all that is stored."""

    # -- opening

    async def ensure_table(self, *, create: bool) -> None:
        """Make the table where it is absent and `create` allows it."""
        try:
            await self._ensure_table(create=create)
        except AwsError as error:
            raise self._unusable(error) from None

    async def read(self) -> None:
        """Read the whole table."""
        try:
            await self._read()
        except AwsError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: AwsError) -> StoreUnavailable:
        return StoreUnavailable(f"the state table {self._table!r} cannot be used: {error}")

    async def _ensure_table(self, *, create: bool) -> None:
        try:
            status = await self._status()
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            if not create:
                raise StoreUnavailable(
                    f"the state table {self._table!r} does not exist and backend.create is never:"
                    " make it with partition key `kind` and sort key `key`, both strings"
                ) from None
            await self._create_table()
            status = await self._status()
        backoff = self._node.dynamodb.backoff()
        while status != "ACTIVE":
            await asyncio.sleep(backoff.next_seconds())
            status = await self._status()

    async def _status(self) -> str:
        reply = await self._call("DescribeTable", {"TableName": self._table})
        return str(reply["Table"]["TableStatus"])

    async def _create_table(self) -> None:
        keys = {"kind": "HASH", "key": "RANGE"}
        request = {
            "TableName": self._table,
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

    async def _read(self) -> None:
        start: Any = None
        while True:
            request: dict[str, Any] = {"TableName": self._table, "ConsistentRead": True}
            if start is not None:
                request["ExclusiveStartKey"] = start
            reply = await self._call("Scan", request)
            for item in reply.get("Items", []):
                if not item["kind"]["S"].startswith("#"):
                    self._load(item)
            start = reply.get("LastEvaluatedKey")
            if not start:
                return

    def _load(self, item: dict[str, Any]) -> None:
        key = item["name"]["S"] if "name" in item else _key_from_stored(item["key"]["S"])
        value = b64decode(item["value"]["B"])
        items = self._kinds.setdefault(item["kind"]["S"], {})
        items[key] = _Item(value, int(item["version"]["N"]))

    # -- writing

    def submit(self, changes: Sequence[StateChange]) -> list[tuple[StateChange, int]]:
        """Apply changes for readers; `write` makes them durable."""
        numbered: list[tuple[StateChange, int]] = []
        for change in changes:
            items = self._kinds.setdefault(change.kind, {})
            item = items.get(change.key)
            if item is None:
                item = items[change.key] = _Item(None, 0)
            self._submissions += 1
            item.submitted = self._submissions
            item.value = change.value
            numbered.append((change, self._submissions))
        return numbered

    async def write(self, changes: list[tuple[StateChange, int]]) -> None:
        """Return once DynamoDB has the changes of `submit`. Raises the error that refused them."""
        for change, _ in changes:
            if change.value is not None and len(change.value) > VALUE_BYTES_MAX:
                self._revert(changes)
                raise OverLimit(
                    f"a state entry of {len(change.value)} bytes is over the {VALUE_BYTES_MAX} that"
                    " DynamoDB takes"
                )
        done: asyncio.Future[MessagingError | None] = self._node.loop.create_future()
        self._waiting.append(_Write(changes, done))
        if not self._writing:
            self._writing = True
            self._node.tasks.spawn(self._write_waiting())
        error = await done
        if error is not None:
            raise error

    @property
    def busy(self) -> bool:
        return self._writing

    async def _write_waiting(self) -> None:
        try:
            while self._waiting:
                await self._write_together(self._take_group())
        finally:
            self._writing = False
            for write in self._waiting:
                self._answer(write, StoreUnavailable("the broker stops"))
            self._waiting = []

    def _take_group(self) -> list[_Write]:
        """As many waiting writes, in order, as one transaction can hold; at least one."""
        count, items = 0, 0
        for write in self._waiting:
            items += len(write.changes)
            if count and items > TRANSACTION_ITEMS_MAX:
                break
            count += 1
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        return group

    async def _write_together(self, group: list[_Write]) -> None:
        error: MessagingError | None = None
        try:
            latest: dict[tuple[str, str], tuple[StateChange, int]] = {}
            for write in group:
                for change, number in write.changes:
                    if number > self._kinds[change.kind][change.key].written:
                        latest[change.kind, change.key] = (change, number)
            changes = list(latest.values())
            # A unit of more changes than one transaction holds is written in several.
            for start in range(0, len(changes), TRANSACTION_ITEMS_MAX):
                await self._transact(changes[start : start + TRANSACTION_ITEMS_MAX])
        except AwsError as refused:
            if len(group) > 1:
                # One of them is at fault: let each speak for itself.
                for write in group:
                    await self._write_together([write])
                return
            error = await self._explain(refused, group[0])
        except asyncio.CancelledError:
            for write in group:
                self._answer(write, StoreUnavailable("the broker stops"))
            raise
        for write in group:
            self._answer(write, error)

    def _answer(self, write: _Write, error: MessagingError | None) -> None:
        if error is not None:
            self._revert(write.changes)
        if not write.done.done():
            write.done.set_result(error)

    async def _transact(self, changes: list[tuple[StateChange, int]]) -> None:
        requests = [self._request(change) for change, _ in changes]
        if len(requests) == 1:
            ((kind, request),) = requests[0].items()
            await self._call(f"{kind}Item", request)
        elif requests:
            await self._call("TransactWriteItems", {"TransactItems": requests})
        for change, number in changes:
            item = self._kinds[change.kind][change.key]
            item.written = number
            item.stored = change.value
            item.version = 0 if change.value is None else item.version + 1
            if change.value is None and item.value is None:
                del self._kinds[change.kind][change.key]

    def _request(self, change: StateChange) -> dict[str, Any]:
        item = self._kinds[change.kind][change.key]
        request: dict[str, Any] = {
            "TableName": self._table,
            "ConditionExpression": "version = :seen",
            "ExpressionAttributeValues": {":seen": {"N": str(item.version)}},
        }
        if item.version == 0:
            request["ConditionExpression"] = "attribute_not_exists(version)"
            del request["ExpressionAttributeValues"]
        key = _item_key(change)
        if change.value is None:
            return {"Delete": {**request, "Key": key}}
        stored = {
            **key,
            "value": {"B": b64encode(change.value).decode()},
            "version": {"N": str(item.version + 1)},
        }
        if key["key"]["S"] != _stored_key(change.key):
            stored["name"] = {"S": change.key}
        return {"Put": {**request, "Item": stored}}

    async def _explain(self, error: AwsError, write: _Write) -> MessagingError | None:
        """After a lost race, read what the winner wrote: None if that was this node itself.

        The answer to a write may get lost; the next try of it then finds its own version.
        """
        if error.code not in {"ConditionalCheckFailedException", "TransactionCanceledException"}:
            return messaging_error_from(error)
        own = True
        for change, _ in write.changes:
            request = {
                "TableName": self._table,
                "Key": _item_key(change),
                "ConsistentRead": True,
            }
            try:
                found = (await self._call("GetItem", request)).get("Item")
            except AwsError as unread:
                return messaging_error_from(unread)
            item = self._kinds[change.kind][change.key]
            item.stored = b64decode(found["value"]["B"]) if found else None
            item.version = int(found["version"]["N"]) if found else 0
            own = own and item.stored == change.value
        return None if own else StoreUnavailable(_ENDED)

    def _revert(self, changes: list[tuple[StateChange, int]]) -> None:
        """Changes were refused: readers see again what is stored, unless more was submitted."""
        for change, number in changes:
            item = self._kinds[change.kind].get(change.key)
            if item is not None and item.submitted == number:
                item.value = item.stored

    async def _call(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        service = self._node.dynamodb
        deadline = self._node.control_deadline(service)
        body = await service.call(action, msgspec.json.encode(request), deadline=deadline)
        try:
            return msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise AwsError(action, 0, "", f"the answer cannot be read: {error}") from None


def _item_key(change: StateChange) -> dict[str, dict[str, str]]:
    stored = _stored_key(change.key)
    if len(stored.encode("utf-8", "surrogatepass")) > KEY_BYTES_MAX:
        stored = "\x01" + sha256(change.key.encode("utf-8", "surrogatepass")).hexdigest()
    return {"kind": {"S": change.kind}, "key": {"S": stored}}


def _stored_key(key: str) -> str:
    """DynamoDB takes no empty keys; a mark in front also keeps hashed keys apart."""
    return f"\x00{key}" if not key or key[0] in "\x00\x01" else key


def _key_from_stored(stored: str) -> str:
    return stored.removeprefix("\x00")

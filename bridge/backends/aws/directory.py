"""The queues that this node knows: found in SQS when opening, made on demand, by both their names.

What SQS has no attribute for (time to live, dead letters, legacy arguments) stands in the state
store under the queue's SQS name, where the other nodes see it at once; a queue without such an
entry is taken as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from bridge.backends.aws.attributes import (
    attributes_from_settings,
    redrive_arn_of,
    settings_from_attributes,
)
from bridge.backends.aws.bands import band_count, band_name
from bridge.backends.aws.control import SqsControl, slices
from bridge.backends.aws.node import Node
from bridge.backends.aws.options import AwsOptions
from bridge.backends.aws.ordering import group_of, rule_for
from bridge.backends.aws.queues import AwsQueue
from bridge.backends.aws.state import AwsState
from bridge.messaging.errors import (
    AccessDenied,
    QueueDoesNotExist,
    QueueNameExists,
    StateConflict,
)
from bridge.messaging.identifiers import parse_queue_url
from bridge.messaging.model import (
    DEFAULT_NAMESPACE,
    QueueName,
    QueueSettings,
    StateChange,
)
from bridge.messaging.names import (
    original_from_tags,
    queue_from_sqs_name,
    sqs_name,
    tags_of_original,
)

if TYPE_CHECKING:
    from bridge.messaging.ports import Queue

KIND_QUEUE = "queue"
MADE_TAG: Final = "landbridge-made"
"""On queues in SQS that a node made: one without an entry in the state is not finished."""

_log = logging.getLogger("landbridge.aws")


class QueueRecord(msgspec.Struct, array_like=True):
    """What the state store keeps about a queue. `taken` as it is: its settings are those of SQS."""

    namespace: str
    name: str
    settings: QueueSettings
    created_at: int
    modified_at: int
    url: str = ""
    taken: bool = False
    bands: int = 1
    """How many queues in SQS it is: several where it has priorities."""


_decode_record = msgspec.msgpack.Decoder(QueueRecord).decode


class Commit(Protocol):
    """Writes state; returns once every node goes by it. `agreed` as in `UnitOfWork`."""

    async def __call__(self, changes: list[StateChange], *, agreed: bool = False) -> None: ...


MakeQueue = Callable[[QueueName, QueueSettings, str, str], AwsQueue]


class Directory:
    """Queues by name."""

    def __init__(
        self, node: Node, state: AwsState, options: AwsOptions, commit: Commit, make: MakeQueue
    ) -> None:
        """`make` is given name, settings, SQS name and URL."""
        self._node = node
        self._state = state
        self._options = options
        self._commit = commit
        self._make = make
        self.control = SqsControl(node)
        self.queues: dict[QueueName, AwsQueue] = {}
        self._by_sqs_name: dict[str, AwsQueue] = {}
        self._pinned = {sqs: name for name, sqs in options.queues.items()}
        self._creating: dict[QueueName, asyncio.Future[Queue | None]] = {}
        """Done with None where it was given up."""
        state.watch([KIND_QUEUE], self._follow)

    async def open(self) -> None:
        """Find the queues that there are."""
        urls = await self.control.list_urls(self._options.prefix)
        listed = {parse_queue_url(url).name for url in urls}
        # Pinned ones may have any name, and lists of SQS are late.
        known = [*self._pinned, *(sqs for sqs, _ in self._state.scan(KIND_QUEUE))]
        for sqs in dict.fromkeys(known):
            if sqs not in listed:
                url = await self.control.url_of(sqs)
                if url is not None:
                    urls.append(url)
        bands: set[str] = set()
        for _, value in self._state.scan(KIND_QUEUE):
            record = _decode_record(value)
            bands.update(self._band_names(QueueName(record.namespace, record.name), record.bands))
        urls = [url for url in urls if parse_queue_url(url).name not in bands]
        for some in slices(urls, self._node.limits.queues_read_at_once_max):
            async with asyncio.TaskGroup() as group:
                for url in some:
                    group.create_task(self._adopt_found(url))

    def name_of_sqs_name(self, sqs: str) -> QueueName:
        """What the queue that SQS calls `sqs` is called by legacy clients."""
        known = self._by_sqs_name.get(sqs)
        if known is not None:
            return known.name
        if sqs in self._pinned:
            return QueueName(DEFAULT_NAMESPACE, self._pinned[sqs])
        return queue_from_sqs_name(sqs.removeprefix(self._options.prefix))

    def sqs_name_of(self, name: QueueName, *, fifo: bool) -> str:
        """What SQS calls the queue `name`, or will."""
        if name.namespace == DEFAULT_NAMESPACE and name.name in self._options.queues:
            return self._options.queues[name.name]
        return sqs_name(name, fifo=fifo, prefix=self._options.prefix)

    def by_sqs_name(self, sqs: str) -> AwsQueue | None:
        """The known queue that SQS calls `sqs`."""
        return self._by_sqs_name.get(sqs)

    def drop(self, queue: AwsQueue) -> None:
        """A queue is gone."""
        if self.queues.get(queue.name) is queue:
            del self.queues[queue.name]
        for part in queue.parts:
            self._by_sqs_name.pop(part.sqs_name, None)

    # -- finding

    async def _adopt_found(self, url: str) -> None:
        sqs = parse_queue_url(url).name
        try:
            await self._adopt(sqs, url)
        except QueueDoesNotExist:
            # It was deleted while the others were listed.
            return
        except AccessDenied as error:
            if sqs in self._pinned:
                raise
            # Somebody else's, as it seems: it is in the same account, and may have the prefix.
            _log.warning("queue %s in SQS is left alone: %s", sqs, error)

    async def _adopt(self, sqs: str, url: str, name: QueueName | None = None) -> AwsQueue:
        """Take an existing queue as it is."""
        stored = self._state.get(KIND_QUEUE, sqs)
        record = None if stored is None else _decode_record(stored)
        if record is not None and not record.taken:
            return self._put_record(sqs, record, url)
        if record is not None:
            name = QueueName(record.namespace, record.name)
        attributes = await self.control.attributes(url)
        tags = await self.control.tags(url)
        made = tags.pop(MADE_TAG, None) is not None
        if name is None:
            original = original_from_tags(tags)
            name = self.name_of_sqs_name(sqs) if original is None else QueueName(*original)
        redrive = redrive_arn_of(attributes)
        redrive_name = None
        if redrive is not None:
            redrive_name = self.name_of_sqs_name(redrive.rpartition(":")[2]).name
        queue = self._put(name, settings_from_attributes(attributes, tags, redrive_name), sqs, url)
        queue.unfinished = made and record is None
        queue.arn = attributes.get("QueueArn")
        # moto's have fractions.
        queue.created_at = int(float(attributes.get("CreatedTimestamp", 0))) * 1000
        queue.modified_at = int(float(attributes.get("LastModifiedTimestamp", 0))) * 1000
        return queue

    def _put_record(self, sqs: str, record: QueueRecord, url: str) -> AwsQueue:
        """The queue, with what the record says of it."""
        name = QueueName(record.namespace, record.name)
        queue = self._put(name, record.settings, sqs, url)
        self._add_bands(queue, record.bands)
        queue.unfinished = False
        queue.settings = record.settings
        queue.created_at, queue.modified_at = record.created_at, record.modified_at
        return queue

    def _put(self, name: QueueName, settings: QueueSettings, sqs: str, url: str) -> AwsQueue:
        known = self._by_sqs_name.get(sqs)
        if known is not None:
            return known
        queue = self._make(name, settings, sqs, url)
        rule = rule_for(self._options.ordering, name)
        if rule is not None and queue.fifo:
            queue.group_of = group_of(rule)
        self.queues[name] = queue
        self._by_sqs_name[sqs] = queue
        return queue

    def _bands_of(self, name: QueueName, settings: QueueSettings, sqs: str, *, fifo: bool) -> int:
        """How many queues in SQS one that is made is to be."""
        return 1 if sqs in self._pinned else band_count(settings, fifo=fifo)

    def _band_names(self, name: QueueName, count: int) -> list[str]:
        """What SQS calls the bands besides the lowest, the highest first."""
        prefix = self._options.prefix
        return [sqs_name(band_name(name, band), prefix=prefix) for band in range(count - 1, 0, -1)]

    def _add_bands(self, queue: AwsQueue, count: int) -> None:
        if queue.bands or count == 1:
            return
        place = queue.url.rpartition("/")[0]
        names = self._band_names(queue.name, count)
        queue.add_bands([(each, f"{place}/{each}") for each in names])
        for band in queue.bands:
            self._by_sqs_name[band.sqs_name] = queue

    def _follow(self, changes: Sequence[StateChange]) -> None:
        """Other nodes have made, changed or deleted queues."""
        for _, sqs, value in changes:
            if value is not None:
                record = _decode_record(value)
                self._put_record(sqs, record, record.url)
            elif sqs in self._by_sqs_name:
                self._by_sqs_name[sqs].vanish()

    # -- making and changing

    async def create(self, name: QueueName, settings: QueueSettings) -> Queue:
        """Make a queue; one that SQS has already is taken as it is."""
        while (waiting := self._creating.get(name)) is not None:
            queue = await asyncio.shield(waiting)
            if queue is not None:
                return queue
            # Whoever was at it has stopped waiting.
        done: asyncio.Future[Queue | None] = self._node.loop.create_future()
        self._creating[name] = done
        try:
            queue = await self._create(name, settings)
        except Exception as error:
            done.set_exception(error)
            # Whoever waits is told; nobody may wait.
            done.exception()
            raise
        else:
            done.set_result(queue)
        finally:
            del self._creating[name]
            if not done.done():
                done.set_result(None)
        return queue

    async def _create(self, name: QueueName, settings: QueueSettings) -> AwsQueue:
        rule = rule_for(self._options.ordering, name)
        fifo = settings.fifo or rule is not None
        sqs = self.sqs_name_of(name, fifo=fifo)
        existing = [sqs]
        if fifo is not settings.fifo:
            # It may have been made before its rule was.
            existing.append(self.sqs_name_of(name, fifo=settings.fifo))
        for each in existing:
            url = await self.control.url_of(each)
            if url is not None:
                queue = await self._adopt(each, url, name)
                if queue.unfinished:
                    await self._finish(queue, settings)
                elif self._state.get(KIND_QUEUE, each) is None:
                    await self._save(queue, taken=True)
                return queue
        if not self._options.create:
            raise QueueDoesNotExist(
                f"queue '{name.name}' does not exist in SQS as {sqs!r}, and backend.create is never"
            )
        recorded = self._state.get(KIND_QUEUE, sqs)
        arn = await self._redrive_arn(name, settings)
        tags = {**settings.tags, MADE_TAG: "1"}
        if sqs != self._options.prefix + name.name or name.namespace != DEFAULT_NAMESPACE:
            tags.update(tags_of_original(name))
        try:
            attributes = attributes_from_settings(settings, arn, fifo=fifo)
            url = await self.control.create(sqs, attributes, tags)
        except QueueNameExists:
            # Another node was first, with other settings: its queue it is.
            found = await self.control.url_of(sqs)
            if found is None:
                raise
            return await self._adopt(sqs, found, name)
        bands = self._bands_of(name, settings, sqs, fifo=fifo)
        for band in self._band_names(name, bands):
            await self.control.create(band, attributes, tags)
        queue = self._put(name, settings, sqs, url)
        queue.unfinished = True
        self._add_bands(queue, bands)
        if queue.care is not None:
            queue.care.made()
        if self._state.get(KIND_QUEUE, sqs) == recorded:
            queue.created_at = queue.modified_at = self._node.clock.epoch_ms()
            await self._save(queue)
        queue.unfinished = False
        return queue

    async def _finish(self, queue: AwsQueue, settings: QueueSettings) -> None:
        """Give a queue its settings whose maker could not tell of them, unless that is done."""
        if not self._options.create:
            await self._save(queue, taken=True)
            queue.unfinished = False
            return
        # What is consumed already cannot be divided any more.
        bands = 1
        if not queue.consumer_count:
            bands = self._bands_of(queue.name, settings, queue.sqs_name, fifo=queue.fifo)
        arn = await self._redrive_arn(queue.name, settings)
        attributes = attributes_from_settings(settings, arn, fifo=queue.fifo)
        for band in self._band_names(queue.name, bands):
            await self.control.create(band, attributes, {MADE_TAG: "1"})
        if self._state.get(KIND_QUEUE, queue.sqs_name) is not None:
            return
        self._add_bands(queue, bands)
        former, queue.settings = queue.settings, settings
        queue.created_at = queue.modified_at = self._node.clock.epoch_ms()
        try:
            await self._commit([self._change(queue)], agreed=True)
        except StateConflict:
            # Another node has told, and everybody goes by that.
            return
        except BaseException:
            queue.settings = former
            raise
        queue.unfinished = False
        wanted = attributes_from_settings(settings, arn, fifo=queue.fifo, changing=True)
        await self.control.set_attributes(queue.url, wanted)

    async def change(self, queue: AwsQueue, settings: QueueSettings) -> None:
        arn = await self._redrive_arn(queue.name, settings)
        wanted = attributes_from_settings(settings, arn, fifo=queue.fifo, changing=True)
        # Attributes that are no longer among them are taken back.
        gone = {name: "" for name in queue.settings.attributes if name not in settings.attributes}
        for part in queue.parts:
            await self.control.set_attributes(part.url, {**gone, **wanted})
        originals = {}
        if queue.sqs_name != self._options.prefix + queue.name.name:
            originals = tags_of_original(queue.name)
        await self.control.set_tags(
            queue.url, {**queue.settings.tags, **originals}, {**settings.tags, **originals}
        )
        queue.settings = settings
        queue.modified_at = self._node.clock.epoch_ms()
        await self._commit([self._change(queue)])
        queue.unfinished = False

    async def delete(self, queue: AwsQueue) -> int:
        """Delete a queue; returns how many messages were visible, about."""
        try:
            count = (await self.control.counts(*[part.url for part in queue.parts])).visible
        except QueueDoesNotExist:
            count = 0
        for part in queue.parts:
            try:
                await self.control.delete(part.url)
            except QueueDoesNotExist:
                continue
        queue.vanish()
        if self._state.get(KIND_QUEUE, queue.sqs_name) is None:
            # The other nodes follow the end of an entry.
            await self._commit([self._change(queue)])
        await self._commit([StateChange(KIND_QUEUE, queue.sqs_name, None)])
        return count

    async def _save(self, queue: AwsQueue, *, taken: bool = False) -> None:
        """Let the other nodes know of a queue; where one of them was first, it is as that says."""
        try:
            await self._commit([self._change(queue, taken=taken)], agreed=True)
        except StateConflict:
            value = self._state.get(KIND_QUEUE, queue.sqs_name)
            if not taken and (value is None or _decode_record(value).taken):
                # What made the queue knows more than what found it.
                await self._commit([self._change(queue)])

    def _change(self, queue: AwsQueue, *, taken: bool = False) -> StateChange:
        record = QueueRecord(
            *queue.name,
            queue.settings,
            queue.created_at,
            queue.modified_at,
            queue.url,
            taken,
            len(queue.parts),
        )
        return StateChange(KIND_QUEUE, queue.sqs_name, msgspec.msgpack.encode(record))

    async def _redrive_arn(self, name: QueueName, settings: QueueSettings) -> str | None:
        """The ARN of the dead-letter queue that `settings` name; raises where there is none."""
        if settings.redrive is None:
            return None
        target = QueueName(name.namespace, settings.redrive.queue)
        queue = self.queues.get(target)
        if queue is None:
            fifo = settings.fifo or rule_for(self._options.ordering, target) is not None
            url = await self.control.url_of(self.sqs_name_of(target, fifo=fifo))
            if url is None:
                raise QueueDoesNotExist(f"dead-letter queue '{target.name}' does not exist")
            queue = await self._adopt(parse_queue_url(url).name, url, target)
        if queue.arn is None:
            queue.arn = (await self.control.attributes(queue.url))["QueueArn"]
        return queue.arn

    def all(self) -> Iterable[AwsQueue]:
        return list(self.queues.values())

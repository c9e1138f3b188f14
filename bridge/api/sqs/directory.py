"""Queues by the names, URLs and ARNs that SQS clients use.

Most queues have the same name on both sides; the others are found by encoding every queue's name,
and remembered. A handle is cached by the whole URL, since the hot calls come with nothing else.
"""

from __future__ import annotations

from operator import itemgetter

from bridge.api.errors import (
    INVALID_ADDRESS,
    QUEUE_DOES_NOT_EXIST,
    QUEUE_DOES_NOT_EXIST_TEXT,
)
from bridge.messaging.model import QueueName
from bridge.messaging.names import (
    INTERNAL_NAMESPACE,
    looks_encoded,
    queue_from_sqs_name,
    sqs_name,
)
from bridge.messaging.ownership import require_owner
from bridge.messaging.ports import Queue, Store

CACHED_URLS_MAX = 10_000


class QueueDirectory:
    """Looks queues up for one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_url: dict[str, Queue] = {}

    def by_url(self, url: str) -> Queue:
        """The queue of a queue URL, or of a bare name. Raises QueueDoesNotExist."""
        queue = self._by_url.get(url)
        if queue is not None and not queue.deleted:
            return queue
        name = url.rpartition("/")[2]
        if not name:
            raise INVALID_ADDRESS(f"The address {url} is not valid for this endpoint.")
        queue = self.by_name(name)
        if queue is None:
            self._by_url.pop(url, None)
            raise QUEUE_DOES_NOT_EXIST(QUEUE_DOES_NOT_EXIST_TEXT)
        if len(self._by_url) >= CACHED_URLS_MAX:
            self._by_url.clear()
        self._by_url[url] = queue
        return queue

    def open_by_url(self, url: str) -> Queue:
        """The same, for more than sending. Raises `ResourceLocked` for exclusive queues."""
        queue = self.by_url(url)
        require_owner(queue)
        return queue

    def by_name(self, name: str) -> Queue | None:
        """The queue whose SQS name this is."""
        meant = queue_from_sqs_name(name)
        queue = self._store.queue(meant)
        if queue is not None and self.name_of(queue) == name:
            return queue
        if not looks_encoded(name):
            return None
        for candidate in self._store.queues():
            internal = candidate.name.namespace == INTERNAL_NAMESPACE
            if not internal and self.name_of(candidate) == name:
                return candidate
        return None

    def by_arn(self, arn: str) -> Queue | None:
        """The queue of an ARN, whatever its region: there is one store."""
        return self.by_name(arn.rpartition(":")[2])

    def name_of(self, queue: Queue) -> str:
        """What SQS calls the queue."""
        return sqs_name(queue.name, fifo=queue.settings.fifo)

    def name_of_target(self, source: Queue, name: str) -> str:
        """What SQS calls the queue that `source` knows by its legacy name, also when it is gone."""
        meant = QueueName(source.name.namespace, name)
        target = self._store.queue(meant)
        fifo = source.settings.fifo if target is None else target.settings.fifo
        return sqs_name(meant, fifo=fifo)

    def listed(self, prefix: str = "") -> list[tuple[str, Queue]]:
        """All durable queues whose SQS name begins with `prefix`, in name order."""
        named = [
            (self.name_of(queue), queue)
            for queue in self._store.queues()
            if not queue.transient and queue.name.namespace != INTERNAL_NAMESPACE
        ]
        return sorted((pair for pair in named if pair[0].startswith(prefix)), key=itemgetter(0))

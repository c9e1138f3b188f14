"""Message move tasks: dead letters go back to where they came from, or to one other queue.

A task receives from its source, sends copies with a new id and deletes the originals in one unit of
work, so a crash neither loses nor doubles a message. Its record is in the state store, and the node
that has its lease runs it: one that was running when its process stopped goes on at the next start,
or at another node at once.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

import msgspec

from bridge.api.call import Call
from bridge.api.errors import INVALID_PARAMETER_VALUE, RESOURCE_NOT_FOUND, ApiError
from bridge.api.sqs.directory import QueueDirectory
from bridge.api.sqs.queues import redrives_to
from bridge.api.sqs.service import SqsService
from bridge.api.sqs.shapes import (
    CancelMessageMoveTaskRequest,
    CancelMessageMoveTaskResult,
    ListMessageMoveTasksRequest,
    ListMessageMoveTasksResult,
    ListMessageMoveTasksResultEntry,
    StartMessageMoveTaskRequest,
    StartMessageMoveTaskResult,
)
from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.commits import committed
from bridge.messaging.errors import MessagingError
from bridge.messaging.model import Delivery, QueueName, StateChange, UnitOfWork
from bridge.messaging.ownership import require_owner
from bridge.messaging.ports import Lease, Leases, Queue, StateStore, Store

KIND = "sqs-move-task"
RATE_MAX = 500
LISTED_MAX = 10
KEPT_PER_SOURCE_MAX = 10
"""Finished tasks of one source that are remembered."""
RUNNING_MAX = 100
BATCH = 10
RETRY_SECONDS = 1.0
HOLD_SECONDS = 30
RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED = (
    "RUNNING",
    "COMPLETED",
    "CANCELLING",
    "CANCELLED",
    "FAILED",
)
NO_QUEUE = "AWS.SimpleQueueService.NonExistentQueue"


class MoveTask(msgspec.Struct, omit_defaults=True):
    """A task's record; ARNs are those of the request."""

    id: str
    source: str
    source_arn: str
    started_at: int
    status: str = RUNNING
    destination: str | None = None
    destination_arn: str | None = None
    rate: int | None = None
    moved: int = 0
    to_move: int = 0
    failure: str | None = None

    @property
    def handle(self) -> str:
        text = json.dumps({"taskId": self.id, "sourceArn": self.source_arn})
        return base64.b64encode(text.encode()).decode()


class MoveTasks:
    """All tasks of one endpoint, and what moves their messages."""

    def __init__(
        self,
        store: Store,
        state: StateStore,
        clock: Clock,
        message_ids: MessageIds,
        directory: QueueDirectory,
        leases: Leases,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._message_ids = message_ids
        self._directory = directory
        self._leases = leases
        self._spawn = spawn
        self._tasks: dict[str, MoveTask] = {}
        self._run_here: set[str] = set()

    def resume(self) -> None:
        """Load the records, follow them, and go on with what was running. Called once, when the
        store is open.
        """
        self._state.watch([KIND], self._follow)
        self._follow(StateChange(KIND, key, value) for key, value in self._state.scan(KIND))

    def _follow(self, changes: Iterable[StateChange]) -> None:
        for _, task_id, value in changes:
            if value is None:
                self._tasks.pop(task_id, None)
                continue
            task = msgspec.msgpack.decode(value, type=MoveTask)
            known = self._tasks.get(task_id)
            if known is not None and task_id in self._run_here:
                if task.status == CANCELLING:
                    known.status = CANCELLING
                continue
            self._tasks[task_id] = task
            if known is None and task.status in (RUNNING, CANCELLING):
                self._spawn(self._run(task_id))

    def of_source(self, source: str) -> list[MoveTask]:
        """The tasks of a source queue, newest first."""
        tasks = [task for task in self._tasks.values() if task.source == source]
        return sorted(tasks, key=lambda task: (task.started_at, task.id), reverse=True)

    def get(self, task_id: str) -> MoveTask | None:
        return self._tasks.get(task_id)

    @property
    def running_count(self) -> int:
        return sum(task.status in (RUNNING, CANCELLING) for task in self._tasks.values())

    async def start(self, task: MoveTask) -> None:
        """Record a task, then let it run."""
        self._tasks[task.id] = task
        forgotten = [
            old
            for old in self.of_source(task.source)[1:]
            if old.status not in (RUNNING, CANCELLING)
        ][KEPT_PER_SOURCE_MAX - 1 :]
        unit = UnitOfWork(answered=True)
        unit.state.append(_record(task))
        for old in forgotten:
            del self._tasks[old.id]
            unit.state.append(StateChange(KIND, old.id, None))
        try:
            await committed(self._store, unit)
        except MessagingError:
            self._tasks.pop(task.id, None)
            raise
        self._spawn(self._run(task.id))

    async def save(self, task: MoveTask) -> None:
        unit = UnitOfWork(answered=True)
        unit.state.append(_record(task))
        await committed(self._store, unit)

    async def _run(self, task_id: str) -> None:
        """Move the messages once that is this node's to do, unless another one has done it."""
        while (task := self._tasks.get(task_id)) and task.status in (RUNNING, CANCELLING):
            try:
                lease = await self._leases.acquire(
                    f"move-task/{task_id}", on_lost=_lost, wait_seconds=None
                )
            except MessagingError:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            assert lease is not None, "it was waited for"
            recorded = False
            try:
                await self._state.refresh(KIND)
                self._run_here.add(task_id)
                await self._run_under(lease, task_id)
                recorded = True
            except MessagingError:
                self._go_by_the_record(task_id)
            finally:
                self._run_here.discard(task_id)
            with suppress(MessagingError):
                await self._leases.release(lease)
            if not recorded:
                await asyncio.sleep(RETRY_SECONDS)

    def _go_by_the_record(self, task_id: str) -> None:
        """How a task ended could not be stored, so it goes on."""
        value = self._state.get(KIND, task_id)
        if value is not None:
            self._tasks[task_id] = msgspec.msgpack.decode(value, type=MoveTask)

    async def _run_under(self, lease: Lease, task_id: str) -> None:
        task = self._tasks.get(task_id)
        if task is None or task.status not in (RUNNING, CANCELLING):
            return
        try:
            await self._move_all(task, lease)
        except MessagingError as error:
            task.status = FAILED
            task.failure = str(error)
        if lease.held:
            await self.save(task)

    async def _move_all(self, task: MoveTask, lease: Lease) -> None:
        pause = 0.0 if task.rate is None else 1.0 / task.rate
        size = BATCH if task.rate is None else min(BATCH, task.rate)
        while lease.held:
            if task.status == CANCELLING:
                task.status = CANCELLED
                return
            source = self._directory.by_name(task.source)
            if source is None:
                task.status, task.failure = FAILED, NO_QUEUE
                return
            deliveries = await self._store.receive(
                source, count=size, visibility_seconds=HOLD_SECONDS, wait_seconds=0
            )
            if not deliveries:
                task.status = COMPLETED
                return
            if not await self._move(task, source, deliveries):
                task.status, task.failure = FAILED, NO_QUEUE
                return
            await asyncio.sleep(pause * len(deliveries))

    async def _move(self, task: MoveTask, source: Queue, deliveries: list[Delivery]) -> bool:
        """Move one batch; False where a message's destination does not exist."""
        unit = UnitOfWork(atomic=True, answered=True)
        now = self._clock.epoch_ms()
        left = False
        for delivery in deliveries:
            target = self._target_of(task, source, delivery)
            if target is None:
                left = True
                unit.releases.append(delivery)
                continue
            copy = msgspec.structs.replace(
                delivery.message,
                message_id=self._message_ids.next(),
                sent_at=now,
                visible_at=None,
                dead_letter_source=None,
            )
            if target.settings.fifo:
                copy.deduplication_id = copy.message_id
            unit.sends.append((target, copy))
            unit.deletes.append(delivery)
        moved = len(unit.deletes)
        task.moved += moved
        unit.state.append(_record(task))
        try:
            await committed(self._store, unit)
        except MessagingError:
            task.moved -= moved
            raise
        return not left

    def _target_of(self, task: MoveTask, source: Queue, delivery: Delivery) -> Queue | None:
        if task.destination is not None:
            return self._directory.by_name(task.destination)
        origin = delivery.message.dead_letter_source
        if origin is None:
            return None
        return self._store.queue(QueueName(source.name.namespace, origin))


def _lost(_: Lease) -> None:
    """Whoever runs the task asks its lease before each batch."""


async def start_message_move_task(
    service: SqsService, call: Call, request: StartMessageMoveTaskRequest
) -> StartMessageMoveTaskResult:
    tasks = service.move_tasks
    source = _queue_of(service, "SourceArn", request.source_arn)
    if not any(redrives_to(queue, source) for _, queue in service.directory.listed()):
        raise INVALID_PARAMETER_VALUE("Source queue must be configured as a Dead Letter Queue.")
    destination = request.destination_arn
    target = None if destination is None else _queue_of(service, "DestinationArn", destination)
    if target is not None and target.settings.fifo != source.settings.fifo:
        raise INVALID_PARAMETER_VALUE(
            "Source and destination queues must be of the same type, standard or FIFO."
        )
    rate = request.max_number_of_messages_per_second
    if rate is not None and not 1 <= rate <= RATE_MAX:
        raise INVALID_PARAMETER_VALUE(
            f"Value {rate} for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be"
            f" between"
            f" 1 and {RATE_MAX}, if provided."
        )
    name = service.directory.name_of(source)
    if any(task.status in (RUNNING, CANCELLING) for task in tasks.of_source(name)):
        raise INVALID_PARAMETER_VALUE(
            "There is already a task running. Only one active task is allowed for a source queue"
            " arn"
            " at a given time."
        )
    if tasks.running_count >= RUNNING_MAX:
        raise INVALID_PARAMETER_VALUE(f"There are already {RUNNING_MAX} tasks running.")
    counts = await service.store.counts(source)
    task = MoveTask(
        service.message_ids.next(),
        name,
        request.source_arn,
        service.clock.epoch_ms(),
        destination=None if target is None else service.directory.name_of(target),
        destination_arn=destination,
        rate=rate,
        to_move=counts.visible,
    )
    await tasks.start(task)
    return StartMessageMoveTaskResult(task.handle)


def list_message_move_tasks(
    service: SqsService, call: Call, request: ListMessageMoveTasksRequest
) -> ListMessageMoveTasksResult:
    source = _queue_of(service, "SourceArn", request.source_arn)
    count = 1 if request.max_results is None else request.max_results
    if not 1 <= count <= LISTED_MAX:
        raise INVALID_PARAMETER_VALUE(
            f"Value {count} for parameter MaxResults is invalid. Reason: Must be between 1 and"
            f" {LISTED_MAX}, if provided."
        )
    tasks = service.move_tasks.of_source(service.directory.name_of(source))[:count]
    return ListMessageMoveTasksResult([_listed(task) for task in tasks])


async def cancel_message_move_task(
    service: SqsService, call: Call, request: CancelMessageMoveTaskRequest
) -> CancelMessageMoveTaskResult:
    task_id, source_arn = _parsed_handle(request.task_handle)
    task = service.move_tasks.get(task_id)
    if task is None:
        _queue_of(service, "SourceArn", source_arn)
        raise RESOURCE_NOT_FOUND("Task does not exist.")
    if task.status != RUNNING:
        raise INVALID_PARAMETER_VALUE("Only active tasks can be cancelled.")
    task.status = CANCELLING
    await service.move_tasks.save(task)
    return CancelMessageMoveTaskResult(task.moved)


def _listed(task: MoveTask) -> ListMessageMoveTasksResultEntry:
    return ListMessageMoveTasksResultEntry(
        status=task.status,
        source_arn=task.source_arn,
        started_timestamp=task.started_at,
        approximate_number_of_messages_moved=task.moved,
        task_handle=task.handle if task.status == RUNNING else None,
        destination_arn=task.destination_arn,
        max_number_of_messages_per_second=task.rate,
        approximate_number_of_messages_to_move=task.to_move,
        failure_reason=task.failure,
    )


def _queue_of(service: SqsService, parameter: str, arn: str) -> Queue:
    if not arn.startswith("arn:") or arn.count(":") < 5:
        raise INVALID_PARAMETER_VALUE(
            f"You must use this format to specify the {parameter}:"
            " arn:<partition>:<service>:<region>:<account-id>:<resource-id>"
        )
    queue = service.directory.by_arn(arn)
    if queue is None:
        raise RESOURCE_NOT_FOUND(
            f"The resource that you specified for the {parameter} parameter doesn't exist."
        )
    require_owner(queue)
    return queue


def _parsed_handle(handle: str) -> tuple[str, str]:
    """The task's id and its source's ARN."""
    try:
        task = json.loads(base64.b64decode(handle, validate=True))
        return str(task["taskId"]), str(task["sourceArn"])
    except (ValueError, TypeError, KeyError):
        raise _bad_handle() from None


def _bad_handle() -> ApiError:
    return INVALID_PARAMETER_VALUE("Value for parameter TaskHandle is invalid.")


def _record(task: MoveTask) -> StateChange:
    return StateChange(KIND, task.id, msgspec.msgpack.encode(task))

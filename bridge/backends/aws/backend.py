"""Opening and closing the AWS backend."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bridge.backends.aws.counters import CallCounters
from bridge.backends.aws.credentials import Resolved, resolve
from bridge.backends.aws.leases import AwsLeases
from bridge.backends.aws.limits import AwsLimits
from bridge.backends.aws.node import Node
from bridge.backends.aws.options import AwsOptions
from bridge.backends.aws.payloads import Payloads
from bridge.backends.aws.service import Random, Service
from bridge.backends.aws.state import AwsState
from bridge.backends.aws.store import AwsStore
from bridge.backends.aws.tasks import Tasks
from bridge.backends.aws.topics import AwsTopics
from bridge.messaging.errors import MessagingError, StoreUnavailable

if TYPE_CHECKING:
    from bridge.messaging.clock import Clock
    from bridge.messaging.faces import TopicFaces
    from bridge.messaging.neighbours import Neighbours
    from bridge.messaging.ports import Backend, StateStore, Store

SQS = "sqs"
SNS = "sns"
DYNAMODB = "dynamodb"
S3 = "s3"


class AwsBackend:
    """See `bridge.messaging.ports.Backend`.

    `local` is a backend in this process's memory, opened and closed with this one: transient queues
    live there. `random` gives numbers from 0 up to 1, for jitter.
    """

    def __init__(
        self,
        options: AwsOptions,
        *,
        local: Backend,
        clock: Clock,
        random: Random,
        limits: AwsLimits | None = None,
    ) -> None:
        self.counters = CallCounters(options.prices)
        self._options = options
        self._local = local
        self._clock = clock
        self._random = random
        self._limits = limits or AwsLimits()
        self._tasks = Tasks()
        self._node: Node | None = None
        self._store: AwsStore | None = None
        self._state: AwsState | None = None
        self._leases: AwsLeases | None = None
        self._faces: AwsTopics | None = None

    @property
    def store(self) -> Store:
        assert self._store is not None, "open comes first"
        return self._store

    @property
    def state(self) -> StateStore:
        assert self._state is not None, "open comes first"
        return self._state

    @property
    def leases(self) -> AwsLeases:
        assert self._leases is not None, "open comes first"
        return self._leases

    @property
    def faces(self) -> TopicFaces:
        """The topics in SNS."""
        assert self._faces is not None, "open comes first"
        return self._faces

    @property
    def neighbours(self) -> Neighbours:
        """The other nodes."""
        assert self._store is not None, "open comes first"
        return self._store.transient

    @property
    def healthy(self) -> bool:
        node = self._node
        if node is None or self._state is None or not self._state.membership.held:
            return False
        return not node.sqs.failing and not node.dynamodb.failing

    def figures(self) -> dict[str, float]:
        """Calls by service and action, what AWS charges for them, and by the million messages; and
        how many nodes there are.
        """
        figures = self.counters.figures()
        if self._state is not None:
            figures["aws_nodes"] = self._state.membership.count
        return figures

    async def open(self) -> None:
        urls = {service: self._options.endpoint_of(service) for service in (SQS, SNS, DYNAMODB)}
        resolved = await asyncio.to_thread(resolve, self._options.region, urls)
        await self._local.open()
        await self._tasks.open()
        self._node = node = Node(
            loop=asyncio.get_running_loop(),
            clock=self._clock,
            limits=self._limits,
            sqs=self._service(SQS, "AmazonSQS", resolved),
            sns=self._service(SNS, None, resolved),
            dynamodb=self._service(DYNAMODB, "DynamoDB_20120810", resolved),
            tasks=self._tasks,
            payloads=Payloads(
                self._options,
                lambda: resolved.client(S3, self._options.endpoint_of(S3)),
                self.counters,
                self._tasks,
                self._limits,
            ),
        )
        self._state = state = AwsState(node, self._options.table)
        self._leases = AwsLeases(node, state)
        state.membership.on_gone = self._leases.node_gone
        state.membership.on_lapse = self._lapsed
        self._store = AwsStore(
            node, self._state, self._options, self._local.store, lambda: self.leases
        )
        try:
            await state.ensure_table(create=self._options.create)
            self._tasks.spawn(state.keep())
            await state.join()
            await self._store.directory.open()
        except BaseException as error:
            await self.close()
            first = _first(error)
            if isinstance(first, MessagingError):
                raise StoreUnavailable(f"AWS is not usable: {first}") from None
            raise
        self._store.fenced = lambda: not state.membership.held
        self._store.transient.open()
        self._tasks.spawn(state.follow())
        self._faces = AwsTopics(
            node,
            self._options,
            self._store.directory,
            random=self._random,
            node_id=lambda: state.membership.id,
        )
        node.opened = True
        limits = self._limits
        self._tasks.spawn(
            node.repeat(
                "AWS credentials were not renewed",
                lambda: limits.credentials_check_seconds,
                resolved.credentials.refresh,
            )
        )

    def _lapsed(self) -> None:
        """The other nodes may go on without this one: it lets go of all, and joins them again."""
        if self._node is not None and self._leases is not None:
            self._leases.lose_all()
            if self._store is not None:
                self._store.transient.lapsed()
            self._tasks.spawn(self._join_again(self._node))

    async def _join_again(self, node: Node) -> None:
        assert self._state is not None, "it was made with the node"
        assert self._store is not None, "it too"
        state, transient = self._state, self._store.transient
        joined = restored = False

        async def turn() -> None:
            nonlocal joined, restored
            if not joined:
                await state.join()
            joined = True
            await transient.rejoined()
            restored = True

        backoff = node.dynamodb.backoff()
        while True:
            # Nobody else would bring this node back.
            await node.attempt("this node could not join the others again", turn)
            if restored or (joined and not state.membership.held):
                # Where it has lapsed again, that turn does the rest.
                return
            await asyncio.sleep(backoff.next_seconds())

    async def close(self, seconds_max: float | None = None) -> None:
        node, self._node = self._node, None
        if node is None:
            return
        assert self._store is not None, "it was made with the node"
        seconds = self._limits.close_seconds_max if seconds_max is None else seconds_max
        deadline = node.loop.time() + seconds
        steps = [self._take_nothing_more, self._store.close, self._leave]
        for number, step in enumerate(steps):
            # Whatever one of them takes, the others have their share of the time.
            share = (deadline - node.loop.time()) / (len(steps) - number)
            try:
                async with asyncio.timeout(share):
                    await step()
            except TimeoutError:
                # What is left is answered with an error as its task is cancelled.
                continue
        await self._tasks.close()
        node.sqs.close()
        node.sns.close()
        node.dynamodb.close()
        await self._local.close()

    async def _take_nothing_more(self) -> None:
        assert self._store is not None, "it was made with the node"
        async with asyncio.TaskGroup() as group:
            group.create_task(self._store.transient.close())
            if self._faces is not None:
                group.create_task(self._faces.close())

    async def _leave(self) -> None:
        assert self._state is not None, "it was made with the node"
        assert self._leases is not None, "they too"
        await self._leases.close()
        await self._state.membership.leave()

    def _service(self, name: str, target: str | None, resolved: Resolved) -> Service:
        return Service(
            name,
            target,
            endpoint=resolved.endpoints[name],
            region=resolved.region,
            credentials=resolved.credentials,
            clock=self._clock,
            random=self._random,
            tls=resolved.tls,
            counters=self.counters,
            limits=self._limits,
        )


def _first(error: BaseException) -> BaseException:
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return first

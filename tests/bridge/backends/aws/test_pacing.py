"""How full calls are when messages come one by one, and how long these wait for it.

Polls are walked through with a clock of the test's own; batches run on a loop whose clock jumps to
whatever comes next.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import selectors
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any, Final, cast

import pytest

from bridge.backends.aws import AwsLimits
from bridge.backends.aws.batches import Batcher
from bridge.backends.aws.errors import AwsError
from bridge.backends.aws.pacing import BACKLOG_POLLS, BEHIND_POLLS, TEN, PollPace, Rate
from bridge.backends.aws.tasks import Tasks
from bridge.backends.aws.wire import BatchReply, Sent

LIMITS: Final = AwsLimits()
MOST: Final = LIMITS.fill_seconds_max
RUN_SECONDS: Final = 6.0
WARM_SECONDS: Final = 1.0


def poisson(rate: float, together: int = 1) -> Iterator[float]:
    """When messages come."""
    gap, now = random.Random(1).expovariate, 0.0
    while now < RUN_SECONDS:
        now += gap(rate / together)
        yield from [now] * together


# -- how fast they come


def test_nothing_is_known_of_what_has_not_come() -> None:
    rate = Rate()
    assert rate.seconds_for(10, 0.0) == float("inf")
    rate.add(1, 5.0)
    assert rate.seconds_for(10, 5.0) == float("inf")


def test_a_steady_stream_is_measured() -> None:
    rate = Rate()
    for number in range(1000):
        rate.add(1, number / 1000)
    assert rate.seconds_for(10, 1.0) == pytest.approx(0.01, rel=0.05)


def test_a_stream_that_stops_slows_down() -> None:
    rate = Rate()
    for number in range(1000):
        rate.add(1, number / 1000)
    assert rate.seconds_for(10, 1.5) > MOST
    rate.add(10, 9.0)
    assert rate.seconds_for(10, 9.0) == float("inf")


# -- polls


class Polling:
    """A queue in SQS, and polls of it at `PollPace`'s pace; one takes `way` seconds there and back,
    and is answered when there is a message.
    """

    def __init__(self, arrivals: Iterator[float], way: float) -> None:
        self.pace = PollPace(LIMITS)
        self.brought: list[int] = []
        self.waited: list[float] = []
        self.open_max = 0
        self._way = way
        self._queue: deque[float] = deque()
        self._waiting: deque[float] = deque()
        self._open = 0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = count()
        self._arrivals = arrivals
        self.now = 0.0

    def run(self) -> None:
        self._arrive_next()
        self._consider()
        while self._events and self.now < RUN_SECONDS:
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)

    @property
    def mean(self) -> float:
        return sum(self.brought) / len(self.brought)

    @property
    def mean_wait(self) -> float:
        """Beyond the way."""
        return sum(self.waited) / len(self.waited) - self._way / 2

    def _later(self, seconds: float, act: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), act, arguments))

    def _arrive_next(self) -> None:
        at = next(self._arrivals, None)
        if at is not None:
            self._later(at - self.now, self._arrive, at)

    def _arrive(self, at: float) -> None:
        self._queue.append(at)
        self._arrive_next()
        if self._waiting:
            self._answer(self._waiting.popleft())

    def _consider(self) -> None:
        while self._open < self.pace.open_max:
            if self.now < self.pace.at:
                self._later(self.pace.at - self.now, self._consider)
                return
            self.pace.left(self.now)
            self._open += 1
            self.open_max = max(self.open_max, self._open)
            self._later(self._way / 2, self._meet, self.now)

    def _meet(self, since: float) -> None:
        if self._queue:
            self._answer(since)
        else:
            self._waiting.append(since)

    def _answer(self, since: float) -> None:
        some = [self._queue.popleft() for _ in range(min(10, len(self._queue)))]
        self._later(self._way / 2, self._come, some, since)

    def _come(self, some: list[float], since: float) -> None:
        self._open -= 1
        if self.now > WARM_SECONDS:
            self.brought.append(len(some))
            self.waited += [self.now - each for each in some]
        self.pace.came(len(some), 10, self.now - since, self.now)
        self._consider()


@pytest.mark.parametrize("way", [0.0005, 0.005, 0.015])
@pytest.mark.parametrize("rate", [500, 1_000, 2_000, 5_000])
def test_polls_are_nearly_full_where_messages_come_fast(rate: float, way: float) -> None:
    polling = Polling(poisson(rate), way)
    polling.run()
    assert polling.mean > 9.0
    assert polling.mean_wait < MOST + 10 / rate


@pytest.mark.parametrize("rate", [1, 10, 100])
def test_polls_do_not_wait_where_messages_come_slowly(rate: float) -> None:
    polling = Polling(poisson(rate), 0.01)
    polling.run()
    # The way of the poll before; the pause behind one that was not filled, in a dense moment.
    assert max(polling.waited) < 0.01 * 1.5 + LIMITS.poll_linger_seconds + 1e-6
    assert polling.mean_wait < 0.01


def test_a_backlog_is_fetched_by_as_many_polls_as_may_be_open() -> None:
    polling = Polling(iter([0.0] * 20_000), 0.01)
    polling.run()
    assert polling.open_max == LIMITS.polls_per_queue_max
    assert max(polling.waited) < 2.0


def paced() -> PollPace:
    """A pace at a thousand messages per second."""
    pace = PollPace(LIMITS)
    for number in range(100):
        pace.left(number / 100)
        pace.came(9, 10, 0.001, number / 100 + 0.001)
    assert pace.at == pytest.approx(1.001, abs=0.002)
    return pace


def test_full_polls_in_a_row_follow_at_once() -> None:
    pace, now = paced(), 1.0
    for _ in range(BEHIND_POLLS):
        now = max(now, pace.at)
        pace.left(now)
        assert pace.at > now
        pace.came(10, 10, 0.001, now)
    now = pace.at
    pace.left(now)
    assert pace.at == now
    assert pace.open_max == 1


def test_a_long_row_of_full_polls_lets_more_be_opened() -> None:
    pace, now = paced(), 1.0
    for _ in range(BACKLOG_POLLS):
        assert pace.open_max == 1
        now = max(now, pace.at)
        pace.left(now)
        pace.came(10, 10, 0.001, now)
    for wanted in (2, 3, 4):
        pace.came(10, 10, 0.001, now)
        assert pace.open_max == wanted
    pace.came(3, 10, 0.001, now)
    assert pace.open_max == 1


def test_a_failed_poll_leaves_one() -> None:
    pace = PollPace(LIMITS)
    for number in range(5):
        pace.came(10, 10, 0.01, number / 100)
    assert pace.open_max == 6
    pace.failed()
    assert pace.open_max == 1


# -- batches


class _Nothing(selectors.SelectSelector):
    """Waits for no socket: the time that it was to wait has passed."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "nothing will ever happen"
        self.now += max(timeout, 0.0)
        return []


class JumpingLoop(asyncio.SelectorEventLoop):
    """A loop whose clock jumps."""

    def __init__(self) -> None:
        self._nothing = _Nothing()
        super().__init__(self._nothing)

    def time(self) -> float:
        return self._nothing.now


def in_no_time(act: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await act()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(run())


class Item:
    deadline = 1e9

    def __init__(self, at: float) -> None:
        self.at = at


class Batches(Batcher[Item]):
    """Batches that SQS takes `way` seconds to answer."""

    action = "SendMessageBatch"

    def __init__(self, way: float, in_flight_max: int = 16) -> None:
        self.loop = asyncio.get_running_loop()
        tasks = Tasks()
        sqs = SimpleNamespace(carried=lambda *_: None)
        node = SimpleNamespace(loop=self.loop, limits=LIMITS, tasks=tasks, sqs=sqs)
        super().__init__(cast("Any", node), in_flight_max)
        self.tasks = tasks
        self.sizes: list[int] = []
        self.warm_sizes: list[int] = []
        self.waited: list[float] = []
        self.refused = 0
        self._way = way

    def encode(self, batch: list[Item]) -> bytes:
        self.sizes.append(len(batch))
        if self.loop.time() > WARM_SECONDS:
            self.warm_sizes.append(len(batch))
        self.waited += [self.loop.time() - each.at for each in batch]
        return b"x" * len(batch)

    async def call(
        self, body: bytes, deadline: float, again: Callable[[], bytes] | None = None
    ) -> BatchReply:
        await asyncio.sleep(self._way)
        return BatchReply([Sent(str(number)) for number in range(len(body))])

    def succeeded(self, item: Item, sent: Sent) -> None: ...

    def failed(self, item: Item, error: AwsError) -> None:
        self.refused += 1

    def forget_counts(self) -> None: ...

    def take(self, *, lazy: bool = False) -> None:
        self.add(Item(self.loop.time()), lazy=lazy)

    async def feed(self, arrivals: Iterator[float], *, lazy: bool = False) -> None:
        await self.tasks.open()
        for at in arrivals:
            await asyncio.sleep(at - self.loop.time())
            self.take(lazy=lazy)
        await self.drain()
        await self.tasks.close()

    @property
    def mean(self) -> float:
        return sum(self.warm_sizes) / len(self.warm_sizes)


@pytest.mark.parametrize("way", [0.0005, 0.005, 0.015])
@pytest.mark.parametrize("rate", [1_000, 2_000, 5_000])
def test_batches_are_nearly_full_where_messages_come_fast(rate: float, way: float) -> None:
    async def act() -> None:
        batches = Batches(way)
        await batches.feed(poisson(rate))
        assert batches.mean > 9.7
        assert max(batches.waited) < MOST * 1.7

    in_no_time(act)


@pytest.mark.parametrize("way", [0.0005, 0.015])
@pytest.mark.parametrize("rate", [1, 10, 100])
def test_batches_do_not_wait_where_messages_come_slowly(rate: float, way: float) -> None:
    async def act() -> None:
        batches = Batches(way)
        await batches.feed(poisson(rate))
        assert max(batches.waited) <= LIMITS.batch_linger_seconds + 1e-6

    in_no_time(act)


def test_who_waits_for_each_answer_waits_for_little_else() -> None:
    async def act() -> None:
        # Two thousand a second, if nothing waited; but the next comes when one is answered.
        batches = Batches(0.0005)
        await batches.tasks.open()
        for _ in range(4_000):
            batches.take()
            while batches.busy:
                await asyncio.sleep(0.0001)
        await batches.tasks.close()
        assert sum(batches.waited) / len(batches.waited) < 0.0001

    in_no_time(act)


def test_what_comes_last_does_not_wait_for_long() -> None:
    async def act() -> None:
        batches = Batches(0.005)
        await batches.feed(iter([number / 1000 for number in range(505)]))
        assert batches.sizes[-1] < 10
        assert max(batches.waited[-5:]) < 0.015

    in_no_time(act)


def test_what_nobody_waits_for_waits_for_ten() -> None:
    async def act() -> None:
        batches = Batches(0.005)
        await batches.feed(poisson(300), lazy=True)
        assert batches.mean > 9.9
        assert max(batches.waited) <= LIMITS.settle_linger_seconds + 1e-6

    in_no_time(act)


def test_a_batch_on_its_way_keeps_what_nobody_waits_for() -> None:
    async def act() -> None:
        batches = Batches(0.005)
        await batches.feed(iter([0.0] * 10 + [0.001] * 3), lazy=True)
        assert batches.sizes == [10, 3]
        batches = Batches(0.005)
        await batches.tasks.open()
        for _ in range(13):
            batches.take(lazy=True)
        await asyncio.sleep(0.05)
        assert batches.sizes == [10]
        await asyncio.sleep(0.06)
        assert batches.sizes == [10, 3]
        await batches.tasks.close()

    in_no_time(act)


def test_what_waits_joins_what_somebody_waits_for() -> None:
    async def act() -> None:
        batches = Batches(0.005)
        await batches.tasks.open()
        batches.take(lazy=True)
        batches.take()
        await asyncio.sleep(0.001)
        assert batches.sizes == [2]
        await batches.drain()
        await batches.tasks.close()

    in_no_time(act)


def test_no_more_batches_are_under_way_than_may_be() -> None:
    async def act() -> None:
        batches = Batches(0.005, in_flight_max=2)
        await batches.tasks.open()
        for _ in range(25):
            batches.take()
        await asyncio.sleep(0.004)
        assert batches.sizes == [10, 10]
        await asyncio.sleep(0.004)
        assert batches.sizes == [10, 10, 5]
        await batches.drain()
        await batches.tasks.close()

    in_no_time(act)


def test_what_comes_after_the_end_is_refused() -> None:
    async def act() -> None:
        batches = Batches(0.005)
        await batches.tasks.open()
        batches.take(lazy=True)
        await batches.tasks.close()
        await asyncio.sleep(1.0)
        assert (batches.sizes, batches.refused) == ([], 1)

    in_no_time(act)


def test_a_poll_after_a_silence_does_not_put_off_the_next() -> None:
    pace, now = PollPace(LIMITS), 100.0
    for brought in [TEN] * BEHIND_POLLS + [TEN - 1] * 2:
        pace.left(now)
        pace.came(brought, TEN, 0.002, now + 0.004)
        now += 0.005
    for silence in (1.0, 10.0, 1_000.0):
        now += silence
        pace.left(now)
        assert pace.at <= now + MOST
        pace.came(TEN, TEN, 0.002, now + 0.01)
        assert pace.at <= now + MOST

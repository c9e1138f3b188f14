"""Random operations against the reference model, with heads so short that tails are always on disk.

Some operations are waited for and some are not; restarts and crashes come at any time.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.bridge.backends.embedded.reference import KINDS, World

LABELS = st.sampled_from(sorted(KINDS))
COUNTS = st.integers(1, 9)
PICKS = st.lists(st.integers(0, 50), min_size=1, max_size=6)


class StoreMachine(RuleBasedStateMachine):
    """Each rule is one operation of `World`."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.world = World(self.directory / "store")

    def run(self, operation: Coroutine[Any, Any, None]) -> None:
        self.loop.run_until_complete(operation)

    def call(self, operation: Any, *arguments: Any, turns: bool = True, **options: Any) -> None:
        """Submit, and let the loop have its turns or not."""

        async def submit() -> None:
            operation(*arguments, **options)
            if turns:
                await self.world.quiesce()

        self.run(submit())

    @initialize()
    def open(self) -> None:
        self.run(self.world.open())

    def teardown(self) -> None:
        try:
            self.run(self.world.close())
        finally:
            self.loop.close()
            shutil.rmtree(self.directory)

    @rule(
        labels=st.lists(LABELS, min_size=1, max_size=3, unique=True),
        count=COUNTS,
        atomic=st.booleans(),
        turns=st.booleans(),
    )
    def send(self, labels: list[str], count: int, *, atomic: bool, turns: bool) -> None:
        self.call(self.world.send, labels, count, atomic=atomic, turns=turns)

    @rule(label=st.sampled_from(["durable", "other", "fifo"]), turns=st.booleans())
    def send_delayed(self, label: str, *, turns: bool) -> None:
        self.call(self.world.send, [label], 1, delayed=True, turns=turns)

    @rule(label=LABELS, picks=PICKS, answered=st.booleans(), turns=st.booleans())
    def settle(self, label: str, picks: list[int], *, answered: bool, turns: bool) -> None:
        self.call(self.world.settle, label, picks, answered=answered, turns=turns)

    @rule(source=LABELS, goal=LABELS, picks=PICKS, atomic=st.booleans(), turns=st.booleans())
    def move(self, source: str, goal: str, picks: list[int], *, atomic: bool, turns: bool) -> None:
        self.call(self.world.move, source, picks, goal, atomic=atomic, turns=turns)

    @rule(label=LABELS, picks=PICKS, returned=st.booleans(), turns=st.booleans())
    def give_back(self, label: str, picks: list[int], *, returned: bool, turns: bool) -> None:
        self.call(self.world.give_back, label, picks, returned=returned, turns=turns)

    @rule(label=LABELS, count=st.integers(1, 10))
    def receive(self, label: str, count: int) -> None:
        self.run(self.world.receive(label, count))

    @rule(label=LABELS, picks=PICKS)
    def show(self, label: str, picks: list[int]) -> None:
        self.run(self.world.show(label, picks))

    @rule(label=LABELS, credit=st.integers(0, 12))
    def consume(self, label: str, credit: int) -> None:
        if len(self.world.consumers) < 3:
            self.run(self.world.consume(label, credit))

    @rule(which=st.integers(0, 2), what=st.sampled_from(["pause", "resume", "credit", "cancel"]))
    def steer(self, which: int, what: str) -> None:
        if which >= len(self.world.consumers):
            return
        consumer = self.world.consumers[which]
        assert consumer.subscription is not None
        if what == "pause":
            consumer.paused = True
            self.call(consumer.subscription.pause, turns=False)
        elif what == "resume":
            consumer.paused = False
            self.call(consumer.subscription.resume)
        elif what == "credit":
            consumer.credit += 5
            self.call(consumer.subscription.add_credit, 5)
        else:
            self.call(self.world.cancel, consumer)

    @rule(label=LABELS)
    def purge(self, label: str) -> None:
        self.run(self.world.purge(label))

    @rule(label=LABELS)
    def delete_queue(self, label: str) -> None:
        self.run(self.world.delete_and_make(label))

    @rule()
    def restart(self) -> None:
        self.run(self.world.restart())

    @rule()
    def crash(self) -> None:
        self.run(self.world.crash())

    @rule()
    def check(self) -> None:
        self.run(self.world.check())

    @invariant()
    def no_mistakes(self) -> None:
        assert not self.world.mistakes
        for consumer in self.world.consumers:
            assert not consumer.mistakes, consumer.mistakes


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=50, stateful_step_count=50)

"""Scripts that run at several brokers, so that what came of them can be laid side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Protocol

from pika.exceptions import AMQPError

from tests.benchmarks.peers import Peer
from tests.support.patience import patience

Outcome = list[str]
MUCH_PATIENCE = 6.0


class Script(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def run(self) -> Callable[[int], Outcome]:
        """What came of it at the broker on this port; what a step takes for granted may raise."""


class SideBySide:
    """The outcomes of scripts at brokers that are running; `ports` by the broker's name."""

    def __init__(self, ports: Mapping[str, int]) -> None:
        self._ports = ports
        self._outcomes: dict[tuple[str, str], Outcome] = {}

    def run(self, scripts: Sequence[Script], at_once: int) -> None:
        """Run all, many at once: most of their time is waiting for what is not to come."""
        with ThreadPoolExecutor(at_once) as pool:
            running = {
                (script.name, broker): pool.submit(outcome_of, script, self._ports[broker])
                for script in scripts
                for broker in self._ports
            }
            self._outcomes = {key: future.result() for key, future in running.items()}

    def ran_at(self, broker: str) -> bool:
        return broker in self._ports

    def outcomes(self, script: Script, peer: str, *, same: bool) -> tuple[Outcome, Outcome]:
        """Ours and the peer's. Where they are not `same` as expected, the script runs again with
        nothing beside it, and at last with much patience: a peer that hundreds of scripts load, or
        another process, answers later than one waits.
        """
        brokers = ("landbridge", peer)
        ours, theirs = (self._outcomes[script.name, broker] for broker in brokers)
        for factor in (1.0, MUCH_PATIENCE):
            if (ours == theirs) is same and not _is_stuck(ours):
                break
            with patience(factor):
                ours, theirs = (outcome_of(script, self._ports[broker]) for broker in brokers)
        return ours, theirs


def _is_stuck(outcome: Outcome) -> bool:
    return any(each.startswith("stuck") for each in outcome)


def outcome_of(script: Script, port: int) -> Outcome:
    """What comes of a script at the broker on a port."""
    try:
        return script.run(port)
    except (AssertionError, KeyError, OSError, AMQPError) as error:
        # A step that the script takes for granted went wrong: that is an outcome, too.
        return [f"stuck: {error!r}"]


def ports_of(brokers: Sequence[Peer], protocol: str) -> dict[str, int]:
    return {broker.name: broker.ports[protocol] for broker in brokers}


@contextmanager
def all_running(brokers: Sequence[Peer]) -> Iterator[None]:
    with ThreadPoolExecutor(len(brokers)) as pool:
        try:
            list(pool.map(Peer.start, brokers))
            yield
        finally:
            list(pool.map(Peer.stop, brokers))

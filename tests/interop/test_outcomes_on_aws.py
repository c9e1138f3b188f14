"""The same scripts at both of our backends: a client cannot tell which one is behind.

Where he can, after all, the row of the loss table stands in `DIFFERENCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import pytest

from tests.interop import (  # noqa: F401 - importing them lists their scripts
    amqp_channel_calls,
    amqp_message_calls,
    amqp_queue_calls,
    amqp_topology_calls,
    mqtt_scripts_properties,
    stomp_scripts_destinations,
    stomp_scripts_frames,
    stomp_scripts_sessions,
    stomp_scripts_settling,
    stomp_scripts_subscriptions,
)
from tests.interop.amqp_calls import SCENARIOS, Scenario, session
from tests.interop.lost_on_aws import AMQP_LENGTH, Row, loss_of
from tests.interop.mqtt_scripts import SCRIPTS as MQTT_SCRIPTS
from tests.interop.side_by_side import Outcome, Script, outcome_of
from tests.interop.stomp_script import SCRIPTS as STOMP_SCRIPTS
from tests.support.program import Place, Program, running

SCRIPTS_AT_ONCE: Final = {"amqp": 1, "mqtt": 8, "stomp": 8}
"""At each backend. The scenarios of AMQP share names."""
QUICK_STEP: Final = 6
"""Unless `--backend` asks for more, one script of so many runs."""

DIFFERENCES: Final[dict[str, Row]] = {
    # Ten bytes are two messages of the mean size of three.
    "over_the_length": AMQP_LENGTH,
}


@dataclass(frozen=True)
class Calls:
    """A scenario of AMQP as a script."""

    name: str
    scenario: Scenario

    @property
    def run(self) -> Callable[[int], Outcome]:
        return self._run

    def _run(self, port: int) -> Outcome:
        with session(port) as opened:
            return [repr(self.scenario(opened))]


ALL: Final[dict[str, list[Script]]] = {
    "amqp": [Calls(name, scenario) for name, scenario in SCENARIOS.items()],
    "mqtt": [*MQTT_SCRIPTS],
    "stomp": [*STOMP_SCRIPTS],
}

Outcomes = dict[str, tuple[dict[str, Outcome], dict[str, Outcome]]]
"""By protocol: embedded and on AWS, by name of the script."""

pytestmark = [pytest.mark.only_on_aws, pytest.mark.timeout(600)]


@contextmanager
def both(place: Place, directory: Path) -> Iterator[tuple[Program, Program]]:
    """Two new brokers: one embedded, one on AWS."""
    here, there = directory / "embedded", directory / "aws"
    here.mkdir(parents=True)
    there.mkdir()
    with running(directory=here) as embedded, place.running(directory=there) as on_aws:
        yield embedded, on_aws


def chosen(config: pytest.Config) -> dict[str, list[Script]]:
    """The scripts of each protocol."""
    step = 1 if config.getoption("backend") else QUICK_STEP
    return {protocol: scripts[::step] for protocol, scripts in ALL.items()}


def run(protocol: str, scripts: list[Script], program: Program) -> dict[str, Outcome]:
    """What came of each script, by name; most of their time is waiting for what is not to come."""
    port = program.port(protocol)
    with ThreadPoolExecutor(SCRIPTS_AT_ONCE[protocol]) as pool:
        results = pool.map(lambda script: outcome_of(script, port), scripts)
        return {script.name: each for script, each in zip(scripts, results, strict=True)}


@pytest.fixture(scope="module")
def outcomes(
    place: Place, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Outcomes:
    """Of each protocol at two brokers of its own, since protocols share the names of queues."""
    directory = tmp_path_factory.mktemp("both")
    with ExitStack() as opened, ThreadPoolExecutor(2 * len(ALL)) as pool:
        under_way = {
            protocol: [
                pool.submit(run, protocol, scripts, program)
                for program in opened.enter_context(both(place, directory / protocol))
            ]
            for protocol, scripts in chosen(pytestconfig).items()
        }
        return {
            protocol: (embedded.result(), on_aws.result())
            for protocol, (embedded, on_aws) in under_way.items()
        }


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "script" not in metafunc.fixturenames:
        return
    pairs = [
        pytest.param(protocol, script, id=f"{protocol}-{script.name}")
        for protocol, scripts in chosen(metafunc.config).items()
        for script in scripts
    ]
    metafunc.parametrize(("protocol", "script"), pairs)


def test_outcomes_are_the_same(
    place: Place, tmp_path: Path, protocol: str, script: Script, outcomes: Outcomes
) -> None:
    embedded, on_aws = (each[script.name] for each in outcomes[protocol])
    row = DIFFERENCES.get(script.name)
    if (embedded == on_aws) is (row is not None) or stuck(embedded, on_aws):
        # Once more with nothing beside it, since hundreds of scripts make what is in time late.
        with both(place, tmp_path) as programs:
            embedded, on_aws = (outcome_of(script, each.port(protocol)) for each in programs)
    assert not stuck(embedded, on_aws), (embedded, on_aws)
    if row is None:
        assert embedded == on_aws
    else:
        assert embedded != on_aws, f"no difference any more: {loss_of(row)}"


def stuck(*outcomes: Outcome) -> bool:
    return any(each.startswith("stuck") for each in chain(*outcomes))


def test_differences_name_scripts() -> None:
    names = {script.name for scripts in ALL.values() for script in scripts}
    assert DIFFERENCES.keys() <= names

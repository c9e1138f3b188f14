"""The same STOMP scripts against Landbridge, RabbitMQ and ActiveMQ, outcome by outcome.

What Landbridge does otherwise than a peer stands in `stomp_differences`, with the reason; all else
has to be the same. Runs where Debian's `rabbitmq-server` or `activemq` is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.benchmarks.peers import ActiveMQ, Landbridge, Peer, RabbitMQ
from tests.interop import (  # noqa: F401 - importing them lists their scripts
    stomp_scripts_destinations,
    stomp_scripts_frames,
    stomp_scripts_sessions,
    stomp_scripts_settling,
    stomp_scripts_subscriptions,
)
from tests.interop.stomp_differences import DIFFERENCES
from tests.interop.stomp_script import SCRIPTS, Outcome, Script

PEERS: tuple[type[Peer], ...] = (RabbitMQ, ActiveMQ)
SCRIPTS_AT_ONCE = 64

Outcomes = dict[tuple[str, str], Outcome]

pytestmark = [
    pytest.mark.skipif(
        not any(peer.installed() for peer in PEERS),
        reason="neither rabbitmq-server nor activemq is installed (Debian's packages)",
    ),
    pytest.mark.timeout(120),
]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcomes]:
    """What came of each script at each broker: all of them run at once, as most of their time is
    waiting for what is not to come.
    """
    directory = tmp_path_factory.mktemp("peers")
    kinds: list[type[Peer]] = [Landbridge, *PEERS]
    brokers = [kind(directory) for kind in kinds if kind.installed()]
    with ThreadPoolExecutor(SCRIPTS_AT_ONCE) as pool:
        try:
            list(pool.map(Peer.start, brokers))
            running = {
                (script.name, broker.name): pool.submit(_outcome, script, broker)
                for script in SCRIPTS
                for broker in brokers
            }
            yield {key: future.result() for key, future in running.items()}
        finally:
            list(pool.map(Peer.stop, brokers))


def _outcome(script: Script, broker: Peer) -> Outcome:
    try:
        return script.run(broker.ports["stomp"])
    except (AssertionError, KeyError, OSError) as error:
        # A step that the script takes for granted went wrong: that is an outcome, too.
        return [f"stuck: {error!r}"]


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
@pytest.mark.parametrize("peer", [peer.name for peer in PEERS])
def test_outcomes_are_the_peers(script: Script, peer: str, outcomes: Outcomes) -> None:
    theirs = outcomes.get((script.name, peer))
    if theirs is None:
        pytest.skip(f"{peer} is not installed")
    ours = outcomes[script.name, "landbridge"]
    assert not any(each.startswith("stuck") for each in ours), ours
    reason = DIFFERENCES.get((script.name, peer))
    if reason is None:
        assert ours == theirs
    elif not reason.startswith("sometimes"):
        assert ours != theirs, f"no difference any more: {reason}"


def test_differences_name_scripts() -> None:
    names = {script.name for script in SCRIPTS}
    assert {name for name, _ in DIFFERENCES} <= names

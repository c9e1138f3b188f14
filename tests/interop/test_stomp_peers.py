"""The same STOMP scripts against Landbridge, RabbitMQ and ActiveMQ, outcome by outcome.

What Landbridge does otherwise than a peer stands in `stomp_differences`, with the reason; all else
has to be the same. Runs where Debian's `rabbitmq-server` or `activemq` is installed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.benchmarks.peers import ActiveMQ, Landbridge, Peer, RabbitMQ
from tests.interop import (  # noqa: F401 - importing them lists their scripts
    stomp_scripts_destinations,
    stomp_scripts_frames,
    stomp_scripts_sessions,
    stomp_scripts_settling,
    stomp_scripts_subscriptions,
)
from tests.interop.side_by_side import SideBySide, all_running, ports_of
from tests.interop.stomp_differences import DIFFERENCES
from tests.interop.stomp_script import SCRIPTS, Script

PEERS: tuple[type[Peer], ...] = (RabbitMQ, ActiveMQ)
SCRIPTS_AT_ONCE = 64

pytestmark = [
    pytest.mark.skipif(
        not any(peer.installed() for peer in PEERS),
        reason="neither rabbitmq-server nor activemq is installed (Debian's packages)",
    ),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    directory = tmp_path_factory.mktemp("peers")
    kinds: list[type[Peer]] = [Landbridge, *PEERS]
    peers = [kind(directory) for kind in kinds if kind.installed()]
    with all_running(peers):
        brokers = SideBySide(ports_of(peers, "stomp"))
        brokers.run(SCRIPTS, SCRIPTS_AT_ONCE)
        yield brokers


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
@pytest.mark.parametrize("peer", [peer.name for peer in PEERS])
def test_outcomes_are_the_peers(script: Script, peer: str, brokers: SideBySide) -> None:
    if not brokers.ran_at(peer):
        pytest.skip(f"{peer} is not installed")
    reason = DIFFERENCES.get((script.name, peer))
    ours, theirs = brokers.outcomes(script, peer, same=reason is None)
    assert not any(each.startswith("stuck") for each in ours), ours
    if reason is None:
        assert ours == theirs
    elif not reason.startswith("sometimes"):
        assert ours != theirs, f"no difference any more: {reason}"


def test_differences_name_scripts() -> None:
    names = {script.name for script in SCRIPTS}
    assert {name for name, _ in DIFFERENCES} <= names

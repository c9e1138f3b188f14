"""The same MQTT scripts against Landbridge and Mosquitto, outcome by outcome.

What Landbridge does otherwise stands in `DIFFERENCES`, with the reason; all else has to be the
same. Runs where Debian's `mosquitto` is installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.benchmarks.peers import Landbridge, Mosquitto, Peer
from tests.interop import mqtt_scripts_properties  # noqa: F401 - importing it lists its scripts
from tests.interop.mqtt_scripts import SCRIPTS, Script
from tests.interop.side_by_side import SideBySide, all_running, ports_of

SCRIPTS_AT_ONCE = 32

_TABLE: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    (
        "MQTT 5, 4.8.2: $share has a name and a filter",
        ("a_filter[5-'$share//a']", "a_filter[5-'$share/g']", "a_filter[5-'$share/g/']"),
    ),
    ("overlapping filters deliver once", ("overlapping_filters[5]",)),
    ("MQTT 5, 3.1.4: who is taken over is told so", ("a_client_id_twice[5]",)),
    (
        "the specification forbids it, and says that the connection is to be closed",
        (
            *(f"a_mistake[{version}-b'\\xc0\\x01x']" for version in (4, 5)),
            *(f"a_mistake[{version}-b'\\xd0\\x00']" for version in (4, 5)),
            *(f"a_mistake[{version}-b'8\\x05\\x00\\x01a\\x00x']" for version in (4, 5)),
            "a_mistake[4-b'\\xb0\\x02\\x00\\x01']",
        ),
    ),
    (
        "MQTT 5, 3.1.2.2: an unknown version is answered in the newest",
        tuple(
            f"a_connect[{version}-b'\\x00\\x04MQTT\\t\\x02\\x00\\x00\\x00\\x00']"
            for version in (4, 5)
        ),
    ),
    (
        "MQTT 5, 3.3.2.3: a property that PUBLISH may not have, or a value that is none",
        (
            "a_property_of_publish[5-b'\\x0b\\x01']",
            "a_property_of_publish[5-b'\\x01\\x02']",
            "a_property_of_publish[5-b'\\x08\\x00\\x03a/#']",
        ),
    ),
    (
        "MQTT 5, 3.8.3.1 and 4.8.2: no no-local there, and nothing retained",
        tuple(f"a_shared_subscription[5-{options}]" for options in (4, 0)),
    ),
    (
        "$SYS is refused like other topics that a client may not publish to",
        tuple(f"a_topic_of_the_broker[{version}-'$SYS/x']" for version in (4, 5)),
    ),
    (
        "MQTT 5, 3.6.2.1 and 3.7.2.1: an unknown packet identifier is called so",
        ("an_answer_to_nothing[5-5]", "an_answer_to_nothing[5-6]"),
    ),
)
DIFFERENCES: Final = {name: reason for reason, names in _TABLE for name in names}

pytestmark = [
    pytest.mark.skipif(not Mosquitto.installed(), reason="mosquitto is not installed"),
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SideBySide]:
    directory = tmp_path_factory.mktemp("peers")
    peers: list[Peer] = [Landbridge(directory), Mosquitto(directory)]
    with all_running(peers):
        brokers = SideBySide(ports_of(peers, "mqtt"))
        brokers.run(SCRIPTS, SCRIPTS_AT_ONCE)
        yield brokers


@pytest.mark.parametrize("script", SCRIPTS, ids=[script.name for script in SCRIPTS])
def test_outcomes_are_those_of_mosquitto(script: Script, brokers: SideBySide) -> None:
    reason = DIFFERENCES.get(script.name)
    ours, theirs = brokers.outcomes(script, "mosquitto", same=reason is None)
    assert not any(each.startswith("stuck") for each in ours), ours
    if reason is None:
        assert ours == theirs
    else:
        assert ours != theirs, f"no difference any more: {reason}"


def test_differences_name_scripts() -> None:
    assert DIFFERENCES.keys() <= {script.name for script in SCRIPTS}

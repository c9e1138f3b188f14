"""Every example configuration is checked and started, with ports that the system chooses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bridge.auth import make_password_hash
from tests.bridge.net.certificates import Authority
from tests.support.aws_nodes import cloud
from tests.support.moto_server import moto_server
from tests.support.program import run_landbridge, running

FOLDER = Path(__file__).parents[2] / "deploy" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        cloud(url, "sqs").create_queue(QueueName="prod-orders-v2")
        yield url


@pytest.fixture
def environment(tmp_path: Path, moto_url: str) -> Mapping[str, str]:
    server = Authority("examples", tmp_path).issue("localhost")
    return {
        "TLS_CERTIFICATE": str(server.certificate),
        "TLS_KEY": str(server.key),
        "ORDERS_PASSWORD_HASH": make_password_hash(b"secret"),
        "REPORTS_PASSWORD_HASH": make_password_hash(b"secret"),
        "BILLING_SECRET": "only-for-tests",
        "DATA": str(tmp_path / "data"),
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_ACCESS_KEY_ID": "AKIATEST",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_right_and_starts(
    example: Path, tmp_path: Path, environment: Mapping[str, str]
) -> None:
    checked = run_landbridge(
        "check", "-c", str(example), directory=tmp_path, environment=environment
    )
    assert checked.returncode == 0, checked.stderr
    listeners = YAML(typ="safe").load(example.read_text())["listeners"]
    ports = [f"--set=listeners.{name}.port=0" for name in listeners]
    with running(
        "-c",
        str(example),
        *ports,
        directory=tmp_path,
        environment=environment,
        free_ports=False,
    ) as program:
        assert program.ports.keys() == listeners.keys()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_names_what_it_needs(example: Path, tmp_path: Path) -> None:
    checked = run_landbridge("check", "-c", str(example), directory=tmp_path)
    head = example.read_text().partition("\n\n")[0]
    for line in checked.stderr.splitlines():
        missing = re.search(r"the environment has no (\w+)", line)
        assert missing, line
        assert f"{missing[1]}=" in head


def test_the_router_does_what_its_comments_say(tmp_path: Path) -> None:
    def explained(*arguments: str) -> str:
        rules = str(FOLDER / "routing-rules.yaml")
        result = run_landbridge("explain", *arguments, "-c", rules, directory=tmp_path)
        assert result.returncode == 0, result.stderr
        return result.stdout

    source = "stomp:/topic/plant.7.meter.power"
    energy = explained(source, "--attribute", "unit=kWh")
    assert "queue line-7 (to be created)" in energy
    assert "default mapping: replaced" in energy
    alarm = explained(source, "--body", '{"level": 95}')
    assert "alarm-history" in alarm
    assert "line-7" not in alarm.partition("alarms")[2]
    without = explained("stomp:/queue/site-events")
    assert "no value for {header:site}; it goes to queue unrouted" in without

"""Mosquitto's own programs: mosquitto_pub and mosquitto_sub, and a broker that bridges."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bridge.net.certificates import Authority
from tests.interop.lost_on_aws import MQTT_ORDER, in_order
from tests.support.mqtt_client import SocketClient, connect
from tests.support.ports import free_port
from tests.support.program import Place, Program

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin")
WAIT_SECONDS = 60

pytestmark = pytest.mark.skipif(
    shutil.which("mosquitto_pub") is None, reason="mosquitto-clients is not installed"
)


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("mosquitto")) as program:
        yield program


def publish(port: int, topic: str, message: str, *options: str) -> None:
    subprocess.run(
        ["mosquitto_pub", "-p", str(port), "-t", topic, "-m", message, *options],
        check=True,
        timeout=WAIT_SECONDS,
    )


@contextmanager
def subscribed(port: int, topic: str, count: int, *options: str) -> Iterator[list[str]]:
    """A mosquitto_sub that ends after `count` messages; the lines are there after the block."""
    command = [
        "stdbuf",
        "-oL",
        "mosquitto_sub",
        "-p",
        str(port),
        "-t",
        topic,
        "-C",
        str(count),
        "-d",
        *options,
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        for line in process.stdout:
            if "SUBACK" in line:
                break
            lines += _without_debug(line)
        yield lines
        for line in process.stdout:
            lines += _without_debug(line)
        assert process.wait(WAIT_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _without_debug(line: str) -> list[str]:
    debug = line.startswith(("Client ", "Subscribed", "Received"))
    return [] if debug else [line.rstrip("\n")]


@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
@pytest.mark.parametrize("qos", ["0", "1", "2"])
def test_publish_and_subscribe(place: Place, program: Program, version: str, qos: str) -> None:
    port, topic = program.port("mqtt"), f"{version}/{qos}"
    with subscribed(port, topic, 2, "-V", version, "-q", qos, "-F", "%t %q %p") as lines:
        publish(port, topic, "one", "-V", version, "-q", qos)
        publish(port, topic, "two", "-V", version, "-q", qos)
    assert in_order(place, MQTT_ORDER, lines) == [f"{topic} {qos} one", f"{topic} {qos} two"]


def test_retained_and_offline(program: Program) -> None:
    port = program.port("mqtt")
    options = ("-c", "-i", "offline", "-q", "1", "-F", "%r %p")
    publish(port, "kept/a", "retained", "-r", "-q", "1")
    with subscribed(port, "kept/#", 1, *options) as lines:
        pass
    assert lines == ["1 retained"]
    publish(port, "kept/b", "while away", "-q", "1")
    with subscribed(port, "kept/#", 2, *options) as lines:
        pass
    assert sorted(lines) == ["0 while away", "1 retained"]


def test_the_will_of_a_killed_client(program: Program) -> None:
    port = program.port("mqtt")
    will = ("--will-topic", "will/x", "--will-payload", "gone", "--will-qos", "1")
    with subscribed(port, "will/#", 1, "-F", "%t %p") as lines:
        dying = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-p", str(port), "-t", "x", "-d", *will],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert dying.stdout is not None
        for line in dying.stdout:
            if "SUBACK" in line:
                break
        dying.kill()
        dying.communicate()
    assert lines == ["will/x gone"]


def test_tls(place: Place, tmp_path: Path) -> None:
    authority = Authority("test authority", tmp_path)
    issued = authority.issue("localhost")
    listener = (
        "--set=listeners.secure.protocol=mqtt",
        "--set=listeners.secure.port=0",
        f"--set=listeners.secure.tls.certificate={issued.certificate}",
        f"--set=listeners.secure.tls.key={issued.key}",
    )
    with place.running(*listener, directory=tmp_path) as program:
        port = program.port("secure")
        options = ("-h", "localhost", "--cafile", str(authority.certificate), "-V", "mqttv5")
        with subscribed(port, "tls", 1, *options, "-F", "%p") as lines:
            publish(port, "tls", "secret", *options, "-q", "1")
    assert lines == ["secret"]


def test_figures(program: Program) -> None:
    with subscribed(program.port("mqtt"), "$SYS/broker/version", 1, "-F", "%r %p") as lines:
        pass
    assert lines[0].startswith("1 landbridge version ")


@contextmanager
def mosquitto(directory: Path, *configuration: str) -> Iterator[int]:
    """A Mosquitto broker; yields its port."""
    assert MOSQUITTO is not None
    port = free_port()
    file = directory / "mosquitto.conf"
    file.write_text(
        "\n".join([f"listener {port} 127.0.0.1", "allow_anonymous true", *configuration])
    )
    log = (directory / "mosquitto.log").open("w")
    process = subprocess.Popen([MOSQUITTO, "-c", str(file), "-v"], stdout=log, stderr=log)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(WAIT_SECONDS)
        log.close()


def bridge(port: int, version: str, *topics: str) -> Sequence[str]:
    return (
        "connection landbridge",
        f"address 127.0.0.1:{port}",
        f"bridge_protocol_version {version}",
        "cleansession false",
        "notifications true",
        "restart_timeout 1",
        *(f"topic {topic}" for topic in topics),
    )


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
@pytest.mark.parametrize("version", ["mqttv311", "mqttv50"])
async def test_a_bridge_in_both_directions(place: Place, tmp_path: Path, version: str) -> None:
    with place.running(directory=tmp_path) as program:
        here = program.port("mqtt")
        topics = ("up/# out 1", "down/# in 1", "both/# both 2")
        with mosquitto(tmp_path, *bridge(here, version, *topics)) as there:
            local = await SocketClient.open(here, connect("here"))
            await local.subscribe("up/#", "down/#", "both/#", qos=2)
            await local.subscribe("$SYS/broker/connection/#", qos=1)
            program.wait_for_log("protocol=mqtt peer=", 2)
            remote = await _open_patiently(there)
            await remote.subscribe("up/#", "down/#", "both/#", qos=2)
            await _until_bridged(local, remote)
            await remote.publish("up/1", "from there", qos=1)
            await local.publish("down/1", "from here", qos=1)
            await local.publish("both/h", "h", qos=2)
            await remote.publish("both/t", "t", qos=2)
            for client in (local, remote):
                received = await _without_probes(client, 4)
                assert received == {
                    ("up/1", b"from there"),
                    ("down/1", b"from here"),
                    ("both/h", b"h"),
                    ("both/t", b"t"),
                }
            await local.leave()
            await remote.leave()


async def _open_patiently(port: int) -> SocketClient:
    """Mosquitto needs a moment to listen."""

    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return await SocketClient.open(port, connect("there"))
        except ConnectionError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def _until_bridged(local: SocketClient, remote: SocketClient) -> None:
    """Send probes until one has come over in each direction."""

    deadline = time.monotonic() + WAIT_SECONDS
    for source, target in ((local, remote), (remote, local)):
        probe = f"both/probe-{id(source)}"
        while not any(each.topic == probe for each in target.inbox):
            assert time.monotonic() < deadline, "the bridge does not carry"
            await source.publish(probe, qos=1)
            await asyncio.sleep(0.1)


async def _without_probes(client: SocketClient, count: int) -> set[tuple[str, bytes]]:
    def wanted() -> list[tuple[str, bytes]]:
        return [
            (each.topic, each.payload)
            for each in client.inbox
            if "probe" not in each.topic and not each.topic.startswith("$")
        ]

    await client.until(lambda: len(wanted()) >= count)
    assert await client.quiet() or len(wanted()) == count
    return set(wanted())

"""Starting and stopping the whole program: what it says, what it refuses, and how it ends."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.auth import make_password_hash
from bridge.protocols import PROTOCOLS
from tests.support.program import FREE_PORTS, LANDBRIDGE, Program, run_landbridge, running, start


def fetch(program: Program, path: str, listener: str = "metrics") -> str:
    url = f"http://127.0.0.1:{program.port(listener)}{path}"
    with urllib.request.urlopen(url, timeout=60) as response:
        return str(response.read(), "utf-8")


def test_the_start_text_says_what_there_is(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        text = "\n".join(program.text)
        assert text.startswith("Landbridge 0.1.0 is up")
        assert set(program.ports) == set(PROTOCOLS)
        assert all(program.ports.values())
        assert f"{tmp_path}/landbridge-data (fsync" in text
        assert "no users" in text
        assert text.count("warning:") == 1
        (line,) = [line for line in program.text if line.strip().startswith("try ")]
        assert f"http://127.0.0.1:{program.port('aws')}/" in line
        assert fetch(program, "/healthz") == "ok\n"
        assert json.loads(fetch(program, "/readyz"))["ready"] is True
        assert "landbridge_info" in fetch(program, "/metrics")
    assert not any("Traceback" in line for line in program.log)
    assert program.log[-1].rstrip().endswith("stopped")


def test_the_line_to_try_works(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        answer = fetch(program, "/?Action=CreateQueue&QueueName=hello", "aws")
        assert "/000000000000/hello</QueueUrl>" in answer


def test_json_logs_have_the_start_as_an_event(tmp_path: Path) -> None:
    with subprocess.Popen(
        [LANDBRIDGE, "serve", "--set=log.format=json", *FREE_PORTS],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        event = json.loads(process.stderr.readline())
        process.terminate()
        out, _ = process.communicate(timeout=60)
    assert event["event"] == "started"
    assert set(event["listeners"]) == set(PROTOCOLS)
    assert len(event["warnings"]) == 1
    assert out == ""
    assert process.returncode == 0


def test_all_taken_ports_are_said_in_one_message(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("", 0)) as two:
        ports = one.getsockname()[1], two.getsockname()[1]
        result = run_landbridge(
            "serve",
            *FREE_PORTS,
            f"--set=listeners.stomp.port={ports[0]}",
            f"--set=listeners.aws.port={ports[1]}",
            directory=tmp_path,
        )
    assert result.returncode == 1
    assert re.search(rf"stomp +127\.0\.0\.1:{ports[0]} +in use", result.stderr)
    assert re.search(rf"aws +127\.0\.0\.1:{ports[1]} +in use", result.stderr)
    (offset,) = re.findall(r"--port-offset (\d+)", result.stderr)
    suggested = run_landbridge("check", "--port-offset", offset, directory=tmp_path)
    assert suggested.returncode == 0, suggested.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    result = run_landbridge(
        "serve",
        *FREE_PORTS,
        "--set=listeners.stomp={bind: 192.0.2.1, anonymous: true, port: 0}",
        directory=tmp_path,
    )
    assert result.returncode == 1
    assert "192.0.2.1:0  cannot assign requested address" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_second_start_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        second = run_landbridge("serve", *FREE_PORTS, directory=tmp_path)
        assert second.returncode == 1
        assert f"in use by process {program.process.pid}" in second.stderr
        assert "Traceback" not in second.stderr
        assert fetch(program, "/healthz") == "ok\n"
    with running(directory=tmp_path):
        pass


@pytest.mark.parametrize("kind", ["a file", "no permission"])
def test_a_data_directory_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "data"
    if kind == "a file":
        place.touch()
    else:
        place = Path("/proc/landbridge")
    result = run_landbridge("serve", *FREE_PORTS, f"--set=backend.path={place}", directory=tmp_path)
    assert result.returncode == 1
    assert str(place) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_listener_elsewhere_needs_users(tmp_path: Path) -> None:
    elsewhere = "--set=listeners.stomp.bind=0.0.0.0"
    result = run_landbridge("serve", *FREE_PORTS, elsewhere, directory=tmp_path)
    assert result.returncode == 1
    assert "password_hash:" in result.stderr
    hashed = make_password_hash(b"secret")
    user = f"--set=users=[{{name: orders, password_hash: '{hashed}'}}]"
    with running(elsewhere, user, directory=tmp_path) as program:
        text = "\n".join(program.text)
        assert "1 user: orders" in text
        assert "without TLS" in text


@pytest.mark.parametrize(
    ("count", "said"), [(0, "any keys"), (1, "1 access key"), (2, "2 access keys")]
)
def test_who_may_call_the_api_is_said(tmp_path: Path, count: int, said: str) -> None:
    keys = ",".join(f"{{id: AKID{number}, secret: abcdefgh}}" for number in range(count))
    with running(f"--set=aws_api.access_keys=[{keys}]", directory=tmp_path) as program:
        assert any(line.endswith(f"SQS and SNS API: {said}") for line in program.text)


def test_a_wrong_configuration_starts_nothing(tmp_path: Path) -> None:
    (tmp_path / "landbridge.yaml").write_text("listenrs: {}\nlog: {level: loud}\n")
    result = run_landbridge("serve", directory=tmp_path)
    assert result.returncode == 1
    assert result.stderr.splitlines() == [
        "landbridge.yaml:1: listenrs: is no option; did you mean 'listeners'?",
        "landbridge.yaml:2: log.level: must be 'debug', 'info', 'warning' or 'error', not 'loud'",
    ]
    assert not (tmp_path / "landbridge-data").exists()


def test_declared_queues_exist_with_their_settings(tmp_path: Path) -> None:
    queues = "--set=queues=[{name: orders, visibility_timeout_seconds: 7, dead_letter: failed}]"
    attributes = "Action=GetQueueAttributes&AttributeName.1=VisibilityTimeout"
    with running(queues, directory=tmp_path) as program:
        answer = fetch(program, f"/000000000000/orders?{attributes}", "aws")
        assert "<Value>7</Value>" in answer
    with running(queues.replace("7", "8"), directory=tmp_path) as program:
        answer = fetch(program, f"/000000000000/orders?{attributes}", "aws")
        assert "<Value>8</Value>" in answer


def test_a_queue_cannot_turn_into_another_kind(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program, stomp_client(program) as client:
        client.sendall(b"SEND\ndestination:/queue/orders.fifo\nreceipt:1\n\nx\0")
        assert client.recv(4096).startswith(b"RECEIPT")
    fifo = "--set=queues=[{name: orders.fifo, fifo: true}]"
    result = run_landbridge("serve", *FREE_PORTS, fifo, directory=tmp_path)
    assert result.returncode == 1
    assert "'orders.fifo' exists as a standard queue" in result.stderr
    assert "Traceback" not in result.stderr


def test_stopping_tells_clients_and_loses_nothing(tmp_path: Path) -> None:
    subscribe = b"SUBSCRIBE\nid:0\ndestination:/queue/orders\nack:client\n\n\0"
    with running(directory=tmp_path) as program, stomp_client(program) as client:
        client.sendall(subscribe + b"SEND\ndestination:/queue/orders\nreceipt:1\n\nx\0")
        answers = read_until(client, b"MESSAGE", b"RECEIPT")
        assert b"redelivered:false" in answers
        assert program.stop() == 0
        while client.recv(4096):
            """A last frame may come before the end."""
    with running(directory=tmp_path) as program, stomp_client(program) as client:
        client.sendall(subscribe)
        assert b"redelivered:true" in read_until(client, b"MESSAGE")


@contextmanager
def stomp_client(program: Program) -> Iterator[socket.socket]:
    """A connected STOMP client, as bare as can be."""
    with socket.create_connection(("127.0.0.1", program.port("stomp")), timeout=60) as client:
        client.sendall(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        assert client.recv(4096).startswith(b"CONNECTED")
        yield client


def read_until(client: socket.socket, *commands: bytes) -> bytes:
    """What came until there was a frame of each command."""
    received = b""
    while not all(command in received for command in commands):
        chunk = client.recv(4096)
        assert chunk, received
        received += chunk
    return received


def test_an_interrupt_stops_it_as_well(tmp_path: Path) -> None:
    program = start(*FREE_PORTS, directory=tmp_path)
    program.signal(signal.SIGINT)
    assert program.wait() == 0


def test_a_second_signal_does_not_wait_for_clients(tmp_path: Path) -> None:
    program = start(*FREE_PORTS, directory=tmp_path)
    fetch(program, "/?Action=CreateQueue&QueueName=q", "aws")
    with socket.create_connection(("127.0.0.1", program.port("aws"))) as client:
        request = "/000000000000/q?Action=ReceiveMessage&WaitTimeSeconds=20"
        client.sendall(f"GET {request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        # The next answer on another connection comes after that request was read.
        fetch(program, "/?Action=ListQueues", "aws")
        program.signal(signal.SIGTERM)
        program.wait_for_log("stopping")
        program.signal(signal.SIGTERM)
        assert program.wait() == 0


def test_who_speaks_tls_where_nobody_does_is_told_apart_in_the_log(tmp_path: Path) -> None:
    context = ssl.create_default_context()
    with running(directory=tmp_path) as program:
        for count, protocol in enumerate(("mqtt", "amqp", "stomp"), 1):
            with socket.create_connection(("127.0.0.1", program.port(protocol))) as client:
                client.settimeout(60)
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    context.wrap_socket(client, server_hostname="localhost")
            reason = 'reason="the client speaks tls, and this listener does not"'
            program.wait_for_log(reason, count)

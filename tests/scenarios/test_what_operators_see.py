"""What the log and the figures say of clients that are turned away, or make mistakes."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import urllib.request
from base64 import b64encode
from pathlib import Path

import pika
import pytest

from bridge.auth import make_password_hash
from tests.support.aws_clients import client, refusal
from tests.support.mqtt_wire import packet, string
from tests.support.program import Program, running

USER = f"{{name: shop, password_hash: '{make_password_hash(b'right')}'}}"


def figures(program: Program, name: str) -> dict[str, int]:
    """The samples of one family, by protocol."""
    url = f"http://127.0.0.1:{program.port('metrics')}/metrics"
    with urllib.request.urlopen(url, timeout=60) as response:
        text = response.read().decode()
    found = re.findall(rf'^{name}{{protocol="(\w+)"}} (\d+)\.0$', text, re.MULTILINE)
    return {protocol: int(value) for protocol, value in found}


def connected(program: Program, password: str = "right") -> pika.BlockingConnection:
    credentials = pika.PlainCredentials("shop", password)
    port = program.port("amqp")
    return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, "/", credentials))


def test_mistakes_on_channels_are_logged_with_their_names(tmp_path: Path) -> None:
    with running(f"--set=users=[{USER}]", directory=tmp_path) as program:
        connection = connected(program)
        channel = connection.channel()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare("invoices", passive=True)
        channel = connection.channel()
        channel.queue_declare("orders")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare("orders", durable=True)
        channel = connection.channel()
        channel.basic_publish("nowhere", "k", b"x")
        with pytest.raises(pika.exceptions.ChannelClosedByBroker):
            channel.queue_declare("orders")
        connection.close()
        program.wait_for_log("disconnected")
        lines = [line for line in program.log if "channel closed" in line]
        assert all("protocol=amqp" in line and "user=shop" in line for line in lines)
        said = [re.sub(r".* channel=", "channel=", line) for line in lines]
        assert said[0] == (
            "channel=1 operation=queue.declare"
            " reason=\"NOT_FOUND - no queue 'invoices' in vhost '/'\""
        )
        assert "operation=queue.declare" in said[1]
        assert "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'orders'" in said[1]
        assert "operation=basic.publish" in said[2]
        assert "no exchange 'nowhere' in vhost '/'" in said[2]
        assert len(said) == 3
        assert figures(program, "landbridge_channel_errors_total")["amqp"] == 3


def test_a_mistake_that_costs_the_connection_is_why_it_went(tmp_path: Path) -> None:
    with running(f"--set=users=[{USER}]", directory=tmp_path) as program:
        channel = connected(program).channel()
        with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
            channel.exchange_declare("ex", "nonsense")
        program.wait_for_log("disconnected")
        (line,) = [line for line in program.log if "disconnected" in line]
        assert "reason=\"COMMAND_INVALID - unknown exchange type 'nonsense'\"" in line


def answer(program: Program, listener: str, sent: bytes) -> bytes:
    """The first that a listener says to some bytes."""
    with socket.create_connection(("127.0.0.1", program.port(listener)), 60) as connection:
        connection.sendall(sent)
        return connection.recv(4096)


def log_in_wrongly(program: Program) -> None:
    """Once at each listener that knows users."""
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        connected(program, "wrong")
    payload = b"\0\4MQTT\x04\xc2\0\0" + string("meter") + string("shop") + string("wrong")
    assert answer(program, "mqtt", packet(0x10, payload)) == b"\x20\x02\0\x04"
    frame = b"CONNECT\naccept-version:1.2\nlogin:shop\npasscode:wrong\n\n\0"
    assert answer(program, "stomp", frame).startswith(b"ERROR\n")
    found = refusal(client(f"http://127.0.0.1:{program.port('aws')}", "sqs").list_queues)
    assert found.code == "InvalidClientTokenId"
    management = http.client.HTTPConnection("127.0.0.1", program.port("management"), timeout=60)
    for headers in ({}, {"Authorization": f"Basic {b64encode(b'shop:wrong').decode()}"}):
        management.request("GET", "/api/overview", headers=headers)
        response = management.getresponse()
        response.read()
        assert response.status == 401
    management.close()


def test_failed_logins_are_logged_and_counted(tmp_path: Path) -> None:
    keys = "--set=aws_api.access_keys=[{id: AKIDRIGHT, secret: abcdefgh}]"
    with running(f"--set=users=[{USER}]", keys, directory=tmp_path) as program:
        none = figures(program, "landbridge_logins_failed_total")
        log_in_wrongly(program)
        program.wait_for_log("refused", 5)
        refused = {
            found[1]: line
            for line in program.log
            if (found := re.search(r" refused protocol=(\w+) ", line))
        }
        assert set(refused) == {"amqp", "mqtt", "stomp", "aws", "management"}
        assert "user=AKID" in refused["aws"]
        assert "InvalidClientTokenId: The security token" in refused["aws"]
        assert "user=shop" in refused["management"]
        assert "wrong user name or password" in refused["management"]
        assert none == dict.fromkeys(refused, 0)
        assert figures(program, "landbridge_logins_failed_total") == dict.fromkeys(refused, 1)


@pytest.mark.parametrize("listener", ["aws", "management", "metrics"])
def test_tls_where_plain_http_is_spoken(tmp_path: Path, listener: str) -> None:
    context = ssl.create_default_context()
    with running(directory=tmp_path) as program:
        plain = socket.create_connection(("127.0.0.1", program.port(listener)), 60)
        with plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")
        program.wait_for_log("the client speaks tls, and this listener does not")
        assert sum(f"refused protocol={listener}" in line for line in program.log) == 1

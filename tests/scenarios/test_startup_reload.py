"""SIGHUP: a good file is applied without touching what it leaves alone, a bad one not at all."""

from __future__ import annotations

import http.client
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pika
import pytest

from bridge.auth import make_password_hash
from tests.bridge.net.certificates import Authority
from tests.support.ports import free_port
from tests.support.program import Program, running

SECRET = make_password_hash(b"secret")
OTHER = make_password_hash(b"other")
LISTENERS = "listeners: {aws: {port: 0}, metrics: {port: 0}, stomp: {port: 0}%s}\n"


def login(port: int, password: str | None, context: ssl.SSLContext | None = None) -> str:
    """The command of the frame that answers a CONNECT."""
    credentials = "" if password is None else f"login:orders\npasscode:{password}\n"
    frame = f"CONNECT\naccept-version:1.2\nhost:/\n{credentials}\n\0"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as plain:
        client = plain if context is None else context.wrap_socket(plain)
        with client:
            client.sendall(frame.encode())
            return client.recv(4096).decode().partition("\n")[0]


class Configured:
    """A running program and its file."""

    def __init__(self, program: Program, file: Path) -> None:
        self.program = program
        self._file = file
        self._reloads = 0

    def reload(self, text: str, *, refused: bool = False) -> None:
        self._file.write_text(text)
        self.program.signal(signal.SIGHUP)
        if refused:
            self.program.wait_for_log("configuration not reloaded")
        else:
            self._reloads += 1
            self.program.wait_for_log("configuration reloaded", self._reloads)


@pytest.fixture
def configured(tmp_path: Path) -> Iterator[Configured]:
    file = tmp_path / "landbridge.yaml"
    file.write_text(LISTENERS % "")
    with running(directory=tmp_path, free_ports=False) as program:
        yield Configured(program, file)


def test_users_are_applied_and_connections_live_on(configured: Configured) -> None:
    program = configured.program
    stomp = program.port("stomp")
    assert login(stomp, "anything") == "CONNECTED"
    kept = http.client.HTTPConnection("127.0.0.1", program.port("metrics"), timeout=60)
    with closing(kept):
        kept.request("GET", "/healthz")
        assert kept.getresponse().read() == b"ok\n"
        connected = kept.sock
        user = "users: [{name: orders, password_hash: '%s'}]\n"
        configured.reload(LISTENERS % "" + user % SECRET)
        assert login(stomp, "anything") == "ERROR"
        assert login(stomp, None) == "ERROR"
        assert login(stomp, "secret") == "CONNECTED"
        configured.reload(LISTENERS % "" + user % OTHER)
        assert login(stomp, "secret") == "ERROR"
        assert login(stomp, "other") == "CONNECTED"
        kept.request("GET", "/healthz")
        assert kept.getresponse().read() == b"ok\n"
        assert kept.sock is connected


def test_connections_of_a_removed_user_end(configured: Configured) -> None:
    user = f"{{name: %s, password_hash: '{SECRET}'}}"
    configured.reload(LISTENERS % "" + f"users: [{user % 'orders'}, {user % 'other'}]\n")
    stomp = configured.program.port("stomp")
    with (
        socket.create_connection(("127.0.0.1", stomp), timeout=60) as gone,
        socket.create_connection(("127.0.0.1", stomp), timeout=60) as kept,
    ):
        for client, name in ((gone, b"orders"), (kept, b"other")):
            head = b"CONNECT\naccept-version:1.2\nhost:/\n"
            client.sendall(head + b"login:" + name + b"\npasscode:secret\n\n\0")
            assert client.recv(4096).startswith(b"CONNECTED")
            client.sendall(b"SUBSCRIBE\nid:0\ndestination:/queue/a\nreceipt:0\n\n\0")
            assert client.recv(4096).startswith(b"RECEIPT")
        configured.reload(LISTENERS % "" + f"users: [{user % 'other'}]\n")
        said = b""
        while data := gone.recv(4096):
            said += data
        assert said.startswith(b"ERROR")
        assert b"user 'orders' is deleted" in said
        kept.sendall(b"SEND\ndestination:/queue/a\n\nhello\0")
        assert kept.recv(4096).startswith(b"MESSAGE")


def test_listeners_come_and_go(configured: Configured) -> None:
    program = configured.program
    port = free_port()
    configured.reload(LISTENERS % f", second: {{protocol: stomp, port: {port}}}")
    assert login(port, None) == "CONNECTED"
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        assert client.recv(4096).startswith(b"CONNECTED")
        configured.reload(LISTENERS % "")
        while client.recv(4096):
            pass
    with pytest.raises(ConnectionRefusedError):
        login(port, None)
    assert login(program.port("stomp"), None) == "CONNECTED"


def test_a_changed_listener_takes_its_port_over(configured: Configured) -> None:
    port = free_port()
    configured.reload(LISTENERS % f", second: {{protocol: stomp, port: {port}}}")
    user = f"users: [{{name: orders, password_hash: '{SECRET}'}}]\n"
    second = f", second: {{protocol: stomp, port: {port}, anonymous: true}}"
    configured.reload(LISTENERS % second + user)
    assert login(port, None) == "CONNECTED"
    assert login(port, "wrong") == "ERROR"
    assert login(configured.program.port("stomp"), None) == "ERROR"


def test_routes_and_queues_are_applied(configured: Configured) -> None:
    routed = "routes: [{from: 'stomp:/queue/a', to: 'sqs:b'}]\nqueues: [{name: c}]\n"
    configured.reload(LISTENERS % "" + routed)
    api = http.client.HTTPConnection("127.0.0.1", configured.program.port("aws"), timeout=60)
    with closing(api):
        api.request("GET", "/?Action=ListQueues")
        answer = api.getresponse().read().decode()
    assert "/000000000000/b<" in answer
    assert "/000000000000/c<" in answer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("listeners: {stomp: {prt: 1}}\n", "landbridge.yaml:1: listeners.stomp.prt: is no option"),
        ("listeners: [", "landbridge.yaml:1: is not YAML"),
        (
            LISTENERS % "" + "backend: {path: elsewhere}\nusers: [{name: a}]\n",
            "landbridge.yaml:2: backend.path: cannot be changed by a reload",
        ),
        (LISTENERS % "" + "log: {format: json}\n", "log.format: cannot be changed by a reload"),
    ],
)
def test_a_bad_file_changes_nothing(configured: Configured, text: str, reason: str) -> None:
    program = configured.program
    configured.reload(text, refused=True)
    program.wait_for_log(reason)
    assert login(program.port("stomp"), None) == "CONNECTED"


def test_a_taken_port_changes_nothing(configured: Configured) -> None:
    program = configured.program
    user = f"users: [{{name: orders, password_hash: '{SECRET}'}}]\n"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # The stomp listener would go and another one come.
        text = f"listeners: {{aws: {{port: 0}}, x: {{protocol: stomp, port: {port}}}}}\n"
        configured.reload(text + user, refused=True)
    assert login(program.port("stomp"), "anything") == "CONNECTED"
    configured.reload(LISTENERS % "" + user)
    assert login(program.port("stomp"), "secret") == "CONNECTED"


def test_a_topic_of_another_kind_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "landbridge.yaml"
    listeners = "listeners: {amqp: {port: 0}, stomp: {port: 0}%s}\n"
    file.write_text(listeners % "")
    port = free_port()
    with running(directory=tmp_path, free_ports=False) as program:
        parameters = pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
        with closing(pika.BlockingConnection(parameters)) as connection:
            connection.channel().exchange_declare("orders", "direct", durable=True)
        configured = Configured(program, file)
        route = "routes: [{from: 'stomp:/queue/a', to: 'sns:orders'}]\n"
        more = f", second: {{protocol: stomp, port: {port}}}"
        configured.reload(listeners % more + route, refused=True)
        program.wait_for_log("exists as 'direct'")
        with pytest.raises(ConnectionRefusedError):
            login(port, None)
        assert login(program.port("stomp"), None) == "CONNECTED"


def test_certificates_are_renewed_without_dropping_connections(tmp_path: Path) -> None:
    old, new = (Authority(name, tmp_path / name) for name in made(tmp_path, "old", "new"))
    issued = old.issue("localhost")
    for name, source in (("c.pem", issued.certificate), ("c.key", issued.key)):
        (tmp_path / name).write_bytes(source.read_bytes())
    tls = "{certificate: '${TLS}.pem', key: '${TLS}.key'}"
    (tmp_path / "landbridge.yaml").write_text(f"listeners: {{stomp: {{port: 0, tls: {tls}}}}}\n")
    with running(
        directory=tmp_path, free_ports=False, environment={"TLS": str(tmp_path / "c")}
    ) as program:
        port = program.port("stomp")
        assert login(port, None, old.client_context()) == "CONNECTED"
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        with old.client_context().wrap_socket(plain) as client:
            client.sendall(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
            assert client.recv(4096).startswith(b"CONNECTED")
            renewed = new.issue("localhost")
            (tmp_path / "c.pem").write_bytes(renewed.certificate.read_bytes())
            program.signal(signal.SIGHUP)
            program.wait_for_log("does not belong to the certificate")
            assert login(port, None, old.client_context()) == "CONNECTED"
            (tmp_path / "c.key").write_bytes(renewed.key.read_bytes())
            program.signal(signal.SIGHUP)
            program.wait_for_log("configuration reloaded")
            assert login(port, None, new.client_context()) == "CONNECTED"
            with pytest.raises(ssl.SSLError):
                login(port, None, old.client_context())
            client.sendall(b"DISCONNECT\nreceipt:1\n\n\0")
            assert client.recv(4096).startswith(b"RECEIPT")


def made(directory: Path, *names: str) -> Iterator[str]:
    for name in names:
        (directory / name).mkdir()
        yield name


def test_a_client_certificate_is_a_login(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir()
    authority = Authority("tests", tmp_path / "ca")
    server = authority.issue("localhost")
    (tmp_path / "landbridge.yaml").write_text(
        "users: [{name: orders}]\n"
        "listeners:\n"
        "  stomp:\n"
        "    port: 0\n"
        "    tls:\n"
        f"      certificate: {server.certificate}\n"
        f"      key: {server.key}\n"
        f"      client_ca: {authority.certificate}\n"
    )
    with running(directory=tmp_path, free_ports=False) as program:
        port = program.port("stomp")
        device = authority.client_context(authority.issue("orders"))
        stranger = authority.client_context(authority.issue("stranger"))
        assert login(port, None, device) == "CONNECTED"
        assert login(port, None, stranger) == "ERROR"
        assert login(port, None, authority.client_context()) == "ERROR"

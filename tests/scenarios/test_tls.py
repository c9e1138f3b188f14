"""Clients over TLS, where there is no half-closed connection: who closes is gone at once."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.bridge.net.certificates import Authority
from tests.support.program import running


@contextmanager
def connected(port: int, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with context.wrap_socket(plain, server_hostname="localhost") as client:
        client.sendall(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0")
        assert client.recv(4096).startswith(b"CONNECTED")
        yield client


@pytest.mark.parametrize("count", [1, 100])
def test_what_was_sent_to_a_new_queue_before_closing_arrives(tmp_path: Path, count: int) -> None:
    (tmp_path / "authority").mkdir()
    authority = Authority("ca", tmp_path / "authority")
    issued = authority.issue("localhost")
    tls = f"{{certificate: {issued.certificate}, key: {issued.key}}}"
    (tmp_path / "landbridge.yaml").write_text(f"listeners: {{stomp: {{port: 0, tls: {tls}}}}}\n")
    with running(directory=tmp_path, free_ports=False) as program:
        port, context = program.port("stomp"), authority.client_context()
        with connected(port, context) as sender:
            sender.sendall(count * b"SEND\ndestination:/queue/new\n\nhello\0")
        with connected(port, context) as reader:
            reader.sendall(b"SUBSCRIBE\nid:0\ndestination:/queue/new\n\n\0")
            got = b""
            while got.count(b"\n\nhello\0") < count:
                got += reader.recv(65536)

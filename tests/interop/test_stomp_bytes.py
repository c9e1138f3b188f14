"""Hand-made bytes over real sockets: what clients do wrong, and whom it must not touch."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.program import Place, Program

CONNECT = b"CONNECT\naccept-version:1.2\nhost:/\n\n\0"
WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    limits = ("message_size_max=16777216", "consumers_per_connection_max=1000")
    options = [f"--set=limits.{limit}" for limit in limits]
    with place.running(*options, directory=tmp_path_factory.mktemp("broker")) as started:
        yield started


class Wire:
    """A socket that reads frame by frame."""

    def __init__(self, program: Program) -> None:
        self.socket = socket.create_connection(("127.0.0.1", program.port("stomp")), WAIT_SECONDS)
        self._input = b""

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def frame(self) -> bytes:
        """The next frame without its NUL; b"" at the end."""
        while b"\0" not in self._input.lstrip(b"\n"):
            data = self.socket.recv(65_536)
            if not data:
                return b""
            self._input += data
        frame, _, self._input = self._input.lstrip(b"\n").partition(b"\0")
        return frame

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def wire(program: Program) -> Iterator[Wire]:
    opened = Wire(program)
    yield opened
    opened.close()


@pytest.fixture
def bystander(program: Program) -> Iterator[Wire]:
    """A healthy connection, which is asked at the end whether it still is."""
    opened = Wire(program)
    opened.send(CONNECT)
    assert opened.frame().startswith(b"CONNECTED\n")
    yield opened
    opened.send(b"SEND\ndestination:/queue/by\nreceipt:still-here\n\nx\0")
    assert opened.frame() == b"RECEIPT\nreceipt-id:still-here\n\n"
    opened.close()


def test_a_session_by_hand(wire: Wire) -> None:
    wire.send(CONNECT)
    connected = wire.frame()
    assert connected.startswith(b"CONNECTED\nserver:Landbridge/")
    assert b"\nversion:1.2\n" in connected
    wire.send(b"SUBSCRIBE\nid:0\ndestination:/queue/hand\nack:client\nreceipt:s\n\n\0")
    assert wire.frame() == b"RECEIPT\nreceipt-id:s\n\n"
    wire.send(b"SEND\ndestination:/queue/hand\ncontent-length:3\n\na\nb\0\n")
    message = wire.frame()
    assert message.startswith(b"MESSAGE\nsubscription:0\ndestination:/queue/hand\nmessage-id:")
    assert message.endswith(b"\ncontent-length:3\n\na\nb")
    key = message.split(b"\nack:")[1].split(b"\n")[0]
    wire.send(b"ACK\nid:" + key + b"\nreceipt:a\n\n\0DISCONNECT\nreceipt:bye\n\n\0")
    assert wire.frame() == b"RECEIPT\nreceipt-id:a\n\n"
    assert wire.frame() == b"RECEIPT\nreceipt-id:bye\n\n"
    assert wire.frame() == b""


def test_byte_by_byte_with_carriage_returns(wire: Wire) -> None:
    session = (
        b"\r\nSTOMP\r\naccept-version:1.2\r\nhost:/\r\n\r\n\0\r\n"
        b"SEND\r\ndestination:/queue/slow\r\nreceipt:r\r\n\r\nhello\0"
    )
    wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for position in range(len(session)):
        wire.send(session[position : position + 1])
    assert wire.frame().startswith(b"CONNECTED\n")
    assert wire.frame() == b"RECEIPT\nreceipt-id:r\n\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HELLO\n\n\0", b"Could not interpret command"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"Could not interpret command"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 500, b"Malformed frame"),
        (b"SEND\ndestination:/queue/a\n\nx\0", b"You must log in using CONNECT first"),
        (b"CONNECT\naccept-version:9.9\n\n\0", b"Supported versions are 1.0,1.1,1.2"),
        (CONNECT + b"SEND\n\nx\0", b"Missing destination"),
        (CONNECT + b"SEND\ndestination:/queue/a\nfoo:\\t\n\n\0", b"undefined escape"),
        (CONNECT + b"SEND\ndestination:/queue/a\ncontent-length:1\n\nxyz\0", b"no NUL after"),
        (CONNECT + b"SEND\ndestination:/queue/a\ncontent-length:999999999\n\n", b"allowed"),
        (CONNECT + b"SEND\n" + b"x" * 100_000, b"headers of more than"),
        (CONNECT + b"SEND\n" + b"a:b\n" * 2_000 + b"\n\0", b"2000 headers, 1000 allowed"),
        (CONNECT + b"ACK\nid:1-1\n\n\0", b"not an unacknowledged message"),
    ],
)
def test_mistakes_cost_their_own_connection(
    wire: Wire, bystander: Wire, data: bytes, reason: bytes
) -> None:
    wire.send(data)
    frame = wire.frame()
    if frame.startswith(b"CONNECTED\n"):
        frame = wire.frame()
    assert frame.startswith(b"ERROR\n")
    assert reason in frame
    assert wire.frame() == b""


def test_a_message_of_sixteen_megabytes_and_one_byte_more(wire: Wire, bystander: Wire) -> None:
    size = 16 * 1024 * 1024
    wire.send(CONNECT)
    wire.frame()
    wire.send(b"SEND\ndestination:/queue/big\nreceipt:r\ncontent-length:%d\n\n" % size)
    wire.send(b"x" * size + b"\0")
    assert wire.frame() == b"RECEIPT\nreceipt-id:r\n\n"
    wire.send(b"SEND\ndestination:/queue/big\nreceipt:s\ncontent-length:%d\n\n" % (size + 1))
    assert b"a body of 16777217 bytes, 16777216 allowed" in wire.frame()


def test_a_thousand_subscriptions_and_no_more(wire: Wire) -> None:
    wire.send(CONNECT)
    wire.frame()
    subscribe = b"".join(
        b"SUBSCRIBE\nid:%d\ndestination:/queue/many\nreceipt:%d\n\n\0" % (number, number)
        for number in range(1_001)
    )
    wire.send(subscribe)
    for number in range(1_000):
        assert wire.frame() == b"RECEIPT\nreceipt-id:%d\n\n" % number
    assert b"Subscription limit exceeded" in wire.frame()


def test_a_client_that_goes_without_a_word_gives_its_messages_back(
    wire: Wire, bystander: Wire
) -> None:
    wire.send(CONNECT)
    wire.frame()
    wire.send(b"SUBSCRIBE\nid:0\ndestination:/queue/gone\nack:client\n\n\0")
    wire.send(b"SEND\ndestination:/queue/gone\n\nhello\0")
    assert wire.frame().endswith(b"\n\nhello")
    wire.close()
    bystander.send(b"SUBSCRIBE\nid:0\ndestination:/queue/gone\n\n\0")
    again = bystander.frame()
    assert b"\nredelivered:true\n" in again
    assert again.endswith(b"\n\nhello")


def test_a_scheduled_message_comes_when_it_is_due(wire: Wire) -> None:
    wire.send(CONNECT)
    wire.frame()
    wire.send(b"SUBSCRIBE\nid:0\ndestination:/queue/scheduled\nreceipt:0\n\n\0")
    assert wire.frame().startswith(b"RECEIPT")
    sent_at = time.monotonic()
    wire.send(
        b"SEND\ndestination:/queue/scheduled\nAMQ_SCHEDULED_DELAY:1000\n\nlater\0"
        b"SEND\ndestination:/queue/scheduled\n\nnow\0"
    )
    assert wire.frame().endswith(b"\n\nnow")
    later = wire.frame()
    assert later.endswith(b"\n\nlater")
    assert b"AMQ_SCHEDULED" not in later
    assert time.monotonic() - sent_at >= 1.0

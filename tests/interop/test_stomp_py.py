"""stomp.py, Python's client, in every version of the protocol."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
import stomp
import stomp.listener

from tests.interop.lost_on_aws import STOMP_ORDER, in_order
from tests.support.program import Place, Program

WAIT_SECONDS = 60
VERSIONS = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}


class Seen(stomp.ConnectionListener):  # type: ignore[misc]
    """What a connection received; `wait` blocks until there is enough of it."""

    def __init__(self) -> None:
        self.frames: list[Any] = []
        self.errors: list[Any] = []
        self.receipts: list[str] = []
        self.disconnected = False
        self._changed = threading.Condition()

    def _note(self, act: Callable[[], object]) -> None:
        with self._changed:
            act()
            self._changed.notify_all()

    def on_message(self, frame: Any) -> None:
        self._note(lambda: self.frames.append(frame))

    def on_error(self, frame: Any) -> None:
        self._note(lambda: self.errors.append(frame))

    def on_receipt(self, frame: Any) -> None:
        self._note(lambda: self.receipts.append(frame.headers["receipt-id"]))

    def on_disconnected(self) -> None:
        def note() -> None:
            self.disconnected = True

        self._note(note)

    def wait(self, condition: Callable[[Seen], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), WAIT_SECONDS), vars(self)

    def messages(self, count: int) -> list[Any]:
        self.wait(lambda seen: len(seen.frames) >= count)
        return self.frames


class Session:
    """A connected client and what it has seen."""

    def __init__(self, program: Program, version: str, **options: Any) -> None:
        headers = options.pop("headers", None)
        self.version = version
        self.seen = Seen()
        self.client = VERSIONS[version]([("127.0.0.1", program.port("stomp"))], **options)
        self.client.set_listener("seen", self.seen)
        self.client.connect("guest", "guest", wait=True, headers=headers or {})

    def ack(self, frame: Any, **options: Any) -> None:
        self._settle(self.client.ack, frame, options)

    def nack(self, frame: Any, **options: Any) -> None:
        self._settle(self.client.nack, frame, options)

    def _settle(self, act: Callable[..., object], frame: Any, options: Any) -> None:
        if self.version == "1.2":
            act(frame.headers["ack"], **options)
        elif self.version == "1.1":
            act(frame.headers["message-id"], frame.headers["subscription"], **options)
        else:
            act(frame.headers["message-id"], **options)

    def close(self) -> None:
        if self.client.is_connected():
            self.client.disconnect()


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("broker")) as started:
        yield started


@pytest.fixture(params=list(VERSIONS))
def version(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(program: Program, version: str) -> Iterator[Callable[..., Session]]:
    sessions: list[Session] = []

    def connected(**options: Any) -> Session:
        sessions.append(Session(program, version, **options))
        return sessions[-1]

    yield connected
    for session in sessions:
        session.close()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A queue of the test's own."""
    return "/queue/" + cast("str", request.node.name).replace("[", ".").replace("]", "")


Connect = Callable[..., Session]


def test_text_and_headers(connect: Connect, name: str) -> None:
    session = connect()
    headers = {f"header-{n}": f"value {n}" for n in range(15)}
    session.client.subscribe(name, id="1", ack="auto")
    session.client.send(name, "caf\u00e9", headers={**headers, "priority": "4"})
    (frame,) = session.seen.messages(1)
    assert frame.body == "caf\u00e9"
    assert frame.headers["destination"] == name
    assert frame.headers["priority"] == "4"
    assert {key: frame.headers[key] for key in headers} == headers


def test_binary(connect: Connect, name: str) -> None:
    session = connect(auto_decode=False)
    session.client.subscribe(name, id="1", ack="auto")
    session.client.send(name, b"\0\x01\xff\n\0", content_type="application/octet-stream")
    (frame,) = session.seen.messages(1)
    assert frame.body == b"\0\x01\xff\n\0"


def test_a_megabyte(connect: Connect, name: str) -> None:
    session = connect()
    session.client.subscribe(name, id="1", ack="auto")
    session.client.send(name, "x" * 1_000_000)
    assert len(session.seen.messages(1)[0].body) == 1_000_000


def test_receipts(connect: Connect, name: str) -> None:
    session = connect()
    for number in range(50):
        session.client.send(name, "x", receipt=f"r{number}")
    session.seen.wait(lambda seen: len(seen.receipts) == 50)
    assert session.seen.receipts == [f"r{number}" for number in range(50)]


@pytest.mark.parametrize("mode", ["client", "client-individual"])
def test_acks(place: Place, connect: Connect, name: str, mode: str) -> None:
    session = connect()
    session.client.subscribe(name, id="1", ack=mode)
    for number in range(3):
        session.client.send(name, str(number))
    frames = session.seen.messages(3)
    bodies = [frame.body for frame in frames]
    assert in_order(place, STOMP_ORDER, bodies) == ["0", "1", "2"]
    session.ack(frames[1], receipt="acked")
    session.seen.wait(lambda seen: "acked" in seen.receipts)
    session.close()
    left = connect()
    left.client.subscribe(name, id="1", ack="auto")
    expected = in_order(place, STOMP_ORDER, bodies[2:] if mode == "client" else bodies[::2])
    again = [frame.body for frame in left.seen.messages(len(expected))]
    assert in_order(place, STOMP_ORDER, again) == expected
    assert {frame.headers["redelivered"] for frame in left.seen.frames} == {"true"}


def test_nack(connect: Connect, name: str, version: str) -> None:
    if version == "1.0":
        pytest.skip("stomp.py's client of 1.0 has no NACK")
    session = connect()
    session.client.subscribe(name, id="1", ack="client-individual")
    session.client.send(name, "hello")
    session.nack(session.seen.messages(1)[0])
    again = session.seen.messages(2)[1]
    assert again.headers["redelivered"] == "true"
    session.ack(again)


def test_transactions(connect: Connect, name: str) -> None:
    session = connect()
    session.client.subscribe(name, id="1", ack="auto")
    kept = session.client.begin()
    dropped = session.client.begin()
    session.client.send(name, "kept", transaction=kept)
    session.client.send(name, "dropped", transaction=dropped)
    session.client.send(name, "first")
    session.client.abort(dropped)
    session.seen.messages(1)
    session.client.commit(kept)
    assert [frame.body for frame in session.seen.messages(2)] == ["first", "kept"]


def test_topics(connect: Connect, name: str) -> None:
    topic = name.replace("/queue/", "/topic/")
    one, two = connect(), connect()
    for session in (one, two):
        session.client.subscribe(f"{topic}.*", id="1", ack="auto", headers={"receipt": "s"})
        session.seen.wait(lambda seen: "s" in seen.receipts)
    one.client.send(f"{topic}.a", "hello")
    for session in (one, two):
        (frame,) = session.seen.messages(1)
        assert (frame.body, frame.headers["destination"]) == ("hello", f"{topic}.a")


def test_durable_topics(connect: Connect, name: str, version: str) -> None:
    topic = name.replace("/queue/", "/topic/")
    durable = {"durable": "true", "auto-delete": "false", "receipt": "s"}
    session = connect()
    session.client.subscribe(topic, id=f"news{version}", ack="auto", headers=durable)
    session.seen.wait(lambda seen: "s" in seen.receipts)
    session.close()
    other = connect()
    other.client.send(topic, "missed", receipt="r")
    other.seen.wait(lambda seen: "r" in seen.receipts)
    session = connect()
    session.client.subscribe(topic, id=f"news{version}", ack="auto", headers=durable)
    assert session.seen.messages(1)[0].body == "missed"


def test_replies(connect: Connect, name: str) -> None:
    asking, answering = connect(), connect()
    answering.client.subscribe(name, id="1", ack="auto")
    asking.client.send(name, "question", headers={"reply-to": "/temp-queue/mine"})
    (question,) = answering.seen.messages(1)
    answering.client.send(question.headers["reply-to"], "answer")
    (reply,) = asking.seen.messages(1)
    assert (reply.body, reply.headers["subscription"]) == ("answer", "/temp-queue/mine")


def test_unsubscribe(connect: Connect, name: str) -> None:
    session = connect()
    session.client.subscribe(name, id="1", ack="auto")
    session.client.unsubscribe(id="1", headers={"receipt": "u"})
    session.seen.wait(lambda seen: "u" in seen.receipts)
    session.client.send(name, "x", receipt="r")
    session.seen.wait(lambda seen: "r" in seen.receipts)
    assert session.seen.frames == []


def test_errors(connect: Connect) -> None:
    session = connect()
    session.client.send("/nowhere", "x", receipt="r")
    session.seen.wait(lambda seen: bool(seen.errors) and seen.disconnected)
    (error,) = session.seen.errors
    assert error.headers["message"] == "Unknown destination"
    assert error.headers["receipt-id"] == "r"


def test_heart_beats_keep_a_quiet_connection(connect: Connect, version: str) -> None:
    if version == "1.0":
        pytest.skip("STOMP 1.0 has no heart-beats")
    # A machine that stops for longer than a beat may end a session; it does not do so each time.
    assert any(_lasts(connect(heartbeats=(1_000, 1_000)), 5.0) for _ in range(5))


def _lasts(session: Session, seconds: float) -> bool:
    """Whether a session lives for so long, without a frame."""
    deadline = time.monotonic() + seconds
    never = threading.Event()
    while session.client.is_connected():
        if time.monotonic() > deadline:
            return True
        never.wait(0.05)
    return False


def test_disconnect_with_receipt(connect: Connect, name: str) -> None:
    session = connect()
    session.client.send(name, "kept")
    session.client.disconnect(receipt="bye")
    session.seen.wait(lambda seen: "bye" in seen.receipts and seen.disconnected)

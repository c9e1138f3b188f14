"""STOMP scripts: connecting, heart-beats and receipts."""

from __future__ import annotations

from contextlib import closing

from tests.interop.side_by_side import Outcome
from tests.interop.stomp_script import connected, script, sent, subscribed
from tests.support.stomp_wire import Wire, frame, reference

for _offer in (None, "1.0", "1.1", "1.2", "1.0,1.1", "1.0,1.1,1.2", "1.2,1.1,1.0", "1.2,9.9"):

    @script(_offer)
    def version(port: int, offer: str | None) -> Outcome:
        with closing(Wire(port)) as wire:
            headers = {"host": "/", "login": "guest", "passcode": "guest"}
            if offer is not None:
                headers["accept-version"] = offer
            wire.frame("CONNECT", headers)
            return [str(wire.read())]


for _offer in ("9.9", "", "1.3", "1.1, 1.2"):

    @script(_offer)
    def odd_version(port: int, offer: str) -> Outcome:
        with closing(Wire(port)) as wire:
            headers = {"host": "/", "login": "guest", "passcode": "guest", "accept-version": offer}
            wire.frame("CONNECT", headers)
            return [str(wire.read())]


@script()
def the_command_stomp(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        headers = {"host": "/", "login": "guest", "passcode": "guest", "accept-version": "1.1"}
        wire.frame("STOMP", headers)
        return [str(wire.read())]


@script()
def line_feeds_before_connect(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        wire.send(b"\n\n")
        return [str(wire.connect())]


@script()
def connected_headers(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        return sorted(wire.connect("1.2").headers)


@script()
def connected_headers_in_1_0(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        return sorted(wire.connect("1.0").headers)


@script()
def a_second_connect(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("CONNECT", {"accept-version": "1.2", "host": "/"})
        return wire.quiet()


for _command in ("SEND", "SUBSCRIBE", "DISCONNECT", "BEGIN", "HELLO"):

    @script(_command)
    def before_connect(port: int, command: str) -> Outcome:
        with closing(Wire(port)) as wire:
            wire.frame(command, {"destination": "/queue/early", "id": "1", "transaction": "t"})
            return wire.quiet()


for _command in ("HELLO", "send", "CONNECTED", "MESSAGE"):

    @script(_command)
    def unknown_command(port: int, command: str) -> Outcome:
        with connected(port) as wire:
            wire.frame(command, {"destination": "/queue/unknown", "receipt": "1"})
            return wire.quiet()


@script()
def wrong_password(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        wire.frame(
            "CONNECT",
            {"accept-version": "1.2", "host": "/", "login": "guest", "passcode": "wrong"},
        )
        return wire.quiet()


@script()
def connect_with_a_receipt(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        wire.frame(
            "CONNECT",
            {
                "accept-version": "1.2",
                "host": "/",
                "login": "guest",
                "passcode": "guest",
                "receipt": "c",
            },
        )
        return wire.quiet()


@script()
def frames_in_one_write_with_connect(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        login = {"accept-version": "1.2", "host": "/", "login": "guest", "passcode": "guest"}
        wire.send(
            frame("CONNECT", login)
            + frame("SEND", {"destination": "/queue/one_write", "receipt": "1"}, b"x")
            + frame("DISCONNECT", {"receipt": "2"})
        )
        return wire.done()


for _beat in (
    None,
    "0,0",
    "5000,0",
    "0,5000",
    "10000,20000",
    "abc",
    "1000",
    "-1,0",
    "5000, 5000",
    "1,2,3",
    "",
):

    @script(_beat)
    def heart_beat(port: int, beat: str | None) -> Outcome:
        with closing(Wire(port)) as wire:
            headers = {"accept-version": "1.2", "host": "/", "login": "guest", "passcode": "guest"}
            if beat is not None:
                headers["heart-beat"] = beat
            wire.frame("CONNECT", headers)
            received = wire.read()
            return [str(received), received.headers.get("heart-beat", "-")]


@script()
def heart_beats_come(port: int) -> Outcome:
    with connected(port, heart_beat="0,400") as wire:
        before = wire.beats
        wire.read(1.5)
        return ["enough" if wire.beats - before >= 2 else "too few"]


@script()
def silence_ends_a_connection(port: int) -> Outcome:
    with connected(port, heart_beat="400,0") as wire:
        received = wire.read(4)
        return [str(received)]


@script()
def beats_keep_a_connection(port: int) -> Outcome:
    with connected(port, heart_beat="500,0") as wire:
        for _ in range(8):
            wire.read(0.25)
            wire.send(b"\n")
        wire.frame("DISCONNECT", {"receipt": "1"})
        return wire.done()


for _version in ("1.0", "1.1", "1.2"):

    @script(_version)
    def receipts_for_every_frame(port: int, version: str) -> Outcome:
        queue = f"/queue/every-{version}"
        said: Outcome = []
        with connected(port, version) as wire:

            def step(command: str, headers: dict[str, str], body: bytes = b"") -> None:
                wire.frame(command, {**headers, "receipt": command}, body)
                said.append(str(wire.read()))

            step("SUBSCRIBE", {"id": "1", "destination": queue, "ack": "client"})
            step("BEGIN", {"transaction": "t"})
            step("ABORT", {"transaction": "t"})
            step("BEGIN", {"transaction": "t"})
            step("COMMIT", {"transaction": "t"})
            sent(wire, "/queue/other", "x")
            wire.frame("SEND", {"destination": queue}, b"a")
            message = wire.read()
            step("ACK", reference(version, message))
            step("UNSUBSCRIBE", {"id": "1", "destination": queue})
            wire.frame("DISCONNECT", {"receipt": "bye"})
            return [*said, *wire.done()]


@script()
def a_nack_with_a_receipt(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/nack-receipt", ack="client-individual")
        sent(wire, "/queue/nack-receipt", "a")
        wire.settle("NACK", wire.expect("MESSAGE"), receipt="n")
        return sorted(wire.quiet())[-1:]


@script()
def sends_in_a_transaction_with_receipts(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("BEGIN", {"transaction": "t", "receipt": "b"})
        headers = {"destination": "/queue/tx-receipts", "transaction": "t"}
        wire.frame("SEND", {**headers, "receipt": "1"}, b"x")
        early = wire.quiet()
        wire.frame("COMMIT", {"transaction": "t", "receipt": "c"})
        return [*early, "commit", *sorted(wire.quiet())]


@script()
def receipts_keep_their_text(port: int) -> Outcome:
    with connected(port) as wire:
        for receipt in ("a b", r"colon\chere", r"back\\slash", "ünï", "x" * 500):
            wire.frame("SEND", {"destination": "/queue/receipts", "receipt": receipt}, b"x")
        return wire.quiet()


@script()
def an_error_names_its_receipt(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("SEND", {"receipt": "lost"}, b"no destination")
        received = wire.read()
        return [str(received), received.headers.get("receipt-id", "-")]


@script()
def a_topic_without_subscribers_gives_a_receipt(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("SEND", {"destination": "/topic/nobody", "receipt": "1"}, b"x")
        return wire.quiet()


@script()
def disconnect_without_a_receipt(port: int) -> Outcome:
    with connected(port) as wire:
        wire.frame("DISCONNECT")
        return wire.done()


@script()
def sends_before_disconnect_are_answered(port: int) -> Outcome:
    with connected(port) as wire:
        chunk = b"".join(
            frame("SEND", {"destination": "/queue/last", "receipt": str(number)}, b"x")
            for number in range(20)
        )
        wire.send(chunk + frame("DISCONNECT", {"receipt": "bye"}))
        return wire.done()

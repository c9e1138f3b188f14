"""STOMP scripts: what frames look like on the wire."""

from __future__ import annotations

from contextlib import closing

from tests.interop.side_by_side import Outcome
from tests.interop.stomp_script import connected, left, message_headers, script, subscribed
from tests.support.stomp_wire import Wire, frame, fresh


@script()
def binary_bodies(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/binary")
        body = bytes(range(256))
        wire.frame("SEND", {"destination": "/queue/binary", "content-length": "256"}, body)
        message = wire.expect("MESSAGE")
        return [str(message.body == body), message.headers.get("content-length", "-")]


for _length, _body in (
    ("0", b""),
    ("", b"abc"),
    ("-1", b"abc"),
    ("abc", b"abc"),
    ("2", b"abc"),
    (" 3 ", b"abc"),
    ("3", b"a\0b"),
    ("03", b"abc"),
):

    @script(_length, _body)
    def content_length(port: int, length: str, body: bytes) -> Outcome:
        with connected(port) as wire:
            queue = fresh("/queue/length")
            subscribed(wire, queue)
            wire.frame("SEND", {"destination": queue, "content-length": length}, body)
            return wire.quiet()


@script()
def a_content_length_beyond_the_body(port: int) -> Outcome:
    with connected(port) as wire:
        queue = "/queue/beyond"
        subscribed(wire, queue)
        wire.frame("SEND", {"destination": queue, "content-length": "10"}, b"abc")
        return wire.quiet()


@script()
def an_empty_body(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/empty")
        wire.frame("SEND", {"destination": "/queue/empty"})
        message = wire.expect("MESSAGE")
        return [repr(message.body)]


@script()
def a_large_body(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/large")
        body = bytes(range(256)) * 20_000
        headers = {"destination": "/queue/large", "content-length": str(len(body)), "receipt": "1"}
        wire.frame("SEND", headers, body)
        received = [wire.read(), wire.read()]
        return sorted(
            each.command if each.command != "MESSAGE" else f"MESSAGE {each.body == body}"
            for each in received
        )


for _version in ("1.0", "1.1", "1.2"):
    for _value in (r"a\nb", r"a\cb", r"a\\b", r"a\rb", r"a\tb", "a:b", " a ", "a\\", "", "ü"):

        @script(_version, _value)
        def header_value(port: int, version: str, value: str) -> Outcome:
            queue = fresh("/queue/escaped")
            with connected(port, version) as wire:
                subscribed(wire, queue)
                wire.frame("SEND", {"destination": queue, "kept": value}, b"x")
                received = wire.read()
                return [str(received), received.headers.get("kept", "-")]


@script()
def an_escaped_header_name(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/names")
        wire.frame("SEND", {"destination": "/queue/names", r"a\cb": "1", "with blank": "2"}, b"x")
        received = wire.read()
        return [str(received), *message_headers(received, "expires", "priority", "persistent")]


for _line in ("nocolon", ":noname", "a b:c", "=:="):

    @script(_line)
    def a_header_line(port: int, line: str) -> Outcome:
        with connected(port) as wire:
            queue = fresh("/queue/line")
            subscribed(wire, queue)
            wire.send(f"SEND\ndestination:{queue}\n{line}\n\nx\0".encode())
            received = wire.read()
            return [
                str(received),
                *message_headers(
                    received,
                    "expires",
                    "priority",
                    "persistent",
                    "redelivered",
                    "message",
                    "content-type",
                    "version",
                    "server",
                ),
            ]


@script()
def a_header_in_latin_1_from_a_client_of_1_0(port: int) -> Outcome:
    with connected(port, "1.0") as wire:
        wire.send(b"SEND\ndestination:/queue/latin\nname:J\xfcrgen\nreceipt:1\n\nx\0")
        return wire.quiet()


@script()
def repeated_headers(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/repeated")
        pairs = [("destination", "/queue/repeated"), ("a", "first"), ("a", "second")]
        wire.frame("SEND", pairs, b"x")
        return [wire.expect("MESSAGE").headers["a"]]


for _version in ("1.0", "1.1", "1.2"):

    @script(_version)
    def carriage_returns(port: int, version: str) -> Outcome:
        with connected(port, version) as wire:
            wire.send(
                f"SEND\r\ndestination:/queue/returns-{version}\r\nreceipt:1\r\n\r\nx\0\r\n".encode()
            )
            return wire.quiet()[:1]


@script()
def ends_of_line_between_frames(port: int) -> Outcome:
    with connected(port) as wire:
        one = frame("SEND", {"destination": "/queue/between", "receipt": "1"}, b"x")
        two = frame("SEND", {"destination": "/queue/between", "receipt": "2"}, b"x")
        wire.send(b"\n\n" + one + b"\n\r\n\n" + two + b"\n\n\n")
        return wire.quiet()


@script()
def a_frame_in_pieces(port: int) -> Outcome:
    with connected(port) as wire:
        for byte in frame("SEND", {"destination": "/queue/pieces", "receipt": "1"}, b"x"):
            wire.send(bytes([byte]))
        return wire.quiet()


@script()
def a_connection_that_ends_within_a_frame(port: int) -> Outcome:
    with connected(port) as wire:
        wire.send(frame("SEND", {"destination": "/queue/half", "receipt": "1"}, b"whole"))
        wire.expect("RECEIPT")
        wire.send(frame("SEND", {"destination": "/queue/half"}, b"half")[:-1])
    return left(port, "/queue/half")


@script()
def many_headers(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/many")
        headers = {f"h{number}": str(number) for number in range(500)}
        wire.frame("SEND", {"destination": "/queue/many", **headers}, b"x")
        received = wire.read()
        return [str(received), str(sum(name[0] == "h" for name in received.headers))]


@script()
def a_long_header(port: int) -> Outcome:
    with connected(port) as wire:
        subscribed(wire, "/queue/long")
        wire.frame("SEND", {"destination": "/queue/long", "long": "x" * 8_000}, b"x")
        received = wire.read()
        return [str(received), str(len(received.headers.get("long", "")))]


@script()
def headers_without_end(port: int) -> Outcome:
    with connected(port) as wire:
        for _ in range(300):
            wire.send(b"x" * 100_000)
        return wire.quiet()


@script()
def bytes_of_another_protocol(port: int) -> Outcome:
    with closing(Wire(port)) as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return wire.quiet()

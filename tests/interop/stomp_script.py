"""What a STOMP client may do to a broker, as a list of scripts; the helpers that they share.

A script runs on names and connections of its own and says in words what came of it, so that the
outcomes of several brokers can be laid side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from tests.interop.side_by_side import Outcome
from tests.support.stomp_wire import Received, Wire


@dataclass(frozen=True, slots=True)
class Script:
    name: str
    run: Callable[[int], Outcome]


SCRIPTS: list[Script] = []


def script(*arguments: object) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register a script, with its arguments after the port."""

    def register(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        name = function.__name__
        if arguments:
            name += f"[{'-'.join(map(repr, arguments))}]"
        SCRIPTS.append(Script(name, lambda port: function(port, *arguments)))
        return function

    return register


@contextmanager
def connected(port: int, version: str = "1.2", **headers: str) -> Iterator[Wire]:
    wire = Wire(port)
    with closing(wire):
        wire.connect(version, **headers)
        yield wire


def subscribed(wire: Wire, destination: str, identifier: str = "s", **headers: str) -> None:
    """SUBSCRIBE; returns when the broker has done it."""
    wire.frame(
        "SUBSCRIBE",
        {
            "id": identifier,
            "destination": destination,
            "receipt": f"subscribed-{identifier}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
    )
    wire.expect("RECEIPT")


def sent(wire: Wire, destination: str, *bodies: str, **headers: str) -> None:
    """SEND each body; returns when the broker has them all."""
    for body in bodies:
        fields = {"destination": destination, "receipt": f"sent-{body}"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        wire.frame("SEND", fields, body.encode())
    for _ in bodies:
        wire.expect("RECEIPT")


def left(port: int, destination: str) -> Outcome:
    """What a queue still holds, taken out of it."""
    with connected(port) as wire:
        wire.frame("SUBSCRIBE", {"id": "left", "destination": destination})
        return wire.quiet()


def sent_by_another(port: int, destination: str, *bodies: str, **headers: str) -> None:
    with connected(port) as wire:
        sent(wire, destination, *bodies, **headers)


def message_headers(message: Received, *ignored: str) -> Outcome:
    """The headers of a MESSAGE but for what names the message."""
    unstable = {"message-id", "ack", "timestamp", "content-length", "destination", *ignored}
    return sorted(
        f"{name}:{value}" for name, value in message.headers.items() if name not in unstable
    )

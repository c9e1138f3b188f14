"""What a connection costs that says nothing after its handshake: memory, and CPU to connect it."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import msgspec

from tests.benchmarks.amqp import AmqpWire
from tests.benchmarks.link import Link, PeerFailed
from tests.benchmarks.load import Options
from tests.benchmarks.mqtt import MqttWire
from tests.benchmarks.peers import Peer
from tests.benchmarks.stomp import StompWire

_WIRES: dict[str, Callable[[Options], AmqpWire | MqttWire | StompWire]] = {
    "amqp": AmqpWire,
    "mqtt": MqttWire,
    "stomp": StompWire,
}
SETTLE_SECONDS = 1.0
WARM_CONNECTIONS = 200
DESCRIPTORS_BESIDES = 100


class Idle(msgspec.Struct):
    """Per connection."""

    memory_kib: float
    connect_microseconds: float


def measure(peer: Peer, protocol: str, count: int) -> Idle:
    """Open `count` connections after a few that warm the server up, and look at it from outside.

    Raises `PeerFailed`.
    """
    _allow_descriptors(WARM_CONNECTIONS + count)
    options = Options(protocol, peer.ports[protocol], publishers=WARM_CONNECTIONS + count)
    wire = _WIRES[protocol](options)
    links: list[Link] = []

    def open_some(first: int, count: int) -> None:
        for number in range(first, first + count):
            link = Link(options.port)
            links.append(link)
            wire.open_idle(number, link)

    try:
        open_some(0, WARM_CONNECTIONS)
        time.sleep(SETTLE_SECONDS)
        memory, cpu = peer.memory_mib(), peer.cpu_seconds()
        open_some(WARM_CONNECTIONS, count)
        spent = peer.cpu_seconds() - cpu
        time.sleep(SETTLE_SECONDS)
        grown = peer.memory_mib() - memory
    except OSError as error:
        raise PeerFailed(f"a connection failed: {error}") from error
    finally:
        for link in links:
            link.close()
    return Idle(grown * 1024 / count, spent / count * 1e6)


def _allow_descriptors(connections: int) -> None:
    """Of this process; the server sees to its own."""
    wanted = connections + DESCRIPTORS_BESIDES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))

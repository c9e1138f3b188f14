"""The publishes of one chunk, or of what is left of it, on their way to a unit of work."""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec

from adapters.mqtt.packets import Publish as MqttPublish
from bridge.messaging.model import Message, Origin, Publish
from bridge.messaging.ports import Queue
from bridge.routing.router import Routed

FAILURE: Final = 0x80
"""The reason codes from here on say that a publish was not taken."""


class Chunk(msgspec.Struct, eq=False):
    """What was collected and not submitted yet.

    `received` is what is to be answered, in order; `codes` are answers that are known, by the index
    in it, and `positions` that index of each message, or None where these are the same. `runs` say
    of `messages` how many behind one another came from where, and `queues` to which queue all of a
    run go. Where one run has no such queue (`queues` is None), all are routed, as `publishes`, to
    `routed`. `stateful`: some are retained, or of QoS 2. `live`: some may go to connections at
    once; `kept` are the former indexes of the sends that were left to the store then, None where
    all were.
    """

    received: list[MqttPublish] = []
    messages: list[Message] = []
    runs: list[tuple[int, Origin]] = []
    queues: list[Queue] | None = []
    publishes: list[Publish] = []
    positions: list[int] | None = None
    codes: dict[int, int] = {}
    size_bytes: int = 0
    stateful: bool = False
    live: bool = False
    routed: Routed | None = None
    kept: list[int] | None = None

    def add(
        self, run: list[MqttPublish], messages: list[Message], origin: Origin, queue: Queue | None
    ) -> None:
        """Collect publishes of one origin with their messages."""
        count = len(run)
        if self.positions is not None:
            first = len(self.received)
            self.positions += range(first, first + count)
        self.received += run
        self.messages += messages
        self.runs.append((count, origin))
        if queue is None:
            self.queues = None
        elif self.queues is not None:
            self.queues.append(queue)

    def position(self, index: int) -> int:
        """Where the message of this index stands in `received`."""
        return index if self.positions is None else self.positions[index]

    def refuse(self, publish: MqttPublish, code: int) -> None:
        """Collect an answer alone."""
        count = len(self.received)
        if self.positions is None:
            self.positions = list(range(count))
        self.codes[count] = code
        self.received.append(publish)

    def refused_ids(self, qos: int = 1) -> list[int]:
        """Packet ids of what is refused and has at least that QoS."""
        refused = [self.received[index] for index, code in self.codes.items() if code >= FAILURE]
        return [each.packet_id for each in refused if each.qos >= qos]

    # -- where it goes

    def sends(self) -> list[tuple[Queue, Message]] | None:
        """All sends; None where there are `publishes` to route."""
        queues = self.queues
        if queues is None:
            return None
        if len(self.messages) == 1:
            return [(queues[0], self.messages[0])]
        messages = iter(self.messages)
        return [
            (queue, message)
            for (count, _), queue in zip(self.runs, queues, strict=True)
            for message in islice(messages, count)
        ]

    def to_route(self, namespace: str) -> list[Publish]:
        """The same as publishes, for the router."""
        if not self.publishes:
            messages = iter(self.messages)
            self.publishes = [
                Publish(origin, message, namespace)
                for count, origin in self.runs
                for message in islice(messages, count)
            ]
        return self.publishes

    def split(self, count: int) -> Chunk:
        """Take away all behind the first `count` publishes; returns it."""
        rest = Chunk()
        cut = self.position(count)
        rest.received, self.received = self.received[cut:], self.received[:cut]
        rest.messages, self.messages = self.messages[count:], self.messages[:count]
        rest.publishes, self.publishes = self.publishes[count:], self.publishes[:count]
        if self.positions is not None:
            rest.positions = [each - cut for each in self.positions[count:]]
            del self.positions[count:]
        rest.codes = {at - cut: code for at, code in self.codes.items() if at >= cut}
        self.codes = {at: code for at, code in self.codes.items() if at < cut}
        rest.size_bytes = sum(len(each.body) for each in rest.messages)
        self.size_bytes -= rest.size_bytes
        rest.queues, rest.stateful, rest.live = None, self.stateful, self.live
        return rest

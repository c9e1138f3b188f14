"""What one channel remembers: unacknowledged deliveries, confirms, consumers, its content.

AMQP 0-9-1, 1.4 (channel) and 1.8.3 (basic), and RabbitMQ's confirms. Delivery tags count up from 1,
so a dictionary in order of insertion is in order of tags. `lowest` is a tag below which nothing is
unacknowledged: an ack of many walks the tags from there and never the holes of a long life.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from adapters.amqp091.codec import Content, DeliveryEncoder, Outgoing, encode_ack, encode_nack
from adapters.amqp091.errors import precondition_failed
from adapters.amqp091.names import name_of


class ChannelState(Enum):
    """`REFUSED`: the client made a mistake, and what it sends no longer counts; what came before
    that is still answered. `CLOSING`: channel.close was sent, and all is discarded until its
    close-ok (1.4.2.7).
    """

    OPEN = "open"
    REFUSED = "refused"
    CLOSING = "closing"
    CLOSE_RECEIVED = "close received"


class Channel:
    """The state of one open channel."""

    __slots__ = (
        "_acknowledged",
        "_answered_early",
        "_answered_low",
        "_connection_name",
        "_output",
        "_payload_max",
        "_tag_count",
        "client_closes",
        "confirming",
        "consumers",
        "content",
        "last_tag",
        "lowest",
        "number",
        "published",
        "state",
        "transactional",
        "unacked",
    )

    def __init__(
        self, number: int, connection_name: str, payload_max: int, output: list[bytes]
    ) -> None:
        self.number = number
        self._connection_name = connection_name
        self._payload_max = payload_max
        self._output = output
        self.state = ChannelState.OPEN
        self.client_closes = False
        """The client has closed it too, while either side closes it already."""
        self.content: Content | None = None
        self.consumers: dict[str, Consumer] = {}
        self._tag_count = 0
        self.confirming = False
        self.transactional = False
        self.last_tag = 0
        self.lowest = 1
        self.unacked: dict[int, Any] = {}
        self.published = 0
        self._acknowledged: list[tuple[int, Any]] = []
        self._answered_low = 0
        self._answered_early: dict[int, bool] = {}

    # Deliveries

    def hold(self, token: Any) -> int:
        """Give a delivery its tag and remember it until it is settled."""
        self.last_tag += 1
        self.unacked[self.last_tag] = token
        return self.last_tag

    def settle(self, tag: int, multiple: bool, method: int) -> list[Any]:
        """Forget what an ack, nack or reject names, oldest first; raises for an unknown tag."""
        unacked = self.unacked
        if not multiple:
            if tag not in unacked:
                raise precondition_failed(f"unknown delivery tag {tag}", method)
            if tag == self.lowest:
                self.lowest = tag + 1
            tags = [tag]
        elif tag == 0:
            # 1.8.3.13: zero with multiple is everything so far; RabbitMQ takes none for an answer.
            tags = list(unacked)
            self.lowest = self.last_tag + 1
        else:
            tags = self._tags_up_to(tag, method)
            self.lowest = tag + 1
        tokens = [unacked.pop(each) for each in tags]
        if self.transactional:
            self._acknowledged += zip(tags, tokens, strict=True)
        return tokens

    def _tags_up_to(self, tag: int, method: int) -> list[int]:
        unacked = self.unacked
        if tag not in unacked:
            raise precondition_failed(f"unknown delivery tag {tag}", method)
        if tag - self.lowest < 2 * len(unacked):
            return [each for each in range(self.lowest, tag + 1) if each in unacked]
        tags: list[int] = []
        for each in unacked:
            if each > tag:
                break
            tags.append(each)
        return tags

    def take_unacked(self) -> list[Any]:
        """Forget all deliveries, also those acknowledged in an open transaction; oldest first."""
        self.restore()
        return self.take_held()

    def take_held(self) -> list[Any]:
        """Forget all deliveries but those acknowledged in an open transaction (basic.recover)."""
        tokens = list(self.unacked.values())
        self.unacked.clear()
        self.lowest = self.last_tag + 1
        return tokens

    def restore(self) -> None:
        """Hold again what an open transaction had acknowledged (tx.rollback)."""
        if not self._acknowledged:
            return
        self.unacked = dict(sorted([*self.unacked.items(), *self._acknowledged]))
        self.lowest = next(iter(self.unacked))
        self._acknowledged = []

    def forget_acknowledged(self) -> None:
        """The transaction was committed: what it acknowledged is gone."""
        self._acknowledged = []

    # Confirms

    def confirm(self, sequences: Sequence[int], *, accepted: bool) -> list[bytes]:
        """Encode the answers to publishes: in publish order, in as few frames as possible.

        May be called in any order; what is behind an unanswered publish waits for it.
        """
        count = len(sequences)
        low = self._answered_low
        encode = encode_ack if accepted else encode_nack
        if not count:
            return []
        if not self._answered_early and list(sequences) == list(range(low + 1, low + count + 1)):
            self._answered_low = low + count
            return [encode(self.number, low + count, count > 1)]
        self._answered_early.update(dict.fromkeys(sequences, accepted))
        return self._answer_runs()

    def _answer_runs(self) -> list[bytes]:
        """One frame per run of equal verdicts that no longer waits for an earlier one."""
        early = self._answered_early
        frames: list[bytes] = []
        while (accepted := early.pop(self._answered_low + 1, None)) is not None:
            first = self._answered_low + 1
            last = first
            while early.get(last + 1) is accepted:
                last += 1
                del early[last]
            encode = encode_ack if accepted else encode_nack
            frames.append(encode(self.number, last, last > first))
            self._answered_low = last
        return frames

    # Consumers

    def new_consumer(self, tag: str, *, no_ack: bool) -> Consumer:
        """Register a consumer under `tag`, or under one of the server's making."""
        if not tag:
            self._tag_count += 1
            tag = f"amq.ctag-{self._unique_name()}"
        consumer = Consumer(self, tag, self._payload_max, self._output, no_ack)
        self.consumers[tag] = consumer
        return consumer

    def _unique_name(self) -> str:
        """One that no other consumer of this connection has."""
        return name_of(f"{self._connection_name}/{self.number}/{self._tag_count}")


class Consumer:
    """One consumer of a channel; the gateway pushes deliveries into it.

    `data` belongs to the gateway.
    """

    __slots__ = ("_encoder", "_output", "channel", "data", "no_ack", "tag")

    def __init__(
        self, channel: Channel, tag: str, payload_max: int, output: list[bytes], no_ack: bool
    ) -> None:
        self._encoder = DeliveryEncoder(channel.number, tag, payload_max)
        self._output = output
        self.channel = channel
        self.tag = tag
        self.no_ack = no_ack
        self.data: Any = None

    def deliver(self, deliveries: Iterable[Outgoing]) -> None:
        """Encode deliveries, in order, into the connection's output; their tokens are held.

        Where the consumer acknowledges nothing, no token is kept.
        """
        channel = self.channel
        channel.last_tag = self._encoder.encode(
            deliveries,
            channel.last_tag,
            None if self.no_ack else channel.unacked,
            self._output,
        )

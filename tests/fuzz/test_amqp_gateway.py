"""Random methods, sent without waiting, through gateways on a store: no bug, and nothing held."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from typing import Any, Final

from adapters.amqp091.methods import encode_method
from adapters.amqp091.properties import encode_properties
from tests.mappings.amqp091.broker import AmqpClient, Broker, connect

SESSIONS: Final = 150
STEPS_MAX: Final = 40
METHODS_MAX: Final = 6
"""Sent at once."""

QUEUES: Final = ("a", "b", "c")
EXCHANGES: Final = ("amq.topic", "amq.direct", "amq.fanout", "amq.headers", "x", "y")
BITS: Final = (
    *("passive", "exclusive", "auto_delete", "nowait", "if_unused", "if_empty", "no_ack"),
    *("multiple", "requeue", "global_", "mandatory", "durable", "internal"),
)
KEYS: Final = (*QUEUES, "a.b", "#", "*")
ODD: Final = ("", "nope", "amq.rabbitmq.reply-to")
"""Names that are mistakes in most places."""


METHODS: Final = {
    "Queue.Declare": 1.0,
    "Queue.Delete": 0.2,
    "Queue.Purge": 1.0,
    "Queue.Bind": 3.0,
    "Queue.Unbind": 1.0,
    "Exchange.Declare": 1.0,
    "Exchange.Delete": 0.1,
    "Exchange.Bind": 1.0,
    "Exchange.Unbind": 1.0,
    "Basic.Publish": 15.0,
    "Basic.Qos": 1.0,
    "Basic.Consume": 4.0,
    "Basic.Cancel": 1.0,
    "Basic.Get": 1.0,
    "Basic.Ack": 8.0,
    "Basic.Nack": 4.0,
    "Basic.Reject": 1.0,
    "Basic.Recover": 1.0,
    "Confirm.Select": 0.3,
    "Tx.Select": 0.3,
    "Tx.Commit": 1.0,
    "Tx.Rollback": 1.0,
    "Channel.Open": 0.02,
    "Channel.Close": 0.2,
    "Channel.CloseOk": 0.02,
}
"""Each with its weight."""
ENDS: Final = frozenset({"Tx.Commit", "Tx.Rollback"})


class Player:
    """One client, and what it says at random: mostly what it may say."""

    def __init__(self, dice: random.Random, client: AmqpClient) -> None:
        self.dice = dice
        self.client = client
        self._tags: list[int] = []
        self._transactional = False

    def one(self, *choices: Any) -> Any:
        return self.dice.choice(choices)

    def seldom(self) -> bool:
        return self.dice.random() < 0.2

    def name(self, *names: str) -> str:
        return str(self.one(*ODD) if self.dice.random() < 0.05 else self.one(*names))

    def arguments(self) -> dict[str, Any]:
        pool = [
            ("x-message-ttl", self.one(0, 1, 1_000, "a")),
            ("x-max-length", self.one(0, 1, 2)),
            ("x-dead-letter-exchange", self.one("", "x", "amq.topic", "nope")),
            ("x-max-priority", self.one(1, 5)),
            ("x-single-active-consumer", True),
            ("x-overflow", self.one("reject-publish", "drop-head")),
            ("x-expires", 1_000),
            ("x-delivery-limit", 1),
            ("x-queue-type", self.one("classic", "quorum")),
            ("x-priority", self.one(1, -1, "z")),
            ("x-match", self.one("all", "any", "z")),
        ]
        return dict(self.dice.sample(pool, self.one(0, 0, 0, 0, 0, 1, 2)))

    def fields(self) -> dict[str, Any]:
        """Fields of any method: what one does not have it does not say."""
        return {
            "queue": self.name(*QUEUES),
            "exchange": self.name(*EXCHANGES, ""),
            "source": self.name(*EXCHANGES),
            "destination": self.name(*EXCHANGES),
            "routing_key": self.name(*KEYS),
            "exchange_type": self.one("direct", "topic", "fanout", "headers"),
            "consumer_tag": self.one("", "", "s", "t", "u"),
            "delivery_tag": self._tags.pop() if self._tags else 1,
            "prefetch_count": self.one(0, 1, 2, 10),
            "arguments": self.arguments(),
            **{bit: self.seldom() for bit in BITS},
        }

    def method(self) -> bytes:
        name = self.dice.choices(list(METHODS), list(METHODS.values()))[0]
        settles = name in {"Basic.Ack", "Basic.Nack", "Basic.Reject"}
        if (settles and not self._tags) or (name in ENDS and not self._transactional):
            name = "Basic.Publish"
        self._transactional |= name == "Tx.Select"
        fields = self.fields()
        if name == "Basic.Recover":
            fields["requeue"] = True
            self._tags.clear()
        if name.endswith(".Declare"):
            fields["passive"] = True
        encoded = encode_method(1, name, fields)
        return encoded + self.content() if name == "Basic.Publish" else encoded

    def content(self) -> bytes:
        body = bytes(self.one(0, 1, 5))
        properties = self.one(
            {},
            {},
            {},
            {"delivery_mode": 2},
            {"expiration": "0"},
            {"headers": {"CC": ["b"]}},
            {"headers": {"BCC": ["c"], "a": 1}},
            {"reply_to": "amq.rabbitmq.reply-to"},
            {"priority": 3},
        )
        head = struct.pack(">HHQ", 60, 0, len(body)) + encode_properties(**properties)
        frames = [(2, head), (3, body)] if body else [(2, head)]
        return b"".join(
            struct.pack(">BHI", kind, 1, len(payload)) + payload + b"\xce"
            for kind, payload in frames
        )

    async def read(self) -> None:
        """Note what came, and end what the broker ends."""
        for said in await self.client.read():
            if said.name in {"Basic.Deliver", "Basic.GetOk"}:
                self._tags.append(said.fields["delivery_tag"])
            elif said.name in {"Channel.Close", "Channel.CloseOk"}:
                ends = encode_method(1, "Channel.CloseOk") if said.name == "Channel.Close" else b""
                self.client.gateway.data_received(ends + encode_method(1, "Channel.Open"))
                self._tags, self._transactional = [], False
            elif said.name == "Connection.Close":
                self.client.gateway.data_received(encode_method(0, "Connection.CloseOk"))


async def declared(broker: Broker) -> AmqpClient:
    """A client; the queues and exchanges of the session are there."""
    client = await connect(broker)
    for name in QUEUES:
        await client.call("Queue.Declare", queue=name, durable=True)
    await client.call("Exchange.Declare", exchange="x", exchange_type="fanout")
    await client.call("Exchange.Declare", exchange="y", exchange_type="topic")
    return client


async def drive(broker: Broker, seed: int) -> None:
    """Two clients at the same queues; those that are closed come again."""
    dice = random.Random(seed)
    players = [Player(dice, await declared(broker)) for _ in range(2)]
    for _ in range(dice.randint(5, STEPS_MAX)):
        at = dice.randrange(2)
        player = players[at]
        client = player.client
        if client.wire.closed:
            await client.lose()
            players[at] = Player(dice, await declared(broker))
            continue
        data = b"".join(player.method() for _ in range(dice.randint(1, METHODS_MAX)))
        cut = dice.randrange(len(data))
        for part in (data[:cut], data[cut:]):
            client.gateway.data_received(part)
        for _ in range(player.one(0, 0, 5, 40)):
            await asyncio.sleep(0)
        if not player.seldom():
            await player.read()
        happening(dice, broker, client)
    for player in players:
        await player.client.lose()


def happening(dice: random.Random, broker: Broker, client: AmqpClient) -> None:
    """What may come between."""
    happenings: dict[Callable[[], object], float] = {
        lambda: None: 10.0,
        client.gateway.pause_writing: 0.5,
        client.gateway.resume_writing: 1.0,
        client.gateway.eof_received: 0.1,
    }
    dice.choices(list(happenings), list(happenings.values()))[0]()
    broker.clock.now_ms += 100


async def test_random_sessions() -> None:
    for seed in range(SESSIONS):
        broker = Broker()
        await drive(broker, seed)
        await broker.at_rest()
        for queue in broker.store.by_name.values():
            assert not queue.held, f"seed {seed}: '{queue.name.name}' is held by nobody"
            assert not queue.consumers, f"seed {seed}: '{queue.name.name}' has consumers"

"""The same client calls against any AMQP broker, as scenarios that return what the client saw.

Each scenario gets the `Session` of a fresh connection and returns plain values, so that the
outcomes of two brokers can be compared. Names that a broker makes up are replaced.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPChannelError, AMQPConnectionError, ChannelClosedByBroker

WAIT_SECONDS = 20
MADE_UP = re.compile(r"amq\.gen-[\w-]+|amq\.ctag-[\w.-]+|amq\.rabbitmq\.reply-to\.[^\"' ]+")

Scenario = Callable[["Session"], Any]
SCENARIOS: dict[str, Scenario] = {}


def scenario(function: Scenario) -> Scenario:
    SCENARIOS[function.__name__] = function
    return function


class Session:
    """Connections to one broker, and shorthands for what scenarios do all the time.

    A pause lasts `patience` times as long as it says.
    """

    def __init__(self, port: int, patience: float = 1.0) -> None:
        self.port = port
        self.patience = patience
        self._open: list[pika.BlockingConnection] = []
        self.connection = self.connect()
        self.channel = self.connection.channel()

    def connect(self, **parameters: Any) -> pika.BlockingConnection:
        connection = pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1", self.port, blocked_connection_timeout=60, **parameters
            )
        )
        self._open.append(connection)
        return connection

    def close(self) -> None:
        for connection in self._open:
            with contextlib.suppress(Exception):
                connection.close()

    def pause(self, seconds: float, connection: pika.BlockingConnection | None = None) -> None:
        """Take what comes for a while."""
        (connection or self.connection).sleep(seconds * self.patience)

    def error(self, call: Callable[[BlockingChannel], Any]) -> Any:
        """What closes a fresh channel, or the connection, when `call` is made."""
        try:
            connection = self.connect()
            channel = connection.channel()
            call(channel)
            channel.queue_declare("", exclusive=True)
        except (ChannelClosedByBroker, AMQPConnectionError, AMQPChannelError) as error:
            return plain(error)
        return "no error"

    def publish(self, key: str, *bodies: bytes, exchange: str = "", **properties: Any) -> None:
        for body in bodies:
            self.channel.basic_publish(exchange, key, body, pika.BasicProperties(**properties))

    def drain(self, queue: str) -> list[Any]:
        """Everything in a queue, by basic.get."""
        taken: list[Any] = []
        while True:
            method, _, body = self.channel.basic_get(queue, auto_ack=True)
            if method is None:
                return taken
            taken.append(body)

    def wait_for(self, queue: str, count: int) -> int:
        """The number of messages in a queue, once it is `count` or time is over."""
        number = -1
        for _ in range(WAIT_SECONDS * 20):
            number = self.channel.queue_declare(queue, passive=True).method.message_count
            if number == count:
                break
            self.connection.sleep(0.05)
        return number


def plain(error: Exception) -> Any:
    code, text = (*error.args, "", "")[:2]
    return type(error).__name__, code, MADE_UP.sub("<made up>", str(text))


def show(method: Any, properties: Any, body: bytes) -> Any:
    """A message as it came, without what differs from run to run."""
    if method is None:
        return None
    seen = {name: value for name, value in vars(properties).items() if value not in (None, {})}
    return method.exchange, method.routing_key, method.redelivered, seen, body


def consumed(channel: BlockingChannel, queue: str, count: int, **options: Any) -> list[Any]:
    messages = []
    for method, properties, body in channel.consume(
        queue, inactivity_timeout=WAIT_SECONDS, **options
    ):
        if method is None:
            break
        messages.append((method, properties, body))
        if len(messages) == count:
            break
    return messages


@contextlib.contextmanager
def session(port: int, patience: float = 1.0) -> Iterator[Session]:
    opened = Session(port, patience)
    try:
        yield opened
    finally:
        opened.close()

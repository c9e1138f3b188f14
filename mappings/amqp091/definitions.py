"""RabbitMQ's exported definitions (JSON) -> what Landbridge keeps, and a report of the rest.

Reads full exports (`rabbitmqctl export_definitions`, `/api/definitions`) and those of one virtual
host, of RabbitMQ 3.x and 4.x. Nothing is made here. What cannot be read or would mean something
else is a mistake, and with mistakes nothing is to be imported; what has no counterpart is a loss,
which the report says and the import leaves out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from bridge.auth import Account
from bridge.messaging.model import QueueName, QueueSettings, TopicName
from bridge.routing.catalogue import TopicKind
from bridge.routing.policies import Policy

DEFAULT_VHOST: Final = "/"


class DefinitionsInvalid(ValueError):
    """The text is no export of definitions."""


@dataclass(frozen=True, slots=True)
class TopicDefinition:
    """One exchange."""

    name: TopicName
    kind: TopicKind
    auto_delete: bool = False
    internal: bool = False
    delayed: bool = False
    alternate: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class QueueDefinition:
    """One queue; `settings` are those of its own declaration, without policies."""

    name: QueueName
    settings: QueueSettings


@dataclass(frozen=True, slots=True)
class BindingDefinition:
    """One binding of a queue, or of another exchange, to an exchange."""

    source: TopicName
    target: QueueName | TopicName
    pattern: str
    arguments: dict[str, Any]


@dataclass(slots=True)
class Definitions:
    """What an export amounts to here."""

    version: str = "unknown"
    namespaces: list[str] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    topics: list[TopicDefinition] = field(default_factory=list)
    queues: list[QueueDefinition] = field(default_factory=list)
    bindings: list[BindingDefinition] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    mistakes: list[str] = field(default_factory=list)


class Export:
    """The JSON of an export, read with care: every access says its place when it is wrong."""

    def __init__(self, text: bytes, vhost: str | None) -> None:
        """`vhost`: where objects belong that name no virtual host. Raises `DefinitionsInvalid`."""
        try:
            data = msgspec.json.decode(text.removeprefix(b"\xef\xbb\xbf"))
        except (msgspec.DecodeError, RecursionError) as error:
            raise DefinitionsInvalid(f"is not JSON: {error}") from None
        if not isinstance(data, dict) or not data.keys() & _SECTIONS:
            raise DefinitionsInvalid(
                "is no export of RabbitMQ's definitions: a JSON object with queues, exchanges,"
                " bindings, users... as `rabbitmqctl export_definitions FILE` writes it"
            )
        self.data = data
        self.mistakes: list[str] = []
        self.vhost = vhost or self._own_vhost()

    @property
    def version(self) -> str:
        found = self.data.get("rabbitmq_version") or self.data.get("rabbit_version")
        return found if isinstance(found, str) else "unknown"

    def items(self, section: str) -> Iterator[tuple[str, Item]]:
        """The objects of a section with their places."""
        listed = self.data.get(section, [])
        if not isinstance(listed, list):
            self.mistakes.append(f"{section}: must be a list")
            return
        for index, item in enumerate(listed):
            place = f"{section}[{index}]"
            if isinstance(item, dict):
                yield place, Item(self, place, item)
            else:
                self.mistakes.append(f"{place}: must be an object")

    def _own_vhost(self) -> str:
        """The virtual host of an export of one: it is named at the top, or by parts of it."""
        named = self.data.get("original_vhost_name")
        if isinstance(named, str):
            return named
        sections = [self.data.get("policies"), self.data.get("parameters")]
        parts = [part for section in sections if isinstance(section, list) for part in section]
        vhosts = [part.get("vhost") for part in parts if isinstance(part, dict)]
        found = {vhost if isinstance(vhost, str) else DEFAULT_VHOST for vhost in vhosts}
        return found.pop() if len(found) == 1 else DEFAULT_VHOST


class Item:
    """One object of an export."""

    def __init__(self, export: Export, place: str, data: dict[str, Any]) -> None:
        self._export = export
        self.place = place
        self.data = data

    @property
    def vhost(self) -> str:
        return self.text("vhost", self._export.vhost)

    def mistake(self, text: str) -> None:
        self._export.mistakes.append(f"{self.place}: {text}")

    def text(self, key: str, default: str | None = None) -> str:
        """A text; a mistake where it is something else, or is missing without a default."""
        value = self.data.get(key, default)
        if isinstance(value, str):
            return value
        self.mistake(f"{key} must be text" if key in self.data else f"{key} is missing")
        return ""

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self.data.get(key, False)
        if not isinstance(value, bool):
            self.mistake(f"{key} must be true or false")
        return value is True

    def table(self, key: str) -> dict[str, Any]:
        """An object; RabbitMQ writes an empty one as `[]` and others as lists of pairs at times."""
        value = self.data.get(key, {})
        if isinstance(value, list) and all(
            isinstance(pair, list) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
        ):
            value = dict(value)
        if isinstance(value, dict):
            return value
        self.mistake(f"{key} must be an object")
        return {}


_SECTIONS: Final = frozenset(
    {
        "bindings",
        "exchanges",
        "global_parameters",
        "parameters",
        "permissions",
        "policies",
        "queues",
        "topic_permissions",
        "users",
        "vhosts",
    }
)

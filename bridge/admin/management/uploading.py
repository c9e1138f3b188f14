"""`POST /api/definitions`: RabbitMQ's definitions, as the requests that would make each of them.

As at RabbitMQ one is made after another, what is there already stays as it is, and what fails ends
it. What is not offered (policies, shovels...) comes first, so that nothing is made beside it. Users
and permissions of the configuration file are the file's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from bridge.admin.management.bodies import Body, values_of
from bridge.admin.management.refusals import Refused, bad_request, vhost_not_found
from bridge.admin.management.sources import Json, ManagementSources
from bridge.messaging.model import QueueName, TopicName

_OPERATOR: Final = "operator_policy"
_ENDS: Final = {"queue": "q", "exchange": "e"}


class Upload(NamedTuple):
    """One request."""

    method: str
    path: list[str]
    body: Json


def uploads_in(text: bytes, vhost: str | None, sources: ManagementSources) -> Iterator[Upload]:
    """The requests that an upload amounts to, of which those are left out that change nothing.

    `vhost`: what is in it alone. Raises `Refused`.
    """
    if vhost is not None and vhost not in sources.namespaces:
        raise vhost_not_found()
    sections = _Sections(text, vhost, sources.namespaces)
    for upload in [*sections.refused(), *sections.tenants(), *sections.objects()]:
        if not _is_there(upload.path, sources):
            yield upload


def _is_there(path: list[str], sources: ManagementSources) -> bool:
    match path:
        case ["users", user] | ["permissions" | "topic-permissions", _, user]:
            return user in sources.configured().users
        case ["queues", vhost, name]:
            return sources.store.queue(QueueName(vhost, name)) is not None
        case ["exchanges", vhost, name]:
            return sources.topology.topic(TopicName(vhost, name)) is not None
        case ["bindings", _, _, "", *_]:
            return True
    return False


class _Sections:
    """The lists of definitions, checked as they are read."""

    def __init__(self, text: bytes, vhost: str | None, known: set[str]) -> None:
        try:
            self._values = Body(text).values
        except Refused:
            raise bad_request("failed_to_parse_json") from None
        self._vhost = vhost
        made = [] if vhost is not None else self._items("vhosts")
        self._known = known | {name for each in made for name in values_of(each, "name")}

    def refused(self) -> Iterator[Upload]:
        """What is refused unless it is there as it is."""
        for each in self._items("policies"):
            yield self._put("policies", each, "name")
        for each in self._items("parameters"):
            if each.get("component") == _OPERATOR:
                (value,) = values_of(each, "value")
                yield self._put("operator-policies", {**each, **value}, "name")
            else:
                yield self._put("parameters", each, "component", "name")

    def tenants(self) -> Iterator[Upload]:
        """Users, virtual hosts and permissions, which are the whole broker's."""
        if self._vhost is not None:
            return
        for each in self._items("users"):
            yield Upload("PUT", ["users", *_texts(each, "name")], each)
        for each in self._items("vhosts"):
            described = {**(each.get("metadata") or {}), **each}
            yield Upload("PUT", ["vhosts", *_texts(each, "name")], described)
        for kind in ("permissions", "topic_permissions"):
            for each in self._items(kind):
                yield self._put(kind.replace("_", "-"), each, "user")

    def objects(self) -> Iterator[Upload]:
        """What is in virtual hosts."""
        for kind in ("exchanges", "queues"):
            for each in self._items(kind):
                yield self._put(kind, each, "name")
        for each in self._items("bindings"):
            source, destination, kind = _texts(each, "source", "destination", "destination_type")
            ends = ["e", source, _ENDS.get(kind, kind), destination]
            yield Upload("POST", ["bindings", self._vhost_of(each), *ends], each)

    def _put(self, kind: str, item: Json, *names: str) -> Upload:
        return Upload("PUT", [kind, self._vhost_of(item), *_texts(item, *names)], item)

    def _vhost_of(self, item: Json) -> str:
        name = item.get("vhost", "undefined") if self._vhost is None else self._vhost
        if not isinstance(name, str) or name not in self._known:
            raise bad_request(["no_such_vhost", name])
        return name

    def _items(self, section: str) -> list[Json]:
        items = self._values.get(section) or []
        if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
            raise bad_request(["not_list", section])
        return items


def _texts(item: Json, *names: str) -> list[str]:
    values: list[Any] = values_of(item, *names)
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, str):
            raise bad_request(["not_string", name])
    return values

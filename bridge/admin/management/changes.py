"""What PUT, POST and DELETE do to queues, exchanges and bindings, and to connections.

Each is the method of AMQP that RabbitMQ makes of it, checked by the same rules as if a client of
the user had sent it: names, arguments, equivalence, permissions.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from adapters.amqp091 import events
from bridge.admin.management.access import AccessRefused, Viewer
from bridge.admin.management.answers import NO_CONTENT, Done, created
from bridge.admin.management.binding_keys import properties_key
from bridge.admin.management.bodies import Body, require_short
from bridge.admin.management.catalogue import Catalogue
from bridge.admin.management.listing import Query
from bridge.admin.management.live import Live
from bridge.admin.management.messages import Messages
from bridge.admin.management.paths import is_provisioning
from bridge.admin.management.provisioning import Provisioning
from bridge.admin.management.refusals import (
    Refused,
    access_refused,
    bad_request,
    object_not_found,
    refusals,
    vhost_not_found,
)
from bridge.admin.management.settings import Settings
from bridge.admin.management.sources import ManagementSources
from bridge.admin.management.uploading import uploads_in
from bridge.auth import User
from bridge.messaging.model import QueueName, TopicName
from mappings.amqp091.topology import Declarations

OWNER: Final = "management"
"""Whom exclusive queues know this by: nobody's."""
REASON_DEFAULT: Final = "Closed via management plugin"
"""What RabbitMQ tells the client where no `X-Reason` was given."""
_REASON_LENGTH_MAX: Final = 200


class ChangeRequest(NamedTuple):
    """What is asked for; `reason` is what to tell a client whose connection is closed."""

    method: str
    path: Sequence[str]
    query: Query
    body: bytes
    reason: str | None


class Changes:
    """Makes the change that one request of one user asks for. Raises `Refused`, `AccessRefused`."""

    def __init__(self, sources: ManagementSources, viewer: Viewer) -> None:
        self._sources = sources
        self._viewer = viewer
        self._catalogue = Catalogue(sources, viewer)
        self._answer: asyncio.Future[Done] = asyncio.get_running_loop().create_future()

    async def make(self, request: ChangeRequest) -> Done:
        """Make it. What was begun is finished, though its client may go away and cancel this."""
        self._sources.services.spawn(self._finish(request))
        return await self._answer

    async def _finish(self, request: ChangeRequest) -> None:
        answer = self._answer
        try:
            done = await self._make(*request)
        except Exception as error:
            if not answer.done():
                answer.set_exception(error)
            elif not isinstance(error, Refused | AccessRefused):
                raise
        else:
            if not answer.done():
                answer.set_result(done)

    async def _make(  # noqa: PLR0911 - a table
        self, method: str, path: Sequence[str], query: Query, text: bytes, reason: str | None
    ) -> Done:
        match method, path:
            case "PUT", ["queues", vhost, name]:
                return await self._declare_queue(vhost, name, text)
            case "DELETE", ["queues", vhost, name]:
                return await self._delete_queue(vhost, name, query)
            case "DELETE", ["queues", vhost, name, "contents"]:
                return await self._purge_queue(vhost, name)
            case "POST", ["queues", vhost, name, "get"]:
                return Done(200, await self._messages(vhost).get(name, Body(text)))
            case "PUT", ["exchanges", vhost, name]:
                return await self._declare_exchange(vhost, _exchange(name), text)
            case "DELETE", ["exchanges", vhost, name]:
                return await self._delete_exchange(vhost, _exchange(name), query)
            case "POST", ["exchanges", vhost, name, "publish"]:
                return Done(200, await self._messages(vhost).publish(_exchange(name), Body(text)))
            case "POST", ["bindings", vhost, "e", source, to, target]:
                return await self._bind(vhost, _exchange(source), to, target, text)
            case "DELETE", ["bindings", vhost, "e", source, to, target, key]:
                return await self._unbind(vhost, _exchange(source), to, target, key)
            case "POST", ["definitions", *rest] if len(rest) <= 1:
                return await self._upload(next(iter(rest), None), text)
            case "DELETE", ["connections", "username", user]:
                return self._close_all(user, reason)
            case "DELETE", ["connections", name]:
                return self._close(name, reason)
        if is_provisioning(path):
            return await Provisioning(self._sources, self._viewer).make(method, path, text)
        Settings(self._sources, self._viewer).require_as_is(method, path, text)
        return NO_CONTENT

    def _require_visible(self, vhost: str) -> None:
        """Administrators see every virtual host, and may do in it what they are permitted."""
        if vhost not in self._sources.namespaces:
            raise object_not_found()
        self._require_right(vhost)

    def _require_right(self, vhost: str) -> None:
        if not (self._viewer.administrator or self._viewer.user.may_open(vhost)):
            raise access_refused("User not authorised to access virtual host")

    def _declarations(self, vhost: str) -> Declarations:
        if vhost not in self._sources.namespaces:
            raise access_refused()
        self._require_right(vhost)
        if not self._viewer.user.may_open(vhost):
            raise access_refused()
        declarations = Declarations(self._sources.services, OWNER)
        declarations.start(vhost, self._viewer.user)
        return declarations

    def _messages(self, vhost: str) -> Messages:
        return Messages(
            self._sources.services,
            self._viewer.user,
            vhost,
            self._declarations(vhost),
            wanted=lambda: not self._answer.done(),
        )

    def _require_known(self, vhost: str) -> None:
        if vhost not in self._sources.namespaces:
            raise vhost_not_found()

    # -- queues

    async def _declare_queue(self, vhost: str, name: str, text: bytes) -> Done:
        self._require_known(vhost)
        declarations = self._declarations(vhost)
        require_short("queue", name)
        body = Body(text)
        node = body.get("node", self._sources.node.name)
        if node != self._sources.node.name:
            raise bad_request(f"Node {node} could not be contacted")
        event = events.QueueDeclareRequested(
            channel=0,
            queue=name,
            passive=body.truth("passive"),
            durable=body.truth("durable"),
            exclusive=False,
            auto_delete=body.truth("auto_delete"),
            nowait=False,
            arguments=body.arguments(),
        )
        known = self._sources.store.queue(QueueName(vhost, name)) is not None
        with refusals():
            await declarations.declare_queue(event, "")
        return created(new=not known)

    async def _delete_queue(self, vhost: str, name: str, query: Query) -> Done:
        declarations = self._existing_queue(vhost, name)
        event = events.QueueDeleteRequested(
            channel=0,
            queue=name,
            if_unused=query.one("if-unused") == "true",
            if_empty=query.one("if-empty") == "true",
            nowait=False,
        )
        with refusals():
            await declarations.delete_queue(event, "")
        return NO_CONTENT

    async def _purge_queue(self, vhost: str, name: str) -> Done:
        declarations = self._existing_queue(vhost, name)
        event = events.QueuePurgeRequested(channel=0, queue=name, nowait=False)
        with refusals():
            await declarations.purge_queue(event, "")
        return NO_CONTENT

    def _existing_queue(self, vhost: str, name: str) -> Declarations:
        self._require_visible(vhost)
        if self._sources.store.queue(QueueName(vhost, name)) is None:
            raise object_not_found()
        return self._declarations(vhost)

    # -- exchanges

    async def _declare_exchange(self, vhost: str, name: str, text: bytes) -> Done:
        self._require_known(vhost)
        declarations = self._declarations(vhost)
        require_short("exchange", name)
        body = Body(text)
        event = events.ExchangeDeclareRequested(
            channel=0,
            exchange=name,
            exchange_type=body.text("type", "direct"),
            passive=body.truth("passive"),
            durable=body.truth("durable"),
            auto_delete=body.truth("auto_delete"),
            internal=body.truth("internal"),
            nowait=False,
            arguments=body.arguments(),
        )
        known = self._sources.topology.topic(TopicName(vhost, name)) is not None
        with refusals():
            await declarations.declare_exchange(event)
        return created(new=not known)

    async def _delete_exchange(self, vhost: str, name: str, query: Query) -> Done:
        self._require_visible(vhost)
        if name and self._sources.topology.topic(TopicName(vhost, name)) is None:
            raise object_not_found()
        declarations = self._declarations(vhost)
        event = events.ExchangeDeleteRequested(
            channel=0, exchange=name, if_unused=query.one("if-unused") == "true", nowait=False
        )
        with refusals():
            await declarations.delete_exchange(event)
        return NO_CONTENT

    # -- bindings

    async def _bind(self, vhost: str, source: str, to: str, target: str, text: bytes) -> Done:
        self._require_known(vhost)
        declarations = self._declarations(vhost)
        body = Body(text)
        key, arguments = body.text("routing_key"), body.arguments()
        ends = _Ends(source, to, target)
        with refusals():
            await _change_binding(declarations, ends, key, arguments, bound=True)
        shown = quote(properties_key(key, arguments), safe="~")
        return Done(201, location=f"{quote(target, safe='')}/{shown}")

    async def _unbind(self, vhost: str, source: str, to: str, target: str, given: str) -> Done:
        self._require_visible(vhost)
        name = TopicName(vhost, source)
        binding = self._catalogue.binding(name, to, target, given)
        if binding is None:
            raise object_not_found()
        declarations = self._declarations(vhost)
        key, arguments = binding["routing_key"], binding["arguments"]
        ends = _Ends(source, to, target)
        with refusals():
            await _change_binding(declarations, ends, key, arguments, bound=False)
            await self._unsubscribe(name, to, target, given)
        return NO_CONTENT

    async def _unsubscribe(self, source: TopicName, to: str, target: str, given: str) -> None:
        """End what is shown as a binding and is none of AMQP's: a subscription of SNS's."""
        left = self._catalogue.subscription(source, to, target, given)
        if left is not None:
            await self._sources.topology.unsubscribe(left.id)

    # -- definitions

    async def _upload(self, vhost: str | None, text: bytes) -> Done:
        """Make what is not there, whatever the administrator is permitted himself."""
        if not self._viewer.administrator:
            raise access_refused("Not administrator user")
        unrestricted = replace(self._viewer, user=User(self._viewer.user.name))
        changes = Changes(self._sources, unrestricted)
        for method, path, body in uploads_in(text, vhost, self._sources):
            try:
                await changes._make(method, path, Query(""), msgspec.json.encode(body), None)
            except Refused as refused:
                if refused.status != 405:
                    raise
                # The method is allowed here; what it asks for is not.
                raise bad_request(refused.reason) from refused
        return NO_CONTENT

    # -- connections

    def _close(self, name: str, reason: str | None) -> Done:
        connection = Live(self._sources, self._viewer).connection(name)
        if connection is None:
            raise object_not_found()
        if not (self._viewer.administrator or connection.user == self._viewer.user.name):
            raise AccessRefused("not_authorised", "User not authorised to access object")
        connection.dismiss(_reason_shown(reason))
        return NO_CONTENT

    def _close_all(self, user: str, reason: str | None) -> Done:
        if not (self._viewer.administrator or user == self._viewer.user.name):
            raise AccessRefused("not_authorised", "User not authorised to access object")
        for connection in Live(self._sources, self._viewer).connections_of(user):
            connection.dismiss(_reason_shown(reason))
        return NO_CONTENT


class _Ends(NamedTuple):
    """What a binding is between; `to` is "q" for a queue, "e" for an exchange."""

    source: str
    to: str
    target: str


async def _change_binding(
    declarations: Declarations, ends: _Ends, key: str, arguments: dict[str, Any], *, bound: bool
) -> None:
    fields: dict[str, Any] = {"channel": 0, "routing_key": key, "arguments": arguments}
    match ends.to, bound:
        case "q", True:
            fields |= {"queue": ends.target, "exchange": ends.source, "nowait": False}
            await declarations.bind_queue(events.QueueBindRequested(**fields), "")
        case "q", False:
            fields |= {"queue": ends.target, "exchange": ends.source}
            await declarations.unbind_queue(events.QueueUnbindRequested(**fields), "")
        case _, True:
            fields |= {"source": ends.source, "destination": _exchange(ends.target)}
            await declarations.bind_exchange(events.ExchangeBindRequested(nowait=False, **fields))
        case _, False:
            fields |= {"source": ends.source, "destination": _exchange(ends.target)}
            await declarations.unbind_exchange(
                events.ExchangeUnbindRequested(nowait=False, **fields)
            )


def _exchange(name: str) -> str:
    return "" if name == "amq.default" else name


def _reason_shown(header: str | None) -> str:
    """A reason in a header's octets, which are UTF-8 as RabbitMQ passes them on."""
    if not header:
        return REASON_DEFAULT
    return header.encode("latin-1", "replace").decode(errors="replace")[:_REASON_LENGTH_MAX]

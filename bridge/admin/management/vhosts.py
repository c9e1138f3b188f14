"""What PUT and DELETE do to virtual hosts.

One that is deleted is closed first, in one commit with all that the store says of it: nobody comes
in any more, who is in it is told to go. Then what it holds is deleted, and then its name is free. A
deletion that was interrupted goes on at the next start.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from bridge.admin.management.access import Viewer
from bridge.admin.management.answers import NO_CONTENT, Done, created
from bridge.admin.management.bodies import SHORT_STRING_MAX, Body, tag_list
from bridge.admin.management.refusals import bad_request, object_not_found, set_in_file
from bridge.admin.management.sources import ManagementSources
from bridge.admin.management.tenants import (
    Tenants,
    account_stored,
    everything_in,
    with_grants,
)
from bridge.auth.stored import (
    KIND_NAMESPACE,
    StoredNamespace,
    encode_namespace,
    stored_namespace,
    stored_namespaces,
)
from bridge.messaging.errors import QueueDoesNotExist, TopicDoesNotExist
from bridge.messaging.model import DEFAULT_NAMESPACE, StateChange
from bridge.routing.catalogue import Topic
from bridge.routing.changing import again_after_conflict
from bridge.routing.policies import KIND_POLICY, Policies

_DEFAULT_QUEUE_TYPES: Final = frozenset({"", "classic", "undefined"})
_DEFAULT_DESCRIPTION: Final = "Default virtual host"


class VirtualHosts:
    """Changes virtual hosts. Raises `Refused`, `MessagingError`."""

    def __init__(self, sources: ManagementSources) -> None:
        self._sources = sources
        self._state = sources.services.state
        self._tenants = Tenants(sources)

    async def put(self, name: str, body: Body, viewer: Viewer) -> Done:
        """Make a virtual host, in which its maker may do everything, or describe it otherwise."""
        wanted = _namespace_in(body)
        if name in self._sources.configured().namespaces:
            if not _is_plain(name, wanted):
                raise set_in_file("vhosts")
            return NO_CONTENT
        if not 0 < len(name.encode()) <= SHORT_STRING_MAX or not name.isprintable():
            raise bad_request(f"vhost should be 1 to {SHORT_STRING_MAX} printable bytes")
        return created(new=await self._store(name, wanted, viewer))

    async def delete(self, name: str) -> Done:
        """Delete a virtual host with all that is in it; its connections are closed."""
        there = name in self._sources.namespaces
        if not there and stored_namespace(self._state, name) is None:
            raise object_not_found()
        configured = self._sources.configured()
        if name in configured.namespaces | configured.namespaces_used:
            raise set_in_file("vhosts")
        await self._close(name)
        await self._empty(name)
        return NO_CONTENT

    async def finish_deletions(self) -> None:
        """Go on with what was interrupted."""
        for name in stored_namespaces(self._state, leaving=True):
            await self._empty(name)

    # -- in the store

    @again_after_conflict
    async def _store(self, name: str, wanted: StoredNamespace, viewer: Viewer) -> bool:
        old = stored_namespace(self._state, name)
        if old is not None and old.leaving:
            raise bad_request(f"vhost '{name}' is being deleted")
        changes = [StateChange(KIND_NAMESPACE, name, encode_namespace(wanted))]
        maker = self._tenants.stored(viewer.user.name)
        if old is None and maker is not None and not self._tenants.is_configured(maker.name):
            given = [*self._tenants.permissions_of(maker), everything_in(name)]
            changes.append(account_stored(with_grants(maker, permissions=given)))
        await self._tenants.commit(changes)
        return old is None

    @again_after_conflict
    async def _close(self, name: str) -> None:
        """Let nobody in any more, and forget who might come in."""
        old = stored_namespace(self._state, name) or StoredNamespace()
        leaving = msgspec.structs.replace(old, leaving=True)
        changes = [StateChange(KIND_NAMESPACE, name, encode_namespace(leaving))]
        changes += self._forget_permissions(name)
        topology = self._sources.topology
        policies = topology.policies.all
        gone = [each for each in policies if each.namespace == name]
        changes += [StateChange(KIND_POLICY, each.key, None) for each in gone]
        await self._tenants.commit(changes)
        if gone:
            topology.policies = Policies(each for each in policies if each.namespace != name)

    def _forget_permissions(self, name: str) -> Iterator[StateChange]:
        for account in self._tenants.all_stored():
            left = self._tenants.without(account, name)
            if left != account:
                yield account_stored(left)

    async def _empty(self, name: str) -> None:
        """Delete all that is in a virtual host, and then itself."""
        await self._delete_contents(name)
        await self._free(name)
        # What connections had begun before they were told to go.
        await self._delete_contents(name)

    @again_after_conflict
    async def _free(self, name: str) -> None:
        stored = stored_namespace(self._state, name)
        if stored is not None and stored.leaving:
            await self._tenants.commit([StateChange(KIND_NAMESPACE, name, None)])

    async def _delete_contents(self, name: str) -> None:
        """Delete what is there, unless somebody makes another one of that name meanwhile."""
        topology, there = self._sources.topology, self._sources.namespaces
        for queue in list(self._sources.store.queues()):
            if queue.name.namespace == name and name not in there:
                with suppress(QueueDoesNotExist):
                    await topology.remove_queue(queue)
        for topic in list(topology.topics()):
            if topic.name.namespace == name and name not in there:
                await self._delete_topic(topic)

    async def _delete_topic(self, topic: Topic) -> None:
        topology = self._sources.topology
        for subscription in list(topology.subscriptions_of(topic.name)):
            await topology.unsubscribe(subscription.id)
        if not topic.built_in:
            with suppress(TopicDoesNotExist):
                await topology.delete_topic(topic.name)


def description_of(name: str, namespace: StoredNamespace) -> str:
    """What a virtual host is called besides its name."""
    return namespace.description or (_DEFAULT_DESCRIPTION if name == DEFAULT_NAMESPACE else "")


def _namespace_in(body: Body) -> StoredNamespace:
    if body.truth("tracing"):
        raise bad_request("tracing is not offered: there is no firehose")
    kind = body.get("default_queue_type", "")
    if kind not in _DEFAULT_QUEUE_TYPES:
        raise bad_request(
            f"default_queue_type {kind!r} is not offered: queues are classic unless their"
            " declaration says otherwise"
        )
    description = body.get("description", "")
    if not isinstance(description, str):
        raise bad_request(["not_string", "description"])
    return StoredNamespace(description, tuple(dict.fromkeys(tag_list(body.get("tags", "")))))


def _is_plain(name: str, namespace: StoredNamespace) -> bool:
    """Whether it is as those are that the configuration makes."""
    descriptions = {"", description_of(name, StoredNamespace())}
    return namespace.description in descriptions and not namespace.tags

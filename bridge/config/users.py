"""The users of the configuration, and what each may do."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from bridge.auth import (
    Expression,
    Grants,
    NamespacePermission,
    PasswordHashInvalid,
    PatternInvalid,
    PermittedFilter,
    SubjectPermission,
    parse_password_hash,
)
from bridge.config.section import SECRET, Name, Namespace, Section
from bridge.messaging.model import DEFAULT_NAMESPACE


def _password_hash(value: str) -> str:
    try:
        parse_password_hash(value)
    except PasswordHashInvalid as error:
        reason = str(error)
        if value.startswith("$argon2") and "," not in value:
            reason += " (between braces it goes in quotes, since commas end it there)"
        raise PydanticCustomError("refused", "{reason}", {"reason": reason}) from None
    return value


def _expression(value: str) -> str:
    try:
        Expression(value)
    except PatternInvalid as error:
        raise PydanticCustomError("refused", "{reason}", {"reason": str(error)}) from None
    return value


def _topic_filter(value: str) -> str:
    try:
        PermittedFilter(value)
    except PatternInvalid as error:
        raise PydanticCustomError("refused", "{reason}", {"reason": str(error)}) from None
    return value


Pattern = Annotated[str, AfterValidator(_expression)]
TopicFilter = Annotated[str, AfterValidator(_topic_filter)]


class Permission(Section):
    """RabbitMQ's permissions in one namespace.

    Regular expressions that are found anywhere in the name of a queue or exchange unless they are
    anchored (`^orders-.*$`); an empty one permits nothing.
    """

    namespace: Namespace = Field(DEFAULT_NAMESPACE, description="The namespace (virtual host).")
    configure: Pattern = Field("", description="What the user may create, change and delete.")
    write: Pattern = Field("", description="What the user may publish to.")
    read: Pattern = Field("", description="What the user may consume from and bind to.")


class TopicPermission(Section):
    """RabbitMQ's topic permissions for one topic exchange of one namespace.

    Regular expressions over routing keys; `{username}`, `{vhost}` and `{client_id}` stand for
    literal text.
    """

    namespace: Namespace = Field(DEFAULT_NAMESPACE, description="The namespace (virtual host).")
    exchange: Name = Field("amq.topic", description="The topic exchange.")
    write: Pattern = Field("", description="Routing keys that the user may publish with.")
    read: Pattern = Field("", description="Routing keys that the user may bind with.")


class Topics(Section):
    """What of the topic tree a user may use, in MQTT's syntax.

    `{client_id}` and `{user}` stand for literal levels: a wildcard in a client id is none.
    """

    publish: list[TopicFilter] | None = Field(
        None,
        description="Topic filters (`plant/{user}/#`) that the user may publish to, and nothing"
        " else. Not given: to everything.",
    )
    subscribe: list[TopicFilter] | None = Field(
        None,
        description="Topic filters that the user may subscribe to, and what they cover. Not given:"
        " to everything.",
    )


class User(Section):
    """Somebody who may connect. Without the options below the hash, the user may publish, consume
    and declare everywhere; who changes users and virtual hosts needs the tag `administrator`.
    """

    name: Name = Field(description="The name that clients log in with, or their certificate's CN.")
    password_hash: Annotated[str, AfterValidator(_password_hash)] | None = Field(
        None,
        description="What `landbridge user hash` prints (argon2id). Hashes that RabbitMQ exports"
        " (salted SHA-256 and SHA-512) and `mosquitto_passwd` writes (`$6$`, `$7$`) are taken too."
        " Without one, the user can only log in with a client certificate.",
        json_schema_extra=SECRET,
    )
    namespaces: list[Namespace] | None = Field(
        None, description="Namespaces (virtual hosts) that the user may open. Not given: all."
    )
    permissions: list[Permission] | None = Field(
        None,
        description="What the user may configure, write and read in each namespace; the user may"
        " open only the namespaces that are named here. Not given: everything.",
    )
    topics: Topics = Field(Topics(), description="What of the topic tree the user may use.")
    topic_permissions: list[TopicPermission] = Field(
        [], description="RabbitMQ's topic permissions; an exchange not named here is open."
    )
    tags: list[Name] | None = Field(
        None,
        description="RabbitMQ's user tags, for the management API: `administrator`, `monitoring`,"
        " `policymaker`, `management`. An empty list keeps the user out of it. Not given: the user"
        " reads all of it but other users' password hashes, and changes what its permissions let"
        " it.",
    )

    def grants(self) -> Grants:
        """What the user may do, as the permission checks take it. Raises `PatternInvalid`."""
        permissions = None
        if self.permissions is not None:
            permissions = tuple(
                NamespacePermission(each.namespace, each.configure, each.write, each.read)
                for each in self.permissions
            )
        return Grants(
            namespaces=None if self.namespaces is None else frozenset(self.namespaces),
            permissions=permissions,
            subjects=tuple(
                SubjectPermission(each.namespace, each.exchange, each.write, each.read)
                for each in self.topic_permissions
            ),
            publish=None if self.topics.publish is None else tuple(self.topics.publish),
            subscribe=None if self.topics.subscribe is None else tuple(self.topics.subscribe),
        )

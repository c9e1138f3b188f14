"""`landbridge explain`: where a message would go by the routes of the configuration.

No running broker is asked and no stored data is read, so what clients have subscribed does not
show; queues and topics that the configuration names do. A user's permissions are those of the
configuration.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from bridge.app import explanation
from bridge.auth import Permissions, User
from bridge.auth.accounts import ANONYMOUS
from bridge.auth.checks import (
    require_configure,
    require_open,
    require_send,
    require_write,
    require_write_subject,
)
from bridge.cli.cost import cost_lines
from bridge.config import Loaded
from bridge.config.mistakes import suggestion
from bridge.messaging.errors import AccessDenied, InvalidAddress
from bridge.messaging.model import Publish, Value
from bridge.protocols import LEGACY
from bridge.routing.explain import Explanation, publish_from_source

AMQP = "amqp"
"""The protocol that knows the default exchange by name."""


def explain(loaded: Loaded, chosen: argparse.Namespace) -> int:
    """Print what would happen, route by route."""
    attributes: dict[str, Value] = {}
    for attribute in chosen.attribute:
        name, equals, value = attribute.partition("=")
        if not name or not equals:
            print(f"--attribute {attribute}: must be NAME=VALUE", file=sys.stderr)
            return 1
        attributes[name] = value
    try:
        publish = publish_from_source(
            chosen.source,
            attributes=attributes,
            body=chosen.body.encode(errors="surrogateescape"),
            client_id=chosen.client_id,
            user=chosen.user,
        )
    except InvalidAddress as error:
        print(error, file=sys.stderr)
        return 1
    if chosen.user and publish.origin.protocol in LEGACY:
        problem = _login_problem(loaded, chosen.user)
        if problem:
            print(f"user {chosen.user!r} cannot log in: {problem}", file=sys.stderr)
            return 1
    found = asyncio.run(explanation(loaded, publish))
    if chosen.user and publish.origin.protocol in LEGACY:
        print(f"user {chosen.user!r}: {_permission(loaded, publish, found)}")
    print(found.text())
    for line in cost_lines(loaded.config.backend, found, publish):
        print(line)
    return 0


def _login_problem(loaded: Loaded, name: str) -> str | None:
    """Why nobody of that name is let in, whatever the password; None where somebody may be."""
    names = loaded.user_names
    if not names or (name == ANONYMOUS and any(each.anonymous for each in loaded.listeners)):
        return None
    if name not in names:
        return f"it is neither in the configuration nor in the store; {suggestion(name, names)}"
    configured = next((each for each in loaded.config.users if each.name == name), None)
    by_certificate = any(each.tls and each.tls.client_ca for each in loaded.listeners)
    if configured is not None and configured.password_hash is None and not by_certificate:
        return "it has no password_hash, and no listener asks for certificates (tls.client_ca)"
    return None


def _permission(loaded: Loaded, publish: Publish, found: Explanation) -> str:
    """Whether the user may publish this at all, in the words of the refusal."""
    origin, namespace = publish.origin, publish.namespace
    if not loaded.user_names:
        return "may publish this: there are no users, and everybody may"
    options = next((each for each in loaded.config.users if each.name == origin.user), None)
    if options is None:
        if origin.user == ANONYMOUS:
            return "may publish this, where a listener lets in who gives no credentials"
        return "not in the configuration; what it may do is in the store"
    user = User(options.name, permissions=Permissions(options.name, options.grants()))
    try:
        require_open(user, namespace)
        topic, subject = publish.message.topic or "", publish.message.subject or ""
        if publish.queue is not None and origin.protocol != AMQP:
            require_send(user, namespace, publish.queue)
        else:
            require_write(user, namespace, "exchange", topic)
        if publish.queue is None:
            require_write_subject(user, namespace, topic, subject, origin.client_id)
        for name in found.default.created if found.default is not None else ():
            require_configure(user, namespace, "queue", name)
    except AccessDenied as refusal:
        return f"REFUSED, so nothing of this happens: {refusal}"
    return "may publish this"

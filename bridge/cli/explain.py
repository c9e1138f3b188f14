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
from bridge.auth.checks import (
    require_configure,
    require_open,
    require_send,
    require_write,
    require_write_subject,
)
from bridge.cli.cost import cost_lines
from bridge.config import Loaded
from bridge.messaging.errors import AccessDenied, InvalidAddress
from bridge.messaging.model import Publish, Value
from bridge.protocols import LEGACY
from bridge.routing.explain import Explanation, publish_from_source


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
    found = asyncio.run(explanation(loaded, publish))
    if chosen.user and publish.origin.protocol in LEGACY:
        print(f"user {chosen.user!r}: {_permission(loaded, publish, found)}")
    print(found.text())
    for line in cost_lines(loaded.config.backend, found, publish):
        print(line)
    return 0


def _permission(loaded: Loaded, publish: Publish, found: Explanation) -> str:
    """Whether the user may publish this at all, in the words of the refusal."""
    origin, namespace = publish.origin, publish.namespace
    if not loaded.user_names:
        return "may publish this: there are no users, and everybody may"
    options = next((each for each in loaded.config.users if each.name == origin.user), None)
    if options is None:
        stored = "what it may do is in the store" if origin.user in loaded.stored.users else ""
        return f"not in the configuration; {stored or 'it cannot log in'}"
    user = User(options.name, permissions=Permissions(options.name, options.grants()))
    try:
        require_open(user, namespace)
        if publish.queue is not None:
            require_send(user, namespace, publish.queue)
        else:
            topic, subject = publish.message.topic or "", publish.message.subject or ""
            require_write(user, namespace, "exchange", topic)
            require_write_subject(user, namespace, topic, subject, origin.client_id)
        for name in found.default.created if found.default is not None else ():
            require_configure(user, namespace, "queue", name)
    except AccessDenied as refusal:
        return f"REFUSED, so nothing of this happens: {refusal}"
    return "may publish this"

"""`landbridge explain`: where a message would go by the routes of the configuration.

No running broker is asked, and of the stored data only who its users are, so what clients have
subscribed does not show; queues and topics that the configuration names do. Whether a user may is
asked of the protocol, which knows what it would ask.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from bridge.app import explanation
from bridge.auth import Grants, Permissions, User
from bridge.auth.accounts import ANONYMOUS
from bridge.auth.checks import Sending, require_configure, require_open
from bridge.cli.cost import cost_lines
from bridge.config import Loaded
from bridge.config.mistakes import suggestion
from bridge.messaging.errors import AccessDenied, InvalidAddress
from bridge.messaging.model import Publish, Value
from bridge.protocols import LEGACY
from bridge.routing.explain import Explanation, publish_from_source
from bridge.stored import stored_account


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
        where = "neither in the configuration nor in the store"
        if loaded.config.backend.kind == "aws":
            where = "not in the configuration, and the state table is not asked"
        return f"it is {where}; {suggestion(name, names)}"
    configured = next((each for each in loaded.config.users if each.name == name), None)
    by_certificate = any(each.tls and each.tls.client_ca for each in loaded.listeners)
    if configured is not None and configured.password_hash is None and not by_certificate:
        return "it has no password_hash, and no listener asks for certificates (tls.client_ca)"
    return None


def _permission(loaded: Loaded, publish: Publish, found: Explanation) -> str:
    """Whether the user may publish this at all, in the words of the refusal."""
    origin, message = publish.origin, publish.message
    if not loaded.user_names:
        return "may publish this: there are no users, and everybody may"
    name = origin.user or ANONYMOUS
    grants = _grants(loaded, name)
    if grants is None:
        return "may publish this, where a listener lets in who gives no credentials"
    user = User(name, permissions=Permissions(name, grants))
    sending = Sending(
        publish.namespace,
        publish.queue,
        message.topic or "",
        message.subject or "",
        # What is not in the configuration may be of that kind.
        by_subject=message.topic is not None and found.topic_kind in {None, "topic"},
        client_id=origin.client_id,
    )
    try:
        require_open(user, publish.namespace)
        LEGACY[origin.protocol].require_publish(user, sending)
        for queue in found.default.created if found.default is not None else ():
            require_configure(user, publish.namespace, "queue", queue)
    except AccessDenied as refusal:
        return f"REFUSED, so nothing of this happens: {refusal}"
    return "may publish this"


def _grants(loaded: Loaded, name: str) -> Grants | None:
    """What a user of the configuration or the store may do; None for nobody's name."""
    for each in loaded.config.users:
        if each.name == name:
            return each.grants()
    account = stored_account(loaded.config.backend, name)
    return None if account is None else account.grants

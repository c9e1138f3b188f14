"""`landbridge explain`: where a message would go by the routes of the configuration.

No running broker is asked and no stored data is read, so what clients have subscribed does not
show; queues and topics that the configuration names do.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

from bridge.app import explanation
from bridge.cli.cost import cost_lines
from bridge.config import Loaded
from bridge.messaging.errors import InvalidAddress
from bridge.messaging.model import Value
from bridge.routing.explain import publish_from_source


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
    print(found.text())
    for line in cost_lines(loaded.config.backend, found, publish):
        print(line)
    return 0

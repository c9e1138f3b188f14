"""What is allowed in a configuration and should be known all the same."""

from __future__ import annotations

from itertools import islice
from typing import Final

from bridge.cli.unknown_names import unknown_names
from bridge.config import Loaded
from bridge.protocols import PROTOCOLS
from mappings.losses import KEPT, all_losses, fate_text

UNKNOWN_SHOWN_MAX: Final = 20
"""Names that nothing answers to, of which there can be one for each queue."""


def warnings_of(loaded: Loaded) -> list[str]:
    """One sentence each, the weightiest first."""
    return [*_access(loaded), *_durability(loaded), *_unknown(loaded), *losses_touched(loaded)]


def _unknown(loaded: Loaded) -> list[str]:
    shown = [str(each) for each in islice(unknown_names(loaded), UNKNOWN_SHOWN_MAX + 1)]
    if len(shown) > UNKNOWN_SHOWN_MAX:
        shown[UNKNOWN_SHOWN_MAX] = "there are more names that nothing answers to"
    return shown


def losses_touched(loaded: Loaded) -> list[str]:
    """Rows of the loss table for spoken protocols whose options the configuration gives.

    The key of a row is the path of an option without names and indexes: `queues.priority_max`.
    """
    given = set(loaded.config.given_options())
    embedded = loaded.config.backend.kind == "embedded"
    spoken = {options.protocol for options in loaded.listeners}
    rows = [
        (row, row.embedded if embedded else row.aws)
        for row in all_losses()
        if row.key in given and row.protocol.lower() in spoken
    ]
    return [
        f"{row.protocol}: {row.feature} ({row.key}): {fate_text(fate)}"
        for row, fate in rows
        if fate != KEPT
    ]


def _access(loaded: Loaded) -> list[str]:
    warnings: list[str] = []
    users = loaded.user_names
    named = [each for each in loaded.listeners if PROTOCOLS[each.protocol].authenticated]
    clients = [each for each in named if each.protocol != "aws"]
    if not named:
        warnings.append("there are no listeners for clients: nobody can connect")
    if clients and not users and any(each.loopback for each in clients):
        warnings.append(
            "there are no users: every program on this machine may connect, with any credentials"
        )
    for options in named:
        keys = bool(users if options.protocol != "aws" else loaded.config.aws_api.access_keys)
        if options.anonymous and not options.loopback:
            what = "without credentials" if keys else "with any credentials"
            warnings.append(
                f"listener {options.name}: whoever reaches {options.address} may connect {what}"
            )
        elif not options.loopback and options.tls is None:
            warnings.append(
                f"listener {options.name}: {options.address} is open to the network without TLS;"
                " passwords and messages can be read on the way"
            )
    return warnings


def _durability(loaded: Loaded) -> list[str]:
    match loaded.config.backend.durability:
        case "memory":
            return ["backend.durability is memory: every start deletes what was stored"]
        case "os":
            return ["backend.durability is os: confirmed messages can be lost with the machine"]
        case "fsync":
            return []

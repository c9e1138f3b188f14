"""What is allowed in a configuration and should be known all the same."""

from __future__ import annotations

from bridge.config import Loaded
from bridge.protocols import PROTOCOLS


def warnings_of(loaded: Loaded) -> list[str]:
    """One sentence each."""
    return [*_access(loaded), *_durability(loaded)]


def _access(loaded: Loaded) -> list[str]:
    warnings: list[str] = []
    users = loaded.config.users
    named = [each for each in loaded.listeners if PROTOCOLS[each.protocol].authenticated]
    clients = [each for each in named if each.protocol != "aws"]
    if clients and not users and any(each.loopback for each in clients):
        warnings.append(
            "there are no users: every program on this machine may connect, with any credentials"
        )
    for options in named:
        keys = users if options.protocol != "aws" else loaded.config.aws_api.access_keys
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

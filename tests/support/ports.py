"""Ports for servers that cannot be asked which one the system gave them."""

from __future__ import annotations

import random
import socket

# Below those that Linux gives to clients: no connection takes one before its server does.
FIRST, LAST = 15_000, 30_000
_dice = random.SystemRandom()


def free_port() -> int:
    """One that nobody listens at."""
    while True:
        port = _dice.randint(FIRST, LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port

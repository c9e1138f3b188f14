"""The embedded backend: queues in memory and in one SQLite file, for a single process.

`engine` takes units of work and pushes deliveries; `arrivals` and `departures` are the ways into
and out of a queue; `queue` and `lane` keep order; `committer` decides what is written when;
`bridge.storage` writes it.
"""

from __future__ import annotations

from bridge.backends.embedded.backend import EmbeddedBackend

__all__ = ["EmbeddedBackend"]

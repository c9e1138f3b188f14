"""What the API can be told; AWS's own bounds are in `bridge.messaging.limits`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bridge.messaging.limits import ServiceLimits

if TYPE_CHECKING:
    from bridge.api.simulation import Faults


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """What configuration says about the API."""

    access_keys: Mapping[str, str] = field(default_factory=dict)
    """Secret by access key id; with any given, signatures are verified, with none all are let in.
    """
    name_reuse_seconds: int = 60
    """How long after its deletion a queue's name cannot be taken again."""
    in_flight_max: int = ServiceLimits().in_flight_max
    """Messages of one queue that receivers may hold at once."""
    purge_interval_seconds: int = 60
    """How long after a purge the next one of the same queue is refused."""
    external_url: str | None = None
    """What queue URLs and the links in SNS's messages begin with, without a slash at its end; None:
    where each client came in.
    """
    faults: Faults | None = None
    """What goes wrong, to behave like AWS at its worst; None: nothing."""
    requests_as_tasks: bool = False
    """Give each request that waits for the store a task, which is slower, for a store that calls
    others to answer.
    """

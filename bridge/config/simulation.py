"""Options of the API's bad days: how often each thing goes wrong, as on AWS at its worst."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from bridge.config.section import Section
from bridge.messaging.limits import ServiceLimits

_SERVICE: Final = ServiceLimits()

Rate = Annotated[float, Field(ge=0, le=1)]
_Seconds = Annotated[float, Field(ge=0, le=900)]


class Simulation(Section):
    """What goes wrong with `simulate: aws`, and how often. Rates go from 0, never, to 1, always.

    The same requests to the same queue meet the same faults, as long as the seed is the same.
    """

    seed: int = Field(1, ge=0, le=2**53, description="Another seed, other faults.")
    duplicate_rate: Rate = Field(
        0.01,
        description="Messages of standard queues that are received once more, although they were"
        " deleted or are in flight; with a higher receive count, and never a third time.",
    )
    duplicate_seconds: _Seconds = Field(
        5.0, description="How long after its first receive such a message comes again, at most."
    )
    reorder_rate: Rate = Field(
        0.1, description="Messages sent to standard queues that later ones overtake."
    )
    reorder_seconds: _Seconds = Field(0.5, description="By how much, at most.")
    empty_receive_rate: Rate = Field(
        0.3, description="Short polls (no waiting time) that find nothing although there is."
    )
    partial_receive_rate: Rate = Field(
        0.3, description="Receives from standard queues that bring fewer messages than there are."
    )
    counts_lag_seconds: _Seconds = Field(
        5.0, description="Age that the approximate numbers of messages may have (AWS: a minute)."
    )
    list_lag_seconds: _Seconds = Field(
        5.0, description="How long ListQueues leaves new queues out and keeps deleted ones."
    )
    settings_lag_seconds: _Seconds = Field(
        5.0,
        description="How long a change of attributes or tags takes, at most (AWS: 60 s).",
    )
    filter_policy_lag_seconds: _Seconds = Field(
        15.0,
        description="How long a filter policy takes until it filters, at most (AWS: 15 minutes).",
    )
    new_queue_seconds: _Seconds = Field(
        1.0, description="How long half of the calls do not find a new queue."
    )
    throttle_rate: Rate = Field(
        0.01,
        description="Calls that are refused as too many: `RequestThrottled` (SQS), `Throttled`"
        " (SNS).",
    )
    error_rate: Rate = Field(
        0.01, description="Calls that fail with status 500 or 503 and do nothing."
    )
    lost_reply_rate: Rate = Field(
        0.01,
        description="Calls that succeed and are not told so: the connection is closed, or the"
        " status is 503.",
    )
    batch_failure_rate: Rate = Field(
        0.01, description="Entries of batches that fail by themselves."
    )
    slow_rate: Rate = Field(0.05, description="Calls that are answered late.")
    slow_seconds: _Seconds = Field(1.0, description="How late, at most.")
    fifo_calls_per_second: int = Field(
        300,
        ge=0,
        le=1_000_000,
        description="Quota of each action on a FIFO queue, batches counted once; FIFO topics take"
        " ten times as many messages. 0 sets no bound.",
    )
    in_flight_max: int = Field(
        _SERVICE.in_flight_max,
        ge=1,
        le=_SERVICE.in_flight_max,
        description="Messages of one queue that receivers may hold at once.",
    )
    filter_policies_max: int = Field(
        10_000, ge=0, le=1_000_000, description="Quota of all topics together. 0 sets no bound."
    )

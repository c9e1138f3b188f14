"""SNS filter policies: checked in AWS's own words, compiled once, evaluated often."""

from __future__ import annotations

from bridge.messaging.filters.policy import FilterPolicy, FilterScope
from bridge.messaging.filters.source import FilterPolicyInvalid

__all__ = ["FilterPolicy", "FilterPolicyInvalid", "FilterScope"]

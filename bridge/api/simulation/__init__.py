"""The API as AWS is at its worst: duplicates, disorder, delays, quotas, lost answers; seeded.

Wrapped around the actions and the store that they see; the exact engine knows nothing of it, and an
API without it has not one step more.
"""

from __future__ import annotations

from bridge.api.simulation.faults import Faults
from bridge.api.simulation.simulation import Simulation

__all__ = ["Faults", "Simulation"]

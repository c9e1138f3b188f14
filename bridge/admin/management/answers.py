"""What a request that changes something is answered with."""

from __future__ import annotations

from typing import Final

from bridge.admin.management.sources import Json


class Done:
    """A change that was made: 201 for what is new, 204, or 200 with `value`."""

    __slots__ = ("location", "status", "value")

    def __init__(
        self, status: int, value: Json | list[Json] | None = None, location: str | None = None
    ) -> None:
        self.status = status
        self.value = value
        self.location = location


CREATED: Final = Done(201)
NO_CONTENT: Final = Done(204)


def created(*, new: bool) -> Done:
    """A PUT of what is new, or was there before."""
    return CREATED if new else NO_CONTENT

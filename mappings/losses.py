"""What each protocol's features become on each backend: kept, emulated or lost, as data.

Every protocol lists its rows in `mappings/<protocol>/losses.py`, as a tuple `LOSSES` in the order
in which a reader looks for them. The documentation prints them, `check` and `explain` report those
that a configuration touches, and a test walks them: a row that is kept names the test of it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import groupby
from typing import Final, TypeAlias, assert_never

import mappings


@dataclass(frozen=True, slots=True)
class Kept:
    """Behaves as the protocol's specification and its brokers have it."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """Behaves so up to `bound`; `how` is what stands in for it."""

    how: str
    bound: str


@dataclass(frozen=True, slots=True)
class Lost:
    """Not offered, and refused in the protocol's words; `why` says what is in the way."""

    why: str


Fate: TypeAlias = Kept | Emulated | Lost
KEPT = Kept()

# What becomes of several protocols' features on AWS.
AT_LEAST_ONCE: Final = Emulated(
    "standard queues deliver at least once", "duplicates are marked redelivered"
)
ONE_AFTER_THE_OTHER: Final = Emulated(
    "sends first, then deletes", "a crash between them delivers a settled message again"
)
BEST_EFFORT_ORDER: Final = Emulated(
    "standard queues keep order at best effort", "fifo and strict queues keep it"
)
IN_S3: Final = Emulated(
    "in S3, in the form of AWS's extended clients", "refused without backend.payload_bucket"
)


@dataclass(frozen=True, slots=True)
class Loss:
    """One feature of one protocol.

    `test` names the test that shows it as pytest does, `tests/mappings/stomp/test_x.py::test_y`; a
    row that is kept somewhere has one. `key` is what `check` and `explain` find the row by; None
    where no configuration touches it.
    """

    protocol: str
    feature: str
    embedded: Fate
    aws: Fate
    test: str | None = None
    key: str | None = None

    @property
    def kept(self) -> bool:
        """Whether one of the backends keeps it."""
        return isinstance(self.embedded, Kept) or isinstance(self.aws, Kept)


@dataclass(frozen=True, slots=True)
class Rows:
    """Makes the rows of one protocol."""

    protocol: str

    def kept(self, feature: str, test: str, aws: Fate = KEPT, key: str | None = None) -> Loss:
        """Kept by the embedded store, and by AWS unless `aws` says otherwise."""
        return Loss(self.protocol, feature, KEPT, aws, test, key)

    def emulated(self, feature: str, how: str, bound: str, test: str | None = None) -> Loss:
        fate = Emulated(how, bound)
        return Loss(self.protocol, feature, fate, fate, test)

    def lost(self, feature: str, why: str, test: str | None = None, key: str | None = None) -> Loss:
        return Loss(self.protocol, feature, Lost(why), Lost(why), test, key)


def all_losses() -> tuple[Loss, ...]:
    """The rows of every protocol that has some, protocols in the order of their names."""
    rows: list[Loss] = []
    for package in sorted(pkgutil.iter_modules(mappings.__path__), key=lambda found: found.name):
        name = f"{mappings.__name__}.{package.name}"
        if package.ispkg and find_spec(f"{name}.losses") is not None:
            rows += importlib.import_module(f"{name}.losses").LOSSES
    return tuple(rows)


def render_markdown(rows: Iterable[Loss]) -> str:
    """The rows as Markdown: a heading and a table for each protocol."""
    parts: list[str] = []
    for protocol, group in groupby(rows, key=lambda row: row.protocol):
        lines = [f"## {protocol}", "", "| feature | embedded | aws |", "|---|---|---|"]
        lines += [
            f"| {_cell(row.feature)} | {_cell(fate_text(row.embedded))} "
            f"| {_cell(fate_text(row.aws))} |"
            for row in group
        ]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def fate_text(fate: Fate) -> str:
    """A fate in a few words, for tables and reports."""
    match fate:
        case Kept():
            return "kept"
        case Emulated(how, bound):
            return f"emulated: {how}; {bound}"
        case Lost(why):
            return f"lost: {why}"
        case _:
            assert_never(fate)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

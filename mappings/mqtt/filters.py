"""A session's topic filters, and what they mean for one subject.

Evaluated when a message is delivered, since it stands once in the session's queue however many
filters cover it. Most sessions have a few filters, for which a list is smaller and faster than an
index. What a subject meant is remembered until the filters change.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from bridge.messaging.matcher import PatternIndex, matches
from mappings.mqtt.addresses import (
    REMEMBERED_LENGTH_MAX,
    begins_with_wildcard,
    hidden_from_wildcards,
    pattern_from_filter,
    topic_from_subject,
)

REMEMBERED_SUBJECTS_MAX: Final = 256
LISTED_FILTERS_MAX: Final = 8
"""Filters of one session up to which they are tried one after the other."""


class Filter(msgspec.Struct, array_like=True, omit_defaults=True, eq=False):
    """One subscription of a session. `pattern` is over escaped levels; `share_name` "" is none."""

    text: str
    pattern: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0
    identifier: int = 0
    share_name: str = ""


class Match(NamedTuple):
    """What a session's filters make of one subject.

    `own_qos` is the QoS for what the session published itself, None where no-local keeps it away.
    """

    topic: str
    qos: int
    identifiers: tuple[int, ...] = ()
    retain_as_published: bool = False
    own_qos: int | None = None


class SessionFilters:
    """The filters of one session, shared subscriptions not among them."""

    __slots__ = ("_index", "_remembered", "by_text", "has_no_local")

    def __init__(self) -> None:
        self.by_text: dict[str, Filter] = {}
        self.has_no_local = False
        self._index: PatternIndex[Filter] | None = None
        self._remembered: dict[str, Match | None] | None = None

    def __len__(self) -> int:
        return len(self.by_text)

    def put(self, new: Filter) -> Filter | None:
        """Add a filter, or replace the one of the same text, which is returned."""
        old = self.remove(new.text)
        self.by_text[new.text] = new
        self.has_no_local = self.has_no_local or new.no_local
        if self._index is not None:
            self._index.add(new.pattern, new)
        elif len(self.by_text) > LISTED_FILTERS_MAX:
            self._index = PatternIndex()
            for each in self.by_text.values():
                self._index.add(each.pattern, each)
        return old

    def remove(self, text: str) -> Filter | None:
        self._remembered = None
        old = self.by_text.pop(text, None)
        if old is not None:
            if self._index is not None:
                self._index.remove(old.pattern, old)
            self.has_no_local = any(each.no_local for each in self.by_text.values())
        return old

    def match(self, subject: str) -> Match | None:
        """What covers a subject, together; None where nothing does."""
        remembered = self._remembered
        if remembered is None:
            remembered = self._remembered = {}
        elif subject in remembered:
            return remembered[subject]
        elif len(remembered) >= REMEMBERED_SUBJECTS_MAX:
            remembered.clear()
        found = self._match(subject)
        if len(subject) <= REMEMBERED_LENGTH_MAX:
            remembered[subject] = found
        return found

    def _match(self, subject: str) -> Match | None:
        hidden = hidden_from_wildcards(subject)
        if self._index is not None:
            found = list(self._index.find(subject, leading_wildcards=not hidden))
        else:
            found = [
                each
                for each in self.by_text.values()
                if matches(each.pattern, subject)
                and not (hidden and begins_with_wildcard(each.pattern))
            ]
        if not found:
            return None
        foreign = [each.qos for each in found if not each.no_local]
        return Match(
            topic_from_subject(subject),
            max(each.qos for each in found),
            tuple(sorted({each.identifier for each in found if each.identifier})),
            any(each.retain_as_published for each in found),
            max(foreign) if foreign else None,
        )


def covers(pattern: str, subject: str) -> bool:
    """Whether a filter's pattern covers a subject by MQTT's rules."""
    if begins_with_wildcard(pattern) and hidden_from_wildcards(subject):
        return False
    return matches(pattern, subject)


def filter_from_text(text: str, pattern: str, share_name: str | None = None) -> Filter:
    """A filter without options; `pattern` in MQTT's spelling."""
    return Filter(text, pattern_from_filter(pattern), share_name=share_name or "")

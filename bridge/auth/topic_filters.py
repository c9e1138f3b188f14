"""Topic permissions in MQTT's syntax: lists of topic filters, with placeholders for the client.

`{client_id}` and `{user}` stand for literal text: a `+` or `#` in a client id is the character, not
a wildcard, and one with slashes is as many literal levels. A filter that somebody subscribes to
must be covered as a whole by one permitted filter. As in MQTT 4.7.2, wildcards at the first level
do not cover what begins with `$`.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from bridge.messaging.expressions import PatternInvalid

_SHARED: Final = "$share/"
LEVELS_MAX: Final = 256
FILTER_LENGTH_MAX: Final = 65_535


class _Wildcard:
    """What `+` and `#` are once a filter was read, so that no literal level equals them."""

    __slots__ = ()


_ONE: Final = _Wildcard()
_MANY: Final = _Wildcard()
_Level: TypeAlias = str | _Wildcard


class PermittedFilter:
    """One topic filter of a list of permissions."""

    __slots__ = ("_levels", "_plain", "needs_client", "text")

    def __init__(self, text: str) -> None:
        """Raises `PatternInvalid`."""
        self.text = text
        self._levels = _levels(text)
        self.needs_client = "{client_id}" in text
        self._plain = "{user}" not in text and not self.needs_client

    def covers(self, wanted: list[_Level], client_id: str | None, user: str) -> bool:
        """Whether everything that `wanted` can stand for is permitted."""
        if self._plain:
            return _covers(self._levels, wanted)
        if self.needs_client and client_id is None:
            return False
        return _covers(_filled(self._levels, client_id or "", user), wanted)


def wanted_topic(topic: str) -> list[_Level]:
    """A topic that is published to: every level is literal."""
    return list(topic.split("/"))


def wanted_filter(topic_filter: str) -> list[_Level]:
    """A filter that is subscribed to; a shared subscription counts as its filter."""
    if topic_filter.startswith(_SHARED):
        topic_filter = topic_filter[len(_SHARED) :].partition("/")[2]
    return [_WILDCARDS.get(level, level) for level in topic_filter.split("/")]


_WILDCARDS: Final[dict[str, _Level]] = {"+": _ONE, "#": _MANY}


def _levels(text: str) -> list[_Level]:
    if not text:
        raise PatternInvalid("is empty: a topic filter has at least one character")
    if len(text) > FILTER_LENGTH_MAX or "\0" in text:
        raise PatternInvalid(f"must have at most {FILTER_LENGTH_MAX} characters and no null")
    parts = text.split("/")
    if len(parts) > LEVELS_MAX:
        raise PatternInvalid(f"has {len(parts)} levels, {LEVELS_MAX} are allowed")
    for index, part in enumerate(parts):
        if part not in _WILDCARDS and ("+" in part or "#" in part):
            raise PatternInvalid(f"has a wildcard inside of the level {part!r}")
        if part == "#" and index != len(parts) - 1:
            raise PatternInvalid("has levels after #, which can only be the last")
    return [_WILDCARDS.get(part, part) for part in parts]


def _filled(levels: list[_Level], client_id: str, user: str) -> list[_Level]:
    filled: list[_Level] = []
    for level in levels:
        if isinstance(level, str) and "{" in level:
            # Split once around each placeholder, so that a value is not read for another one.
            pieces = level.split("{client_id}")
            text = client_id.join(piece.replace("{user}", user) for piece in pieces)
            filled += text.split("/")
        else:
            filled.append(level)
    return filled


def _covers(permitted: list[_Level], wanted: list[_Level]) -> bool:
    first = wanted[0]
    if isinstance(first, str) and first.startswith("$") and not isinstance(permitted[0], str):
        return False
    for index, level in enumerate(permitted):
        if level is _MANY:
            return True
        if index >= len(wanted):
            return False
        asked = wanted[index]
        if level is _ONE:
            if asked is _MANY:
                return False
        elif level != asked:
            return False
        if index == len(wanted) - 1 and permitted[index + 1 :] == [_MANY]:
            # `a/#` covers its parent `a` too.
            return True
    return len(permitted) == len(wanted)

"""Topic aliases of MQTT 5 (3.3.2.3.4): numbers that stand for topics, for one connection and
direction.

What the peer sets is a dictionary in the connection. What we set is decided here: topics get an
alias at once while there are free ones. Then a topic that comes again takes over the one that was
used least recently, so that topics which come but once displace none.
"""

from __future__ import annotations


class OutboundAliases:
    """The aliases that we have set; `aliases_max` is what the peer allows, and at least 1."""

    __slots__ = ("_aliases", "_aliases_max", "_seen")

    def __init__(self, aliases_max: int) -> None:
        self._aliases_max = aliases_max
        self._aliases: dict[str, int] = {}
        """Ordered by last use."""
        self._seen: dict[str, None] = {}
        """Topics that came once of late, as many as there are aliases."""

    def alias(self, topic: str) -> tuple[int, bool] | None:
        """The alias to send `topic` with, and whether the peer knows it, so that the name is left
        out.

        One that it does not know counts from `told` on.
        """
        aliases = self._aliases
        known = aliases.pop(topic, None)
        if known is not None:
            aliases[topic] = known
            return known, True
        if len(aliases) < self._aliases_max:
            return len(aliases) + 1, False
        if topic in self._seen:
            return next(iter(aliases.values())), False
        if len(self._seen) >= self._aliases_max:
            del self._seen[next(iter(self._seen))]
        self._seen[topic] = None
        return None

    def told(self, topic: str, number: int) -> None:
        """The peer was sent `topic` with a new alias."""
        self._seen.pop(topic, None)
        if number <= len(self._aliases):
            del self._aliases[next(iter(self._aliases))]
        self._aliases[topic] = number

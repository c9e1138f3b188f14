"""Messages that this node has deleted lately: standard queues may hand them out once more."""

from __future__ import annotations


class Finished:
    """Remembers the latest message ids, at least `most` and at most twice as many. Hot path.

    Ids alone are enough: SQS gives each message one, which stays when it is moved to a dead-letter
    queue because a delete did not stick.
    """

    __slots__ = ("_most", "_new", "_old")

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: set[str] = set()
        self._old: set[str] = set()

    def add(self, message_id: str) -> None:
        self._new.add(message_id)
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()

    def forget(self, message_id: str) -> None:
        """Its delete has failed: it is to come again."""
        self._new.discard(message_id)
        self._old.discard(message_id)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._new or message_id in self._old

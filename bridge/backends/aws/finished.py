"""Messages that this node has deleted lately: standard queues may hand them out once more."""

from __future__ import annotations


class Finished:
    """Remembers the latest message ids, at least `most` and at most twice as many. Hot path.

    SQS gives each message one, which stays when it is moved to a dead-letter queue because a delete
    did not stick.
    """

    __slots__ = ("_most", "_new", "_old")

    def __init__(self, most: int) -> None:
        self._most = most
        self._new: dict[str, str] = {}
        self._old: dict[str, str] = {}

    def add(self, message_id: str, sqs_name: str) -> None:
        """It was deleted from the queue of this name."""
        self._new[message_id] = sqs_name
        if len(self._new) >= self._most:
            self._old, self._new = self._new, {}

    def forget(self, message_id: str) -> None:
        """Its delete has failed: it is to come again."""
        self._new.pop(message_id, None)
        self._old.pop(message_id, None)

    def place_of(self, message_id: str) -> str | None:
        """The name of the queue from which it was deleted; None for what was not, or long ago."""
        return self._new.get(message_id) or self._old.get(message_id)

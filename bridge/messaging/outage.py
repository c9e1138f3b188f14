"""What an operator's log says while something that the broker stands on does not work."""

from __future__ import annotations

import logging


class Outage:
    """One line when it begins, with its cause, and one when it is over."""

    __slots__ = ("_log", "_over", "_told", "_trouble")

    def __init__(self, log: logging.Logger, trouble: str, over: str) -> None:
        """`trouble` and `over` are what the lines say."""
        self._log = log
        self._trouble = trouble
        self._over = over
        self._told = False

    def goes_on(self, cause: object) -> None:
        """It has failed, perhaps not for the first time."""
        if not self._told:
            self._told = True
            self._log.warning("%s: %s", self._trouble, cause)

    def ends(self) -> None:
        """It works, perhaps as it always did."""
        if self._told:
            self._told = False
            self._log.warning("%s", self._over)

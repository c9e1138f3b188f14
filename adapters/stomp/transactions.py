"""STOMP transactions: what a client did between BEGIN and COMMIT, kept until one of its ends.

Acks are resolved at COMMIT, not when they are received: after an ABORT, or before a COMMIT that
never comes, their messages are still unsettled and can be acknowledged again.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.stomp.events import AckReceived, NackReceived, SendReceived
from adapters.stomp.frames import FrameError
from adapters.stomp.subscription import AckMode, Subscription


@dataclass(frozen=True, slots=True)
class TransactionLimits:
    """Bounds of one connection's open transactions."""

    transactions_max: int = 256
    actions_max: int = 100_000
    """Sends and acks that one transaction may hold."""
    bytes_max: int = 64 * 1024 * 1024
    """Bodies and headers that one transaction may hold."""


@dataclass(slots=True)
class Settlement:
    """An ACK, or with `requeue` not None a NACK, whose deliveries are not looked up yet."""

    subscription: Subscription
    key: str
    receipt: str | None
    requeue: bool | None

    def resolve(self) -> AckReceived | NackReceived | None:
        """Settle; None where there is nothing (any more) under this key."""
        deliveries = self.subscription.settle(self.key)
        if deliveries is None:
            return None
        if self.requeue is None:
            return AckReceived(self.subscription, deliveries, self.receipt)
        return NackReceived(self.subscription, deliveries, self.receipt, self.requeue)


class _Transaction:
    __slots__ = ("actions", "size_bytes")

    def __init__(self) -> None:
        self.actions: list[SendReceived | Settlement] = []
        self.size_bytes = 0


class Transactions:
    """The open transactions of one connection, by the client's names. Raises `FrameError`."""

    __slots__ = ("_limits", "_open")

    def __init__(self, limits: TransactionLimits) -> None:
        self._limits = limits
        self._open: dict[str, _Transaction] = {}

    def begin(self, name: str) -> None:
        if name in self._open:
            raise FrameError("Bad transaction", f"Transaction '{name}' has already begun\n")
        if len(self._open) >= self._limits.transactions_max:
            raise FrameError(
                "Transaction limit exceeded",
                f"{self._limits.transactions_max} open transactions allowed\n",
            )
        self._open[name] = _Transaction()

    def add(self, name: str, action: SendReceived | Settlement) -> None:
        transaction = self._find(name)
        transaction.actions.append(action)
        if isinstance(action, SendReceived):
            headers = sum(len(key) + len(value) for key, value in action.headers.items())
            transaction.size_bytes += len(action.body) + headers
        if len(transaction.actions) > self._limits.actions_max:
            raise FrameError(
                "Transaction limit exceeded",
                f"{self._limits.actions_max} sends and acks allowed in a transaction\n",
            )
        if transaction.size_bytes > self._limits.bytes_max:
            raise FrameError(
                "Transaction limit exceeded",
                f"{self._limits.bytes_max} bytes allowed in a transaction\n",
            )

    def commit(self, name: str) -> list[SendReceived | AckReceived | NackReceived]:
        """Close a transaction and return what it holds, its acks resolved."""
        transaction = self._find(name)
        del self._open[name]
        resolved: list[SendReceived | AckReceived | NackReceived] = []
        settled: list[AckReceived | NackReceived] = []
        for action in transaction.actions:
            if isinstance(action, SendReceived):
                resolved.append(action)
                continue
            settlement = action.resolve()
            if settlement is None:
                settlement = _already_settled(action, settled)
            if settlement is None:
                for other in settled:
                    other.subscription.give_back(other.deliveries)
                raise FrameError(
                    "Message not found",
                    f"'{action.key}' in transaction '{name}' is not an unacknowledged message\n",
                )
            settled.append(settlement)
            resolved.append(settlement)
        return resolved

    def abort(self, name: str) -> None:
        self._find(name)
        del self._open[name]

    def _find(self, name: str) -> _Transaction:
        transaction = self._open.get(name)
        if transaction is None:
            raise FrameError("Bad transaction", f"Invalid transaction identifier: '{name}'\n")
        return transaction


def _already_settled(
    action: Settlement, settled: list[AckReceived | NackReceived]
) -> AckReceived | None:
    """What a cumulative ack of the same transaction has taken along before is no error."""
    subscription = action.subscription
    if subscription.ack_mode is AckMode.CLIENT and any(
        other.subscription is subscription for other in settled
    ):
        return AckReceived(subscription, [], action.receipt)
    return None

"""What clients may see otherwise on AWS than embedded: rows of the loss table, what they excuse.

A test says which row it leans on; everything else has to be the same on every backend.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from mappings.losses import KEPT, Loss, all_losses
from tests.support.program import Place


class Row(NamedTuple):
    """A row of the loss table by its names."""

    protocol: str
    feature: str


AMQP_ORDER: Final = Row("amqp", "order, and requeued messages in their place")
AMQP_LENGTH: Final = Row("amqp", "x-max-length and x-overflow")
MQTT_ORDER: Final = Row("mqtt", "order of each topic and QoS")
STOMP_ORDER: Final = Row("stomp", "order of each queue")


def loss_of(row: Row) -> Loss:
    """The loss itself. Raises `AssertionError` where the table has none that AWS does not keep."""
    for loss in all_losses():
        if (loss.protocol, loss.feature) == row and loss.aws != KEPT:
            return loss
    raise AssertionError(f"no loss on AWS: {row}")


def in_order(place: Place, row: Row, items: Iterable[Any]) -> list[Any]:
    """`items` as they came; sorted where the backend keeps their order as well as SQS does."""
    loss_of(row)
    return sorted(items) if place.on_aws else list(items)

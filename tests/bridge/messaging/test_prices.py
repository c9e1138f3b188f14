"""What a million messages cost by the price list (SQS, SNS, DynamoDB and S3 pricing)."""

from __future__ import annotations

import pytest

from bridge.messaging.prices import Prices, cost_in_queue, cost_in_topic

PRICES = Prices()
KIB = 1024


@pytest.mark.parametrize(
    ("size", "batch_max", "calls", "dollars"),
    [
        (100, 10, 300_000, 0.12),
        (100, 1, 3_000_000, 1.20),
        # Ten of 6.4 KiB are charged as one request, ten of a byte more as two.
        (6_553, 10, 300_000, 0.12),
        (6_554, 10, 300_000, 0.20),
        (64 * KIB, 1, 3_000_000, 1.20),
        (64 * KIB + 1, 1, 3_000_000, 2.00),
        # Only five of 200 KiB go into one call: 16 requests to send, 16 to receive, one to delete.
        (200 * KIB, 10, 600_000, 0.40 * 33 / 5),
        (1024 * KIB, 10, 3_000_000, 0.40 * 33),
    ],
)
def test_a_queue(size: int, batch_max: int, calls: int, dollars: float) -> None:
    cost = cost_in_queue(size, PRICES, fifo=False, batch_max=batch_max, claim_bytes=None)
    assert cost.calls == pytest.approx(calls)
    assert cost.dollars == pytest.approx(dollars)
    assert cost.s3_calls == 0


def test_a_fifo_queue_costs_more() -> None:
    cost = cost_in_queue(100, PRICES, fifo=True, batch_max=10, claim_bytes=None)
    assert cost.dollars == pytest.approx(0.15)


def test_bodies_in_s3() -> None:
    cost = cost_in_queue(300 * KIB, PRICES, fifo=False, batch_max=10, claim_bytes=256 * KIB)
    assert cost.calls == pytest.approx(300_000)
    assert cost.s3_calls == 2_000_000
    assert cost.dollars == pytest.approx(0.12 + 5.00 + 0.40)


def test_a_topic() -> None:
    assert cost_in_topic(100, PRICES, batch_max=10) == pytest.approx((100_000, 0, 0.05))
    assert cost_in_topic(100, PRICES, batch_max=1) == pytest.approx((1_000_000, 0, 0.50))


def test_for_people() -> None:
    cost = cost_in_queue(300 * KIB, PRICES, fifo=False, batch_max=1, claim_bytes=256 * KIB)
    assert str(cost) == "3,000,000 calls and 2,000,000 to S3, $6.60"

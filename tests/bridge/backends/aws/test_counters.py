"""What calls cost: counted by kind, in the units that AWS charges, and for a million messages."""

from __future__ import annotations

import pytest

from bridge.backends.aws import AwsOptions
from bridge.backends.aws.counters import CallCounters
from bridge.messaging.prices import Prices
from tests.bridge.backends.aws.conftest import Opened, quiet
from tests.support.stores import make_queue, message, send

KIB = 1024


@pytest.mark.parametrize(
    ("service", "action", "sent", "received", "kind", "units"),
    [
        ("sqs", "SendMessageBatch", 64 * KIB, 100, "sqs", 1),
        ("sqs", "SendMessageBatch", 64 * KIB + 1, 100, "sqs", 2),
        ("sqs", "ReceiveMessage", 100, 200 * KIB, "sqs", 4),
        ("sqs", "ReceiveMessage", 100, 0, "sqs", 1),
        ("sns", "PublishBatch", 65 * KIB, 100, "sns", 2),
        ("dynamodb", "PutItem", 2 * KIB + 1, 2, "dynamodb_write", 3),
        ("dynamodb", "TransactWriteItems", KIB, 2, "dynamodb_write", 2),
        ("dynamodb", "Query", 100, 9 * KIB, "dynamodb_read", 3),
        ("dynamodb", "GetItem", 100, 2, "dynamodb_read", 1),
        ("s3", "PutObject", 0, 0, "s3_write", 1),
        ("s3", "GetObject", 0, 0, "s3_read", 1),
    ],
)
def test_units(service: str, action: str, sent: int, received: int, kind: str, units: int) -> None:
    counters = CallCounters()
    counters.called(service, action, sent, received)
    assert dict(counters.charged) == {kind: units}
    assert counters.calls == {(service, action): 1}
    assert counters.dollars == pytest.approx(getattr(Prices(), kind) * units / 1_000_000)


@pytest.mark.parametrize(
    ("service", "action"), [("s3", "DeleteObject"), ("dynamodb", "DescribeTable")]
)
def test_what_is_free(service: str, action: str) -> None:
    counters = CallCounters()
    counters.called(service, action, 10, 10)
    assert counters.dollars == 0


async def test_figures_of_a_node(opened: Opened) -> None:
    options = AwsOptions(region="us-east-1", prices=Prices(sqs_fifo=1_000.0))
    backend, _ = await opened(quiet, options)
    queue = await make_queue(backend.store)
    ordered = await make_queue(backend.store, "ordered.fifo", fifo=True)
    before = backend.figures()
    await send(backend.store, queue, *[message("x") for _ in range(20)])
    await send(backend.store, ordered, message("x"))
    figures = backend.figures()

    def rise(name: str) -> float:
        return figures[name] - before.get(name, 0)

    assert rise("aws_sqs_send_message_batch_calls_total") == 3
    assert rise("aws_sqs_billed_requests_total") == 2
    assert rise("aws_sqs_fifo_billed_requests_total") == 1
    assert rise("aws_messages_total") == 21
    assert rise("aws_dollars_total") == pytest.approx(0.001 + 2 * 0.40 / 1_000_000)
    calls = sum(n for (service, _), n in backend.counters.calls.items() if service == "sqs")
    assert figures["aws_sqs_calls_per_million_messages"] == round(calls / 21 * 1_000_000)
    assert figures["aws_dollars_per_million_messages"] == pytest.approx(
        figures["aws_dollars_total"] / 21 * 1_000_000, rel=1e-3
    )

"""A Celery application for the tests; the broker's address comes from the environment, as do its
options and where results go.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Event
from typing import Any

from celery import Celery, chord

app = Celery("tasks", broker=os.environ["BROKER"], backend=os.environ.get("RESULTS", "rpc://"))
app.conf.update(
    broker_transport_options=json.loads(os.environ.get("BROKER_OPTIONS", "{}")),
    task_acks_late=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    task_default_queue="celery-tests",
)
RETRIES = 2

__all__ = ["add", "app", "chord", "flaky", "held", "total"]


@app.task  # type: ignore[untyped-decorator]
def add(one: int, other: int) -> int:
    return one + other


@app.task  # type: ignore[untyped-decorator]
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True, max_retries=RETRIES)  # type: ignore[untyped-decorator]
def flaky(task: Any) -> int:
    retries: int = task.request.retries
    if retries < RETRIES:
        raise task.retry(countdown=0.2)
    return retries


@app.task(bind=True)  # type: ignore[untyped-decorator]
def held(task: Any, pipe: str) -> str:
    """Says into a pipe that it runs and stays there, unless another worker had it before."""
    if task.request.delivery_info["redelivered"]:
        return "done by another"
    Path(pipe).write_text("running")
    Event().wait(600)
    return "done"

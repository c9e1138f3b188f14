"""Celery and kombu on their SQS transport against the real program: queues that they create, and
queues that are there (`predefined_queues`).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.aws_clients import client, name
from tests.support.program import Program, running

KOMBU: Any = importlib.import_module("kombu")
"""Without its types, which are too few."""
ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 60
WORKER = (
    "worker",
    *("-P", "solo"),
    *("-l", "WARNING"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)
CALLS = """
from tests.interop.celery_tasks import add, app, flaky
results = [add.delay(number, number) for number in range(30)]
print(sum(result.get(timeout=120, interval=0.05) for result in results))
print(flaky.delay().get(timeout=120, interval=0.05))
print(add.apply_async((1, 2), countdown=1).get(timeout=120, interval=0.05))
"""
OPTIONS = {"region": "eu-west-1", "is_secure": False, "wait_time_seconds": 1}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running(directory=tmp_path_factory.mktemp("celery")) as started:
        yield started


@pytest.fixture(scope="module")
def bad_day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The API as AWS at its worst, but for what kombu dies of: calls that fail."""
    simulation = "{new_queue_seconds: 0, throttle_rate: 0, error_rate: 0, lost_reply_rate: 0}"
    options = ["--set=aws_api.simulate=aws", f"--set=aws_api.simulation={simulation}"]
    with running(*options, directory=tmp_path_factory.mktemp("celery-bad")) as started:
        yield started


def broker(program: Program) -> str:
    return f"sqs://AKIDEXAMPLE:secret@127.0.0.1:{program.port('aws')}//"


def predefined(program: Program, own: str, **attributes: str) -> dict[str, Any]:
    url = f"http://127.0.0.1:{program.port('aws')}"
    made = client(url, "sqs").create_queue(QueueName=own, Attributes=attributes)
    here = {"url": made["QueueUrl"], "access_key_id": "AKIDEXAMPLE", "secret_access_key": "secret"}
    return {"predefined_queues": {own: {**here, "region": "eu-west-1"}}}


@pytest.mark.parametrize("created", [True, False])
def test_kombu(program: Program, created: bool) -> None:
    own = name("kombu")
    options = {**OPTIONS, "visibility_timeout": 3}
    if not created:
        options |= predefined(program, own, VisibilityTimeout="3")
    opened = KOMBU.Connection(broker(program), transport_options=options)
    with opened as connection:
        simple = connection.SimpleQueue(own)
        simple.put({"text": "grüße"})
        message = simple.get(timeout=WAIT_SECONDS)
        assert message.payload == {"text": "grüße"}
        # It was not acknowledged: it comes again when its visibility has ended.
        again = _get(simple)
        assert again.payload == message.payload
        again.ack()
        with pytest.raises(queue.Empty):
            simple.get(timeout=4)
        simple.close()


def test_kombu_fans_out_through_sns(program: Program) -> None:
    options = {**OPTIONS, "supports_fanout": True}
    exchange = KOMBU.Exchange(name("fanout"), type="fanout")
    queues = [KOMBU.Queue(name("kombu"), exchange=exchange) for _ in range(2)]
    received: list[tuple[str, Any]] = []

    def note(body: Any, message: Any) -> None:
        received.append((message.delivery_info["sqs_queue"].rpartition("/")[2], body))
        message.ack()

    opened = KOMBU.Connection(broker(program), transport_options=options)
    with opened as connection, KOMBU.Consumer(connection, queues, callbacks=[note]):
        KOMBU.Producer(connection, exchange=exchange).publish({"number": 1})
        deadline = time.monotonic() + WAIT_SECONDS
        while len(received) < len(queues) and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                connection.drain_events(timeout=2)
    assert sorted(received) == sorted((each.name, {"number": 1}) for each in queues)


def _get(simple: Any) -> Any:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            return simple.get(timeout=2)
        except queue.Empty:
            assert time.monotonic() < deadline


@pytest.mark.timeout(600)
@pytest.mark.parametrize("created", [True, False])
def test_celery(program: Program, tmp_path: Path, created: bool) -> None:
    options = dict(OPTIONS)
    if not created:
        options |= predefined(program, "celery-tests")
    run_tasks(program, tmp_path, options)


@pytest.mark.timeout(600)
def test_celery_on_a_bad_day(bad_day: Program, tmp_path: Path) -> None:
    run_tasks(bad_day, tmp_path, OPTIONS | predefined(bad_day, "celery-tests"))


def run_tasks(program: Program, tmp_path: Path, options: dict[str, Any]) -> None:
    """Have a worker do what `CALLS` asks for."""
    environment = {
        **os.environ,
        "BROKER": broker(program),
        "BROKER_OPTIONS": json.dumps(options),
        "RESULTS": f"file://{tmp_path}",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tests.interop.celery_tasks", *WORKER],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", CALLS],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.stdout.split() == ["870", "2", "3"], done.stderr
    finally:
        worker.terminate()
        worker.communicate()

"""moto's server on a free port of loopback, in this process: AWS, as far as tests go.

What is asked of DynamoDB is done one call at a time: moto checks a condition and writes in two
steps, and takes a failed transaction back by putting the whole table as it was, so that calls of
several nodes at once would lose writes, as DynamoDB itself never does.

moto's SQS asks the time for each message of a queue, whenever one is sent and for each poll that
waits; its own way of asking takes so long that a few hundred messages keep it busy for minutes.
Its polls that wait notice only after a second what has become visible again; here they do at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from time import time
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import moto.sqs.models
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.server import ThreadedMotoServer
from moto.sqs.models import SQSBackend, sqs_backends
from werkzeug.serving import make_server

_ACCOUNT = "123456789012"

Application = Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]


def _epoch_ms() -> float:
    return time() * 1000


vars(moto.sqs.models)["unix_time_millis"] = _epoch_ms

_change_visibility = SQSBackend.change_message_visibility


def _change_visibility_and_tell(
    self: SQSBackend, queue_name: str, receipt_handle: str, visibility_timeout: int
) -> None:
    _change_visibility(self, queue_name, receipt_handle, visibility_timeout)
    changed = self.get_queue(queue_name)._messages_lock
    with changed:
        changed.notify_all()


setattr(SQSBackend, "change_message_visibility", _change_visibility_and_tell)  # noqa: B010 - mypy


class _OneAtATime:
    """Calls of DynamoDB in a row, all others as they come."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._lock = Lock()

    def __call__(
        self, environment: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        if environment.get("HTTP_X_AMZ_TARGET", "").startswith("DynamoDB"):
            with self._lock:
                return self._application(environment, start_response)
        return self._application(environment, start_response)


class _Server(ThreadedMotoServer):
    def _server_entry(self) -> None:
        application: Any = _OneAtATime(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(
            self._ip_address,
            self._port,
            application,
            threaded=True,
            request_handler=MotoRequestHandler,
        )
        self._server_ready_event.set()
        self._server.serve_forever()


@contextmanager
def moto_server() -> Iterator[str]:
    """Start the server; yields its URL."""
    # One line for each request would bury what a test has to say.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = _Server(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def messages_in_sqs(prefix: str) -> list[Any]:
    """All messages of the queues whose name starts so, whether they are visible or not."""
    backends = sqs_backends[_ACCOUNT]
    return [
        message
        for region in list(backends)
        for name, queue in backends[region].queues.items()
        if name.startswith(prefix)
        for message in list(queue._messages)
    ]


def let_visibility_end(prefix: str) -> None:
    """What would come by itself: a minute after a node died, what it had is to be had again.

    That is also what is sent meanwhile: somebody's last poll goes on for a while without him.
    """
    for message in messages_in_sqs(prefix):
        message.visible_at = 0.0

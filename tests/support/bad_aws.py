"""AWS on a bad day behind one URL: SQS and SNS are our API with faults, all else is moto's."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bridge.api import ApiOptions
from bridge.api.simulation import Faults
from bridge.net.http_messages import HttpAnswer, HttpHandler, HttpRequest, HttpResponse
from tests.support.aws_api import running_api
from tests.support.moto_server import moto_server

FORWARD_SECONDS_MAX = 60
_HOPS: Final = {"content-length", "connection", "accept-encoding", "host"}
_SHOWN: Final = {"content-type", "etag"}

BAD_DAY: Final = Faults(
    seed=5,
    reorder_rate=0.2,
    reorder_seconds=0.3,
    empty_receive_rate=0.3,
    partial_receive_rate=0.3,
    settings_lag_seconds=2.0,
    filter_policy_lag_seconds=2.0,
    throttle_rate=0.05,
    error_rate=0.05,
    batch_failure_rate=0.05,
    slow_rate=0.05,
    slow_seconds=0.3,
    fifo_calls_per_second=300,
)
"""What tests that look into SQS themselves, and count, can stand: nothing twice, no views that lag.
"""


@contextmanager
def bad_aws(faults: Faults = BAD_DAY) -> Iterator[str]:
    """Start it; yields its URL."""
    with moto_server() as moto_url, TemporaryDirectory() as directory:

        def around(handler: HttpHandler) -> HttpHandler:
            def handle(request: HttpRequest) -> HttpAnswer:
                if _is_elsewhere(request):
                    return asyncio.to_thread(_forwarded, request, moto_url)
                return handler(request)

            return handle

        options = ApiOptions(name_reuse_seconds=1, faults=faults)
        with running_api(Path(directory) / "data", options, around=around) as api:
            yield api.url


def _is_elsewhere(request: HttpRequest) -> bool:
    target = request.headers.get("x-amz-target", "")
    return target.startswith("DynamoDB") or "/s3/" in request.headers.get("authorization", "")


def _forwarded(request: HttpRequest, url: str) -> HttpResponse:
    headers = {name: value for name, value in request.headers.items() if name not in _HOPS}
    made = urllib.request.Request(
        url + request.target, request.body or None, headers, method=request.method
    )
    try:
        with urllib.request.urlopen(made, timeout=FORWARD_SECONDS_MAX) as answer:
            return HttpResponse(answer.status, _shown(dict(answer.headers)), answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return HttpResponse(error.code, _shown(dict(error.headers)), error.read())


def _shown(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() in _SHOWN}

"""`/healthz`, `/readyz` and `/metrics`, on a port of their own.

Alive: the loop answers. Ready: the store takes units of work and every listener is bound; a load
balancer sends no new client otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Any

import msgspec

from bridge.admin.metrics import Metrics
from bridge.net.http_messages import HttpRequest, HttpResponse
from bridge.net.listener import Listener

_TEXT = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"}
_JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}


class AdminHandler:
    """The `HttpHandler` of the metrics listener."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        store_healthy: Callable[[], bool],
        listeners: Callable[[], Collection[Listener]],
    ) -> None:
        self._metrics = metrics
        self._store_healthy = store_healthy
        self._listeners = listeners

    def handle(self, request: HttpRequest) -> HttpResponse | Coroutine[Any, Any, HttpResponse]:
        """Answer one request."""
        path = request.target.partition("?")[0]
        if path not in {"/healthz", "/readyz", "/metrics"}:
            return HttpResponse(404, _TEXT, b"there are /healthz, /readyz and /metrics\n")
        if request.method not in {"GET", "HEAD"}:
            return HttpResponse(405, {**_TEXT, "Allow": "GET, HEAD"}, b"only GET and HEAD\n")
        if path == "/metrics":
            return self._scrape(request.headers.get("accept", ""))
        return HttpResponse(200, _TEXT, b"ok\n") if path == "/healthz" else self._ready()

    def problems(self) -> list[str]:
        """Why the broker is not ready; empty when it is."""
        problems = [] if self._store_healthy() else ["the store takes nothing"]
        problems += [
            f"listener {listener.name} does not accept connections"
            for listener in self._listeners()
            if not listener.accepting
        ]
        return problems

    def _ready(self) -> HttpResponse:
        problems = self.problems()
        body = msgspec.json.encode({"ready": not problems, "problems": problems})
        return HttpResponse(503 if problems else 200, _JSON, body + b"\n")

    async def _scrape(self, accept: str) -> HttpResponse:
        content_type, body = await self._metrics.scrape(accept)
        return HttpResponse(200, {"Content-Type": content_type}, body)

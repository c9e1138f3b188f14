"""The `HttpHandler` of a management listener: who asks, for what, and the answer as JSON.

What changes something needs credentials, also where everybody is let in: whoever runs RabbitMQ's
scripts gives them.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from bridge.admin.management.access import (
    AccessRefused,
    Viewer,
    credentials_from,
    viewer_of,
)
from bridge.admin.management.changes import ChangeRequest, Changes
from bridge.admin.management.listing import BadRequest, Query, listed, shaped
from bridge.admin.management.overview import Rates
from bridge.admin.management.paths import methods_of
from bridge.admin.management.refusals import Refused, bad_request
from bridge.admin.management.resources import Answer, Resources
from bridge.admin.management.settings import is_set_elsewhere
from bridge.admin.management.sources import PROTOCOL, Json, ManagementSources
from bridge.admin.management.vhosts import VirtualHosts
from bridge.auth import Accounts
from bridge.net.http_messages import HttpRequest, HttpResponse

_HEADERS: Final = {"Content-Type": "application/json", "Cache-Control": "no-store"}
_NOT_FOUND: Final = {"error": "Object Not Found", "reason": "Not Found"}
_ROOT: Final = b"Landbridge's management API is below /api/, as RabbitMQ's; there is no page here\n"
_PATH_LENGTH_MAX: Final = 8 * 1024


class ManagementHandler:
    """Answers for all management listeners."""

    def __init__(self, sources: ManagementSources) -> None:
        self._sources = sources
        self._rates = Rates()

    def at(
        self, accounts: Accounts, *, loopback: bool
    ) -> Callable[[HttpRequest], Coroutine[Any, Any, HttpResponse]]:
        """The handler of one listener."""

        async def handle(request: HttpRequest) -> HttpResponse:
            return await self._handle(request, accounts, loopback=loopback)

        return handle

    async def finish_deletions(self) -> None:
        """Go on with the virtual hosts whose deletion a stop has interrupted."""
        await VirtualHosts(self._sources).finish_deletions()

    async def _handle(
        self, request: HttpRequest, accounts: Accounts, *, loopback: bool
    ) -> HttpResponse:
        path, _, query = request.target.partition("?")
        if path == "/":
            return HttpResponse(200, {"Content-Type": "text/plain; charset=utf-8"}, _ROOT)
        if not path.startswith("/api/") or len(path) > _PATH_LENGTH_MAX:
            return _json(404, _NOT_FOUND)
        segments = [unquote(part) for part in path.removeprefix("/api/").split("/")]
        if segments[-1] == "":
            segments = segments[:-1]
        allow = {"Allow": ", ".join(methods_of(segments))}
        if request.method == "OPTIONS":
            return HttpResponse(200, allow)
        try:
            viewer = await viewer_of(request, accounts, loopback=loopback)
            if request.method not in {"GET", "HEAD"}:
                return await self._change(request, segments, Query(query), viewer)
            if "GET" not in methods_of(segments):
                return HttpResponse(405, allow)
            return await self._answer(segments, Query(query), viewer)
        except Refused as refused:
            extra = allow if refused.status == 405 else {}
            return _json(refused.status, {"error": refused.error, "reason": refused.reason}, extra)
        except AccessRefused as refused:
            if refused.failed is not None:
                # Who gives no credentials is asked for them, which is no failure yet.
                self._sources.counters.login_failed(PROTOCOL)
                reason = str(refused.__cause__ or refused.reason)
                self._sources.log.request_refused(
                    PROTOCOL, request.peer, user=refused.failed, reason=reason
                )
            return _unauthorised(refused)
        except BadRequest as bad:
            return _json(400, {"error": bad.error, "reason": bad.reason})

    async def _change(
        self, request: HttpRequest, segments: list[str], query: Query, viewer: Viewer
    ) -> HttpResponse:
        if credentials_from(request.headers.get("authorization", "")) is None:
            # As in RabbitMQ. Where anybody is let in this keeps out the pages of other sites,
            # which can have a browser send a POST, but not with this header.
            raise AccessRefused("not_authorized", None)
        if any("\ufffd" in each for each in segments):
            raise bad_request("a name in the path is not UTF-8")
        methods = methods_of(segments)
        if request.method not in methods and not is_set_elsewhere(segments):
            return HttpResponse(405, {"Allow": ", ".join(methods)})
        reason = request.headers.get("x-reason")
        wanted = ChangeRequest(request.method, segments, query, request.body, reason)
        done = await Changes(self._sources, viewer).make(wanted)
        if done.value is not None:
            return _json(done.status, done.value)
        return HttpResponse(done.status, {"Location": done.location} if done.location else {})

    async def _answer(self, segments: list[str], query: Query, viewer: Viewer) -> HttpResponse:
        found: Answer = await Resources(self._sources, viewer, self._rates).find(segments)
        if found is None:
            return _json(404, _NOT_FOUND)
        if isinstance(found, tuple):
            return _json(*found)
        if isinstance(found, list):
            return _json(200, listed(found, query))
        extra = {}
        if segments[0] == "definitions" and (name := query.one("download")) is not None:
            extra["Content-Disposition"] = f"attachment; filename={_file_name(name)}"
        return _json(200, shaped(found, query), extra)


def _json(
    status: int, value: Json | list[Json], headers: dict[str, str] | None = None
) -> HttpResponse:
    return HttpResponse(status, {**_HEADERS, **(headers or {})}, msgspec.json.encode(value))


def _unauthorised(refused: AccessRefused) -> HttpResponse:
    headers = {}
    if refused.error == "not_authorized":
        headers["WWW-Authenticate"] = 'Basic realm="RabbitMQ Management"'
    reason = refused.reason or "Login failed"
    return _json(401, {"error": refused.error, "reason": reason}, headers)


def _file_name(name: str) -> str:
    return "".join(each for each in name if each.isalnum() or each in "._-")[:100] or "definitions"

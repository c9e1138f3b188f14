"""What SQS shows a little late: the list of queues, and the approximate numbers of messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from bridge.api.simulation.faults import Dice

if TYPE_CHECKING:
    from bridge.api.call import Call
    from bridge.api.operation import Handler
    from bridge.messaging.clock import Clock

REMEMBERED_MAX: Final = 10_000
"""Queues whose counts, and deleted queues whose names, are remembered."""
_COUNTS: Final = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesDelayed",
    "ApproximateNumberOfMessagesNotVisible",
)


class LateViews:
    """Wraps the handlers of `ListQueues`, `DeleteQueue` and `GetQueueAttributes`."""

    def __init__(self, dice: Dice, clock: Clock) -> None:
        self._dice = dice
        self._clock = clock
        self._counted: dict[str, tuple[float, dict[str, str]]] = {}
        self._deleted: dict[str, float] = {}

    def around(self, action: str, handler: Handler[Any]) -> Handler[Any]:
        """The handler of an action, or what stands in for it."""
        match action:
            case "ListQueues":
                return self._listing(handler)
            case "DeleteQueue":
                return self._deleting(handler)
            case "GetQueueAttributes":
                return self._counting(handler)
            case _:
                return handler

    def _listing(self, handler: Handler[Any]) -> Handler[Any]:
        def handle(service: Any, call: Call, request: Any) -> Any:
            result = handler(service, call, request)
            seconds = self._dice.faults.list_lag_seconds
            if not seconds:
                return result
            since = self._clock.epoch_ms() - seconds * 1000
            result.queue_urls = [
                url for url in result.queue_urls if service.directory.by_url(url).created_at < since
            ]
            if request.max_results is None:
                prefix, now = request.queue_name_prefix or "", self._clock.monotonic()
                result.queue_urls += [
                    call.queue_url(name)
                    for name, until in self._deleted.items()
                    if until > now
                    and name.startswith(prefix)
                    and service.directory.by_name(name) is None
                ]
            return result

        return handle

    def _deleting(self, handler: Handler[Any]) -> Handler[Any]:
        async def handle(service: Any, call: Call, request: Any) -> Any:
            result = await handler(service, call, request)
            if len(self._deleted) >= REMEMBERED_MAX:
                self._deleted.clear()
            name = request.queue_url.rpartition("/")[2]
            self._deleted[name] = self._clock.monotonic() + self._dice.faults.list_lag_seconds
            return result

        return handle

    def _counting(self, handler: Handler[Any]) -> Handler[Any]:
        async def handle(service: Any, call: Call, request: Any) -> Any:
            result = await handler(service, call, request)
            seconds = self._dice.faults.counts_lag_seconds
            shown = result.attributes
            if not seconds or not shown or not shown.keys() & set(_COUNTS):
                return result
            name, now = request.queue_url.rpartition("/")[2], self._clock.monotonic()
            known = self._counted.get(name)
            if known is None or now - known[0] >= seconds:
                if len(self._counted) >= REMEMBERED_MAX:
                    self._counted.clear()
                counts = {count: shown[count] for count in _COUNTS if count in shown}
                self._counted[name] = (now, counts)
            else:
                shown.update({key: value for key, value in known[1].items() if key in shown})
            return result

        return handle

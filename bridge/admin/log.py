"""The log: one line for each connect, disconnect and refusal, as text or JSON, through structlog.

What clients choose (names, reasons) is cut to a bound and its control characters are escaped, so
that no client can end a line or write to an operator's terminal. What libraries and asyncio log
by the standard way joins the same stream. What costs a client no connection is bounded by host.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, TextIO

import structlog

from bridge.admin.repeats import Repeats
from bridge.messaging.clock import Clock
from bridge.messaging.limits import Limits

Event = MutableMapping[str, Any]

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
TRACEBACK_FRAMES_MAX = 40


class StructuredLog:
    """The `Log` of gateways and listeners; `info`, `warning` and `error` are for the rest."""

    def __init__(
        self,
        stream: TextIO,
        clock: Clock,
        *,
        json: bool = False,
        level: str = "info",
        limits: Limits | None = None,
    ) -> None:
        """Write lines of at least `level` (a key of `LEVELS`) to `stream`."""
        self._clock = clock
        limits = limits or Limits()
        self._characters_max = limits.log_value_characters_max
        self._mistakes = Repeats(limits.log_mistakes_per_minute_max)
        renderer = structlog.processors.JSONRenderer() if json else _text_line
        escape = () if json else (_escape_values,)
        self._processors = [
            structlog.processors.add_log_level,
            self._add_time,
            self._cut_values,
            *escape,
            renderer,
        ]
        self._stream = stream
        self.use_level(level)

    def use_level(self, level: str) -> None:
        """Write lines of at least `level` from now on."""
        self._log = structlog.wrap_logger(
            structlog.WriteLogger(self._stream),
            processors=self._processors,
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
            cache_logger_on_first_use=True,
        ).bind()

    def connected(self, protocol: str, peer: str, *, user: str | None, client: str | None) -> None:
        self._log.info("connected", protocol=protocol, peer=peer, user=user, client=client)

    def disconnected(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self._log.info(
            "disconnected", protocol=protocol, peer=peer, user=user, client=client, reason=reason
        )

    def refused(
        self, protocol: str, peer: str, *, user: str | None, client: str | None, reason: str
    ) -> None:
        self._log.warning(
            "refused", protocol=protocol, peer=peer, user=user, client=client, reason=reason
        )

    def channel_closed(
        self,
        protocol: str,
        peer: str,
        *,
        user: str | None,
        client: str | None,
        channel: int,
        operation: str | None,
        reason: str,
    ) -> None:
        said = self._said_of_mistakes("channel closed", protocol, peer)
        if said is not None:
            self._log.warning(
                "channel closed",
                protocol=protocol,
                peer=peer,
                user=user,
                client=client,
                channel=channel,
                operation=operation,
                reason=reason,
                **said,
            )

    def request_refused(self, protocol: str, peer: str, *, user: str | None, reason: str) -> None:
        said = self._said_of_mistakes("refused", protocol, peer)
        if said is not None:
            self._log.warning(
                "refused", protocol=protocol, peer=peer, user=user, reason=reason, **said
            )

    def failed(self, protocol: str, peer: str, error: BaseException) -> None:
        self._log.error(
            "failed",
            protocol=protocol,
            peer=peer,
            error=_one_line(error),
            traceback=_traceback_of(error),
        )

    def info(self, event: str, **fields: object) -> None:
        self._log.info(event, **fields)

    def warning(self, event: str, **fields: object) -> None:
        self._log.warning(event, **fields)

    def error(self, event: str, **fields: object) -> None:
        self._log.error(event, **fields)

    def capture_standard_logging(self) -> None:
        """Let warnings and errors of libraries and of asyncio come out here."""
        root = logging.getLogger()
        root.handlers[:] = [_StandardHandler(self)]
        root.setLevel(logging.WARNING)

    def _said_of_mistakes(self, event: str, protocol: str, peer: str) -> dict[str, object] | None:
        host = peer.rpartition(":")[0]
        return self._mistakes.note((event, protocol, host), self._clock.monotonic())

    def _add_time(self, _logger: object, _method: str, event: Event) -> Event:
        at = datetime.fromtimestamp(self._clock.epoch_ms() / 1000, UTC)
        event["time"] = at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
        return event

    def _cut_values(self, _logger: object, _method: str, event: Event) -> Event:
        longest = self._characters_max
        for key, value in event.items():
            if isinstance(value, str) and len(value) > longest and key != "traceback":
                event[key] = f"{value[:longest]}... ({len(value)} characters)"
        return event


class _StandardHandler(logging.Handler):
    """Takes the records of the standard library's logging."""

    def __init__(self, log: StructuredLog) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = _one_line(record.exc_info[1])
            fields["traceback"] = _traceback_of(record.exc_info[1])
        write = self._log.error if record.levelno >= logging.ERROR else self._log.warning
        write(record.getMessage(), **fields)


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _traceback_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-TRACEBACK_FRAMES_MAX))


def _escape_values(_logger: object, _method: str, event: Event) -> Event:
    """Make every value safe to stand in a line of text; the traceback keeps its own lines."""
    for key, value in event.items():
        if isinstance(value, str) and key != "traceback" and not value.isprintable():
            event[key] = "".join([_escaped(character) for character in value])
    return event


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def _text_line(_logger: object, _method: str, event: Event) -> str:
    """`time level event key=value ...`; what is unknown (None) is left out."""
    time, level = event.pop("time"), event.pop("level")
    trace = event.pop("traceback", "")
    words = [time, f"{level:7}", str(event.pop("event"))]
    words += [f"{key}={_text_value(value)}" for key, value in event.items() if value is not None]
    line = " ".join(words)
    if not trace:
        return line
    indented = "\n".join(f"    {text}" for text in trace.rstrip().splitlines())
    return f"{line}\n{_printable_lines(indented)}"


def _text_value(value: object) -> str:
    text = str(value)
    if text and not any(mark in text for mark in ' "=\\'):
        return text
    escaped = text.replace('"', '\\"')
    return f'"{escaped}"'


def _printable_lines(text: str) -> str:
    return "\n".join(
        line if line.isprintable() else "".join([_escaped(character) for character in line])
        for line in text.split("\n")
    )

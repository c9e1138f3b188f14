from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.admin.log import StructuredLog
from bridge.messaging.limits import Limits


class FixedClock:
    def monotonic(self) -> float:
        return 0.0

    def epoch_ms(self) -> int:
        return 1_790_000_000_123


TIME = "2026-09-21T14:13:20.123Z"


def _text(**options: Any) -> tuple[StructuredLog, io.StringIO]:
    stream = io.StringIO()
    return StructuredLog(stream, FixedClock(), **options), stream


def test_one_line_for_each_event() -> None:
    log, stream = _text()
    log.connected("mqtt", "192.0.2.1:5", user="meter", client="m-1")
    log.disconnected(
        "mqtt", "192.0.2.1:5", user="meter", client="m-1", reason="closed by the client"
    )
    log.refused("stomp", "[2001:db8::1]:6", user=None, client=None, reason="bad password")
    assert stream.getvalue().splitlines() == [
        f"{TIME} info    connected protocol=mqtt peer=192.0.2.1:5 user=meter client=m-1",
        (
            f"{TIME} info    disconnected protocol=mqtt peer=192.0.2.1:5 user=meter client=m-1"
            ' reason="closed by the client"'
        ),
        f'{TIME} warning refused protocol=stomp peer=[2001:db8::1]:6 reason="bad password"',
    ]


def test_json_lines() -> None:
    log, stream = _text(json=True)
    log.refused("amqp", "192.0.2.1:5", user="a\nb", client=None, reason="no")
    assert json.loads(stream.getvalue()) == {
        "time": TIME,
        "level": "warning",
        "event": "refused",
        "protocol": "amqp",
        "peer": "192.0.2.1:5",
        "user": "a\nb",
        "client": None,
        "reason": "no",
    }
    assert stream.getvalue().count("\n") == 1


@pytest.mark.parametrize(
    "hostile",
    ["a\nb", "a\r\nb", "\x1b[2J", "\x00", "\x7f", "\x85", "\u2028", "\u202egnp", "\ud800", "\x0b"],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_clients_choose_cannot_leave_its_place(hostile: str, as_json: bool) -> None:
    log, stream = _text(json=as_json)
    log.refused("mqtt", "192.0.2.1:5", user=hostile, client=hostile, reason=hostile)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    line.encode()


def test_quotes_and_spaces_stay_readable() -> None:
    log, stream = _text()
    log.refused("mqtt", "p", user='a "b"', client="", reason="x=y")
    assert stream.getvalue().endswith('user="a \\"b\\"" client="" reason="x=y"\n')


def test_long_values_are_cut() -> None:
    log, stream = _text(limits=Limits(log_value_characters_max=10))
    log.refused("mqtt", "p", user="x" * 10, client="y" * 11, reason="z")
    assert "user=xxxxxxxxxx " in stream.getvalue()
    assert 'client="yyyyyyyyyy... (11 characters)"' in stream.getvalue()


def test_level_is_a_threshold() -> None:
    log, stream = _text(level="warning")
    log.connected("mqtt", "p", user=None, client=None)
    log.info("started")
    assert stream.getvalue() == ""
    log.warning("listening", port=1)
    log.error("stopped")
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["warning", "error"]


def _failure() -> ZeroDivisionError:
    try:
        raise ZeroDivisionError("division\nby zero")
    except ZeroDivisionError as error:
        return error


def test_bug_is_logged_with_its_traceback() -> None:
    log, stream = _text()
    log.failed("stomp", "p", _failure())
    first, *rest = stream.getvalue().splitlines()
    assert first == (
        f'{TIME} error   failed protocol=stomp peer=p error="ZeroDivisionError: division\\nby zero"'
    )
    assert all(line.startswith("    ") for line in rest)
    assert any("in _failure" in line for line in rest)
    log, stream = _text(json=True)
    log.failed("stomp", "p", _failure())
    assert "in _failure" in json.loads(stream.getvalue())["traceback"]


@pytest.fixture
def root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_libraries_log_to_the_same_place(root_logger: None) -> None:
    log, stream = _text()
    log.capture_standard_logging()
    logging.getLogger("asyncio").error("lost %s", "it", exc_info=_failure())
    logging.getLogger("asyncio").warning("slow")
    logging.getLogger("asyncio").info("chatty")
    text = stream.getvalue()
    assert f"{TIME} error   lost it logger=asyncio" in text
    assert f"{TIME} warning slow logger=asyncio\n" in text
    assert "chatty" not in text

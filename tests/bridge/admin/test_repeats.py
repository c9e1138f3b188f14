from __future__ import annotations

import io

from bridge.admin.log import StructuredLog
from bridge.admin.repeats import SOURCES_MAX, WINDOW_SECONDS, Repeats
from bridge.messaging.limits import Limits
from tests.support.routing import FixedClock


def test_so_many_lines_in_a_minute_and_the_count_of_the_others() -> None:
    repeats = Repeats(2)
    source = ("channel closed", "amqp", "192.0.2.1")
    assert repeats.note(source, 0.0) == {}
    last = repeats.note(source, 1.0)
    assert last is not None
    assert set(last) == {"note"}
    assert repeats.note(source, 2.0) is None
    assert repeats.note(source, WINDOW_SECONDS - 0.001) is None
    assert repeats.note(source, WINDOW_SECONDS) == {"left_out": 2}
    assert repeats.note(source, 2 * WINDOW_SECONDS) == {}


def test_hosts_and_kinds_do_not_use_up_each_others_lines() -> None:
    repeats = Repeats(1)
    for source in (("a", "192.0.2.1"), ("a", "192.0.2.2"), ("b", "192.0.2.1")):
        assert repeats.note(source, 0.0) is not None
        assert repeats.note(source, 0.0) is None


def test_what_is_remembered_of_hosts_is_bounded() -> None:
    repeats = Repeats(1)
    for number in range(SOURCES_MAX):
        repeats.note(("a", str(number)), 0.0)
    assert repeats.note(("a", "0"), 0.0) is None
    assert repeats.note(("a", "one more"), 0.0) is not None
    assert repeats.note(("a", "1"), 0.0) is not None, "the quietest was forgotten"
    assert repeats.note(("a", "0"), 0.0) is None


def test_the_lines_of_a_loop_of_mistakes() -> None:
    stream = io.StringIO()
    clock = FixedClock()
    log = StructuredLog(stream, clock, limits=Limits(log_mistakes_per_minute_max=2))
    for number in range(5):
        log.channel_closed(
            "amqp",
            f"192.0.2.1:{number}",
            user="shop",
            client=None,
            channel=1,
            operation="queue.declare",
            reason="NOT_FOUND - no queue 'q' in vhost '/'",
        )
        log.request_refused("aws", f"[2001:db8::1]:{number}", user="AKID", reason="no")
    clock.now_ms += 60_000
    log.request_refused("aws", "[2001:db8::1]:9", user="AKID", reason="no")
    lines = [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()]
    note = 'note="more of these from this host are left out for a minute"'
    closed = (
        "warning channel closed protocol=amqp peer=192.0.2.1:{} user=shop channel=1"
        " operation=queue.declare reason=\"NOT_FOUND - no queue 'q' in vhost '/'\""
    )
    refused = "warning refused protocol=aws peer=[2001:db8::1]:{} user=AKID reason=no"
    assert lines == [
        closed.format(0),
        refused.format(0),
        f"{closed.format(1)} {note}",
        f"{refused.format(1)} {note}",
        f"{refused.format(9)} left_out=3",
    ]

"""`landbridge serve`: run the broker until a signal ends it.

SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reads the configuration again. The
start-up text goes to standard output, the log to standard error; with JSON logs there is no text.
"""

from __future__ import annotations

import asyncio
import resource
import signal
import sys
from collections.abc import Callable

from bridge.app import Broker, log_of
from bridge.chosen_backend import StartRefused
from bridge.cli.startup import report_start
from bridge.config import Sources, load


def serve(sources: Sources) -> int:
    """Start the broker and wait for its end; returns the exit code."""
    loaded = load(sources)
    log = log_of(loaded.config, sys.stderr)
    log.capture_standard_logging()
    _allow_many_connections()

    async def run() -> None:
        broker = Broker(sources, loaded, log)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, broker.stop)
        loop.add_signal_handler(signal.SIGHUP, broker.reload)
        await broker.run(lambda: report_start(loaded, broker.listeners, log))

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run())
    except StartRefused as refused:
        print(f"landbridge cannot start: {refused}", file=sys.stderr)
        return 1
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's where it is installed."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _allow_many_connections() -> None:
    """Take as many open files as the system grants; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            return

"""A long queue costs disk and not memory, before and after a restart: less than the million that is
measured by hand, but with larger bodies.
"""

from __future__ import annotations

import re
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.program import Program, running
from tests.support.stomp_wire import Wire, frame

MESSAGES = 150_000
CHUNK_MESSAGES = 500
BODY_BYTES = 1024
GROWTH_MIB_MAX = 110
"""The bodies alone of all messages in memory would be 146 MiB, as Python objects over 200. What is
used does not depend on their number: buffers, and what the allocator keeps; 55 MiB where this was
written.
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")
def test_a_backlog_costs_disk_and_no_memory(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        at_rest = memory_mib(program)
        with closing(Wire(program.port("stomp"))) as wire:
            wire.connect()
            for start in range(0, MESSAGES, CHUNK_MESSAGES):
                wire.send(b"".join(map(send, range(start, start + CHUNK_MESSAGES))))
                wire.frame("SEND", {"destination": "/queue/other", "receipt": "stored"})
                wire.expect("RECEIPT")
        assert memory_mib(program) - at_rest < GROWTH_MIB_MAX
    with running(directory=tmp_path) as program:
        assert memory_mib(program) - at_rest < GROWTH_MIB_MAX
        with closing(Wire(program.port("stomp"))) as wire:
            wire.connect()
            wire.frame("SUBSCRIBE", {"id": "0", "destination": "/queue/backlog"})
            for number in range(MESSAGES):
                assert wire.expect("MESSAGE").body == body(number)
        assert memory_mib(program) - at_rest < GROWTH_MIB_MAX


def send(number: int) -> bytes:
    return frame("SEND", {"destination": "/queue/backlog"}, body(number))


def body(number: int) -> bytes:
    return str(number).encode().rjust(BODY_BYTES, b".")


def memory_mib(program: Program) -> float:
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    resident = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert resident is not None
    return int(resident[1]) / 1024

"""The installed program as a child process, for tests that want the whole of it.

    with running("--set", "listeners.metrics=null", directory=tmp_path) as program:
        connect(program.port("stomp"))

Ports are chosen by the system and read from the start-up text. Leaving the block stops the program
as an operator would and checks that it went in peace.

Tests that any backend has to pass ask a `Place` instead, which `--backend` chooses:

    with place.running("--set", "listeners.metrics=null", directory=tmp_path) as program:
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Condition, Thread
from typing import Final

from bridge.protocols import PROTOCOLS

LANDBRIDGE = str(Path(sys.executable).with_name("landbridge"))
FREE_PORTS = tuple(f"--set=listeners.{name}.port=0" for name in PROTOCOLS)
AWS_KEYS = {"AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret"}
START_SECONDS_MAX = 120
STOP_SECONDS_MAX = 120

PAYLOAD_BUCKET: Final = "landbridge-payloads"
EMBEDDED: Final = "embedded"
AWS_MOTO: Final = "aws-moto"
AWS_SIMULATED: Final = "aws-simulated"
BACKENDS: Final = (EMBEDDED, AWS_MOTO, AWS_SIMULATED)
"""What `--backend` chooses from: the last is our API in the mode `simulate: aws`."""

_places = count(1)
_LISTENER = re.compile(r"^  (\S+) +[a-z+]+://(\S+):(\d+)")


class Program:
    """A broker that has started; `text` is what it said so far, `log` its log so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text: list[str] = []
        self.log: list[str] = []
        self._logged = Condition()
        self._reader = Thread(target=self._read_log, daemon=True)
        self._reader.start()

    def __repr__(self) -> str:
        return f"<Program {self.process.pid}>"

    @property
    def ports(self) -> dict[str, int]:
        """Port by listener."""
        found = (_LISTENER.match(line) for line in self.text)
        return {match[1]: int(match[3]) for match in found if match}

    def port(self, listener: str) -> int:
        return self.ports[listener]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait_for_log(self, text: str, count: int = 1) -> None:
        """Until `count` lines of the log contain `text`."""

        def logged() -> bool:
            return sum(text in line for line in self.log) >= count

        with self._logged:
            assert self._logged.wait_for(logged, START_SECONDS_MAX), "\n".join(self.log)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL: no goodbye."""
        self.process.kill()
        self.wait()

    def wait(self) -> int:
        code = self.process.wait(STOP_SECONDS_MAX)
        self._reader.join()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def read_start(self) -> None:
        """Read the start-up text; fails with the log where there is none."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text.append(line.rstrip("\n"))
            if line.startswith("ready"):
                return
        self.wait()
        raise AssertionError("the program did not start:\n" + "\n".join(self.text + self.log))

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._logged:
                self.log.append(line.rstrip("\n"))
                self._logged.notify_all()


def start(
    *arguments: str, directory: Path, environment: Mapping[str, str] | None = None
) -> Program:
    """Start the program in `directory`; returns once everything is bound."""
    process = subprocess.Popen(
        [LANDBRIDGE, "serve", *arguments],
        cwd=directory,
        env=_environment(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    program = Program(process)
    try:
        program.read_start()
    except BaseException:
        program.kill()
        raise
    return program


@contextmanager
def running(
    *arguments: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    free_ports: bool = True,
) -> Iterator[Program]:
    """A started program, stopped at the end of the block."""
    ports = FREE_PORTS if free_ports else ()
    program = start(*ports, *arguments, directory=directory, environment=environment)
    try:
        yield program
        assert program.stop() == 0, "\n".join(program.log)
    finally:
        if program.process.poll() is None:
            program.kill()


def options_on_aws(url: str, place: str, **more: str) -> list[str]:
    """The options of a node with its queues at `url`, one of those of `place`."""
    given = {
        "kind": "aws",
        "region": "eu-west-1",
        "endpoint_url": url,
        "prefix": f"{place}-",
        "state_table": place,
        **more,
    }
    return [f"--set=backend.{name}={value}" for name, value in given.items()]


class Place:
    """Where brokers of tests keep their queues: by themselves, or on AWS at `url`."""

    def __init__(self, backend: str, url: str = "") -> None:
        self.backend = backend
        self.url = url

    @property
    def on_aws(self) -> bool:
        return self.backend != EMBEDDED

    @contextmanager
    def running(self, *arguments: str, directory: Path) -> Iterator[Program]:
        """A broker on an empty place, stopped at the end of the block."""
        if self.on_aws:
            name = f"place{next(_places)}"
            options = options_on_aws(self.url, name, payload_bucket=PAYLOAD_BUCKET)
            arguments = (*options, *arguments)
        environment = AWS_KEYS if self.on_aws else None
        with running(*arguments, directory=directory, environment=environment) as program:
            yield program


@contextmanager
def node_on_aws(url: str, directory: Path, place: str) -> Iterator[Program]:
    """A node with its queues at `url`, one of those of `place`; a test may kill it."""
    directory.mkdir(exist_ok=True)
    options = options_on_aws(url, place)
    program = start(*FREE_PORTS, *options, directory=directory, environment=AWS_KEYS)
    try:
        yield program
        # One that a test has killed does not go in peace.
        assert program.stop() in {0, -signal.SIGKILL}, "\n".join(program.log)
    finally:
        if program.process.poll() is None:
            program.kill()


def run_landbridge(
    *arguments: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    stdin: str = "",
) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end."""
    return subprocess.run(
        [LANDBRIDGE, *arguments],
        cwd=directory,
        env=_environment(environment),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=START_SECONDS_MAX,
    )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    """This process's environment without what would choose another configuration."""
    kept = {name: value for name, value in os.environ.items() if name != "LANDBRIDGE_CONFIG"}
    return {**kept, "PYTHONUNBUFFERED": "1", **(extra or {})}

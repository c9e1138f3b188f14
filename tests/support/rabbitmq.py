"""A RabbitMQ of the machine's own packages, as a child process, to compare with."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ports import free_port

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
INSTALLED = SERVER.is_file() and shutil.which("erl") is not None


@contextmanager
def rabbitmq(
    directory: Path,
    *,
    plugins: Sequence[str] = (),
    definitions: Callable[[int], dict[str, Any]] | None = None,
    settings: Sequence[str] = (),
) -> Iterator[int]:
    """A broker with its files in `directory`; yields its AMQP port.

    `definitions` makes what it loads at its start, given that port; `settings` are lines of its
    configuration.
    """
    port, distribution, mapper = free_port(), free_port(), free_port()
    (directory / "plugins").write_text(f"[{','.join(plugins)}].\n")
    (directory / "env.conf").write_text("")
    lines = [*settings]
    if definitions is not None:
        (directory / "definitions.json").write_text(json.dumps(definitions(port)))
        lines.append(f"load_definitions = {directory / 'definitions.json'}")
    (directory / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in lines))
    environment = {
        **os.environ,
        "HOME": str(directory),
        "RABBITMQ_NODENAME": f"compared{port}@localhost",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_DIST_PORT": str(distribution),
        "ERL_EPMD_PORT": str(mapper),
        "RABBITMQ_BASE": str(directory),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "env.conf"),
    }
    # The port mapper is a child of ours: started by Erlang it would be a daemon.
    with subprocess.Popen(["epmd", "-port", str(mapper)], env=environment) as port_mapper:
        process = subprocess.Popen(
            [SERVER],
            env=environment,
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            _wait_until_started(process)
            yield port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
            port_mapper.kill()


def _wait_until_started(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if "completed with" in line:
            return
    raise AssertionError("RabbitMQ did not start:\n" + "".join(said))

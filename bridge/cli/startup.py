"""What is said once all is bound: version, listeners, data, who may connect, a line to try."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version

from bridge.admin.log import StructuredLog
from bridge.cli.warnings import warnings_of
from bridge.config import Loaded
from bridge.listeners import OpenListener
from bridge.protocols import AWS, MANAGEMENT, METRICS, PROTOCOLS

_DURABILITY = {
    "fsync": "fsync: what is confirmed survives power loss",
    "os": "os: what is confirmed survives the process, not the machine",
    "memory": "memory: nothing survives a restart",
}


def report_start(loaded: Loaded, listeners: Sequence[OpenListener], log: StructuredLog) -> None:
    """Print the start-up text, or log it where logs are JSON."""
    if loaded.config.log.format == "json":
        log.info(
            "started",
            version=version("landbridge"),
            file=str(loaded.file) if loaded.file else None,
            listeners={each.options.name: _url(each) for each in listeners},
            data=_data(loaded),
            access=_access(loaded),
            simulation=_simulation(loaded),
            warnings=warnings_of(loaded),
        )
        return
    try:
        print("\n".join(start_text(loaded, listeners)), flush=True)
    except OSError:
        # Whoever started us has closed our output; that is no reason to stop.
        sys.stdout = None


def start_text(loaded: Loaded, listeners: Sequence[OpenListener]) -> Iterator[str]:
    """The lines of the start-up text."""
    rows = [("configuration", str(loaded.file or "none, the defaults"))]
    urls = {each.options.name: _url(each) for each in listeners}
    width = max(map(len, urls.values()), default=0)
    for each in listeners:
        title = PROTOCOLS[each.options.protocol].title
        rows.append((each.options.name, f"{urls[each.options.name]:{width}}  {title}"))
    rows += [("data", _data(loaded)), ("access", _access(loaded))]
    if simulation := _simulation(loaded):
        rows.append(("simulation", simulation))
    if line := _line_to_try(loaded, listeners):
        rows.append(("try", line))
    yield f"Landbridge {version('landbridge')} is up"
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        yield f"  {name:{width}}  {text}"
    for warning in warnings_of(loaded):
        yield f"warning: {warning}"
    yield "ready; Ctrl-C stops it"


def _url(each: OpenListener) -> str:
    options, address = each.options, each.listener.address
    secure = options.tls is not None
    if options.protocol in {AWS.name, MANAGEMENT.name, METRICS.name}:
        path = "/metrics" if options.protocol == METRICS.name else ""
        return f"{'https' if secure else 'http'}://{address}{path}"
    if options.websocket:
        return f"{'wss' if secure else 'ws'}://{address}"
    return f"{options.protocol}{'+tls' if secure else ''}://{address}"


def _data(loaded: Loaded) -> str:
    backend = loaded.config.backend
    if backend.kind == "aws":
        where = backend.region or "the environment's region"
        prefix = f", prefix {backend.prefix}" if backend.prefix else ""
        return f"SQS and DynamoDB table {backend.state_table} in {where}{prefix}"
    return f"{backend.path.resolve()} ({_DURABILITY[backend.durability]})"


def _access(loaded: Loaded) -> str:
    config = loaded.config
    users = loaded.user_names
    if not users:
        clients = "no users: any credentials where a listener is on loopback"
    else:
        shown = ", ".join(users[:5]) + (", ..." if len(users) > 5 else "")
        clients = f"{len(users)} user{'s' if len(users) > 1 else ''}: {shown}"
    keys = len(config.aws_api.access_keys)
    shown_keys = f"{keys} access key{'s' if keys > 1 else ''}" if keys else "any keys"
    return f"{clients}; SQS and SNS API: {shown_keys}"


def _simulation(loaded: Loaded) -> str | None:
    api = loaded.config.aws_api
    if api.simulate == "nothing":
        return None
    return f"SQS and SNS behave like AWS at its worst, seed {api.simulation.seed}"


def _line_to_try(loaded: Loaded, listeners: Sequence[OpenListener]) -> str | None:
    """One line that works in a shell as it stands; None where it would need credentials."""
    for each in listeners:
        options = each.options
        if options.protocol == AWS.name and not loaded.config.aws_api.access_keys:
            insecure = "-k " if options.tls else ""
            return f"curl {insecure}'{_url(each)}/?Action=CreateQueue&QueueName=hello'"
    return None

"""The configuration as users see it: the reference page, the JSON schema, the effective file.

All of it comes from `schema.py` and the table of protocols; the page's prose stands here, beside
it.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from types import UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from bridge.config.listeners import ProtocolPorts
from bridge.config.schema import Config
from bridge.config.validation import bounds_of, is_secret

HIDDEN: Final = "(hidden)"

_HEAD: Final = """\
# Configuration

<!-- Written by `landbridge config --reference`; edit bridge/config/ instead. -->

One YAML file. It is the first of: `-c FILE`, `$LANDBRIDGE_CONFIG`, `./landbridge.yaml`,
`/etc/landbridge/landbridge.yaml`. None at all is valid: everything has a default.

- `landbridge check` says everything that is wrong with a file, each thing with its place.
- `landbridge config` prints the file that is in effect, with every default; `landbridge config
  --schema` a JSON schema for editors.
- Unknown keys are mistakes, and so are keys with nothing behind them, except names of listeners.
  Relative paths are relative to the working directory.
- `${NAME}` is replaced by an environment variable, `${NAME:-default}` has a default, `$${` writes
  `${`.
- `--set path=value` overrides, as often as needed: `--set listeners.stomp.port=7000`,
  `--set users[0].name=orders`, `--set 'queues[+]={name: orders}'`. The value is YAML. Without
  `listeners` in the file, it changes the default listeners; `--set listeners.metrics=null` leaves
  one out.
- `--port-offset N` moves every port, except 0.
- `SIGHUP` reads the file again. A file with mistakes changes nothing and is logged. A good one
  applies users, routes, queues, certificates, the log level, and listeners that were added,
  removed or changed; the others keep their connections, but those of users that are gone. What
  clients consume already goes on when a user's permissions shrink. `backend`, `namespaces`,
  `limits`, `aws_api`, `dead_letters` and the log format need a restart, and a reload that changes
  them is refused.
"""

_PORTS: Final = """\
## Usual ports

| protocol | name | port | TLS | WebSocket |
|---|---|---|---|---|
"""


def reference_page(protocols: Mapping[str, ProtocolPorts]) -> str:
    """docs/configuration.md."""
    parts = [_HEAD]
    parts += _sections(Config, "")
    parts.append(_PORTS + "".join(_port_row(ports) for ports in protocols.values()))
    return "\n".join(parts)


def json_schema() -> str:
    """A JSON schema (2020-12) of the file."""
    return json.dumps(Config.model_json_schema(), indent=2)


def effective_yaml(config: Config, *, secrets: bool) -> str:
    """The configuration as a file that would mean the same; secrets only where asked for."""
    stream = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.width = 100
    yaml.dump(_plain(config, secrets=secrets), stream)
    return stream.getvalue()


def _plain(value: Any, *, secrets: bool) -> Any:
    """The mapping to print, in the schema's order."""
    match value:
        case BaseModel():
            return {
                option.alias or name: HIDDEN
                if is_secret(option) and not secrets and getattr(value, name) is not None
                else _plain(getattr(value, name), secrets=secrets)
                for name, option in type(value).model_fields.items()
            }
        case Path():
            return str(value)
        case dict():
            return {key: _plain(item, secrets=secrets) for key, item in value.items()}
        case list():
            return [_plain(item, secrets=secrets) for item in value]
        case _:
            return value


# -- the page


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    """A heading and a table for a section, then the sections inside it."""
    if path:
        yield f"## `{path}`\n\n{inspect.getdoc(model)}\n"
    else:
        yield "## The file\n"
    rows = [_row(option.alias or name, option) for name, option in model.model_fields.items()]
    yield "| option | type | default | meaning |\n|---|---|---|---|\n" + "".join(rows)
    for name, option in model.model_fields.items():
        kind, suffix = _inner(option.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _sections(kind, f"{path}.{name}{suffix}".lstrip("."))


def _row(name: str, option: FieldInfo) -> str:
    description = (option.description or "").replace("|", "\\|")
    return f"| `{name}` | {_type(option)} | {_default(option)} | {description} |\n"


def _inner(annotation: Any) -> tuple[Any, str]:
    """The section that an option holds, and how its path goes on."""
    origin = get_origin(annotation)
    if origin in {Union, UnionType}:
        kinds = [part for part in get_args(annotation) if part is not type(None)]
        return _inner(kinds[0]) if len(kinds) == 1 else (None, "")
    if origin is list:
        return get_args(annotation)[0], "[]"
    if origin is dict:
        return _inner(get_args(annotation)[1])[0], ".<name>"
    if hasattr(annotation, "__metadata__"):
        return _inner(get_args(annotation)[0])
    return annotation, ""


def _type(option: FieldInfo) -> str:
    text = _kind(option.annotation)
    least, greatest = bounds_of(option)
    if least is not None or greatest is not None:
        text += f", from {least}" if greatest is None else f", {least} to {greatest}"
    return text


def _kind(annotation: Any) -> str:
    origin = get_origin(annotation)
    if hasattr(annotation, "__metadata__"):
        return _kind(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        kinds = [_kind(part) for part in get_args(annotation) if part is not type(None)]
        return " or ".join(dict.fromkeys(kinds))
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin is list:
        return "list"
    if origin is dict or (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
        return "mapping"
    return {str: "text", int: "number", float: "number", bool: "true or false", Path: "path"}.get(
        annotation, "value"
    )


def _default(option: FieldInfo) -> str:
    if option.is_required():
        return "required"
    match option.default:
        case None | "":
            return ""
        case bool():
            return f"`{str(option.default).lower()}`"
        case BaseModel():
            return ""
        case []:
            return "none"
        case _:
            return f"`{option.default}`"


def _port_row(ports: ProtocolPorts) -> str:
    numbers = (ports.port, ports.tls_port, ports.websocket_port)
    cells = " | ".join("" if number is None else str(number) for number in numbers)
    return f"| {ports.title} | `{ports.name}` | {cells} |\n"

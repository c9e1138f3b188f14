"""The Query protocol's answers: XML as SQS and SNS write it, and its JSON rendering.

Results are first made plain (`wire.json.to_builtins`), then rendered by the service's table of
names: SQS repeats `<QueueUrl>` and `<Attribute><Name/><Value/></Attribute>`, SNS wraps lists in
`<member>` and maps in `<entry>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from bridge.api.errors import ApiError
from bridge.api.wire.json import encode, to_builtins

_ESCAPES: dict[int, str] = {
    # What XML cannot carry at all comes only from an error's echo of a bad value.
    **{code: "?" for code in range(0x20) if code not in (0x9, 0xA)},
    **dict.fromkeys(range(0xD800, 0xE000), "?"),
    **dict.fromkeys((0xFFFE, 0xFFFF), "?"),
    # SQS escapes quotes in text as well, and carriage returns, which XML readers would drop.
    **str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}),
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """How a service writes its results; what is not in the tables is wrapped as SNS does."""

    namespace: str
    lists: Mapping[str, str] = field(default_factory=dict)
    maps: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    json_names: Mapping[str, str] = field(default_factory=dict)
    """Members that the JSON rendering calls otherwise."""


def result_body(action: str, result: Any, request_id: str, rendering: Rendering) -> bytes:
    """The XML answer of a successful action; `result` None for those that return nothing."""
    parts = [f'<?xml version="1.0"?><{action}Response xmlns="{rendering.namespace}">']
    if result is not None:
        members: list[str] = []
        _render_members(to_builtins(result), rendering, members)
        if members:
            parts += (f"<{action}Result>", *members, f"</{action}Result>")
        else:
            parts.append(f"<{action}Result/>")
    parts.append(
        f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        f"</{action}Response>"
    )
    return "".join(parts).encode()


def json_result_body(action: str, result: Any, request_id: str, rendering: Rendering) -> bytes:
    """The same as JSON, for Query requests that accept nothing else."""
    answer: dict[str, Any] = {"ResponseMetadata": {"RequestId": request_id}}
    if result is not None:
        answer[f"{action}Result"] = _as_json(result, rendering)
    return encode({f"{action}Response": answer})


def _as_json(value: Any, rendering: Rendering) -> Any:
    """A result's value where XML would be rendered as JSON: flat maps are lists of names and
    values, and what is not there is null.
    """
    if isinstance(value, list):
        return [_as_json(each, rendering) for each in value]
    if not isinstance(value, msgspec.Struct):
        return to_builtins(value)
    members: dict[str, Any] = {}
    for each in msgspec.structs.fields(value):
        held, name = getattr(value, each.name), each.encode_name
        if isinstance(held, dict) and (flat := rendering.maps.get(name)):
            _, key, below = flat
            held = [{key: k, below: _as_json(v, rendering)} for k, v in held.items()] or None
        elif name in rendering.json_names:
            name, held = rendering.json_names[name], held or None
        members[name] = _as_json(held, rendering)
    return members


def error_body(error: ApiError, message: str, request_id: str, rendering: Rendering) -> bytes:
    """The XML answer of a failed request."""
    kind = error.kind
    return (
        f'<?xml version="1.0"?><ErrorResponse xmlns="{rendering.namespace}"><Error>'
        f"<Type>{kind.fault}</Type><Code>{_escape(kind.code)}</Code>"
        f"<Message>{_escape(message)}</Message><Detail/></Error>"
        f"<RequestId>{request_id}</RequestId></ErrorResponse>"
    ).encode()


def _render_members(members: dict[str, Any], rendering: Rendering, parts: list[str]) -> None:
    for name, value in members.items():
        if value is None:
            continue
        if isinstance(value, dict) and (flat := rendering.maps.get(name)):
            for key, below in value.items():
                parts.append(f"<{flat[0]}><{flat[1]}>{_escape(key)}</{flat[1]}>")
                _render_value(flat[2], below, rendering, parts)
                parts.append(f"</{flat[0]}>")
        elif isinstance(value, list) and (singular := rendering.lists.get(name)):
            for below in value:
                _render_value(singular, below, rendering, parts)
        elif isinstance(value, list):
            parts.append(f"<{name}>")
            for below in value:
                _render_value("member", below, rendering, parts)
            parts.append(f"</{name}>")
        elif isinstance(value, dict) and name.endswith("Attributes"):
            parts.append(f"<{name}>")
            for key, below in value.items():
                parts.append(f"<entry><key>{_escape(key)}</key>")
                _render_value("value", below, rendering, parts)
                parts.append("</entry>")
            parts.append(f"</{name}>")
        else:
            _render_value(name, value, rendering, parts)


def _render_value(name: str, value: Any, rendering: Rendering, parts: list[str]) -> None:
    if isinstance(value, dict):
        parts.append(f"<{name}>")
        _render_members(value, rendering, parts)
        parts.append(f"</{name}>")
    elif isinstance(value, bool):
        parts.append(f"<{name}>{'true' if value else 'false'}</{name}>")
    else:
        parts.append(f"<{name}>{_escape(str(value))}</{name}>")


def _escape(text: str) -> str:
    return text.translate(_ESCAPES)

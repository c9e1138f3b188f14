"""The Query protocol: flattened parameters to typed requests.

`MessageAttribute.1.Value.DataType=String` and its like are first put into a tree by their dots; a
table of the service's names then says which branches are lists and maps (SQS flattens them, SNS
says `member` and `entry`), and msgspec converts the whole into the request type that the JSON
protocol uses as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from bridge.api import errors
from bridge.api.wire.json import missing_parameter, request_error

T = TypeVar("T")

PARAMETERS_MAX = 2_000
"""Of one request; the largest batch with all attributes has some 500."""
_DEPTH_MAX = 12
_LIST_MEMBERS: dict[type, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Names:
    """How a service flattens its lists and maps.

    `lists` and `maps` go from the singular on the wire to the member; a map also names its key and
    value.
    """

    lists: Mapping[str, str] = field(default_factory=dict)
    maps: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    missing: Callable[[str], errors.ApiError] = missing_parameter
    """Makes the service's error for a parameter that has to be there."""


def parameters_from(query: str, form: bytes) -> dict[str, str]:
    """All parameters of the request line and the form; of repeated ones the last counts."""
    try:
        pairs = parse_qsl(
            query, keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict"
        )
        pairs += parse_qsl(
            form.decode(),
            keep_blank_values=True,
            max_num_fields=PARAMETERS_MAX,
            errors="strict",
        )
    except ValueError as error:
        raise errors.SERIALIZATION(f"The parameters cannot be read: {error}") from error
    return dict(pairs)


def convert_request(parameters: Mapping[str, str], type_: type[T], names: Names) -> T:
    """The typed request that the parameters stand for."""
    resolved = _resolve(_tree_of(parameters), names)
    for name in _list_members(type_):
        # SDKs write an empty list as a name with nothing behind it. A list of one need not have a
        # number: AWS's own examples say `AttributeName=All`.
        value = resolved.get(name)
        if isinstance(value, str):
            resolved[name] = [value] if value else []
    try:
        return msgspec.convert(resolved, type_, strict=False)
    except msgspec.ValidationError as error:
        raise request_error(error, names.missing) from error


def _list_members(type_: type[Any]) -> tuple[str, ...]:
    """The members of a request type that hold lists."""
    known = _LIST_MEMBERS.get(type_)
    if known is None:
        known = _LIST_MEMBERS[type_] = tuple(
            each.encode_name for each in msgspec.structs.fields(type_) if "list[" in str(each.type)
        )
    return known


def _tree_of(parameters: Mapping[str, str]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for name, value in parameters.items():
        steps = name.split(".", _DEPTH_MAX)
        branch = root
        for step in steps[:-1]:
            below = branch.get(step)
            if not isinstance(below, dict):
                below = branch[step] = {}
            branch = below
        branch.setdefault(steps[-1], value)
    return root


def _resolve(branch: Any, names: Names) -> Any:
    if not isinstance(branch, dict):
        return branch
    resolved: dict[str, Any] = {}
    for name, below in branch.items():
        if isinstance(below, dict) and (member := names.lists.get(name)):
            resolved[member] = _list_of(below, names)
        elif isinstance(below, dict) and (flat := names.maps.get(name)):
            resolved[flat[0]] = _map_of(below, flat[1], flat[2], names)
        elif isinstance(below, dict) and isinstance(below.get("member"), dict):
            resolved[name] = _list_of(below["member"], names)
        elif isinstance(below, dict) and isinstance(below.get("entry"), dict):
            resolved[name] = _entries_of(below["entry"], names)
        else:
            resolved[names.lists.get(name, name)] = _resolve(below, names)
    return resolved


def _list_of(numbered: dict[str, Any], names: Names) -> list[Any]:
    return [_resolve(numbered[number], names) for number in _numbers(numbered)]


def _entries_of(numbered: dict[str, Any], names: Names) -> dict[str, Any]:
    """SNS writes `key` and `value` in most maps, `Name` and `Value` in message attributes."""
    first = next(iter(numbered.values()), None)
    if "Name" in numbered or (isinstance(first, dict) and "Name" in first):
        return _map_of(numbered, "Name", "Value", names)
    return _map_of(numbered, "key", "value", names)


def _map_of(numbered: dict[str, Any], key: str, value: str, names: Names) -> dict[str, Any]:
    mapped: dict[str, Any] = {}
    if isinstance(numbered.get(key), str):
        # One entry need not have a number either: `Attribute.Name` in AWS's own examples.
        numbered = {"1": numbered}
    for number in _numbers(numbered):
        entry = numbered[number]
        if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
            raise errors.MISSING_PARAMETER(f"The request must contain the parameter {key}.")
        mapped[entry[key]] = _resolve(entry.get(value, ""), names)
    return mapped


def _numbers(numbered: dict[str, Any]) -> list[str]:
    """The positions in order; what is no number is malformed."""
    for number in numbered:
        if not (number.isascii() and number.isdigit() and len(number) < 10):
            raise errors.SERIALIZATION(f"{number} is not a position in a list")
    return sorted(numbered, key=int)

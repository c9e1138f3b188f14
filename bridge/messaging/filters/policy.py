"""A filter policy, compiled: its limits, and whether a message passes it.

A policy with `$or` becomes a list of branches without, each a tree of keys of which all have to
match; there are at most as many as the complexity limit allows. In a body, an array offers its
elements one by one: all keys below it have to match in the same element. `a.b` and `b` within `a`
are the same key, in the policy and in the body.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Final, cast

import msgspec

from bridge.messaging.filters.conditions import Conditions, plain_number
from bridge.messaging.filters.grammar import OR, Either, Policy, parse
from bridge.messaging.filters.source import FilterPolicyInvalid
from bridge.messaging.model import Value

KEYS_MAX: Final = 5
"""Keys at the top of a policy (SNS, filter policy constraints)."""

COMBINATIONS_MAX: Final = 150
"""Lengths of the arrays, and their depths in a body, multiplied; alternatives are added up."""


class FilterScope(Enum):
    """What a policy is matched against."""

    MESSAGE_ATTRIBUTES = "MessageAttributes"
    MESSAGE_BODY = "MessageBody"


class FilterPolicy:
    """One subscription's or rule's policy. Never changed; safe to share."""

    __slots__ = ("_branches", "_flat_branches", "scope", "text")

    def __init__(self, text: str, scope: FilterScope = FilterScope.MESSAGE_ATTRIBUTES) -> None:
        """Raises `FilterPolicyInvalid` with what AWS says behind "Invalid parameter: "."""
        self.text = text
        self.scope = scope
        try:
            policy = parse(text)
            _check_limits(policy, scope)
            flat = _branches_of(policy, ())
        except RecursionError:
            raise FilterPolicyInvalid("FilterPolicy: Filter policy is too complex") from None
        self._flat_branches = [{".".join(path): it for path, it in one.items()} for one in flat]
        self._branches = [_tree_of(branch) for branch in flat]

    def matches(self, attributes: Mapping[str, Value], body: bytes) -> bool:
        """Whether a message passes, by its attributes or its body as the scope says."""
        if self.scope is FilterScope.MESSAGE_BODY:
            return self.matches_body(body)
        return self.matches_attributes(attributes)

    def matches_attributes(self, attributes: Mapping[str, Value]) -> bool:
        """Whether all keys of a branch match; a list is a String.Array, bytes match nothing."""
        return any(
            all(_match_attribute(it, attributes, key) for key, it in branch.items())
            for branch in self._flat_branches
        )

    def matches_body(self, body: bytes) -> bool:
        """The same on a JSON object; a body that is none passes no policy."""
        try:
            payload = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return False
        if not isinstance(payload, dict):
            return False
        return any(branch.match([payload]) for branch in self._branches)


def _check_limits(policy: Policy, scope: FilterScope) -> None:
    if len(policy) > KEYS_MAX:
        raise FilterPolicyInvalid(
            f"FilterPolicy: Filter policy can not have more than {KEYS_MAX} keys"
        )
    if scope is FilterScope.MESSAGE_ATTRIBUTES and _is_nested(policy):
        raise FilterPolicyInvalid(
            "Filter policy scope MessageAttributes does not support nested filter policy"
        )
    if _combinations(policy, 1) > COMBINATIONS_MAX:
        raise FilterPolicyInvalid("FilterPolicy: Filter policy is too complex")


def _is_nested(policy: Policy) -> bool:
    return any(
        any(_is_nested(each) for each in held) if isinstance(held, list) else isinstance(held, dict)
        for held in policy.values()
    )


def _combinations(policy: Policy, depth: int) -> int:
    return math.prod(
        sum(_combinations(each, depth) for each in held)
        if isinstance(held, list)
        else _combinations(held, depth + 1)
        if isinstance(held, dict)
        else held.count * depth
        for held in policy.values()
    )


Branch = dict[tuple[str, ...], Conditions]


def _branches_of(policy: Policy, path: tuple[str, ...]) -> list[Branch]:
    """The policy as alternatives, each all of its keys with their paths."""
    branches: list[Branch] = [{}]
    for name, held in policy.items():
        if name == OR:
            choices = [one for each in cast("Either", held) for one in _branches_of(each, path)]
        elif isinstance(held, dict):
            choices = _branches_of(held, (*path, name))
        else:
            choices = [{(*path, name): cast("Conditions", held)}]
        branches = [{**branch, **choice} for branch in branches for choice in choices]
    return branches


class _Tree:
    """One level of a branch: what is asked of the key itself and of the keys within it."""

    __slots__ = ("children", "conditions")

    def __init__(self) -> None:
        self.children: dict[str, _Tree] = {}
        self.conditions: Conditions | None = None

    def match(self, objects: list[dict[str, object]]) -> bool:
        """Whether all keys below match; `objects` form one object together."""
        for name, child in self.children.items():
            found = _members(objects, name)
            if child.conditions is not None and not _match_leaf(child.conditions, found):
                return False
            if child.children and not any(child.match(choice) for choice in _choices(found)):
                return False
        return True


def _tree_of(branch: Branch) -> _Tree:
    root = _Tree()
    for path, conditions in branch.items():
        tree = root
        for name in ".".join(path).split("."):
            tree = tree.children.setdefault(name, _Tree())
        tree.conditions = conditions
    return root


def _members(objects: list[dict[str, object]], name: str) -> list[object]:
    """What `objects` hold under `name`; a key `name.rest` is an object with the key `rest`."""
    found: list[object] = []
    dotted = name + "."
    for each in objects:
        if name in each:
            found.append(each[name])
        found.extend(
            {key[len(dotted) :]: value} for key, value in each.items() if key.startswith(dotted)
        )
    return found


def _choices(found: list[object]) -> list[list[dict[str, object]]]:
    """The objects in which keys are looked for: elements of arrays one by one, others at once."""
    together: list[dict[str, object]] = [each for each in found if isinstance(each, dict)]
    elements = [each for each in _elements(found) if isinstance(each, dict)]
    return [[each] for each in elements] if elements and not together else [together + elements]


def _match_leaf(conditions: Conditions, found: list[object]) -> bool:
    scalars = [each for each in found if not isinstance(each, dict | list)]
    scalars += [each for each in _elements(found) if not isinstance(each, dict)]
    return conditions.match(scalars) if scalars else conditions.absent


def _elements(found: list[object]) -> list[object]:
    """What the arrays in `found` hold, however deep arrays stand in one another."""
    elements: list[object] = []
    pending = [each for each in found if isinstance(each, list)]
    while pending:
        for element in pending.pop():
            (pending if isinstance(element, list) else elements).append(element)
    return elements


def _match_attribute(conditions: Conditions, attributes: Mapping[str, Value], key: str) -> bool:
    if key not in attributes:
        return conditions.absent
    if conditions.present:
        return True
    value = attributes[key]
    if isinstance(value, list):
        return any(_match_value(conditions, element) for element in value)
    return _match_value(conditions, value)


def _match_value(conditions: Conditions, value: Value) -> bool:
    if isinstance(value, bool):
        # SNS sees it as the text that it is sent as.
        return value in conditions.constants or conditions.match_one("true" if value else "false")
    if isinstance(value, datetime):
        return conditions.match_one(value.isoformat())
    if isinstance(value, bytes | list | dict):
        return False
    return conditions.match_one(plain_number(value))

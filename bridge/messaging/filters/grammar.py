"""The grammar of filter policies, read in AWS's order, so that both find the same mistake first.

The texts are those that AWS was recorded to answer with, and where none was recorded those of the
rule compiler that AWS published (aws/event-ruler), which the recorded ones come from.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from typing import Final

from bridge.messaging.filters.conditions import (
    Conditions,
    Number,
    Predicate,
    anything_but,
    comparable,
    equals_ignore_case,
    in_network,
    is_number,
    numeric,
    prefix,
    suffix,
)
from bridge.messaging.filters.source import FilterPolicyInvalid, Source

OR: Final = "$or"

_NUMERIC_OPERATORS = frozenset({"=", "<", "<=", ">", ">="})
_STRING_OPERATORS: Final[dict[str, Callable[[str], Predicate]]] = {
    "prefix": prefix,
    "suffix": suffix,
    "equals-ignore-case": equals_ignore_case,
}
_RESERVED_INSIDE_OR = frozenset({*_STRING_OPERATORS, "anything-but", "cidr", "exists", "numeric"})

Either = list["Policy"]
Policy = dict[str, "Policy | Conditions | Either"]
"""Keys with what they hold: a nested policy, conditions, or, under `$or`, alternatives."""


def parse(text: str) -> Policy:
    """Read a policy. Raises `FilterPolicyInvalid` in AWS's words."""
    source = Source(text)
    if source.take().kind != "{":
        source.fail("Filter is not an object")
    return _object(source, inside_or=False, outermost=True)


def _object(source: Source, *, inside_or: bool, outermost: bool = False) -> Policy:
    policy: Policy = {}
    while (token := source.take()).kind != "}":
        name = token.text
        if name == OR:
            policy[name] = _alternatives(source)
            continue
        if inside_or and name in _RESERVED_INSIDE_OR:
            source.fail(f"{name} is Ruler reserved fieldName which cannot be used inside {OR}.")
        match source.take().kind:
            case "{":
                policy[name] = _object(source, inside_or=inside_or)
            case "[":
                policy[name] = _conditions(source)
            case _:
                source.fail(f'"{name}" must be an object or an array')
    if not policy and not outermost:
        source.fail("Empty objects are not allowed")
    return policy


def _alternatives(source: Source) -> Either:
    if source.take().kind != "[":
        source.fail(f"It must be an Array followed with {OR}.")
    alternatives: Either = []
    while (token := source.take()).kind != "]":
        if token.kind != "{":
            source.fail(f"Only JSON object is allowed in array of {OR} relationship.")
        alternatives.append(_object(source, inside_or=True))
    if len(alternatives) < 2:
        source.fail(f"There must have at least 2 Objects in {OR} relationship.")
    return alternatives


def _conditions(source: Source) -> Conditions:
    conditions = Conditions()
    while (token := source.take()).kind != "]":
        conditions.count += 1
        if token.kind == "{":
            _match_expression(source, conditions)
        elif token.kind == "[":
            source.fail("Match value must be String, number, true, false, or null")
        else:
            _add_value(conditions, token.value)
    if not conditions.count:
        source.fail("Empty arrays are not allowed")
    return conditions


def _add_value(conditions: Conditions, value: object) -> None:
    if isinstance(value, str):
        conditions.strings.add(value)
    elif is_number(value):
        conditions.numbers.add(comparable(value))
    elif value is None or isinstance(value, bool):
        conditions.constants.add(value)


def _match_expression(source: Source, conditions: Conditions) -> None:
    token = source.take()
    if token.kind != "name":
        source.fail("Match expression name not found")
    operator = token.text
    if operator in _STRING_OPERATORS:
        text = _string(source, f"{operator} match pattern must be a string")
        conditions.predicates.append(_STRING_OPERATORS[operator](text))
    elif operator == "cidr":
        # AWS says "prefix" here too.
        text = _string(source, "prefix match pattern must be a string")
        conditions.predicates.append(_cidr(text))
    elif operator == "anything-but":
        conditions.predicates.append(_anything_but(source))
        _close(source, "Too many elements in numeric expression")
        return
    elif operator == "numeric":
        conditions.predicates.append(_numeric(source))
        _close(source, "Too many elements in numeric expression")
        return
    elif operator == "exists":
        value = source.take().value
        if not isinstance(value, bool):
            source.fail("exists match pattern must be either true or false.")
        conditions.present |= value
        conditions.absent |= not value
    else:
        source.fail(f"Unrecognized match type {operator}")
    _close(source, "Only one key allowed in match expression")


def _string(source: Source, otherwise: str) -> str:
    token = source.take()
    if token.kind != "string":
        source.fail(otherwise)
    return source.take_text()


def _close(source: Source, otherwise: str) -> None:
    if source.take().kind != "}":
        source.fail(otherwise)


def _anything_but(source: Source) -> Predicate:
    refused = Conditions()
    token = source.take()
    if token.kind == "{":
        operator = source.take()
        if operator.kind != "name":
            source.fail("Anything-But expression name not found")
        if operator.text != "prefix":
            source.fail(f"Unsupported anything-but pattern: {operator.text}")
        text = _string(source, "prefix match pattern must be a string")
        if not text:
            source.fail("Null prefix not allowed")
        _close(source, "Only one key allowed in match expression")
        refused.predicates.append(prefix(text))
    elif token.kind == "[":
        while (token := source.take()).kind != "]":
            if token.kind not in ("string", "number"):
                source.fail("Inside anything but list, start|null|boolean is not supported.")
            _add_value(refused, token.value)
        if bool(refused.strings) is bool(refused.numbers):
            source.fail(
                "Inside anything but list, either all values are number or string,"
                " mixed type is not supported"
            )
    elif token.kind in ("string", "number"):
        _add_value(refused, token.value)
    else:
        source.fail("Value of anything-but must be an array or single string/number value.")
    return anything_but(refused)


def _numeric(source: Source) -> Predicate:
    if source.take().kind != "[":
        source.fail("Value of numeric must be an array.")
    token = source.take()
    if token.kind != "string":
        source.fail(f"Invalid member in numeric match: {token.text}")
    operator = token.text
    source.take()
    if operator not in _NUMERIC_OPERATORS:
        source.fail(f"Unrecognized numeric range operator: {operator}")
    bounds = [(operator, _bound(source, "equals" if operator == "=" else operator))]
    if source.take().kind != "]":
        if operator not in (">", ">="):
            source.fail("Too many elements in numeric expression")
        bounds.append(_upper_bound(source, bounds[0][1]))
    return numeric(bounds)


def _upper_bound(source: Source, bottom: Number) -> tuple[str, Number]:
    token = source.current
    if token.kind != "string":
        source.fail(f"Bad value in numeric range: {token.text}")
    operator = source.take_text()
    if operator not in ("<", "<="):
        source.fail(f"Bad numeric range operator: {operator}")
    source.take()
    top = _bound(source, operator)
    if source.take().kind != "]":
        source.fail("Too many terms in numeric range expression")
    if top <= bottom:
        source.fail("Bottom must be less than top")
    return operator, top


def _bound(source: Source, operator: str) -> Number:
    value = source.current.value
    if not is_number(value):
        source.fail(f"Value of {operator} must be numeric")
    return value


def _cidr(text: str) -> Predicate:
    # These come from elsewhere in AWS's code and say nothing of their place.
    address, slash, mask = text.partition("/")
    if not slash or "/" in mask:
        raise FilterPolicyInvalid("FilterPolicy: Malformed CIDR, one '/' required")
    try:
        bits = int(mask)
    except ValueError:
        raise FilterPolicyInvalid(
            "FilterPolicy: Malformed CIDR, mask bits must be an integer"
        ) from None
    if bits < 0:
        raise FilterPolicyInvalid("FilterPolicy: Malformed CIDR, mask bits must not be negative")
    try:
        return in_network(ip_network(f"{address}/{bits}"))
    except ValueError:
        raise FilterPolicyInvalid(f"FilterPolicy: Nonstandard IP address: {address}") from None

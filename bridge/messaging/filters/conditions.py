"""What a policy asks of one key: any of several values or operators."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final, TypeGuard

Predicate = Callable[[object], bool]
Number = int | float

_ROUNDED_UP_TO: Final = 5_000_000_000
"""What is larger has no six digits behind the point as a float."""


class Conditions:
    """The list of one key. It matches when any of it matches any of the values that the key has."""

    __slots__ = ("absent", "constants", "count", "numbers", "predicates", "present", "strings")

    def __init__(self) -> None:
        self.strings: set[str] = set()
        self.numbers: set[Number] = set()
        """As `comparable` has them."""
        self.constants: set[bool | None] = set()
        self.predicates: list[Predicate] = []
        self.present = False
        self.absent = False
        self.count = 0

    def match(self, values: list[object]) -> bool:
        """Whether a key fits that is there and has these values."""
        return self.present or any(self.match_one(value) for value in values)

    def match_one(self, value: object) -> bool:
        if isinstance(value, str):
            if value in self.strings:
                return True
        elif value is None or isinstance(value, bool):
            if value in self.constants:
                return True
        elif is_number(value) and comparable(value) in self.numbers:
            return True
        return any(predicate(value) for predicate in self.predicates)


def is_number(value: object) -> TypeGuard[Number]:
    """Whether it is a number as JSON has them; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def comparable(number: Number) -> Number:
    """A number as SNS compares it, by its first six digits behind the point.

    SNS's guide promises five; it takes larger numbers than there.
    """
    if -_ROUNDED_UP_TO <= number <= _ROUNDED_UP_TO:
        return round(number * 1e6)
    return number * 1_000_000


def plain_number(value: object) -> object:
    """Decimals as floats, so that they compare with the numbers of a policy."""
    return float(value) if isinstance(value, Decimal) and value.is_finite() else value


def prefix(text: str) -> Predicate:
    """Strings that begin with `text`."""
    return lambda value: isinstance(value, str) and value.startswith(text)


def suffix(text: str) -> Predicate:
    """Strings that end with `text`."""
    return lambda value: isinstance(value, str) and value.endswith(text)


def equals_ignore_case(text: str) -> Predicate:
    """Strings that differ from `text` in case only."""
    lower = text.lower()
    return lambda value: isinstance(value, str) and value.lower() == lower


def anything_but(refused: Conditions) -> Predicate:
    """All that `refused` does not match, of whatever type."""
    return lambda value: not refused.match_one(value)


def numeric(bounds: list[tuple[str, Number]]) -> Predicate:
    """All of the comparisons, for a number."""
    compared = [(_COMPARISONS[operator], comparable(bound)) for operator, bound in bounds]

    def match(value: object) -> bool:
        if not is_number(value):
            return False
        number = comparable(value)
        return all(compare(number, bound) for compare, bound in compared)

    return match


def in_network(network: IPv4Network | IPv6Network) -> Predicate:
    """Strings that are an address in `network`."""

    def match(value: object) -> bool:
        if not isinstance(value, str):
            return False
        try:
            return ip_address(value) in network
        except ValueError:
            return False

    return match


_COMPARISONS: dict[str, Callable[[Number, Number], bool]] = {
    "=": lambda value, bound: value == bound,
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}

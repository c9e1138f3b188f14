"""Erlang's `phash2` of the terms that a field table is made of.

It is portable by contract: the same at every version and machine. Terms are mixed into 32 bits with
Bob Jenkins' function of 1996, in the order of their elements. A tuple is a tuple, a list a list,
`bytes` a binary, `Atom` an atom. Lists of octets, which Erlang hashes like text, do not occur.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any, Final

_MASK: Final = 0xFFFFFFFF
_GOLDEN: Final = 0x9E3779B9
_SMALL: Final = range(-(1 << 27), 1 << 27)
"""Integers that are mixed whole; others digit by digit, of 64 bits."""
_NIL: Final = 2
_NIL_ALONE: Final = 3_468_870_702
_BLOCK: Final = 12


class Atom(str):
    """An atom."""

    __slots__ = ()


def phash2(term: Any) -> int:
    """The hash, of 32 bits."""
    return _hashed(term, 0)


def _hashed(term: Any, state: int) -> int:
    match term:
        case Atom():
            number = _atom_number(term)
            return _mixed(state, number, 0, 3) if state else number
        case int():
            return _integer(term, state)
        case float():
            high, low = struct.unpack(">II", struct.pack(">d", term or 0.0))
            return _mixed(state, high, low, 12)
        case bytes():
            seed = (_times(13) + state) & _MASK
            return _block(term, seed) if term else seed
        case tuple():
            state = _mixed(state, len(term), 0, 9)
            for each in term:
                state = _hashed(each, state)
            return state
        case list():
            for each in term:
                state = _hashed(each, state)
            return _mixed(state, _NIL, 0, 2) if state else _NIL_ALONE
    raise TypeError(f"{type(term).__name__} is no term of a table")


def _integer(value: int, state: int) -> int:
    if value in _SMALL:
        if value < 0:
            state = _mixed(state, -value, 0, 1)
        return _mixed(state, value, 0, 1)
    constant, left = (10, -value) if value < 0 else (11, value)
    while left:
        state = _mixed(state, left & _MASK, left >> 32 & _MASK, constant)
        left >>= 64
    return state


@cache
def _atom_number(name: str) -> int:
    """The hash of P. J. Weinberger, over Latin-1 where it suffices."""
    number = 0
    for octet in name.encode("latin-1"):
        number = (number << 4) + octet
        high = number & 0xF0000000
        number ^= high >> 24
        number ^= high
    return number


def _times(count: int) -> int:
    """Multiples of the golden ratio tell the kinds of terms apart."""
    return _GOLDEN * count & _MASK


def _mixed(state: int, one: int, other: int, count: int) -> int:
    constant = _times(count)
    return _mix((constant + one) & _MASK, (constant + other) & _MASK, state)[2]


def _block(data: bytes, seed: int) -> int:
    a, b, c = _GOLDEN, _GOLDEN, seed
    whole = len(data) - len(data) % _BLOCK
    for first, second, third in struct.iter_unpack("<III", data[:whole]):
        a, b, c = _mix((a + first) & _MASK, (b + second) & _MASK, (c + third) & _MASK)
    # The lowest octet of the last word is for the length.
    rest = data[whole:]
    padded = rest[:8].ljust(8, b"\0") + b"\0" + rest[8:].ljust(3, b"\0")
    first, second, third = struct.unpack("<III", padded)
    c += third + len(data)
    return _mix((a + first) & _MASK, (b + second) & _MASK, c & _MASK)[2]


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    # Written out: it is most of what a long list of bindings costs.
    a = ((a - b - c) & _MASK) ^ (c >> 13)
    b = ((b - c - a) & _MASK) ^ (a << 8 & _MASK)
    c = ((c - a - b) & _MASK) ^ (b >> 13)
    a = ((a - b - c) & _MASK) ^ (c >> 12)
    b = ((b - c - a) & _MASK) ^ (a << 16 & _MASK)
    c = ((c - a - b) & _MASK) ^ (b >> 5)
    a = ((a - b - c) & _MASK) ^ (c >> 3)
    b = ((b - c - a) & _MASK) ^ (a << 10 & _MASK)
    c = ((c - a - b) & _MASK) ^ (b >> 15)
    return a, b, c

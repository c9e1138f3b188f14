"""`properties_key` as recorded at RabbitMQ 3.10, and what its hash is made of, at Erlang 25."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.admin.management.binding_keys import properties_key
from bridge.admin.management.erlang_hash import Atom, phash2


@pytest.mark.parametrize(
    ("key", "arguments", "expected"),
    [
        ("", {}, "~"),
        ("~", {}, "%7E"),
        ("a b/#", {}, "a+b%2F%23"),
        ("", {"x-match": "all", "a": "b"}, "~H5SAuw"),
        ("", {"a": "b", "x-match": "all"}, "~H5SAuw"),
        ("", {"x-match": "any", "t": True}, "~0GoeoQ"),
        ("", {"n": 5}, "~mk4cxw"),
        ("", {"n": 70_000}, "~GQRz_g"),
        ("", {"n": -5}, "~4Do_cw"),
        ("", {"big": 2**40}, "~PAtzfA"),
        ("", {"n2": -70_000}, "~IplyJQ"),
        ("k/é", {"x-match": "all", "a": "c"}, "k%2F%C3%A9~vejnAQ"),
        ("k/é", {"n": 2**40}, "k%2F%C3%A9~TJjKpw"),
        ("k/é", {"d": 2.5}, "k%2F%C3%A9~CP7zBQ"),
        ("k/é", {"u": "grüße"}, "k%2F%C3%A9~6asMmg"),
    ],
)
def test_keys_are_those_of_rabbitmq(key: str, arguments: dict[str, Any], expected: str) -> None:
    assert properties_key(key, arguments) == expected


@pytest.mark.parametrize(
    "value", [None, b"\xff", datetime(2026, 1, 1, tzinfo=UTC), [1, [True]], {"t": {"u": None}}]
)
def test_whatever_a_table_holds_has_a_key(value: object) -> None:
    key = properties_key("k", {"v": value})
    assert key.startswith("k~")
    assert key != properties_key("k", {"v": "v"})


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ([], 3_468_870_702),
        ([[]], 499_070_068),
        (Atom("longstr"), 56_945_346),
        (Atom("a_very_long_atom_name"), 11_832_357),
        ((), 221_703_996),
        (b"", 147_926_629),
        (b"a", 1_589_197_455),
        (b"eight by", 3_694_656_448),
        (b"nine byte", 2_338_578_615),
        (b"twelve bytes", 93_359_736),
        (b"thirteen byte", 2_583_333_678),
        (0, 3_175_731_469),
        (255, 715_823_293),
        (-1, 1_117_813_597),
        (2**27 - 1, 4_273_352_567),
        (2**27, 2_562_491_755),
        (-(2**27), 874_979_335),
        (-(2**27) - 1, 1_418_916_782),
        (2**63 - 1, 2_712_534_173),
        (-(2**63), 1_736_826_119),
        (0.0, 423_528_920),
        (1.5, 2_023_646_235),
        (-2.5, 2_479_813_979),
        ([(b"a", Atom("longstr"), b"b"), (b"t", Atom("bool"), Atom("true"))], 2_065_170_596),
        ((Atom("array"), [(Atom("void"), Atom("undefined")), (Atom("long"), 1)]), 663_279_345),
    ],
)
def test_hashes_are_those_of_erlang(term: object, expected: int) -> None:
    assert phash2(term) == expected

"""The loss table: what it says is kept has a test, and it reads well."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from mappings.losses import (
    KEPT,
    Emulated,
    Kept,
    Loss,
    Lost,
    all_losses,
    render_markdown,
)

ROOT = Path(__file__).parents[2]
ROWS = all_losses()


def test_exists(name: str) -> bool:
    """Whether pytest would find a test under `name`."""
    path, *parts = name.split("::")
    file = ROOT / path
    if not file.is_file() or not parts:
        return False
    body = ast.parse(file.read_text()).body
    for part in parts:
        found = [
            node
            for node in body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and node.name == part
        ]
        if not found:
            return False
        body = found[0].body
    return parts[-1].startswith("test_")


test_exists.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.protocol}: {row.feature}")
def test_what_is_kept_has_a_test(row: Loss) -> None:
    if row.kept:
        assert row.test is not None, "kept, and no test says so"
    if row.test is not None:
        assert test_exists(row.test), f"{row.test} is not a test"


def test_no_feature_has_two_rows() -> None:
    names = [(row.protocol, row.feature) for row in ROWS]
    assert sorted(set(names)) == sorted(names)


def test_names_of_tests_are_checked() -> None:
    here = "tests/mappings/test_losses.py"
    assert test_exists(f"{here}::test_names_of_tests_are_checked")
    assert not test_exists(f"{here}::test_that_nobody_wrote")
    assert not test_exists(f"{here}::test_names_of_tests_are_checked::test_inside")
    assert not test_exists(f"{here}::ROWS")
    assert not test_exists(here)
    assert not test_exists("tests/nowhere.py::test_x")


def test_a_row_that_one_backend_keeps_is_kept() -> None:
    lost = Lost("nobody asked")
    assert Loss("x", "f", KEPT, lost).kept
    assert Loss("x", "f", lost, Kept()).kept
    assert not Loss("x", "f", lost, Emulated("a", "b")).kept


def test_markdown() -> None:
    rows = [
        Loss("STOMP", "ack | nack", KEPT, Emulated("visibility 0", "12 hours")),
        Loss("STOMP", "selectors", Lost("later\nmaybe"), Lost("later")),
        Loss("X", "y", KEPT, KEPT),
    ]
    assert render_markdown(rows) == (
        "## STOMP\n"
        "\n"
        "| feature | embedded | aws |\n"
        "|---|---|---|\n"
        "| ack \\| nack | kept | emulated: visibility 0; 12 hours |\n"
        "| selectors | lost: later maybe | lost: later |\n"
        "\n"
        "## X\n"
        "\n"
        "| feature | embedded | aws |\n"
        "|---|---|---|\n"
        "| y | kept | kept |\n"
    )

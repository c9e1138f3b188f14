"""The README's demonstration, run as it stands against the program on ports of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bridge.cli.show import losses_page
from tests.bridge.net.certificates import Authority
from tests.support.program import running

README = Path(__file__).parents[2] / "README.md"
PAGES = [README, *sorted((README.parent / "docs").glob("*.md"))]


def _landbridge(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("landbridge"), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin", **environment},
    )


def _blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


ORDERS_HASH = "$7$1000$c2FsdHNhbHRzYWx0$" + "A" * 86 + "=="
CONFIGURATIONS = [(page, text) for page in PAGES for text in _blocks(page, "yaml")]


def test_the_demonstration_moves_messages_both_ways(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        script = "".join(_blocks(README, "python"))
        for default, listener in (("61613", "stomp"), ("4566", "aws")):
            assert default in script
            script = script.replace(default, str(program.port(listener)))
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["42 crates of tea Lipton", "shipped"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (page.parent / link).exists()] == []


@pytest.mark.parametrize(("page", "text"), CONFIGURATIONS, ids=lambda each: str(each)[-30:])
def test_a_configuration_in_the_documentation_is_valid(
    page: Path, text: str, tmp_path: Path
) -> None:
    path = tmp_path / "landbridge.yaml"
    path.write_text(text)
    issued = Authority("Test CA", tmp_path).issue("localhost")
    done = _landbridge(
        *("check", "-c", str(path)),
        ORDERS_HASH=ORDERS_HASH,
        CERTIFICATE=str(issued.certificate),
        KEY=str(issued.key),
    )
    assert done.returncode == 0, f"{page}:\n{done.stdout}{done.stderr}"


def test_what_a_publish_costs_is_as_the_documentation_says(tmp_path: Path) -> None:
    root = README.parent
    issued = Authority("Test CA", tmp_path).issue("localhost")
    (shown,) = re.findall(
        r"^\$ landbridge (explain .*)\n\.\.\.\n((?:.+\n)+)",
        (root / "docs" / "aws.md").read_text(),
        re.MULTILINE,
    )
    arguments, costs = shown
    done = _landbridge(
        *arguments.split(),
        *("-c", str(root / "deploy" / "examples" / "aws-nodes.yaml")),
        ORDERS_PASSWORD_HASH=ORDERS_HASH,
        REPORTS_PASSWORD_HASH=ORDERS_HASH,
        TLS_CERTIFICATE=str(issued.certificate),
        TLS_KEY=str(issued.key),
    )
    assert done.stdout.endswith(costs.removesuffix("```\n")), done.stdout + done.stderr


@pytest.mark.parametrize("target", ["run", "test", "check", "bench", "install"])
def test_the_make_targets_exist(target: str) -> None:
    makefile = (README.parent / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_the_loss_table_in_the_documentation_is_current() -> None:
    page = README.parent / "docs" / "losses.md"
    assert page.read_text() == losses_page(), "run: landbridge losses > docs/losses.md"

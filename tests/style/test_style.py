"""Every file keeps every rule; and every rule notices what it is there for."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from tests.style import rules
from tests.style.source import Source, sources

ALL_SOURCES = sources()


def source(path: str, text: str) -> Source:
    return Source(PurePosixPath(path), text)


def long_function(lines: int) -> str:
    return "def f():\n" + "    pass\n" * (lines - 1)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: str(rule.__name__))
def test_sources_keep_rule(rule: rules.Rule) -> None:
    found = [f"{s.path}:{line}: {what}" for s in ALL_SOURCES for line, what in rule(s)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (rules.file_is_short, "bridge/a.py", "\n" * 601),
        (rules.functions_are_short, "bridge/a.py", long_function(71)),
        (rules.lines_are_short, "bridge/a.py", "a" * 101),
        (rules.module_has_head, "bridge/a.py", "import os\n"),
        (rules.module_has_head, "bridge/a.py", '"""' + "head\n" * 13 + '"""\n'),
        (rules.names_say_something, "bridge/utils.py", ""),
        (rules.names_say_something, "tests/queue_helpers/test_a.py", ""),
        (rules.no_reminders, "bridge/a.py", "x = 1  # TODO: more\n"),
        (rules.no_banners, "bridge/a.py", "# ---- section\n"),
        (rules.no_banners, "bridge/a.py", "# section ====\n"),
        (rules.no_banners, "bridge/a.py", "########\n"),
        (rules.adapters_do_no_io, "adapters/mqtt/a.py", "from asyncio import Queue\n"),
        (rules.adapters_know_no_cloud, "adapters/a.py", "sqs_queue = 1\n"),
        (rules.adapters_know_no_cloud, "adapters/a.py", "class SNSTopic: ...\n"),
        (rules.adapters_know_no_cloud, "adapters/a.py", "x = 'the Sqs queue'\n"),
        (rules.tasks_have_owners, "bridge/a.py", "self._loop.create_task(x)\n"),
        (rules.tasks_have_owners, "bridge/a.py", "asyncio.get_running_loop().create_task(x)\n"),
        (rules.skips_have_reasons, "tests/a/b.py", "pytest.skip()\n"),
        (rules.skips_have_reasons, "tests/a/b.py", "@pytest.mark.skip\ndef f(): ...\n"),
        (rules.skips_have_reasons, "tests/a/b.py", "pytest.mark.skipif(True)\n"),
        (rules.tests_do_not_sleep, "tests/a/b.py", "time.sleep(1)\n"),
        (rules.tests_do_not_sleep, "tests/a/b.py", "from time import sleep\n"),
    ],
)
def test_rule_notices(rule: rules.Rule, path: str, text: str) -> None:
    assert list(rule(source(path, text)))


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (rules.file_is_short, "bridge/a.py", "\n" * 600),
        (rules.functions_are_short, "bridge/a.py", long_function(70)),
        (rules.functions_are_short, "bridge/a.py", '"""The hot\npath."""\n' + long_function(71)),
        (rules.lines_are_short, "bridge/a.py", "a" * 100),
        (rules.module_has_head, "bridge/__init__.py", ""),
        (rules.module_has_head, "bridge/a.py", '"""' + "head\n" * 12 + '"""\n'),
        (rules.no_reminders, "bridge/a.py", "x = 'TODO'\n"),
        (rules.no_banners, "bridge/a.py", "# +-----+------+\n# a -- b\n"),
        (rules.adapters_know_no_cloud, "adapters/a.py", "answers = 'transmissions'\n"),
        (rules.adapters_know_no_cloud, "mappings/a.py", "sqs_queue = 1\n"),
        (rules.tasks_have_owners, "bridge/a.py", "group.create_task(x)\n"),
        (rules.skips_have_reasons, "tests/a/b.py", "pytest.skip('no npm')\n"),
        (rules.skips_have_reasons, "tests/a/b.py", "pytest.mark.skip(reason='no npm')\n"),
        (rules.tests_do_not_sleep, "tests/support/b.py", "time.sleep(1)\n"),
    ],
)
def test_rule_lets_pass(rule: rules.Rule, path: str, text: str) -> None:
    assert not list(rule(source(path, text)))


@pytest.mark.parametrize(
    ("path", "statement", "is_allowed"),
    [
        ("adapters/mqtt/a.py", "import adapters.stomp.codec", False),
        ("adapters/mqtt/a.py", "from adapters import stomp", False),
        ("adapters/mqtt/a.py", "from ..stomp import codec", False),
        ("adapters/mqtt/a.py", "from .codec import decode", True),
        ("adapters/mqtt/a.py", "from adapters.buffer import Buffer", True),
        ("mappings/mqtt/a.py", "from mappings.stomp.gateway import Gateway", False),
        ("mappings/mqtt/a.py", "from adapters.stomp import codec", False),
        ("mappings/mqtt/a.py", "from adapters.mqtt import codec", True),
        ("mappings/losses.py", "from mappings.mqtt import losses", True),
    ],
)
def test_protocols_are_strangers(
    tmp_path: Path, path: str, statement: str, is_allowed: bool
) -> None:
    for folder in ("adapters/mqtt", "adapters/stomp", "mappings/mqtt", "mappings/stomp"):
        (tmp_path / folder).mkdir(parents=True)
    found = list(rules.protocols_are_strangers(source(path, statement), tmp_path))
    assert bool(found) is not is_allowed

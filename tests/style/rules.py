"""The rules of style that no linter knows, each a function from a source to what is wrong in it.

They keep files and functions at a size that can be read, heads on modules, and each package to its
own vocabulary. A rule yields the line and a sentence that says what to do instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.style.source import ROOT, Source, dotted_name

Found = Iterator[tuple[int, str]]
Rule = Callable[[Source], Found]

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
HEAD_LINES_MAX = 12
LINE_LENGTH_MAX = 100

# A head with these words says what was measured, and lifts the limit on functions in its file.
HOT_PATH = re.compile(r"hot\s+path", re.IGNORECASE)
EMPTY_NAME = re.compile(r"(?:.*_)?(?:utils?|common|helpers?|managers?)(?:_.*)?")
REMINDER = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
BANNER = re.compile(r"#{4,}|#\s*[-=*#~]{3,}|.*[-=*#~]{3,}\s*$")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
CLOUD_WORDS = {"sqs", "sns"}
TESTS_THAT_MAY_SLEEP = {"benchmarks", "support"}


def file_is_short(source: Source) -> Found:
    count = len(source.lines)
    if count > FILE_LINES_MAX:
        yield 1, f"{count} lines, {FILE_LINES_MAX} allowed: split it by concern"


def functions_are_short(source: Source) -> Found:
    if HOT_PATH.search(source.head or ""):
        return
    for function in source.functions:
        count = (function.end_lineno or function.lineno) - function.lineno + 1
        if count > FUNCTION_LINES_MAX:
            yield (
                function.lineno,
                f"{function.name} has {count} lines, {FUNCTION_LINES_MAX} allowed",
            )


def lines_are_short(source: Source) -> Found:
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_LENGTH_MAX:
            yield number, f"{len(line)} characters, {LINE_LENGTH_MAX} allowed"


def module_has_head(source: Source) -> Found:
    if not source.is_product or not source.text.strip():
        return
    if source.head is None or not source.head.strip():
        yield 1, "no module docstring: say what lives here and by which specification"
        return
    count = len(source.head.strip().splitlines())
    if count > HEAD_LINES_MAX:
        yield 1, f"a head of {count} lines, {HEAD_LINES_MAX} allowed"


def names_say_something(source: Source) -> Found:
    for part in source.path.with_suffix("").parts:
        if EMPTY_NAME.fullmatch(part):
            yield 1, f"{part!r} could hold anything: name it after what it holds"


def no_reminders(source: Source) -> Found:
    for number, comment in source.comments:
        if REMINDER.search(comment):
            yield number, "an open task belongs in an issue, not in the code"


def no_banners(source: Source) -> Found:
    for number, comment in source.comments:
        if BANNER.match(comment):
            yield number, "a banner: what needs one needs a module of its own"


def adapters_do_no_io(source: Source) -> Found:
    if source.folder != "adapters":
        return
    for number, name in source.imports:
        if name.split(".")[0] == "asyncio":
            yield number, "adapters are sans-IO: no asyncio here"


def adapters_know_no_cloud(source: Source) -> Found:
    if source.folder != "adapters":
        return
    for number, line in enumerate(source.lines, 1):
        for word in WORD.findall(line):
            if word.lower() in CLOUD_WORDS:
                yield number, f"{word!r} is not a word of this protocol: mappings/ translates"


def protocols_are_strangers(source: Source, root: Path = ROOT) -> Found:
    """Holds for every protocol there is or will be, without naming one."""
    if source.folder not in {"adapters", "mappings"}:
        return
    own = source.path.parts[1]
    if not (root / source.folder / own).is_dir():
        return
    for number, name in source.imports:
        package, protocol = [*name.split("."), ""][:2]
        if (
            package in {"adapters", "mappings"}
            and protocol != own
            and (root / package / protocol).is_dir()
        ):
            yield number, f"{own} must not know {package}.{protocol}"


def tasks_have_owners(source: Source) -> Found:
    """Lint bans ``asyncio.create_task``; it cannot see the method of a loop."""
    if not source.is_product:
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and node.attr == "create_task":
            receiver = dotted_name(node.value).rsplit(".", 1)[-1]
            if "loop" in receiver:
                yield node.lineno, "tasks live in a TaskGroup with an owner"


def skips_have_reasons(source: Source) -> Found:
    called = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call):
            called.add(id(node.func))
            if _is_skip_without_reason(node):
                yield node.lineno, "a skip says its reason"
        elif (
            isinstance(node, ast.Attribute)
            and dotted_name(node) == "pytest.mark.skip"
            and id(node) not in called
        ):
            yield node.lineno, "a skip says its reason"


def _is_skip_without_reason(call: ast.Call) -> bool:
    has_keyword = any(keyword.arg == "reason" for keyword in call.keywords)
    match dotted_name(call.func):
        case "pytest.skip" | "pytest.mark.skip":
            return not (has_keyword or call.args)
        case "pytest.mark.skipif":
            return not has_keyword
        case _:
            return False


def tests_do_not_sleep(source: Source) -> Found:
    if source.folder != "tests" or source.path.parts[1] in TESTS_THAT_MAY_SLEEP:
        return
    message = "wait for the event itself, or move a manual clock"
    for number, name in source.imports:
        if name == "time.sleep":
            yield number, message
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and dotted_name(node) == "time.sleep":
            yield node.lineno, message


RULES: tuple[Rule, ...] = (
    file_is_short,
    functions_are_short,
    lines_are_short,
    module_has_head,
    names_say_something,
    no_reminders,
    no_banners,
    adapters_do_no_io,
    adapters_know_no_cloud,
    protocols_are_strangers,
    tasks_have_owners,
    skips_have_reasons,
    tests_do_not_sleep,
)

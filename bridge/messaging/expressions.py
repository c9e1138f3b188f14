"""RabbitMQ's regular expressions over names (permissions, policies), matched in linear time.

Python's `re` reads the pattern, which also says what is wrong with it, but does not run it: it
backtracks, and a hostile name can make a careless pattern take for ever. The pattern runs as a set
of threads over the name instead (Thompson's construction), so a name of n characters costs at most
n times the size of the pattern. What such a machine cannot do (back references, atomic groups) is
refused when the pattern is read. As in RabbitMQ a pattern matches anywhere in the name unless it is
anchored, and the empty pattern matches nothing but the empty name.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, NamedTuple

NAME_LENGTH_MAX: Final = 1024
"""Characters of a name; a longer one matches only a pattern that matches everything."""
PATTERN_LENGTH_MAX: Final = 4096
STEPS_MAX: Final = 10_000
"""Steps of a compiled pattern; counted repeats are written out."""
_LOOKBEHIND_MAX: Final = 64
_EVERYTHING: Final = frozenset({".*", "^.*", ".*$", "^.*$", "^(.*)$", "(.*)"})
_POSIX: Final = {
    "alpha": "a-zA-Z",
    "digit": "0-9",
    "alnum": "a-zA-Z0-9",
    "upper": "A-Z",
    "lower": "a-z",
    "xdigit": "0-9a-fA-F",
    "word": "a-zA-Z0-9_",
    "space": r"\s",
    "punct": r"!-/:-@\[-`{-~",
}
_POSIX_CLASS: Final = re.compile(r"\[:(\w+):\]")
_END_OF_TEXT: Final = re.compile(r"((?:\\\\)*)\\z")
_CALLED: Final = {"groupref": "back reference", "groupref exists": "condition"}

# The parser of `re` has been the same private module since 3.11; there is no public one.
_parser: Any = import_module("re._parser")
_code: Any = import_module("re._constants")


class PatternInvalid(ValueError):
    """The text is no pattern that can be used; says why."""


class Expression:
    """One compiled pattern."""

    __slots__ = ("_everything", "_program", "text")

    def __init__(self, text: str) -> None:
        """Raises `PatternInvalid`."""
        self.text = text
        self._everything = text in _EVERYTHING
        self._program = _compiled(text or "^$")

    def matches(self, name: str) -> bool:
        """Whether the pattern is found in `name`."""
        if self._everything:
            return True
        if len(name) > NAME_LENGTH_MAX:
            return False
        return _found(self._program, name, 0, anchored=False)


def _compiled(text: str) -> list[_Step]:
    if len(text) > PATTERN_LENGTH_MAX:
        raise PatternInvalid(f"has {len(text)} characters, {PATTERN_LENGTH_MAX} are allowed")
    source = _POSIX_CLASS.sub(_posix, _END_OF_TEXT.sub(r"\1\\Z", text))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            tree = _parser.parse(source)
    except (re.error, RecursionError, OverflowError) as error:
        more = "; `.*` stands for anything" if "nothing to repeat" in str(error) else ""
        raise PatternInvalid(f"is no regular expression: {error}{more}") from None
    compiler = _Compiler(tree.state.flags)
    try:
        compiler.sequence(tree)
    except RecursionError:
        raise PatternInvalid("is nested too deeply") from None
    compiler.emit(_Step(_MATCH))
    return compiler.steps


def _posix(found: re.Match[str]) -> str:
    name = found[1]
    if name not in _POSIX:
        raise PatternInvalid(f"has the unknown class [:{name}:]")
    return _POSIX[name]


# -- the program

_MATCH, _CHARACTER, _FORK, _PLACE, _LOOK = range(5)

CharacterTest = Callable[[str], bool]
PlaceTest = Callable[[str, int], bool]


class _Look(NamedTuple):
    """A lookahead, or a lookbehind of `behind` characters."""

    steps: list[_Step]
    negative: bool
    behind: int


class _Step(NamedTuple):
    """`operation` says what `argument` is: a test of a character or of a place, a `_Look`, or the
    steps where a fork goes on. All others go on with the next step.
    """

    operation: int
    argument: Any = None


def _found(steps: list[_Step], text: str, start: int, *, anchored: bool) -> bool:
    """Run all threads side by side; each step is in a set at most once per character."""
    threads: list[int] = []
    for position in range(start, len(text) + 1):
        following: list[int] = [] if anchored and position > start else [0]
        stack = [*threads, *following]
        seen: set[int] = set()
        threads = []
        while stack:
            at = stack.pop()
            if at in seen:
                continue
            seen.add(at)
            operation, argument = steps[at]
            if operation == _CHARACTER:
                if position < len(text) and argument(text[position]):
                    threads.append(at + 1)
            elif operation == _MATCH:
                return True
            elif operation == _FORK:
                stack += argument
            elif operation == _PLACE:
                if argument(text, position):
                    stack.append(at + 1)
            elif _looks(argument, text, position):
                stack.append(at + 1)
        if anchored and not threads:
            return False
    return False


def _looks(look: _Look, text: str, position: int) -> bool:
    start = position - look.behind
    if start < 0:
        return look.negative
    part = text[:position] if look.behind else text
    return _found(look.steps, part, start, anchored=True) is not look.negative


# -- from the tree of `re` to steps


class _Compiler:
    """Writes the steps of one pattern."""

    def __init__(self, flags: int, *, looking: bool = False) -> None:
        self.steps: list[_Step] = []
        self._flags = flags
        self._looking = looking

    def emit(self, step: _Step) -> int:
        if len(self.steps) >= STEPS_MAX:
            raise PatternInvalid("is too large: its counted repeats multiply")
        self.steps.append(step)
        return len(self.steps) - 1

    def sequence(self, tree: Any) -> None:
        for operation, argument in tree:
            self._node(operation, argument)

    def _node(self, operation: Any, argument: Any) -> None:
        if operation in _SINGLE:
            self.emit(_Step(_CHARACTER, _character_test(operation, argument, self._flags)))
        elif operation is _code.BRANCH:
            self._branch(argument[1])
        elif operation is _code.SUBPATTERN:
            _group, added, removed, body = argument
            before, self._flags = self._flags, (self._flags | added) & ~removed
            self.sequence(body)
            self._flags = before
        elif operation in {_code.MAX_REPEAT, _code.MIN_REPEAT}:
            self._repeat(*argument)
        elif operation is _code.AT:
            self.emit(_Step(_PLACE, _place_test(argument, self._flags)))
        elif operation in {_code.ASSERT, _code.ASSERT_NOT}:
            self._look(operation is _code.ASSERT_NOT, *argument)
        else:
            name = str(operation).lower().replace("_", " ")
            raise PatternInvalid(f"uses what is not offered: {_CALLED.get(name, name)}")

    def _branch(self, alternatives: list[Any]) -> None:
        starts: list[int] = []
        ends: list[list[int]] = []
        self.emit(_Step(_FORK, starts))
        for alternative in alternatives:
            starts.append(len(self.steps))
            self.sequence(alternative)
            ends.append(self._jump())
        for end in ends:
            end.append(len(self.steps))

    def _repeat(self, least: int, most: Any, body: Any) -> None:
        for _ in range(least):
            self.sequence(body)
        if most is _code.MAXREPEAT:
            fork = self._jump()
            start = len(self.steps)
            self.sequence(body)
            self._jump().append(start - 1)
            fork += [start, len(self.steps)]
            return
        exits = []
        for _ in range(most - least):
            fork = self._jump()
            fork.append(len(self.steps))
            self.sequence(body)
            exits.append(fork)
        for fork in exits:
            fork.append(len(self.steps))

    def _jump(self) -> list[int]:
        """A fork whose ways are still to be filled in."""
        ways: list[int] = []
        self.emit(_Step(_FORK, ways))
        return ways

    def _look(self, negative: bool, direction: int, body: Any) -> None:
        if self._looking:
            raise PatternInvalid("has a look around inside of a look around")
        behind = 0
        if direction < 0:
            behind = body.getwidth()[0]
            if behind > _LOOKBEHIND_MAX:
                raise PatternInvalid(f"looks behind {behind} characters, {_LOOKBEHIND_MAX} allowed")
        inner = _Compiler(self._flags, looking=True)
        inner.sequence(body)
        inner.emit(_Step(_MATCH))
        self.emit(_Step(_LOOK, _Look(inner.steps, negative, behind)))


def _is_word(character: str) -> bool:
    return character == "_" or character.isalnum()


_SINGLE: Final = frozenset({_code.LITERAL, _code.NOT_LITERAL, _code.ANY, _code.IN})
_CATEGORIES: Final[dict[Any, CharacterTest]] = {
    _code.CATEGORY_DIGIT: str.isdecimal,
    _code.CATEGORY_NOT_DIGIT: lambda character: not character.isdecimal(),
    _code.CATEGORY_SPACE: str.isspace,
    _code.CATEGORY_NOT_SPACE: lambda character: not character.isspace(),
    _code.CATEGORY_WORD: _is_word,
    _code.CATEGORY_NOT_WORD: lambda character: not _is_word(character),
}


def _character_test(operation: Any, argument: Any, flags: int) -> CharacterTest:
    test = _plain_test(operation, argument, flags)
    if not flags & re.IGNORECASE:
        return test
    negated = operation is _code.NOT_LITERAL or (
        operation is _code.IN and argument[0][0] is _code.NEGATE
    )
    if negated:
        return lambda character: all(test(each) for each in _cases(character))
    return lambda character: any(test(each) for each in _cases(character))


def _cases(character: str) -> list[str]:
    return [each for each in (character, character.lower(), character.upper()) if len(each) == 1]


def _plain_test(operation: Any, argument: Any, flags: int) -> CharacterTest:
    if operation is _code.ANY:
        return (lambda _: True) if flags & re.DOTALL else "\n".__ne__
    if operation is _code.LITERAL:
        return chr(argument).__eq__
    if operation is _code.NOT_LITERAL:
        return chr(argument).__ne__
    negated = argument[0][0] is _code.NEGATE
    members = [_member_test(*each) for each in argument[negated:]]
    if len(members) == 1 and not negated:
        return members[0]
    return lambda character: any(test(character) for test in members) is not negated


def _member_test(operation: Any, argument: Any) -> CharacterTest:
    if operation is _code.LITERAL:
        return chr(argument).__eq__
    if operation is _code.RANGE:
        low, high = map(chr, argument)
        return lambda character: low <= character <= high
    return _CATEGORIES[argument]


def _place_test(place: Any, flags: int) -> PlaceTest:
    if place is _code.AT_BEGINNING_STRING or (
        place is _code.AT_BEGINNING and not flags & re.MULTILINE
    ):
        return lambda _, at: at == 0
    if place is _code.AT_BEGINNING:
        return lambda text, at: at == 0 or text[at - 1] == "\n"
    if place is _code.AT_END_STRING:
        return lambda text, at: at == len(text)
    if place is _code.AT_END and flags & re.MULTILINE:
        return lambda text, at: at == len(text) or text[at] == "\n"
    if place is _code.AT_END:
        # Strictly at the end: a name must not pass because a line break follows what is allowed.
        return lambda text, at: at == len(text)
    return lambda text, at: _at_boundary(text, at) is (place is _code.AT_BOUNDARY)


def _at_boundary(text: str, at: int) -> bool:
    before = at > 0 and _is_word(text[at - 1])
    after = at < len(text) and _is_word(text[at])
    return before is not after

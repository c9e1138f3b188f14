"""One matcher over levels for every wildcard syntax.

Subjects and patterns are levels joined with "." in the escaped form of `bridge.messaging.subjects`.
In a pattern the level `*` stands for exactly one level and `#` for none or more, anywhere; a level
that is literally one of the two is written `%2A` or `%23`. Patterns without wildcards are kept in a
dict, the others in a trie that is walked as a nondeterministic automaton: the set of nodes that the
levels so far can have reached. A node is in that set once, so the work for one level is bounded by
the nodes of the trie, whatever the patterns look like. A pattern costs about 160 bytes in the dict
and 270 per node of its own in the trie (100,000 patterns, CPython 3.11); a look-up takes 0.3 us in
the dict and 0.3 us more for each level of the trie.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Final, Generic, TypeVar

from bridge.messaging.errors import InvalidAddress
from bridge.messaging.subjects import (
    EMPTY_SUBJECT,
    levels_of,
    literal_from_pattern,
    literal_level,
)

LEVELS_MAX: Final = 256
"""Levels of a pattern: a node costs far more memory than the byte that a client pays for it."""

_TUPLE_MAX = 8
"""Values of one pattern up to which a tuple is kept instead of a set: it is four times smaller."""

Value = TypeVar("Value", bound=Hashable)


class _Wildcard:
    """What `*` and `#` are once the pattern was read, so that no literal level equals them."""

    __slots__ = ()


_ONE: Final = _Wildcard()
_MANY: Final = _Wildcard()


def matches(pattern: str, subject: str) -> bool:
    """Whether `pattern` covers `subject`; the steps are bounded by the product of their levels."""
    parts = _parse(pattern)
    levels = levels_of(subject)
    at = position = 0
    many_at = -1
    many_position = 0
    while position < len(levels):
        part = parts[at] if at < len(parts) else None
        if part is _MANY:
            # Try it for no level first; when that fails, come back and let it take one more.
            many_at, many_position = at, position
            at += 1
        elif part is _ONE or part == levels[position]:
            at += 1
            position += 1
        elif many_at >= 0:
            many_position += 1
            at, position = many_at + 1, many_position
        else:
            return False
    return all(part is _MANY for part in parts[at:])


class PatternIndex(Generic[Value]):
    """Which values are wanted for a subject.

    A set of (pattern, value) pairs: adding a pair again changes nothing.
    """

    __slots__ = ("_exact", "_root", "_size")

    def __init__(self) -> None:
        self._exact: dict[str, _Values[Value]] = {}
        self._root: _Node[Value] = _Node()
        self._size = 0

    def __len__(self) -> int:
        """How many pairs there are."""
        return self._size

    def add(self, pattern: str, value: Value) -> None:
        """Want `value` for what `pattern` covers.

        Raises `InvalidAddress` when it has more than `LEVELS_MAX` levels.
        """
        parts = _parse(pattern)
        if len(parts) > LEVELS_MAX:
            shown = f"{pattern[:40]}..."
            raise InvalidAddress(
                f"pattern {shown} has {len(parts)} levels, {LEVELS_MAX} are allowed"
            )
        exact = _exact_key(parts)
        if exact is not None:
            values = self._exact.get(exact, ())
            if value in values:
                return
            self._exact[exact] = _with(values, value)
        else:
            node = self._root
            for part in parts:
                node = node.grown(part)
            if value in node.values:
                return
            node.values = _with(node.values, value)
        self._size += 1

    def remove(self, pattern: str, value: Value) -> None:
        """Want it no more. Raises `KeyError` for a pair that was not added."""
        parts = _parse(pattern)
        exact = _exact_key(parts)
        if exact is not None:
            rest = _without(self._exact[exact], value)
            if rest:
                self._exact[exact] = rest
            else:
                del self._exact[exact]
        else:
            path = [self._root]
            for part in parts:
                path.append(path[-1].next(part))
            path[-1].values = _without(path[-1].values, value)
            while len(path) > 1 and path[-1].bare:
                path.pop()
                path[-1].prune(parts[len(path) - 1])
        self._size -= 1

    def find(self, subject: str, *, leading_wildcards: bool = True) -> set[Value]:
        """The distinct values whose pattern covers `subject`.

        `leading_wildcards` False leaves out patterns that begin with a wildcard: the rule of topic
        trees where what begins with `$` is not for everybody.
        """
        found: set[Value] = set()
        exact = self._exact.get(subject or EMPTY_SUBJECT)
        if exact is not None:
            found.update(exact)
        root = self._root
        if root.many is not None or root.one is not None or root.children is not None:
            levels = levels_of(subject)
            if leading_wildcards:
                _walk(root, levels, found)
            elif levels and root.children is not None and levels[0] in root.children:
                _walk(root.children[levels[0]], levels[1:], found)
        return found

    def patterns(self) -> Iterator[tuple[str, Value]]:
        """All pairs, each pattern in its normal form, in no particular order."""
        for exact, values in self._exact.items():
            pattern = _joined(levels_of(exact))
            for value in values:
                yield pattern, value
        stack: list[tuple[list[_Part], _Node[Value]]] = [([], self._root)]
        while stack:
            parts, node = stack.pop()
            for value in node.values:
                yield _joined(parts), value
            stack.extend(([*parts, part], child) for part, child in node.edges())


_Part = str | _Wildcard
_Values = tuple[Value, ...] | set[Value]


class _Node(Generic[Value]):
    """One level of the trie. A node reached by `#` also stays where it is on any further level."""

    __slots__ = ("children", "loops", "many", "one", "values")

    def __init__(self, *, loops: bool = False) -> None:
        self.children: dict[str, _Node[Value]] | None = None
        self.one: _Node[Value] | None = None
        self.many: _Node[Value] | None = None
        self.values: _Values[Value] = ()
        self.loops = loops

    @property
    def bare(self) -> bool:
        return not (self.values or self.children or self.one or self.many)

    def grown(self, part: _Part) -> _Node[Value]:
        """The node after `part`, made when there is none."""
        if isinstance(part, str):
            if self.children is None:
                self.children = {}
            node = self.children.get(part)
            if node is None:
                node = self.children[part] = _Node()
        elif part is _ONE:
            node = self.one
            if node is None:
                node = self.one = _Node()
        else:
            node = self.many
            if node is None:
                node = self.many = _Node(loops=True)
        return node

    def next(self, part: _Part) -> _Node[Value]:
        if isinstance(part, str):
            node = self.children.get(part) if self.children is not None else None
        else:
            node = self.one if part is _ONE else self.many
        if node is None:
            raise KeyError(part)
        return node

    def prune(self, part: _Part) -> None:
        if not isinstance(part, str):
            if part is _ONE:
                self.one = None
            else:
                self.many = None
        elif self.children is not None:
            del self.children[part]
            if not self.children:
                self.children = None

    def edges(self) -> Iterator[tuple[_Part, _Node[Value]]]:
        if self.children is not None:
            yield from self.children.items()
        if self.one is not None:
            yield _ONE, self.one
        if self.many is not None:
            yield _MANY, self.many


def _walk(start: _Node[Value], levels: list[str], found: set[Value]) -> None:
    """Collect the values of all nodes that `levels` can reach from `start`.

    A node behind `#` matches whatever follows: its values are taken as soon as it is reached, and
    it goes on only when it has successors. It can be reached twice at one level (by staying, and
    anew from its parent), which `looping` prevents; other nodes cannot.
    """
    active = [start]
    if (many := start.many) is not None:
        found.update(many.values)
        if many.children is not None or many.one is not None:
            active.append(many)
    for level in levels:
        reached: list[_Node[Value]] = []
        looping: set[_Node[Value]] = set()
        for node in active:
            if node.loops and node not in looping:
                looping.add(node)
                reached.append(node)
            if (children := node.children) is not None and (
                child := children.get(level)
            ) is not None:
                reached.append(child)
                if (many := child.many) is not None:
                    _enter(many, reached, looping, found)
            if (child := node.one) is not None:
                reached.append(child)
                if (many := child.many) is not None:
                    _enter(many, reached, looping, found)
        if not reached:
            return
        active = reached
    for node in active:
        found.update(node.values)


def _enter(
    many: _Node[Value],
    reached: list[_Node[Value]],
    looping: set[_Node[Value]],
    found: set[Value],
) -> None:
    found.update(many.values)
    if many not in looping and (many.children is not None or many.one is not None):
        looping.add(many)
        reached.append(many)


def _parse(pattern: str) -> list[_Part]:
    """Read a pattern into its normal form: in a run of wildcards all `*` first, then one `#`."""
    parts: list[_Part] = []
    pending = False
    for level in levels_of(pattern):
        if level == "#":
            pending = True
        elif level == "*":
            parts.append(_ONE)
        else:
            if pending:
                parts.append(_MANY)
                pending = False
            parts.append(literal_from_pattern(level))
    if pending:
        parts.append(_MANY)
    return parts


def _exact_key(parts: list[_Part]) -> str | None:
    """The one subject that a pattern without wildcards covers."""
    levels = [part for part in parts if isinstance(part, str)]
    return (".".join(levels) or EMPTY_SUBJECT) if len(levels) == len(parts) else None


def _joined(parts: list[_Part] | list[str]) -> str:
    texts = [
        literal_level(part) if isinstance(part, str) else "*" if part is _ONE else "#"
        for part in parts
    ]
    return ".".join(texts) or EMPTY_SUBJECT


def _with(values: _Values[Value], value: Value) -> _Values[Value]:
    if isinstance(values, set):
        values.add(value)
        return values
    return (*values, value) if len(values) < _TUPLE_MAX else {*values, value}


def _without(values: _Values[Value], value: Value) -> _Values[Value]:
    if value not in values:
        raise KeyError(value)
    if isinstance(values, set):
        values.discard(value)
        return values
    return tuple(each for each in values if each != value)

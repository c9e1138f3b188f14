"""A YAML text as plain data, with the line of every value and environment variables put in.

Only YAML's core types are made: mappings with text keys, lists, text, numbers, true and false,
null. `${NAME}` and `${NAME:-default}` are replaced before their type is decided, so that `port:
${PORT}` is a number. They are hidden from the parser behind private characters of the same length,
since YAML would take their braces for a mapping inside `{...}`, and places must stay true; `$${`
writes a plain `${`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from bridge.config.mistakes import ConfigInvalid, Mistake, Path, shown
from bridge.config.syntax import complaint_of

_TAG: Final = "tag:yaml.org,2002:"
_VARIABLE: Final = re.compile(r"(\$?)\$\{([^{}\n\"':]*(?::[^{}\n]*)?)\}")
_UNCLOSED: Final = re.compile(r"(\$?)\$\{")
_WITHOUT_BRACES: Final = re.compile(r"\$([A-Z_][A-Z0-9_]*)")
_REFERENCE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?")
_START: Final = "\ue000"
_FILL: Final = "\ue001"
_INDEX_BASE: Final = 0xF0000
_HIDDEN: Final = re.compile(f"{_START}([\U000f0000-\U000ffffd]){_FILL}*")
_VALUES_MAX: Final = 100_000
"""Values in one file, aliases counted each time: far above any real file."""


@dataclass(slots=True)
class Document:
    """Plain data, the places of its values, and what was wrong with single ones of them.

    `places` has the path of every value. A value with a mistake is null in the data, and so are
    those of `empty`, which were not written at all (`null`, and what a variable leaves empty, are).
    """

    source: str
    data: dict[str, Any] = field(default_factory=dict)
    places: dict[Path, str] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)

    def place(self, path: Path) -> str:
        """The place of a value, or of the nearest one around it."""
        for length in range(len(path), -1, -1):
            if found := self.places.get(path[:length]):
                return found
        return self.source


def parse_document(text: str, source: str, environment: Mapping[str, str]) -> Document:
    """Read a whole configuration file. Raises `ConfigInvalid` where it is not YAML."""
    document = Document(source)
    data = _Reader(document, source, environment).read(text)
    if data is None:
        data = {}
    if not isinstance(data, dict):
        message = f"must be a mapping of options (`log: {{level: info}}`), not {shown(data)}"
        raise ConfigInvalid([Mistake(f"{source}:1", (), message)])
    document.data = data
    return document


def parse_value(text: str, source: str) -> Any:
    """Read the value of an override, which is a YAML text of its own. Raises `ConfigInvalid`."""
    document = Document(source)
    value = _Reader(document, source, None).read(text)
    if document.mistakes:
        raise ConfigInvalid(document.mistakes)
    return value


class _Reader:
    """Turns one YAML text into data, noting places and collecting mistakes."""

    def __init__(
        self, document: Document, source: str, environment: Mapping[str, str] | None
    ) -> None:
        self._document = document
        self._source = source
        self._environment = environment  # None for a value of the command line
        self._mistakes = document.mistakes
        self._references: list[tuple[str, str]] = []
        self._values = 0
        self._open: set[int] = set()
        self._yaml = YAML(typ="safe", pure=True)

    def read(self, text: str) -> Any:
        if self._environment is not None:
            text = _VARIABLE.sub(self._hide, text)
        try:
            node = self._yaml.compose(text)
        except MarkedYAMLError as error:
            raise ConfigInvalid([self._syntax_mistake(error)]) from None
        except RecursionError:
            raise ConfigInvalid([Mistake(self._source, (), "is nested too deeply")]) from None
        except ReaderError as error:
            place = self._numbered(text.count("\n", 0, error.position) + 1)
            reason = f"the character {error.character:#06x} is not allowed in it"
            raise ConfigInvalid([Mistake(place, (), f"is not YAML: {reason}")]) from None
        return None if node is None else self._value(node, ())

    # -- environment variables

    def _hide(self, match: re.Match[str]) -> str:
        self._references.append((match[1], match[2]))
        length = len(match[0])
        return _START + chr(_INDEX_BASE + len(self._references) - 1) + _FILL * (length - 2)

    def _substituted(self, text: str, place: str, path: Path) -> str:
        if self._environment is not None and "${" in text:
            if any(not found[1] for found in _UNCLOSED.finditer(text)):
                message = "a ${ without its } (write $${ for a plain ${)"
                self._mistakes.append(Mistake(place, path, message))
            text = text.replace("$${", "${")
        return _HIDDEN.sub(lambda match: self._variable(match[1], place, path), text)

    def _variable(self, mark: str, place: str, path: Path) -> str:
        escape, inside = self._references[ord(mark) - _INDEX_BASE]
        if escape:
            return f"${{{inside}}}"
        reference = _REFERENCE.fullmatch(inside)
        if reference is None:
            name, colon, default = inside.partition(":")
            message = f"${{{inside}}} does not name a variable (write $${{ for a plain ${{)"
            if colon:
                message = f"a default stands behind :- as in ${{{name}:-{default.lstrip('-=?')}}}"
            self._mistakes.append(Mistake(place, path, message))
            return ""
        name, default = reference.groups()
        assert self._environment is not None
        value = self._environment.get(name)
        if default is not None and not value:
            value = default
        if value is None:
            message = (
                f"the environment has no {name} (set it, or give a default: ${{{name}:-default}})"
            )
            self._mistakes.append(Mistake(place, path, message))
            return ""
        return value

    # -- nodes

    def _value(self, node: Node, path: Path) -> Any:
        place = self._place(node)
        self._document.places.setdefault(path, place)
        self._values += 1
        if self._values > _VALUES_MAX:
            message = f"more than {_VALUES_MAX} values"
            raise ConfigInvalid([Mistake(self._source, (), message)])
        if id(node) in self._open:
            self._mistakes.append(Mistake(place, path, "an alias that contains itself"))
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self._value(item, (*path, i)) for i, item in enumerate(node.value)]
            assert isinstance(node, ScalarNode)
            return self._scalar(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: MappingNode, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node)
            if key_node.tag == f"{_TAG}merge":
                merged |= self._merged(value_node, path)
                continue
            if not isinstance(key_node, ScalarNode):
                self._mistakes.append(Mistake(place, path, "a key must be a word"))
                continue
            key = self._substituted(_key_text(node, key_node, value_node), place, path)
            if key in own:
                message = f"is given twice, first in line {lines[key]}"
                self._mistakes.append(Mistake(place, (*path, key), message))
            lines.setdefault(key, key_node.start_mark.line + 1)
            self._document.places[*path, key] = place
            own[key] = self._value(value_node, (*path, key))
        return merged | own

    def _merged(self, node: Node, path: Path) -> dict[str, Any]:
        """What `<<` brings in; of several mappings the first wins, as everywhere in YAML."""
        merged: dict[str, Any] = {}
        for source in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(source, MappingNode) or id(source) in self._open:
                message = "<< takes mappings that are not around it"
                self._mistakes.append(Mistake(self._place(source), path, message))
                continue
            self._open.add(id(source))
            merged = self._mapping(source, path) | merged
            self._open.discard(id(source))
        return merged

    def _scalar(self, node: ScalarNode, path: Path) -> Any:
        place = self._place(node)
        text = self._substituted(node.value, place, path)
        tag = str(node.tag)
        if path and not node.value and node.style is None:
            self._document.empty.append(path)
        bare = _WITHOUT_BRACES.fullmatch(text)
        if bare and self._environment and bare[1] in self._environment and text == node.value:
            message = f"stands for itself; the variable is ${{{bare[1]}}}"
            self._mistakes.append(Mistake(place, path, f"${bare[1]} {message}"))
        if text != node.value and node.style is None:
            tag = str(self._yaml.resolver.resolve(ScalarNode, text, (True, False)))
        return self._typed(tag.removeprefix(_TAG), text, place, path)

    def _typed(self, kind: str, text: str, place: str, path: Path) -> Any:
        match kind:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" | "float":
                return _number(text)
            case "str" | "timestamp":
                return text
            case _:
                self._mistakes.append(Mistake(place, path, f"the YAML tag {kind} is not known"))
                return None

    # -- places

    def _place(self, node: Node) -> str:
        return self._numbered(node.start_mark.line + 1)

    def _numbered(self, line: int | None) -> str:
        """A value of the command line has no lines."""
        if line is None or self._environment is None:
            return self._source
        return f"{self._source}:{line}"

    def _syntax_mistake(self, error: MarkedYAMLError) -> Mistake:
        line, text = complaint_of(error)
        return Mistake(self._numbered(line), (), f"is not YAML: {_HIDDEN.sub('${...}', text)}")


def _key_text(mapping: MappingNode, key: ScalarNode, value: Node) -> str:
    """The text of a key: the parser takes the colon of `{amqp:}` into it (YAML 1.2, 7.3.3)."""
    text = str(key.value)
    taken_in = mapping.flow_style and key.style is None and value.value == ""
    return text.removesuffix(":") if taken_in else text


def _number(text: str) -> int | float | str:
    """A number of YAML's core schema; text that only looks like one to the parser stays text."""
    plain = text.replace("_", "")
    try:
        return int(plain) if plain.lstrip("+-").isdigit() else int(plain, 0)
    except ValueError:
        pass
    try:
        return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text

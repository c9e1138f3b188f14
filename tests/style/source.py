"""One Python file as the style rules see it: its path, text, syntax tree and comments."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("adapters", "mappings", "bridge")
FOLDERS = (*PRODUCT, "tests", "deploy")
SKIPPED_FOLDERS = {"node_modules", "__pycache__"}


@dataclass(frozen=True)
class Source:
    """A file's path below the root of the repository, and its text."""

    path: PurePosixPath
    text: str

    @property
    def folder(self) -> str:
        """The folder at the top of the repository that the file is in."""
        return self.path.parts[0]

    @property
    def is_product(self) -> bool:
        return self.folder in PRODUCT

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, str(self.path))

    @cached_property
    def comments(self) -> list[tuple[int, str]]:
        """The comments with their line numbers."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [
            (token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT
        ]

    @cached_property
    def head(self) -> str | None:
        """The module's docstring, as it is indented in the file."""
        return ast.get_docstring(self.tree, clean=False)

    @property
    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        for node in ast.walk(self.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node

    @property
    def imports(self) -> Iterator[tuple[int, str]]:
        """Every imported name in full, with its line: ``from a import b`` yields ``a.b``."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node.lineno, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        package = self.path.parts[: -node.level]
        return ".".join((*package, *([node.module] if node.module else [])))


def dotted_name(node: ast.expr) -> str:
    """``a.b.c`` for a plain chain of attributes, with ``()`` where a call stands in the chain."""
    match node:
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=value, attr=name):
            return f"{dotted_name(value)}.{name}"
        case ast.Call(func=function):
            return f"{dotted_name(function)}()"
        case _:
            return "?"


def sources(root: Path = ROOT) -> list[Source]:
    """Every Python file of the repository's own."""
    paths = (path for folder in FOLDERS for path in sorted((root / folder).rglob("*.py")))
    return [
        Source(PurePosixPath(path.relative_to(root).as_posix()), path.read_text("utf-8"))
        for path in paths
        if not SKIPPED_FOLDERS.intersection(path.parts)
    ]

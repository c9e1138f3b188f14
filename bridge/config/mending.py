"""What is right of a configuration that has mistakes, so that all of that can be checked too.

A wrong value is left out, and its default holds; what cannot do without it (a queue without its
name) is left out as a whole. Whoever then compares values with one another asks `Mended.is_wrong`
whether one of them is such a default, about which nothing should be said.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from bridge.config.mistakes import Path
from bridge.config.schema import Config


class Mended:
    """The sound part of a configuration. Its lists may lack items, so its paths are not the
    file's: `in_file` turns them.
    """

    def __init__(self, data: Mapping[str, Any], wrong: Iterable[Path]) -> None:
        """`wrong` are the paths of all mistakes that are known; `data` is left as it is."""
        self._wrong = set(wrong)
        self._tree = _tree_of(data)
        for path in self._wrong:
            _left_out(self._tree, path)
        self.config = self._validated()

    def in_file(self, path: Path) -> Path:
        """Where a value of `config` stands in the file."""
        found: list[str | int] = []
        branch = self._tree
        for part in path:
            if isinstance(branch, _Items) and isinstance(part, int):
                found.append(list(branch)[part])
            else:
                found.append(part)
            branch = branch.get(found[-1]) if isinstance(branch, dict) else None
        return tuple(found)

    def is_wrong(self, path: Path) -> bool:
        """Whether a mistake is at this value of `config`, inside of it or around it."""
        place = self.in_file(path)
        return any(
            place[: len(wrong)] == wrong or wrong[: len(place)] == place for wrong in self._wrong
        )

    def _validated(self) -> Config:
        """Leaving out one thing can make what is around it wrong: until nothing is."""
        while True:
            try:
                return Config.model_validate(_data_of(self._tree))
            except ValidationError as error:
                found = {self.in_file(each["loc"]) for each in error.errors(include_input=False)}
                taken = [path for path in found if _left_out(self._tree, path)]
                if not taken:
                    raise


class _Items(dict[int, Any]):
    """The items that are left of a list, by the indexes that they have in the file."""


def _tree_of(data: Any) -> Any:
    match data:
        case dict():
            return {key: _tree_of(value) for key, value in data.items()}
        case list():
            return _Items(enumerate(map(_tree_of, data)))
        case _:
            return data


def _data_of(tree: Any) -> Any:
    match tree:
        case _Items():
            return [_data_of(value) for value in tree.values()]
        case dict():
            return {key: _data_of(value) for key, value in tree.items()}
        case _:
            return tree


def _left_out(tree: dict[Any, Any], path: Path) -> bool:
    """Take out the value at `path`; where there is none, it is missing: then what lacks it.

    False where it went before, with something around it.
    """
    match path:
        case ("routes", int(index), "to", *_) if index in tree.get("routes", ()):
            # Any target does, for checking the rest of the route.
            tree["routes"][index]["to"] = ["default"]
            return True
    *before, last = path
    around: Any = {None: tree}
    key: str | int | None = None
    for part in before:
        around, key = around[key], part
        if not isinstance(around, dict) or key not in around:
            return False
    branch = around[key]
    if isinstance(branch, dict) and last in branch:
        del branch[last]
    else:
        del around[key]
    return True

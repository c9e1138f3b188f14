"""`--set path=value`: changes to a document before it is validated.

A path is keys joined with `.`, list items in brackets or as numbers (`users[0].name`); a key that
contains a dot is written in quotes. The number after a list's last one, or `+`, appends. What
is missing on the way is made. The value is YAML, so lists and mappings can be given whole.
"""

from __future__ import annotations

import re
from typing import Any, Final

from bridge.config.document import Document, parse_value
from bridge.config.mistakes import ConfigInvalid, Mistake, Path, path_text, shown

_PART: Final = re.compile(r"""\.?(?:"([^"]+)"|'([^']+)'|\[(\d+|\+)\]|([^.\[\]"']+))""")


def apply_override(document: Document, override: str) -> None:
    """Put one `path=value` into the document. Raises `ConfigInvalid`."""
    path_part, equals, value_text = override.partition("=")
    place = f"--set {path_part}"  # without the value, which may be a secret
    if not equals:
        raise ConfigInvalid([Mistake(place, (), "must be path=value")])
    steps = _steps(path_part.strip(), place)
    value = parse_value(value_text, place)
    path = _put(document.data, steps, value, place)
    stale = [known for known in document.places if known[: len(path)] == path]
    for known in stale:
        del document.places[known]
    document.empty = [
        known
        for known in document.empty
        if known != path[: len(known)] and path != known[: len(path)]
    ]
    document.places[path] = place
    for length in range(1, len(path)):
        document.places.setdefault(path[:length], place)


def _steps(text: str, place: str) -> list[str]:
    steps: list[str] = []
    position = 0
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            break
        steps.append(next(group for group in match.groups() if group is not None))
        position = match.end()
    if not steps or position < len(text):
        message = f"{text!r} is not a path of keys (like listeners.stomp.port or users[0].name)"
        raise ConfigInvalid([Mistake(place, (), message)])
    return steps


def _put(data: dict[str, Any], steps: list[str], value: Any, place: str) -> Path:
    """Walk and make the way to the last step, set it, and return the path that it became."""
    container: Any = data
    path: Path = ()
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if isinstance(container, list):
            index = _index(container, step, (*path, step), place)
            path = (*path, index)
            if index == len(container):
                container.append(None)
            key: int | str = index
        elif isinstance(container, dict):
            path = (*path, step)
            key = step
            container.setdefault(step, None)
        else:
            message = f"{path_text(path)} is {shown(container)}, which has no keys"
            raise ConfigInvalid([Mistake(place, (), message)])
        if last:
            container[key] = value
        elif container[key] is None:
            container[key] = [] if steps[number + 1] in {"0", "+"} else {}
        container = container[key]
    return path


def _index(items: list[Any], step: str, path: Path, place: str) -> int:
    if step == "+":
        return len(items)
    if step.isdigit() and int(step) <= len(items):
        return int(step)
    message = f"{path_text(path)} is not an item of a list of {len(items)} (+ appends)"
    raise ConfigInvalid([Mistake(place, (), message)])

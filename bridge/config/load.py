"""From a file and the command line to a checked configuration, or to all of its mistakes.

Order: find the file, read it (environment put in), apply `--set`, validate every value, then check
what concerns several values, on all that is right. So no mistake hides another one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import ValidationError

from bridge.config.backend import Backend
from bridge.config.cross_checks import (
    certificates,
    data_directories,
    doubles,
    open_doors,
    unknown_namespaces,
)
from bridge.config.document import Document, parse_document
from bridge.config.listeners import (
    ListenerOptions,
    ProtocolPorts,
    complete_listeners,
    listener_as_config,
)
from bridge.config.mending import Mended
from bridge.config.mistakes import ConfigInvalid, Mistake
from bridge.config.mistakes import Path as KeyPath
from bridge.config.overrides import apply_override
from bridge.config.routes import compile_routes
from bridge.config.schema import Config
from bridge.config.validation import mistakes_from
from bridge.messaging.limits import Limits
from bridge.routing.rules import Rules

ENVIRONMENT_VARIABLE: Final = "LANDBRIDGE_CONFIG"
_FILES: Final = ("landbridge.yaml", "/etc/landbridge/landbridge.yaml")
_FILE_SIZE_MAX: Final = 16 * 1024**2


class StoredNames(NamedTuple):
    """What the store keeps besides the configuration: `landbridge import` puts it there."""

    users: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()


_NOTHING: Final = StoredNames()


def nothing_stored(_: Backend) -> StoredNames:
    """For a configuration whose store is of no interest."""
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a configuration comes from; loading them again is a reload."""

    file: Path | None
    """None: the search order of `find_file`."""
    overrides: tuple[str, ...]
    port_offset: int
    environment: Mapping[str, str]
    protocols: Mapping[str, ProtocolPorts]
    stored: Callable[[Backend], StoredNames] = nothing_stored
    """Looks into the store that the configuration names."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that passed every check."""

    config: Config
    listeners: tuple[ListenerOptions, ...]
    rules: Rules
    file: Path | None
    stored: StoredNames
    document: Document = field(compare=False, repr=False)

    @property
    def user_names(self) -> list[str]:
        """Of the configuration, then of the store."""
        names = [user.name for user in self.config.users]
        return [*names, *(name for name in self.stored.users if name not in names)]

    def mistake(self, path: KeyPath, message: str) -> Mistake:
        """What is wrong with the value at `path` after all, with its place."""
        return Mistake(self.document.place(path), path, message)


def find_file(given: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The file to read: the given one, the environment's, or the first of the usual ones."""
    if given is not None:
        return given
    if named := environment.get(ENVIRONMENT_VARIABLE):
        return Path(named)
    return next((path for path in map(Path, _FILES) if path.is_file()), None)


def load(sources: Sources) -> Loaded:
    """Read and check everything. Raises `ConfigInvalid` with all mistakes."""
    file = find_file(sources.file, sources.environment)
    document = _read(file, sources)
    _fill_listeners(document)
    for override in sources.overrides:
        try:
            _seed_listeners(document, override, sources)
            apply_override(document, override)
        except ConfigInvalid as invalid:
            document.mistakes += invalid.mistakes
    return _validated(document, sources, file)


def _read(file: Path | None, sources: Sources) -> Document:
    if file is None:
        return Document(source="defaults")
    try:
        with file.open("rb") as opened:
            raw = opened.read(_FILE_SIZE_MAX + 1)
    except OSError as error:
        message = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ConfigInvalid([Mistake(str(file), (), message)]) from None
    if len(raw) > _FILE_SIZE_MAX:
        raise ConfigInvalid([Mistake(str(file), (), f"is over {_FILE_SIZE_MAX} bytes")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigInvalid([Mistake(str(file), (), "is not UTF-8 text")]) from None
    return parse_document(text, str(file), sources.environment)


def _fill_listeners(document: Document) -> None:
    """`listeners: {amqp:}` asks for a listener, and only leaves out to say more about it."""
    listeners = document.data.get("listeners")
    if isinstance(listeners, dict):
        named = [path for path in document.empty if len(path) == 2 and path[0] == "listeners"]
        for path in named:
            document.empty.remove(path)
            # What `<<` brings in may have been said more about, what is given twice is not there.
            if path[1] in listeners:
                listeners[path[1]] = listeners[path[1]] or {}


def _seed_listeners(document: Document, override: str, sources: Sources) -> None:
    """Let `--set listeners.stomp.port=0` change one default listener and keep the others."""
    if override.startswith("listeners.") and document.data.get("listeners") is None:
        document.data["listeners"] = {name: {} for name in sources.protocols}


def _validated(document: Document, sources: Sources, file: Path | None) -> Loaded:
    mistakes = document.mistakes
    wrong = [mistake.path for mistake in mistakes if mistake.path]
    try:
        Config.model_validate(document.data)
    except ValidationError as error:
        mistakes += mistakes_from(error, document)
        wrong += [found["loc"] for found in error.errors(include_input=False)]
    for path in document.empty:
        if path not in wrong:
            message = "has no value: write one, or leave the option out"
            mistakes.append(Mistake(document.place(path), path, message))
            wrong.append(path)
    mended = Mended(document.data, wrong)
    config = mended.config
    stored = sources.stored(config.backend)
    rules, findings = compile_routes(config, limits_of(config))
    listeners, found = complete_listeners(config, sources.protocols, sources.port_offset)
    findings += found
    findings += doubles(config)
    findings += data_directories(config)
    findings += certificates(listeners)
    findings += open_doors(config, listeners, sources.protocols, stored.users)
    findings += unknown_namespaces(config, listeners, stored.namespaces)
    for finding in findings:
        if not any(map(mended.is_wrong, finding.values)):
            path = mended.in_file(finding.path)
            mistakes.append(Mistake(document.place(path), path, finding.message))
    if mistakes:
        raise ConfigInvalid(sorted(mistakes, key=_in_reading_order))
    return Loaded(config, tuple(listeners), rules, file, stored, document)


def _in_reading_order(mistake: Mistake) -> tuple[int, str]:
    """By line; what was given on the command line comes after the file."""
    line = mistake.place.rpartition(":")[2]
    return (int(line), "") if line.isdecimal() else (sys.maxsize, mistake.place)


def limits_of(config: Config) -> Limits:
    """The bounds with what the configuration changes."""
    return Limits(**dict(config.limits))


def effective(loaded: Loaded) -> Config:
    """The configuration with the listeners that it amounts to."""
    listeners = {options.name: listener_as_config(options) for options in loaded.listeners}
    return loaded.config.model_copy(update={"listeners": listeners})

"""From a file and the command line to a checked configuration, or to all of its mistakes.

Order: find the file, read it (environment put in), apply `--set`, validate every section, then
check what concerns several sections. A mistake in one section does not hide those in another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from bridge.config.backend import Backend
from bridge.config.document import Document, parse_document
from bridge.config.listeners import (
    ListenerOptions,
    ProtocolPorts,
    complete_listeners,
    listener_as_config,
    tls_files,
)
from bridge.config.mistakes import ConfigInvalid, Mistake
from bridge.config.mistakes import Path as KeyPath
from bridge.config.overrides import apply_override
from bridge.config.routes import compile_routes
from bridge.config.schema import Config
from bridge.config.validation import mistakes_from
from bridge.messaging.limits import Limits
from bridge.net.tls import TlsError, context_from_files
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
    stored: StoredNames = _NOTHING

    @property
    def user_names(self) -> list[str]:
        """Of the configuration, then of the store."""
        names = [user.name for user in self.config.users]
        return [*names, *(name for name in self.stored.users if name not in names)]


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
        text = raw.decode("utf-8-sig")
    except OSError as error:
        message = f"cannot be read: {(error.strerror or str(error)).lower()}"
        raise ConfigInvalid([Mistake(str(file), (), message)]) from None
    except UnicodeDecodeError:
        raise ConfigInvalid([Mistake(str(file), (), "is not UTF-8 text")]) from None
    if len(raw) > _FILE_SIZE_MAX:
        raise ConfigInvalid([Mistake(str(file), (), f"is over {_FILE_SIZE_MAX} bytes")])
    return parse_document(text, str(file), sources.environment)


def _seed_listeners(document: Document, override: str, sources: Sources) -> None:
    """Let `--set listeners.stomp.port=0` change one default listener and keep the others."""
    if override.startswith("listeners.") and document.data.get("listeners") is None:
        document.data["listeners"] = {name: {} for name in sources.protocols}


def _validated(document: Document, sources: Sources, file: Path | None) -> Loaded:
    mistakes = document.mistakes
    locations = [mistake.path for mistake in mistakes if mistake.path]
    try:
        Config.model_validate(document.data)
    except ValidationError as error:
        mistakes += mistakes_from(error, document)
        locations += [found["loc"] for found in error.errors(include_input=False)]
    config, wrong, kept = _sound_part(document.data, locations)
    stored = sources.stored(config.backend)
    listeners, found = _cross_checked(config, wrong, sources, stored)
    rules, more = compile_routes(config, limits_of(config))
    for mistake in [*found, *more]:
        path = _path_in_file(mistake.path, kept)
        mistakes.append(mistake._replace(place=document.place(path), path=path))
    if mistakes:
        raise ConfigInvalid(sorted(mistakes, key=_in_reading_order))
    return Loaded(config, tuple(listeners), rules, file, stored)


def _in_reading_order(mistake: Mistake) -> tuple[int, str]:
    """By line; what was given on the command line comes after the file."""
    line = mistake.place.rpartition(":")[2]
    return (int(line), "") if line.isdecimal() else (sys.maxsize, mistake.place)


def _sound_part(
    data: Mapping[str, Any], locations: Sequence[tuple[str | int, ...]]
) -> tuple[Config, set[str | int], dict[str | int, list[int]]]:
    """The configuration without what is wrong; the sections that it lacks, wholly or in part; and
    of each list the indexes that were kept.

    Of listeners and lists only the wrong items are left out, so that the others are still checked.
    """
    sound = dict(data)
    unsound: set[str | int] = set()
    kept: dict[str | int, list[int]] = {}
    for section, *inside in locations:
        if section == "listeners" and inside and isinstance(sound.get(section), dict):
            sound[section] = {
                name: item for name, item in sound[section].items() if name != inside[0]
            }
            continue
        unsound.add(section)
        if inside and isinstance(sound.get(str(section)), list):
            indexes = kept.get(section, range(len(sound[str(section)])))
            kept[section] = [index for index in indexes if index != inside[0]]
        else:
            sound.pop(str(section), None)
    for section, indexes in kept.items():
        if section in sound:
            sound[str(section)] = [sound[str(section)][index] for index in indexes]
    return Config.model_validate(sound), unsound, kept


def _path_in_file(path: KeyPath, kept: Mapping[str | int, Sequence[int]]) -> KeyPath:
    """Where an item of the sound part stands in the file."""
    match path:
        case (section, int(index), *inside) if section in kept:
            return section, kept[section][index], *inside
        case _:
            return path


def _cross_checked(
    config: Config, wrong: set[str | int], sources: Sources, stored: StoredNames
) -> tuple[list[ListenerOptions], list[Mistake]]:
    """What concerns several sections; those in `wrong` have mistakes of their own."""
    mistakes = _doubles(config)
    if "listeners" in wrong:
        return [], mistakes
    listeners, found = complete_listeners(config, sources.protocols, sources.port_offset)
    mistakes += found + _certificates(listeners)
    if not wrong & {"users", "aws_api"}:
        has_users = bool(config.users or stored.users)
        mistakes += _closed_doors(config, listeners, sources.protocols, has_users=has_users)
    if "namespaces" not in wrong:
        mistakes += _namespaces(config, listeners, stored)
    return listeners, mistakes


def _certificates(listeners: Sequence[ListenerOptions]) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for options in listeners:
        if options.tls is None:
            continue
        try:
            context_from_files(tls_files(options.tls))
        except TlsError as error:
            mistakes.append(Mistake("", ("listeners", options.name, "tls"), str(error)))
    return mistakes


def _closed_doors(
    config: Config,
    listeners: Sequence[ListenerOptions],
    protocols: Mapping[str, ProtocolPorts],
    *,
    has_users: bool,
) -> list[Mistake]:
    """Listeners that others can reach, while nothing says who may come in."""
    mistakes: list[Mistake] = []
    for options in listeners:
        path = ("listeners", options.name)
        if options.tls and options.tls.client_ca and not has_users:
            message = "client_ca needs users: the names of the certificates that may connect"
            mistakes.append(Mistake("", (*path, "tls"), message))
        if options.loopback or options.anonymous or not protocols[options.protocol].authenticated:
            continue
        if options.protocol == "aws":
            if not config.aws_api.access_keys:
                mistakes.append(Mistake("", path, _without_keys(options)))
        elif not has_users:
            mistakes.append(Mistake("", path, _without_users(options)))
    return mistakes


def _without_users(options: ListenerOptions) -> str:
    return (
        f"{options.address} is not loopback and there are no users, so anybody could connect."
        " Add a user (landbridge user hash --name orders-service prints these lines):\n"
        "    users:\n"
        "      - name: orders-service\n"
        '        password_hash: "$argon2id$..."\n'
        f"or keep it on this machine: --set listeners.{options.name}.bind=127.0.0.1\n"
        f"or let everybody in: --set listeners.{options.name}.anonymous=true"
    )


def _without_keys(options: ListenerOptions) -> str:
    return (
        f"{options.address} is not loopback and there are no access keys, so anybody could call"
        " the SQS and SNS API. Add a pair:\n"
        "    aws_api:\n"
        "      access_keys:\n"
        '        - {id: orders-service, secret: "${ORDERS_SERVICE_SECRET}"}\n'
        f"or keep it on this machine: --set listeners.{options.name}.bind=127.0.0.1\n"
        f"or let everybody in: --set listeners.{options.name}.anonymous=true"
    )


def _namespaces(
    config: Config, listeners: Sequence[ListenerOptions], stored: StoredNames
) -> list[Mistake]:
    known = list(dict.fromkeys(["/", *config.namespaces, *stored.namespaces]))
    allowed = f"(known: {', '.join(known)}; others go under namespaces)"
    return [
        Mistake("", ("listeners", options.name, "namespace"), f"{options.namespace!r} {allowed}")
        for options in listeners
        if options.namespace not in known
    ] + [
        Mistake("", ("queues", index, "namespace"), f"{queue.namespace!r} {allowed}")
        for index, queue in enumerate(config.queues)
        if queue.namespace not in known
    ]


def _doubles(config: Config) -> list[Mistake]:
    """Names given twice where a name must be one thing."""
    named: list[tuple[str, list[str]]] = [
        ("users", [repr(user.name) for user in config.users]),
        ("queues", [f"{each.name!r} in namespace {each.namespace!r}" for each in config.queues]),
        ("namespaces", [repr(name) for name in ("/", *config.namespaces)]),
    ]
    return [
        Mistake("", (section, index - (section == "namespaces")), f"{names[index]} is given twice")
        for section, names in named
        for index in range(len(names))
        if names[index] in names[:index]
    ]


def limits_of(config: Config) -> Limits:
    """The bounds with what the configuration changes."""
    return Limits(**dict(config.limits))


def effective(loaded: Loaded) -> Config:
    """The configuration with the listeners that it amounts to."""
    listeners = {options.name: listener_as_config(options) for options in loaded.listeners}
    return loaded.config.model_copy(update={"listeners": listeners})

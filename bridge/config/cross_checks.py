"""What is wrong with values only beside one another: names given twice, doors that nobody guards.

A check gives its findings; each names the values that it comes from. `load` says nothing of those
that come from a value which is wrong itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bridge.config.listeners import ListenerOptions, ProtocolPorts, tls_files
from bridge.config.mistakes import Finding, Path
from bridge.config.schema import Config
from bridge.messaging.model import DEFAULT_NAMESPACE
from bridge.net.tls import TlsError, context_from_files

_STORE: Final[tuple[Path, ...]] = (("backend", "kind"), ("backend", "path"))
"""What says which store is looked into."""


def doubles(config: Config) -> Iterator[Finding]:
    """Names given twice where a name must be one thing."""
    named: list[tuple[str, list[str]]] = [
        ("users", [repr(user.name) for user in config.users]),
        ("queues", [f"{each.name!r} in namespace {each.namespace!r}" for each in config.queues]),
        ("namespaces", [repr(name) for name in config.namespaces]),
    ]
    for section, names in named:
        places: dict[str, int] = {}
        for index, name in enumerate(names):
            first = places.setdefault(name, index)
            if first < index:
                namespaces = tuple((section, each, "namespace") for each in (first, index))
                yield Finding((section, index), f"{name} is given twice", namespaces)
            elif (section, name) == ("namespaces", repr(DEFAULT_NAMESPACE)):
                yield Finding((section, index), f"{name} is there without being named")
    keys = [key.id for key in config.aws_api.access_keys]
    for index, key in enumerate(keys):
        if key in keys[:index]:
            yield Finding(("aws_api", "access_keys", index), f"{key!r} is given twice")


def data_directories(config: Config) -> Iterator[Finding]:
    """A path of the store that is something else already."""
    path = config.backend.path
    if path.exists() and not path.is_dir():
        place = ("backend", "path")
        yield Finding(place, f"{path} is not a directory", (place,))


def certificates(listeners: Sequence[ListenerOptions]) -> Iterator[Finding]:
    """Files of TLS that cannot be used."""
    for options in listeners:
        if options.tls is None:
            continue
        try:
            context_from_files(tls_files(options.tls))
        except TlsError as error:
            path = ("listeners", options.name, "tls")
            yield Finding(path, str(error), (path,))


def open_doors(
    config: Config,
    listeners: Sequence[ListenerOptions],
    protocols: Mapping[str, ProtocolPorts],
    stored_users: Sequence[str],
) -> Iterator[Finding]:
    """Listeners that others can reach, while nothing says who may come in."""
    has_users = bool(config.users or stored_users)
    for options in listeners:
        path = ("listeners", options.name)
        if options.tls and options.tls.client_ca and not has_users:
            message = "client_ca needs users: the names of the certificates that may connect"
            yield Finding((*path, "tls"), message, ((*path, "tls"), ("users",), *_STORE))
        if options.loopback or options.anonymous or not protocols[options.protocol].authenticated:
            continue
        door = tuple((*path, option) for option in ("bind", "anonymous", "protocol"))
        if options.protocol == "aws":
            if not config.aws_api.access_keys:
                keys = ("aws_api", "access_keys")
                yield Finding(path, _without_keys(options), (*door, keys))
        elif not has_users:
            yield Finding(path, _without_users(options), (*door, ("users",), *_STORE))


def unknown_namespaces(
    config: Config, listeners: Sequence[ListenerOptions], stored: Sequence[str]
) -> Iterator[Finding]:
    """Namespaces that neither the configuration nor the store has."""
    known = list(dict.fromkeys([DEFAULT_NAMESPACE, *config.namespaces, *stored]))
    named: list[tuple[Path, str]] = [
        *((("listeners", each.name), each.namespace) for each in listeners),
        *((("queues", index), queue.namespace) for index, queue in enumerate(config.queues)),
    ]
    for item, namespace in named:
        if namespace not in known:
            path = (*item, "namespace")
            message = (
                f"{namespace!r} is no namespace (known: {', '.join(known)}; others go under"
                " namespaces)"
            )
            yield Finding(path, message, (path, ("namespaces",), *_STORE))


def _without_users(options: ListenerOptions) -> str:
    return (
        f"{options.bind} is not loopback and there are no users, so anybody could connect."
        " Add a user (landbridge user hash --name orders-service prints these lines):\n"
        "    users:\n"
        "      - name: orders-service\n"
        '        password_hash: "$argon2id$..."\n'
        f"or keep it on this machine: --set listeners.{options.name}.bind=127.0.0.1\n"
        f"or let everybody in: --set listeners.{options.name}.anonymous=true"
    )


def _without_keys(options: ListenerOptions) -> str:
    return (
        f"{options.bind} is not loopback and there are no access keys, so anybody could call"
        " the SQS and SNS API. Add a pair:\n"
        "    aws_api:\n"
        "      access_keys:\n"
        '        - {id: orders-service, secret: "${ORDERS_SERVICE_SECRET}"}\n'
        f"or keep it on this machine: --set listeners.{options.name}.bind=127.0.0.1\n"
        f"or let everybody in: --set listeners.{options.name}.anonymous=true"
    )

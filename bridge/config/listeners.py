"""Listeners with everything filled in: protocol, port, and who may connect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bridge.config.mistakes import Finding, Path
from bridge.config.schema import Config, Listener, Tls, refusal_of_protocol
from bridge.net.listener import is_loopback
from bridge.net.tls import TlsFiles

PORT_MAX = 65_535
_EVERYWHERE = "*"


@dataclass(frozen=True, slots=True)
class ProtocolPorts:
    """A protocol and the ports that its clients expect; None where it has no such form."""

    name: str
    title: str
    port: int
    tls_port: int | None = None
    websocket_port: int | None = None
    authenticated: bool = True
    """False where nobody logs in, so that it may be bound anywhere (metrics)."""


@dataclass(frozen=True, slots=True)
class ListenerOptions:
    """What the composition root needs to open one listener."""

    name: str
    protocol: str
    bind: str
    port: int
    tls: Tls | None = None
    websocket: bool = False
    namespace: str = "/"
    anonymous: bool = False

    @property
    def loopback(self) -> bool:
        """True where only programs of this machine can connect."""
        return is_loopback(self.bind)

    @property
    def address(self) -> str:
        return f"[{self.bind}]:{self.port}" if ":" in self.bind else f"{self.bind}:{self.port}"


def complete_listeners(
    config: Config, protocols: Mapping[str, ProtocolPorts], port_offset: int
) -> tuple[list[ListenerOptions], list[Finding]]:
    """The listeners to open, and what is wrong with them."""
    complete: list[ListenerOptions] = []
    findings: list[Finding] = []
    for name, listener in declared_listeners(config, protocols).items():
        if listener is None:
            continue
        path = ("listeners", name)
        spoken = listener.protocol or name
        if spoken not in protocols:
            where = path if listener.protocol is None else (*path, "protocol")
            message = refusal_of_protocol(spoken, list(protocols))
            if listener.protocol is None:
                message += " (a listener with a name of its own needs a protocol)"
            findings.append(Finding(where, message, ((*path, "protocol"),)))
            continue
        protocol = protocols[spoken]
        port = _port(listener, protocol)
        if listener.websocket and protocol.websocket_port is None:
            message = f"{protocol.title} is not spoken in WebSocket"
            findings.append(Finding((*path, "websocket"), message, _where(name)))
        elif port is None:
            message = f"{protocol.title} has no usual port for this; give one"
            findings.append(Finding(path, message, _where(name)))
        port = port + port_offset if port else 0
        if not 0 <= port <= PORT_MAX:
            message = f"port {port} after --port-offset {port_offset} (allowed: 0 to {PORT_MAX})"
            findings.append(Finding((*path, "port"), message, _where(name)))
        complete.append(_options(name, spoken, port, listener))
    return complete, findings + _doubles(complete)


def declared_listeners(
    config: Config, protocols: Mapping[str, ProtocolPorts]
) -> Mapping[str, Listener | None]:
    """The file's listeners, or the default ones."""
    if config.listeners is not None:
        return config.listeners
    return {name: Listener() for name in protocols}


def listener_as_config(options: ListenerOptions) -> Listener:
    """The entry of the effective file."""
    return Listener(
        protocol=options.protocol,
        bind=options.bind,
        port=options.port,
        tls=options.tls,
        websocket=options.websocket,
        namespace=options.namespace,
        anonymous=options.anonymous,
    )


def tls_files(tls: Tls) -> TlsFiles:
    """The files as the network takes them."""
    return TlsFiles(tls.certificate, tls.key, tls.client_ca, tls.require_client_certificate)


def _options(name: str, protocol: str, port: int, listener: Listener) -> ListenerOptions:
    return ListenerOptions(
        name=name,
        protocol=protocol,
        bind=listener.bind,
        port=port,
        tls=listener.tls,
        websocket=listener.websocket,
        namespace=listener.namespace,
        anonymous=listener.anonymous,
    )


def _port(listener: Listener, protocol: ProtocolPorts) -> int | None:
    if listener.port is not None:
        return listener.port
    if listener.websocket:
        return None if listener.tls else protocol.websocket_port
    return protocol.tls_port if listener.tls else protocol.port


def _where(name: str) -> tuple[Path, ...]:
    """The values that say where a listener is."""
    options = ("protocol", "bind", "port", "tls", "websocket")
    return tuple(("listeners", name, option) for option in options)


def _doubles(listeners: list[ListenerOptions]) -> list[Finding]:
    """Listeners that would take the same port; 0 never does."""
    findings: list[Finding] = []
    seen: dict[int, list[ListenerOptions]] = {}
    for options in listeners:
        others = seen.setdefault(options.port, []) if options.port else []
        clash = next((other for other in others if _overlap(options.bind, other.bind)), None)
        if clash is not None:
            path = ("listeners", options.name, "port")
            message = f"{options.address} is taken by listener {clash.name!r} already"
            findings.append(Finding(path, message, (*_where(options.name), *_where(clash.name))))
        others.append(options)
    return findings


def _overlap(one: str, other: str) -> bool:
    """True where two addresses cannot be bound at one port; `::` leaves IPv4 alone here."""
    if one == other or _EVERYWHERE in {one, other}:
        return True
    wildcards = {"0.0.0.0": False, "::": True}  # noqa: S104 - compared, not bound
    return any(
        bind in wildcards and (":" in against) is wildcards[bind]
        for bind, against in ((one, other), (other, one))
    )

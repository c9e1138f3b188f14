"""TLS for listeners: contexts made from files, replaced as a whole on reload, and the handshake.

A reload builds a new context and only then swaps it in, so that a file that cannot be used changes
nothing; connections that live keep the context that they were made with.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.net.endpoint import Endpoint, peer_of


class TlsError(Exception):
    """The certificate, key or CA file cannot be used; the message is for the user."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where a listener's certificate is. `key` None: it stands in the certificate's file.

    With `client_ca` clients may show a certificate of these authorities, or must.
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None
    require_client_certificate: bool = False


class ServerTls:
    """The TLS context of new connections; `reload` replaces it."""

    __slots__ = ("_context", "_files")

    def __init__(self, files: TlsFiles) -> None:
        """Raise `TlsError` where the files cannot be used."""
        self._files = files
        self._context = context_from_files(files)

    @property
    def context(self) -> ssl.SSLContext:
        return self._context

    @property
    def files(self) -> TlsFiles:
        return self._files

    def reload(self, files: TlsFiles | None = None) -> None:
        """Read the files again, or others; raises `TlsError` and keeps what it has if they are
        unfit.
        """
        wanted = files or self._files
        self._context = context_from_files(wanted)
        self._files = wanted


def context_from_files(files: TlsFiles) -> ssl.SSLContext:
    """A server's context; TLS 1.2 at least (RFC 9325)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    key = files.key or files.certificate
    _check_readable("certificate", files.certificate)
    _check_readable("key", key)
    try:
        # OpenSSL would ask at the terminal for the password of an encrypted key.
        context.load_cert_chain(files.certificate, key, password=lambda: "")
    except ssl.SSLError as error:
        raise TlsError(_chain_problem(files.certificate, key, error)) from error
    if files.client_ca is not None:
        _load_client_ca(context, files.client_ca)
        required = files.require_client_certificate
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    elif files.require_client_certificate:
        raise TlsError("client certificates are required, but no client CA file is given")
    return context


def _load_client_ca(context: ssl.SSLContext, path: Path) -> None:
    _check_readable("client CA", path)
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise TlsError(f"client CA file {path} holds no PEM certificate") from error


def _check_readable(what: str, path: Path) -> None:
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        raise TlsError(f"{what} file {path} cannot be read: {problem}") from error


def _chain_problem(certificate: Path, key: Path, error: ssl.SSLError) -> str:
    reason = error.reason or ""
    if reason == "KEY_VALUES_MISMATCH":
        return f"key file {key} does not belong to the certificate in {certificate}"
    if "ENCRYPTED" in key.read_text(errors="replace"):
        return f"key file {key} is encrypted; give one without a password"
    if "BEGIN CERTIFICATE" not in certificate.read_text(errors="replace"):
        return f"certificate file {certificate} holds no PEM certificate"
    if "PRIVATE KEY" not in key.read_text(errors="replace"):
        return f"key file {key} holds no PEM private key"
    return f"certificate {certificate} with key {key} cannot be used: {reason.lower() or error}"


def certificate_user_of(transport: asyncio.BaseTransport) -> str | None:
    """Common name in the client's verified certificate; None without one."""
    certificate = transport.get_extra_info("peercert")
    if not certificate:
        return None
    for names in certificate.get("subject", ()):
        for key, value in names:
            if key == "commonName":
                return str(value)
    return None


class TlsHandshake(asyncio.Protocol):
    """A connection's first protocol on a TLS listener; hands over to the real one when TLS stands.

    asyncio tells nobody when a server's handshake fails. It runs here, in a task that lasts as long
    as the handshake, so that a failure is logged and connections that shake hands count as open
    ones.
    """

    __slots__ = ("_early", "_endpoint", "_lost", "_make", "_peer", "_tls", "_transport")

    _transport: asyncio.Transport

    def __init__(
        self, endpoint: Endpoint, tls: ServerTls, make: Callable[[], asyncio.Protocol]
    ) -> None:
        self._endpoint = endpoint
        self._tls = tls
        self._make = make
        self._early: list[bytes] = []
        self._lost = False
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._endpoint.admit(self, transport):
            self._peer = peer_of(transport)
            transport.pause_reading()
            self._endpoint.network.tasks.spawn(self._shake_hands())

    def data_received(self, data: bytes) -> None:
        # What the client sent with the last flight of its handshake, before the task woke.
        self._early.append(data)

    def eof_received(self) -> bool | None:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._endpoint.remove(self)

    def shut_down(self) -> None:
        self.abort()

    def abort(self) -> None:
        self._transport.abort()

    async def _shake_hands(self) -> None:
        endpoint = self._endpoint
        try:
            transport = await endpoint.loop.start_tls(
                self._transport,
                self,
                self._tls.context,
                server_side=True,
                ssl_handshake_timeout=endpoint.limits.handshake_seconds_max,
                ssl_shutdown_timeout=endpoint.limits.close_seconds_max,
            )
        except (OSError, EOFError) as error:
            # ssl.SSLError and the time-out are OSErrors.
            endpoint.refuse(self._peer, f"tls handshake failed: {_handshake_problem(error)}")
            self._transport.abort()
            endpoint.remove(self)
            return
        except asyncio.CancelledError:
            self._transport.abort()
            endpoint.remove(self)
            raise
        if transport is None or self._lost:
            endpoint.remove(self)
            return
        self._hand_over(transport)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        protocol = self._make()
        self._endpoint.remove(self)
        self._endpoint.accepted_count -= 1
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        for data in self._early:
            if transport.get_protocol() is protocol:
                protocol.data_received(data)


def _handshake_problem(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    if isinstance(error, ConnectionError):
        return "connection closed during the handshake"
    return str(error).lower() or type(error).__name__

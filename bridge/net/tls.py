"""TLS for listeners: contexts made from files, replaced as a whole on reload, and handshakes.

A reload makes a new context first and swaps it in when all else is well; connections that live keep
the context that they were made with.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.net.endpoint import Endpoint, peer_from_address
from mappings.gateway import StopReason

ACCEPT_AGAIN_SECONDS = 0.1
"""After a failed accept; the cause may last."""


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
    """The TLS context of new connections; `adopt` replaces it."""

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

    def adopt(self, other: ServerTls) -> None:
        """Use the context and files of another one for connections from now on."""
        self._context = other.context
        self._files = other.files


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


class TlsAcceptor:
    """Accepts on one TLS socket.

    asyncio tells nobody when a server's handshake fails. Here each one runs in a task that lasts as
    long as it does, so that failures are logged and connections that shake hands count as open.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        tls: ServerTls,
        make: Callable[[], asyncio.Protocol],
        listening: socket.socket,
    ) -> None:
        """Start to accept; `make` makes the protocol of a connection whose TLS stands."""
        self._endpoint = endpoint
        self._tls = tls
        self._make = make
        self._listening = listening
        listening.listen(endpoint.limits.listen_backlog)
        self._task = endpoint.network.tasks.start(self._accept())

    def close(self) -> None:
        """Accept no more."""
        self._task.cancel()
        self._listening.close()

    async def _accept(self) -> None:
        loop = self._endpoint.loop
        while True:
            try:
                accepted, address = await loop.sock_accept(self._listening)
            except OSError as error:
                # The client left in the queue, or there are no descriptors left: for a moment.
                if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                    self._endpoint.refuse("unknown", (error.strerror or str(error)).lower())
                await asyncio.sleep(ACCEPT_AGAIN_SECONDS)
                continue
            peer = peer_from_address(address)
            if self._endpoint.full:
                self._endpoint.refuse_as_full(peer)
                accepted.close()
            else:
                TlsHandshake(self._endpoint, self._tls.context, self._make, accepted, peer)


class TlsHandshake:
    """A connection whose TLS does not stand yet; it hands over to the protocol that follows."""

    __slots__ = ("_accepted", "_endpoint", "_peer", "_taken", "_task")

    def __init__(
        self,
        endpoint: Endpoint,
        context: ssl.SSLContext,
        make: Callable[[], asyncio.Protocol],
        accepted: socket.socket,
        peer: str,
    ) -> None:
        self._endpoint = endpoint
        self._accepted = accepted
        self._peer = peer
        self._taken = False
        endpoint.add(self)
        self._task = endpoint.network.tasks.start(self._shake_hands(context, make))
        self._task.add_done_callback(self._over)

    def shut_down(self, reason: StopReason) -> None:
        self.abort()

    def abort(self) -> None:
        self._task.cancel()

    async def _shake_hands(
        self, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol]
    ) -> None:
        endpoint = self._endpoint
        self._taken = True
        try:
            await endpoint.loop.connect_accepted_socket(
                make,
                self._accepted,
                ssl=context,
                ssl_handshake_timeout=endpoint.limits.handshake_seconds_max,
                ssl_shutdown_timeout=endpoint.limits.tls_close_seconds_max,
            )
        except (OSError, EOFError) as error:
            # ssl.SSLError and the time-out are OSErrors.
            endpoint.refuse(self._peer, f"tls handshake failed: {_handshake_problem(error)}")

    def _over(self, _task: asyncio.Task[None]) -> None:
        self._endpoint.remove(self)
        if not self._taken:
            # Cancelled before its first turn: no transport owns the socket.
            self._accepted.close()


_PLAIN_TEXT: Final = frozenset({"HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"})
"""What OpenSSL takes first bytes for that are no TLS; STOMP's CONNECT is the second of them."""


def _handshake_problem(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        if error.reason in _PLAIN_TEXT:
            return "the client does not speak tls"
        return error.reason.replace("_", " ").lower()
    if isinstance(error, ConnectionError):
        return "connection closed during the handshake"
    return str(error).lower() or type(error).__name__

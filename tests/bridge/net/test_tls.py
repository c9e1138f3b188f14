from __future__ import annotations

import asyncio
import dataclasses
import shutil
import ssl
from pathlib import Path

import pytest

from bridge.messaging.limits import Limits
from bridge.net.tls import ServerTls, TlsError, TlsFiles, context_from_files
from tests.bridge.net.certificates import Authority
from tests.bridge.net.recording import Made, closed, legacy, listening


async def test_bytes_travel_encrypted(authority: Authority) -> None:
    made = Made()
    async with listening(legacy(made), tls=authority.server_files()) as running:
        reader, writer = await running.connect(tls=authority.client_context())
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        gateway = await made.gateway()
        assert gateway.transport.certificate_user is None
        assert gateway.transport.peer.startswith("127.0.0.1:")
        assert running.listener.accepted_count == running.listener.connection_count == 1
        await closed(writer)
        assert await gateway.lost == "closed by the client"
        await running.no_connections()


async def test_large_answers_arrive_whole(authority: Authority) -> None:
    made = Made()
    async with listening(legacy(made), tls=authority.server_files()) as running:
        reader, writer = await running.connect(tls=authority.client_context())
        gateway = await made.gateway()
        size = 8 * 1024 * 1024
        gateway.transport.write([bytes(size - 2 * 1024 * 1024)])
        gateway.transport.flush()
        # The first write went to the socket's own buffer, however long; the next one counts.
        gateway.transport.write([bytes(2 * 1024 * 1024)])
        await gateway.writing_paused.wait()
        gateway.transport.write([b"end"])
        gateway.transport.close()
        assert (await reader.read())[size:] == b"end"
        await closed(writer)
        await running.no_connections()


async def test_data_sent_with_the_handshake_is_not_lost(authority: Authority) -> None:
    async with listening(legacy(Made()), tls=authority.server_files()) as running:
        for _ in range(20):
            reader, writer = await running.connect(tls=authority.client_context())
            writer.write(b"early")
            assert await reader.readexactly(5) == b"early"
            await closed(writer)


async def test_verified_certificate_names_the_user(authority: Authority) -> None:
    made = Made()
    files = authority.server_files(clients=True)
    async with listening(legacy(made), tls=files) as running:
        shown = authority.client_context(authority.issue("orders-service"))
        _, writer = await running.connect(tls=shown)
        assert (await made.gateway()).transport.certificate_user == "orders-service"
        _, anonymous = await running.connect(tls=authority.client_context())
        assert (await made.gateway(1)).transport.certificate_user is None
        await closed(writer)
        await closed(anonymous)


@pytest.mark.parametrize("shows", ["nothing", "a stranger's"])
async def test_certificate_that_is_required_and_not_good_is_refused(
    authority: Authority, stranger: Authority, shows: str
) -> None:
    made = Made()
    files = authority.server_files(required=True)
    async with listening(legacy(made), tls=files) as running:
        context = authority.client_context(
            stranger.issue("intruder") if shows == "a stranger's" else None
        )

        async def connect_and_read() -> None:
            # In TLS 1.3 the client learns of it after its own handshake, with the first read.
            reader, writer = await running.connect(tls=context)
            try:
                await reader.readexactly(1)
            finally:
                await closed(writer)

        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await connect_and_read()
        reason = await running.log.refusal()
        assert reason.startswith("tls handshake failed: ")
        assert "certif" in reason
        assert made.gateways == []
        assert running.listener.refused_count == 1
        await running.no_connections()


@pytest.mark.parametrize("data", [b"CONNECT\n\n\0", b"GET / HTTP/1.1\r\n\r\n", bytes(100)])
async def test_plain_text_at_a_tls_port_is_refused(authority: Authority, data: bytes) -> None:
    async with listening(legacy(Made()), tls=authority.server_files()) as running:
        reader, writer = await running.connect()
        writer.write(data)
        try:
            await reader.read()
        except ConnectionError:
            pass
        reason = await running.log.refusal()
        assert reason == "tls handshake failed: the client does not speak tls"
        await running.no_connections()
        await closed(writer)


async def test_client_that_leaves_within_the_handshake_is_logged(authority: Authority) -> None:
    async with listening(legacy(Made()), tls=authority.server_files()) as running:
        _, writer = await running.connect()
        await closed(writer)
        assert (await running.log.refusal()).startswith("tls handshake failed: ")
        await running.no_connections()


async def test_handshake_is_bounded_in_time(authority: Authority) -> None:
    limits = Limits(handshake_seconds_max=0.05)
    async with listening(legacy(Made()), tls=authority.server_files(), limits=limits) as running:
        reader, writer = await running.connect()
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        assert (await running.log.refusal()).startswith("tls handshake failed: ")
        await closed(writer)
        await running.no_connections()


async def test_handshakes_count_as_connections(authority: Authority) -> None:
    limits = Limits(connections_max=1)
    async with listening(legacy(Made()), tls=authority.server_files(), limits=limits) as running:
        _, silent = await running.connect()
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await running.connect(tls=authority.client_context())
        assert await running.log.refusal() == "more than 1 connections are open"
        await closed(silent)


async def test_old_protocol_versions_are_refused(authority: Authority) -> None:
    context = authority.client_context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with listening(legacy(Made()), tls=authority.server_files()) as running:
        with pytest.raises(OSError):
            await running.connect(tls=context)
        assert (await running.log.refusal()).startswith("tls handshake failed: ")


def _common_name(writer: asyncio.StreamWriter) -> str:
    names = dict(pair for (pair,) in writer.get_extra_info("peercert")["subject"])
    return str(names["commonName"])


async def test_reload_keeps_connections_and_shows_the_new_certificate(
    authority: Authority, tmp_path: Path
) -> None:
    files = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key")
    old, new = authority.issue("old.example"), authority.issue("new.example")
    shutil.copy(old.certificate, files.certificate)
    shutil.copy(old.key, files.key or "")
    async with listening(legacy(Made()), tls=files) as running:
        reader, writer = await running.connect(tls=authority.client_context())
        assert _common_name(writer) == "old.example"
        tls = running.listener.tls
        assert tls is not None

        shutil.copy(new.certificate, files.certificate)
        with pytest.raises(TlsError, match="does not belong"):
            tls.adopt(ServerTls(files))
        _, unchanged = await running.connect(tls=authority.client_context())
        assert _common_name(unchanged) == "old.example"

        shutil.copy(new.key, files.key or "")
        tls.adopt(ServerTls(files))
        _, later = await running.connect(tls=authority.client_context())
        assert _common_name(later) == "new.example"
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        for client in (writer, unchanged, later):
            await closed(client)


async def test_drain_says_goodbye_over_tls(authority: Authority) -> None:
    made = Made()
    async with listening(legacy(made), tls=authority.server_files()) as running:
        reader, writer = await running.connect(tls=authority.client_context())
        await made.gateway()
        draining = asyncio.create_task(running.listener.drain(30))
        assert await reader.read() == b"bye"
        await closed(writer)
        assert await draining


class TestFilesThatCannotBeUsed:
    def check(self, files: TlsFiles, expected: str) -> None:
        with pytest.raises(TlsError) as raised:
            context_from_files(files)
        assert expected in str(raised.value)

    def test_missing(self, authority: Authority) -> None:
        good = authority.server_files()
        absent = Path("/nonexistent/x.pem")
        self.check(
            dataclasses.replace(good, certificate=absent),
            "certificate file /nonexistent/x.pem cannot be read: no such file or directory",
        )
        self.check(dataclasses.replace(good, key=absent), "key file /nonexistent/x.pem cannot")
        self.check(dataclasses.replace(good, client_ca=absent), "client CA file /nonexistent")

    def test_folder(self, authority: Authority, tmp_path: Path) -> None:
        good = authority.server_files()
        self.check(dataclasses.replace(good, certificate=tmp_path), "is a directory")

    def test_other_key(self, authority: Authority) -> None:
        good, other = authority.issue("a"), authority.issue("b")
        self.check(TlsFiles(good.certificate, other.key), "does not belong to the certificate")

    def test_encrypted_key(self, authority: Authority) -> None:
        issued = authority.issue("locked", password="secret")
        self.check(TlsFiles(issued.certificate, issued.key), "is encrypted")

    def test_no_pem(self, authority: Authority, tmp_path: Path) -> None:
        good = authority.issue("c")
        text = tmp_path / "text"
        text.write_text("hello\n")
        self.check(TlsFiles(text, good.key), "holds no PEM certificate")
        self.check(TlsFiles(good.certificate, text), "holds no PEM private key")
        self.check(TlsFiles(good.certificate, good.key, client_ca=text), "holds no PEM certificate")

    def test_required_without_authority(self, authority: Authority) -> None:
        good = authority.issue("d")
        files = TlsFiles(good.certificate, good.key, require_client_certificate=True)
        self.check(files, "no client CA file is given")


def test_key_may_stand_beside_its_certificate(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("both")
    both = tmp_path / "both.pem"
    both.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    assert ServerTls(TlsFiles(both)).context.minimum_version is ssl.TLSVersion.TLSv1_2

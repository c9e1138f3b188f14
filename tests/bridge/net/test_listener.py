from __future__ import annotations

import asyncio
import socket

import pytest

from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.net.endpoint import Network
from bridge.net.listener import Listener, ListenError, is_loopback
from bridge.net.tasks import TaskOwner
from bridge.net.tls import TlsAcceptor
from mappings.gateway import StopReason
from tests.bridge.net.recording import (
    Made,
    RecordingGateway,
    RecordingLog,
    closed,
    legacy,
    listening,
)


@pytest.mark.parametrize(
    ("bind", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("*", False),
        ("10.0.0.1", False),
        ("broker.example", False),
    ],
)
def test_loopback_is_recognised(bind: str, expected: bool) -> None:
    assert is_loopback(bind) is expected


def _listener(bind: str, port: int) -> Listener:
    log = RecordingLog()
    network = Network(SystemClock(), log, Limits(), TaskOwner(log))
    return Listener("mqtt", "mqtt", bind, port, legacy(RecordingGateway), network)


async def test_system_chooses_port_0() -> None:
    async with listening(legacy(RecordingGateway)) as running:
        assert running.listener.port > 0
        assert running.listener.address == f"127.0.0.1:{running.port}"
        assert running.listener.accepting


async def test_name_is_bound_on_all_its_addresses_with_one_port() -> None:
    listener = _listener("localhost", 0)
    await listener.start()
    for server in listener._servers:
        assert not isinstance(server, TlsAcceptor)
        assert {bound.getsockname()[1] for bound in server.sockets} == {listener.port}
    _, writer = await asyncio.open_connection("localhost", listener.port)
    await closed(writer)
    await listener.close()


async def test_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as raised:
            await _listener("127.0.0.1", port).start()
    assert raised.value.in_use
    assert str(raised.value) == (f"mqtt: cannot listen on 127.0.0.1:{port}: address already in use")


async def test_foreign_address_is_told() -> None:
    with pytest.raises(ListenError) as raised:
        await _listener("192.0.2.1", 0).start()
    assert not raised.value.in_use


async def test_stopping_to_accept_frees_the_port_and_keeps_connections() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        await made.gateway()
        await running.listener.stop_accepting()
        assert not running.listener.accepting
        with socket.create_server(("127.0.0.1", running.port)):
            writer.write(b"still")
            assert await reader.readexactly(5) == b"still"
        await closed(writer)


async def test_drain_asks_every_connection_to_finish() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        clients = [await running.connect() for _ in range(3)]
        await made.gateway(2)
        await running.listener.stop_accepting()
        draining = asyncio.create_task(running.listener.drain(30))
        for reader, writer in clients:
            assert await reader.read() == b"bye"
            await closed(writer)
        assert await draining
        assert [gateway.shut_downs for gateway in made.gateways] == [1, 1, 1]
        assert running.listener.connection_count == 0


async def test_drain_gives_up_and_close_does_not() -> None:
    class Stubborn(RecordingGateway):
        def shut_down(self, reason: StopReason) -> None:
            self.shut_downs += 1

    made = Made(Stubborn)
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        gateway = await made.gateway()
        assert not await running.listener.drain(0.01)
        await running.listener.close()
        assert gateway.lost.done()
        with pytest.raises(asyncio.IncompleteReadError):
            await reader.readexactly(1)
        await closed(writer)


async def test_sockets_do_not_delay_and_are_probed() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        raw = gateway.transport._transport.get_extra_info("socket")
        assert raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert raw.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await closed(writer)


async def test_task_that_fails_takes_no_other_with_it() -> None:
    log = RecordingLog()
    done: list[str] = []
    go = asyncio.Event()

    async def fail() -> None:
        raise ZeroDivisionError

    async def finish() -> None:
        await go.wait()
        done.append("finished")

    async with TaskOwner(log) as tasks:
        tasks.spawn(finish())
        tasks.spawn(fail())
        while not log.errors:
            await log.changed.wait()
        go.set()
        while tasks:
            await asyncio.sleep(0)
    assert done == ["finished"]
    assert [type(error) for error in log.errors] == [ZeroDivisionError]


async def test_tasks_end_with_their_owner() -> None:
    started = asyncio.Event()
    cancelled: list[bool] = []

    async def wait() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with TaskOwner(RecordingLog()) as tasks:
        tasks.spawn(wait())
        await started.wait()
        tasks.spawn(wait())
    assert cancelled == [True]

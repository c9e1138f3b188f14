from __future__ import annotations

import asyncio
import socket
import struct
from typing import cast

import pytest
import uvloop

from bridge.messaging.clock import SystemClock
from bridge.messaging.limits import Limits
from bridge.net.driver import DEADLINE_GAP_SECONDS, Driver
from bridge.net.endpoint import Endpoint, Network
from bridge.net.tasks import TaskOwner
from tests.bridge.net.recording import (
    Made,
    RecordingGateway,
    RecordingLog,
    closed,
    legacy,
    listening,
)


async def test_carries_bytes_both_ways() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        gateway = await made.gateway()
        host, port = writer.get_extra_info("sockname")[:2]
        assert gateway.transport.peer == f"{host}:{port}"
        assert gateway.transport.loopback
        assert gateway.transport.certificate_user is None
        await closed(writer)
        assert await gateway.lost == "closed by the client"


class PiecewiseGateway(RecordingGateway):
    def data_received(self, data: bytes) -> None:
        for index in range(0, len(data), 2):
            self.transport.write([data[index : index + 1], data[index + 1 : index + 2]])


class CountingTransport(asyncio.Transport):
    """Stands in for a socket: remembers each write."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1234)})
        self.writes: list[bytes] = []
        self.unsent = 0
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True


async def _driver_over(transport: CountingTransport, made: Made, limits: Limits) -> Driver:
    log = RecordingLog()
    network = Network(SystemClock(), log, limits, TaskOwner(log))
    endpoint = Endpoint(
        network, asyncio.get_running_loop(), protocol="test", loopback=True, secure=False
    )
    driver = Driver(endpoint, made)
    driver.connection_made(transport)
    return driver


async def test_writes_of_a_chunk_leave_at_once() -> None:
    transport, made = CountingTransport(), Made(PiecewiseGateway)
    driver = await _driver_over(transport, made, Limits())
    driver.data_received(b"abcdef")
    assert transport.writes == [b"abcdef"]


async def test_writes_of_one_iteration_leave_together() -> None:
    transport, made = CountingTransport(), Made()
    driver = await _driver_over(transport, made, Limits())
    driver.write([b"a", b"b"])
    driver.write([b"c"])
    if driver.endpoint.loop_collects_writes:
        # The loop joins them.
        assert transport.writes == [b"ab", b"c"]
        return
    assert transport.writes == []
    flushed = asyncio.Event()
    asyncio.get_running_loop().call_soon(flushed.set)
    await flushed.wait()
    assert transport.writes == [b"abc"]


async def test_what_a_gateway_writes_in_pieces_arrives_in_one() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        with socket.create_connection(("127.0.0.1", running.port)) as client:
            gateway = await made.gateway()
            for piece in (b"a", b"b", b"c"):
                gateway.transport.write([piece])
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 100) == b"abc"


class PausingTransport(CountingTransport):
    """Says within each write that it has enough."""

    driver: Driver

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        self.driver.pause_writing()


def test_a_loop_that_collects_writes_gets_them_at_once() -> None:
    async def write() -> None:
        transport, made = PausingTransport(), Made(PiecewiseGateway)
        driver = transport.driver = await _driver_over(transport, made, Limits())
        gateway = await made.gateway()
        driver.write([b"a", b"b"])
        driver.write([b"c"])
        assert transport.writes == [b"ab", b"c"]
        # The gateway is told when it is in the middle of nothing.
        assert not gateway.writing_paused.is_set()
        await asyncio.sleep(0)
        assert gateway.writing_paused.is_set()
        driver.data_received(b"defg")
        assert transport.writes == [b"ab", b"c", b"defg"]
        driver.resume_writing()
        gateway.writing_paused.clear()
        await asyncio.sleep(0)
        assert gateway.writing_resumed.is_set()
        assert not gateway.writing_paused.is_set()

    uvloop.run(write())


async def test_client_that_asks_but_does_not_read_is_no_longer_read() -> None:
    transport, made = CountingTransport(), Made()
    driver = await _driver_over(transport, made, Limits(write_buffer_bytes_max=100))
    driver.pause_writing()
    transport.unsent = 200
    driver.data_received(b"x")
    reading = [transport.reading]
    transport.unsent = 201
    driver.data_received(b"x")
    reading.append(transport.reading)
    # The gateway's own pause and ours do not undo each other.
    driver.pause_reading()
    driver.resume_writing()
    reading.append(transport.reading)
    driver.resume_reading()
    reading.append(transport.reading)
    assert reading == [True, False, False, True]


class BrokenGateway(RecordingGateway):
    def data_received(self, data: bytes) -> None:
        self.transport.write([b"half an answer"])
        if data == b"break":
            raise ZeroDivisionError


async def test_failing_gateway_costs_its_connection_only() -> None:
    made = Made(BrokenGateway)
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        bystander_reader, bystander = await running.connect()
        writer.write(b"break")
        assert await reader.read() == b"half an answer"
        assert [type(error) for error in running.log.errors] == [ZeroDivisionError]
        assert await (await made.gateway()).lost == "internal error"
        bystander.write(b"fine")
        assert await bystander_reader.readexactly(14) == b"half an answer"
        await closed(writer)
        await closed(bystander)


async def test_gateway_that_cannot_be_made_closes_the_connection() -> None:
    def refuse(_: object) -> RecordingGateway:
        raise LookupError("no such protocol")

    async with listening(legacy(refuse)) as running:
        reader, writer = await running.connect()
        assert await reader.read() == b""
        assert [type(error) for error in running.log.errors] == [LookupError]
        await closed(writer)


class LastWordsGateway(RecordingGateway):
    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        self.transport.write([b"ERROR too long"])
        self.transport.close()


async def test_last_words_arrive_although_input_was_not_read() -> None:
    made = Made(LastWordsGateway)
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        # More than both sockets hold: unread input would make the kernel reset the connection.
        writer.write(bytes(8 * 1024 * 1024))
        assert await reader.read() == b"ERROR too long"
        gateway = await made.gateway()
        assert await gateway.lost == "closed by the broker"
        assert len(gateway.received) == 1
        await closed(writer)
        await running.no_connections()


async def test_client_that_does_not_take_the_last_words_is_dropped() -> None:
    class Talker(RecordingGateway):
        def data_received(self, data: bytes) -> None:
            self.transport.write([bytes(64 * 1024 * 1024)])
            self.transport.close()

    made = Made(Talker)
    async with listening(legacy(made), limits=Limits(close_seconds_max=0.5)) as running:
        _reader, writer = await running.connect()
        cast("asyncio.Transport", writer.transport).pause_reading()
        writer.write(b"x")
        assert await (await made.gateway()).lost == "closed by the broker"
        assert running.listener.connection_count == 1
        await running.no_connections()
        await closed(writer)


async def test_client_that_stays_after_the_end_is_dropped() -> None:
    made = Made(LastWordsGateway)
    async with listening(legacy(made), limits=Limits(close_seconds_max=0.02)) as running:
        reader, writer = await running.connect()
        writer.write(b"x")
        assert await reader.read() == b"ERROR too long"
        await running.no_connections()
        await closed(writer)


async def test_slow_reader_pauses_and_resumes_the_gateway() -> None:
    made = Made()
    async with listening(legacy(made), limits=Limits(write_buffer_bytes_max=64 * 1024)) as running:
        reader, writer = await running.connect()
        gateway = await made.gateway()
        size = 16 * 1024 * 1024
        gateway.transport.write([bytes(size)])
        await gateway.writing_paused.wait()
        assert not gateway.writing_resumed.is_set()
        assert len(await reader.readexactly(size)) == size
        await gateway.writing_resumed.wait()
        await closed(writer)


async def test_paused_reading_holds_back_what_comes() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        gateway = await made.gateway()
        gateway.transport.pause_reading()
        gateway.transport.pause_reading()
        writer.write(b"later")
        await writer.drain()
        other_reader, other = await running.connect()
        other.write(b"turn")
        assert await other_reader.readexactly(4) == b"turn"
        assert gateway.received == []
        gateway.transport.resume_reading()
        assert await reader.readexactly(5) == b"later"
        await closed(writer)
        await closed(other)


class DeadlineGateway(RecordingGateway):
    """Has something due half a second after it was made; remembers what was called."""

    def __init__(self, transport: object) -> None:
        super().__init__(cast("Driver", transport))
        self.calls: list[str] = []
        self.due = asyncio.Event()
        self.early = False
        self.deadline = SystemClock().monotonic() + 0.5

    def data_received(self, data: bytes) -> None:
        self.calls.append(f"data {data!r}")

    def handle_deadline(self, now: float) -> None:
        self.calls.append("deadline")
        self.early = self.deadline is None or now < self.deadline
        self.deadline = None
        self.due.set()


async def test_deadline_is_kept() -> None:
    made = Made(DeadlineGateway)
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        await gateway.due.wait()
        assert gateway.calls == ["deadline"]
        assert not gateway.early
        await closed(writer)


async def test_deadline_that_moves_away_is_not_called_early() -> None:
    made = Made(DeadlineGateway)
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        gateway.deadline += 0.1
        await gateway.due.wait()
        assert not gateway.early
        await closed(writer)


async def test_deadline_that_comes_nearer_is_noticed() -> None:
    made = Made(DeadlineGateway)
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        await gateway.due.wait()
        gateway.due.clear()
        gateway.deadline = SystemClock().monotonic() + 3600
        gateway.transport.deadline_changed()
        gateway.deadline = SystemClock().monotonic()
        gateway.transport.deadline_changed()
        await gateway.due.wait()
        await closed(writer)


class OverdueGateway(DeadlineGateway):
    """One whose deadline stays where it was, and who says so each time."""

    def handle_deadline(self, now: float) -> None:
        self.calls.append(f"{now}")
        self.transport.deadline_changed()
        self.due.set()


async def test_deadline_that_does_not_move_is_not_called_at_once() -> None:
    made = Made(OverdueGateway)
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        while len(gateway.calls) < 3:
            gateway.due.clear()
            await gateway.due.wait()
        first, second, third = map(float, gateway.calls)
        assert second - first >= DEADLINE_GAP_SECONDS <= third - second
        await closed(writer)


async def test_silence_that_was_ours_is_no_fault_of_the_client() -> None:
    made = Made(DeadlineGateway)
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        gateway.transport.pause_reading()
        await gateway.due.wait()
        assert gateway.calls == ["data b''", "deadline"]
        gateway.transport.resume_reading()
        for expected in (["data b''", "deadline"], ["deadline"]):
            gateway.calls.clear()
            gateway.due.clear()
            gateway.deadline = SystemClock().monotonic()
            gateway.transport.deadline_changed()
            await gateway.due.wait()
            assert gateway.calls == expected
        await closed(writer)


class AnsweringGateway(RecordingGateway):
    def eof_received(self) -> bool | None:
        self.at_eof.set()
        return True


async def test_half_closed_client_gets_what_it_is_owed() -> None:
    made = Made(AnsweringGateway)
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        writer.write(b"question")
        writer.write_eof()
        gateway = await made.gateway()
        await gateway.at_eof.wait()
        gateway.transport.write([b" answer"])
        gateway.transport.close()
        assert await reader.read() == b"question answer"
        assert await gateway.lost == "closed by the client"
        await closed(writer)
        await running.no_connections()


async def test_half_closed_connection_ends_at_once_where_nothing_is_owed() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        reader, writer = await running.connect()
        writer.write(b"question")
        writer.write_eof()
        assert await reader.read() == b"question"
        assert await (await made.gateway()).lost == "closed by the client"
        await closed(writer)


async def test_half_open_connection_is_bounded_in_time() -> None:
    made = Made(AnsweringGateway)
    async with listening(legacy(made), limits=Limits(half_open_seconds_max=0.01)) as running:
        reader, writer = await running.connect()
        writer.write_eof()
        assert await reader.read() == b""
        await closed(writer)
        await running.no_connections()


async def test_reset_is_told_with_its_reason() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        raw = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        assert await gateway.lost == "connection reset by peer"


async def test_connections_over_the_limit_are_refused() -> None:
    made = Made()
    async with listening(legacy(made), limits=Limits(connections_max=2)) as running:
        first_reader, first = await running.connect()
        _, second = await running.connect()
        await made.gateway(1)
        reader, writer = await running.connect()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert await running.log.refusal() == "more than 2 connections are open"
        assert running.listener.refused_count == 1
        assert running.listener.accepted_count == running.listener.connection_count == 2
        first.write(b"still here")
        assert await first_reader.readexactly(10) == b"still here"
        await closed(second)
        await (await made.gateway(1)).lost
        _, third = await running.connect()
        await made.gateway(2)
        for client in (first, third, writer):
            await closed(client)


async def test_connection_at_rest_has_no_task() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        before = len(asyncio.all_tasks())
        clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(50)]
        await made.gateway(49)
        while len(asyncio.all_tasks()) > before:
            # asyncio accepts in a task of its own, which is about to end.
            await asyncio.sleep(0)
        for client in clients:
            client.close()


async def test_writing_and_closing_after_the_end_is_harmless() -> None:
    made = Made()
    async with listening(legacy(made)) as running:
        _, writer = await running.connect()
        gateway = await made.gateway()
        await closed(writer)
        await gateway.lost
        gateway.transport.write([b"too late"])
        gateway.transport.pause_reading()
        gateway.transport.resume_reading()
        gateway.transport.deadline_changed()
        gateway.transport.close()
    assert running.log.errors == []

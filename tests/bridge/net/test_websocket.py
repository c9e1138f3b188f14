from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import OP_BINARY, OP_CONT, OP_TEXT, Frame
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from bridge.messaging.limits import Limits
from bridge.net.websocket import MESSAGE_SLACK_BYTES, WebSocketOptions
from tests.bridge.net.certificates import Authority
from tests.bridge.net.recording import (
    Made,
    RecordingGateway,
    Running,
    closed,
    legacy,
    listening,
)

MQTT = WebSocketOptions(("mqtt", "mqttv3.1"))
STOMP = WebSocketOptions(("v12.stomp", "v11.stomp", "v10.stomp"), required=False, text=True)


@asynccontextmanager
async def client(
    running: Running, *subprotocols: str, path: str = "/ws"
) -> AsyncIterator[ClientConnection]:
    wanted = [Subprotocol(name) for name in subprotocols] or None
    async with connect(
        f"ws://127.0.0.1:{running.port}{path}",
        subprotocols=wanted,
        compression=None,
        max_size=None,
        ping_interval=None,
        proxy=None,
    ) as websocket:
        yield websocket


@pytest.mark.parametrize("path", ["/", "/mqtt", "/any/thing?x=1"])
async def test_bytes_travel_in_binary_messages_on_any_path(path: str) -> None:
    made = Made()
    async with (
        listening(legacy(made, MQTT)) as running,
        client(running, "mqtt", path=path) as websocket,
    ):
        assert websocket.subprotocol == "mqtt"
        await websocket.send(b"hello")
        assert await websocket.recv() == b"hello"
        assert (await made.gateway()).transport.peer.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("options", "offered", "chosen"),
    [
        (MQTT, ["mqttv3.1"], "mqttv3.1"),
        (MQTT, ["other", "mqtt"], "mqtt"),
        (STOMP, ["v10.stomp", "v11.stomp", "v12.stomp"], "v12.stomp"),
        (STOMP, ["v10.stomp"], "v10.stomp"),
        (STOMP, [], None),
        (STOMP, ["unknown"], None),
    ],
)
async def test_subprotocol_is_negotiated(
    options: WebSocketOptions, offered: list[str], chosen: str | None
) -> None:
    async with (
        listening(legacy(Made(), options)) as running,
        client(running, *offered) as websocket,
    ):
        assert websocket.subprotocol == chosen


@pytest.mark.parametrize("offered", [[], ["other"]])
async def test_missing_subprotocol_is_refused(offered: list[str]) -> None:
    made = Made()
    async with listening(legacy(made, MQTT)) as running:
        with pytest.raises(InvalidStatus) as raised:
            async with client(running, *offered):
                pass
        assert raised.value.response.status_code == 400
        assert "mqtt" in await running.log.refusal()
        assert made.gateways == []
        await running.no_connections()


async def test_messages_and_fragments_are_one_stream() -> None:
    made = Made()
    async with (
        listening(legacy(made, MQTT)) as running,
        client(running, "mqtt") as websocket,
    ):
        gateway = await made.gateway()
        await websocket.send([b"frag", b"", b"ment"])
        await websocket.send(b"ed")
        received = b""
        while received != b"fragmented":
            data = await websocket.recv()
            assert isinstance(data, bytes)
            received += data
        assert b"".join(gateway.received) == b"fragmented"


def _client_bytes(*frames: Frame) -> tuple[bytes, bytes]:
    """The handshake and the frames of a client, as it would send them."""
    protocol = ClientProtocol(parse_uri("ws://localhost/"), subprotocols=[Subprotocol("mqtt")])
    protocol.send_request(protocol.connect())
    handshake = b"".join(protocol.data_to_send())
    return handshake, b"".join(frame.serialize(mask=True) for frame in frames)


async def test_frames_may_be_split_anywhere_and_joined() -> None:
    frames = [
        Frame(OP_BINARY, b"one "),
        Frame(OP_BINARY, b"tw", fin=False),
        Frame(OP_CONT, b"o "),
        Frame(OP_BINARY, bytes(300)),
    ]
    handshake, data = _client_bytes(*frames)
    made = Made()
    async with listening(legacy(made, MQTT)) as running:
        _reader, writer = await running.connect()
        for index in range(len(handshake)):
            writer.write(handshake[index : index + 1])
            await writer.drain()
            await asyncio.sleep(0)
        gateway = await made.gateway()
        for index in range(len(data)):
            writer.write(data[index : index + 1])
            await writer.drain()
            await asyncio.sleep(0)
        while b"".join(gateway.received) != b"one two " + bytes(300):
            gateway.has_received.clear()
            await gateway.has_received.wait()
        gateway.received.clear()
        writer.write(data + data)
        while b"".join(gateway.received) != (b"one two " + bytes(300)) * 2:
            gateway.has_received.clear()
            await gateway.has_received.wait()
        await closed(writer)


async def test_text_ends_a_binary_protocol() -> None:
    made = Made()
    async with (
        listening(legacy(made, MQTT)) as running,
        client(running, "mqtt") as websocket,
    ):
        await websocket.send("text")
        with pytest.raises(ConnectionClosed) as raised:
            await websocket.recv()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1003
        gateway = await made.gateway()
        assert await gateway.lost == "websocket: only binary messages are taken"
        assert gateway.received == []


class FramesGateway(RecordingGateway):
    """Answers a chunk with frames: one of text, one that is none, one of text."""

    def data_received(self, data: bytes) -> None:
        self.received.append(data)
        self.transport.write([b"MESSAGE\n\nf\xc3\xbcr\0", b"MESSAGE\n\n\xff\0"])
        self.transport.write([b"\n"])


async def test_text_protocol_sends_text_where_it_can() -> None:
    made = Made(FramesGateway)
    async with (
        listening(legacy(made, STOMP)) as running,
        client(running, "v12.stomp") as websocket,
    ):
        await websocket.send("SEND\n\ngr\u00fcn\0")
        assert await websocket.recv() == "MESSAGE\n\nf\u00fcr\0"
        assert await websocket.recv() == b"MESSAGE\n\n\xff\0"
        assert await websocket.recv() == "\n"
        await websocket.send(b"SEND\n\n\xff\0")
        assert await websocket.recv() == "MESSAGE\n\nf\u00fcr\0"
        assert made.gateways[0].received == ["SEND\n\ngr\u00fcn\0".encode(), b"SEND\n\n\xff\0"]


async def test_text_that_is_no_utf_8_ends_the_connection() -> None:
    made = Made()
    async with listening(legacy(made, STOMP)) as running:
        reader, writer = await running.connect()
        split = "\u00fc".encode()
        handshake, data = _client_bytes(
            Frame(OP_TEXT, split[:1], fin=False), Frame(OP_CONT, split[1:])
        )
        writer.write(handshake + data)
        gateway = await made.gateway()
        while b"".join(gateway.received) != split:
            gateway.has_received.clear()
            await gateway.has_received.wait()
        writer.write(_client_bytes(Frame(OP_TEXT, b"\xff"))[1])
        assert (await reader.read()).endswith(b"\x03\xeftext is not UTF-8")
        assert await gateway.lost == "websocket: text is not UTF-8"
        await closed(writer)


async def test_message_over_the_limit_ends_the_connection() -> None:
    made = Made()
    limits = Limits(message_size_max=1000)
    largest = 1000 + MESSAGE_SLACK_BYTES
    async with (
        listening(legacy(made, MQTT), limits=limits) as running,
        client(running, "mqtt") as websocket,
    ):
        await websocket.send(bytes(largest))
        assert await websocket.recv() == bytes(largest)
        await websocket.send(bytes(largest + 1))
        with pytest.raises(ConnectionClosed) as raised:
            await websocket.recv()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1009
        assert (await (await made.gateway()).lost).startswith("websocket: ")


async def test_pings_are_answered() -> None:
    async with (
        listening(legacy(Made(), MQTT)) as running,
        client(running, "mqtt") as websocket,
    ):
        pong = await websocket.ping(b"data")
        await pong


async def test_client_closes() -> None:
    made = Made()
    async with listening(legacy(made, MQTT)) as running:
        async with client(running, "mqtt") as websocket:
            gateway = await made.gateway()
        assert websocket.close_code == 1000
        assert gateway.at_eof.is_set()
        assert await gateway.lost == "closed by the client"
        await running.no_connections()


async def test_broker_closes() -> None:
    made = Made()
    async with (
        listening(legacy(made, MQTT)) as running,
        client(running, "mqtt") as websocket,
    ):
        gateway = await made.gateway()
        draining = asyncio.create_task(running.listener.drain(30))
        assert await websocket.recv() == b"bye"
        with pytest.raises(ConnectionClosed) as raised:
            await websocket.recv()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1000
        assert await draining
        assert await gateway.lost == "closed by the broker"


async def test_failing_gateway_is_told_as_an_internal_error() -> None:
    class Broken(RecordingGateway):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError

    async with (
        listening(legacy(Broken, MQTT)) as running,
        client(running, "mqtt") as websocket,
    ):
        await websocket.send(b"x")
        with pytest.raises(ConnectionClosed) as raised:
            await websocket.recv()
        assert raised.value.rcvd is not None
        assert raised.value.rcvd.code == 1011
        assert [type(error) for error in running.log.errors] == [ZeroDivisionError]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 426 "),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", b"400"),
        (b"\x10\x10\x00\x04MQTT\x04\x02\x00<\r\n\r\n", b"HTTP/1.1 400 "),
        (b"CONNECT\naccept-version:1.2\n\n\0\r\n\r\n", b"HTTP/1.1 400 "),
        (b"x" * 10_000, b"HTTP/1.1 400 "),
    ],
)
async def test_what_is_no_websocket_handshake_is_refused(
    request_bytes: bytes, status: bytes
) -> None:
    made = Made()
    async with listening(legacy(made, MQTT)) as running:
        reader, writer = await running.connect()
        writer.write(request_bytes)
        assert status in (await reader.read()).split(b"\r\n")[0]
        assert (await running.log.refusal()).startswith("websocket handshake failed: ")
        assert made.gateways == []
        await closed(writer)
        await running.no_connections()


async def test_handshake_is_bounded_in_time() -> None:
    limits = Limits(handshake_seconds_max=0.02)
    async with listening(legacy(Made(), MQTT), limits=limits) as running:
        reader, writer = await running.connect()
        writer.write(b"GET / HTTP/1.1\r\n")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        assert await running.log.refusal() == "no websocket handshake in time"
        await closed(writer)


async def test_pausing_reaches_through() -> None:
    made = Made()
    limits = Limits(write_buffer_bytes_max=64 * 1024)
    async with (
        listening(legacy(made, MQTT), limits=limits) as running,
        client(running, "mqtt") as websocket,
    ):
        gateway = await made.gateway()
        gateway.transport.write([bytes(16 * 1024 * 1024)])
        await gateway.writing_paused.wait()
        assert len(await websocket.recv()) == 16 * 1024 * 1024
        await gateway.writing_resumed.wait()


async def test_over_tls(authority: Authority) -> None:
    made = Made()
    files = authority.server_files(clients=True)
    shown = authority.client_context(authority.issue("browser"))
    async with (
        listening(legacy(made, MQTT), tls=files) as running,
        connect(
            f"wss://127.0.0.1:{running.port}/mqtt",
            subprotocols=[Subprotocol("mqtt")],
            ssl=shown,
            proxy=None,
        ) as websocket,
    ):
        await websocket.send(b"hello")
        assert await websocket.recv() == b"hello"
        assert (await made.gateway()).transport.certificate_user == "browser"

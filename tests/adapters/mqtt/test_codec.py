from __future__ import annotations

import contextlib
from typing import Any

import amqtt.mqtt
import amqtt.mqtt.connect
import pytest
from amqtt.adapters import BufferReader
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import LocalProtocolError
from adapters.mqtt.codec import decode_packet, encode_packet
from adapters.mqtt.connect import decode_connect, decode_protocol
from adapters.mqtt.errors import MqttError
from adapters.mqtt.limits import DEFAULT_LIMITS
from adapters.mqtt.packets import (
    Acknowledgement,
    Connect,
    Disconnect,
    Packet,
    ProtocolVersion,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from adapters.mqtt.properties import Properties
from adapters.mqtt.topic_filters import TopicFilter
from adapters.mqtt.wire import Reader, variable_byte_integer
from tests.vectors.mqtt_packets import CONNECTS, PACKETS, V3_1_1, V5, Vector

VERSIONS = st.sampled_from(ProtocolVersion)
PACKET_IDS = st.integers(1, 0xFFFF)
TEXTS = st.text(st.characters(exclude_characters="\0+#$", exclude_categories=["Cs"]), max_size=20)
TOPICS = TEXTS.filter(bool)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
EXPLANATIONS = st.builds(Properties, reason_string=st.none() | TEXTS, user_properties=PAIRS)


def decode(data: bytes, version: ProtocolVersion) -> Packet:
    reader = Reader(data, 1)
    size = reader.variable_byte_integer()
    body = reader.rest()
    assert len(body) == size
    if data[0] >> 4 == 1:
        reader = Reader(body)
        protocol = decode_protocol(reader)
        return decode_connect(reader, data[0] & 15, *protocol, DEFAULT_LIMITS)
    return decode_packet(data[0], body, version, DEFAULT_LIMITS)


def cases(vectors: list[Vector]) -> list[Any]:
    return [
        pytest.param(vector, version, id=f"{vector.name} {version.name}")
        for vector in vectors
        for version in vector.versions
    ]


@pytest.mark.parametrize(("vector", "version"), cases(CONNECTS + PACKETS))
def test_vectors(vector: Vector, version: ProtocolVersion) -> None:
    assert decode(vector.data, version) == vector.packet
    assert encode_packet(vector.packet, version) == vector.data


@pytest.mark.parametrize(("vector", "version"), cases(CONNECTS + PACKETS))
def test_no_packet_may_end_early(vector: Vector, version: ProtocolVersion) -> None:
    body = decode_body(vector.data)
    for size in range(len(body)):
        short = vector.data[:1] + variable_byte_integer(size) + body[:size]
        with contextlib.suppress(MqttError):  # or it is what may be left out at the end
            assert type(decode(short, version)) is type(vector.packet)


def decode_body(data: bytes) -> bytes:
    reader = Reader(data, 1)
    reader.variable_byte_integer()
    return reader.rest()


@pytest.mark.parametrize(("vector", "version"), cases(CONNECTS + PACKETS))
def test_no_packet_may_be_longer(vector: Vector, version: ProtocolVersion) -> None:
    if isinstance(vector.packet, Suback | Unsuback) and (
        version is V5 or isinstance(vector.packet, Suback)
    ):
        pytest.skip("every byte at its end is a reason code")
    body = decode_body(vector.data) + b"\xff"
    with pytest.raises(MqttError):
        decode(vector.data[:1] + variable_byte_integer(len(body)) + body, version)


@pytest.mark.parametrize(
    "vector",
    [vector for vector in CONNECTS + PACKETS if V3_1_1 in vector.versions],
    ids=lambda vector: vector.name,
)
async def test_another_library_reads_and_writes_the_same(vector: Vector) -> None:
    if isinstance(vector.packet, Connect) and (vector.packet.bridge or not vector.packet.client_id):
        pytest.skip("it knows no bridges, and makes a client identifier up")
    fixed = await amqtt.mqtt.MQTTFixedHeader.from_stream(BufferReader(vector.data))
    assert fixed is not None
    reader = BufferReader(vector.data)
    await amqtt.mqtt.MQTTFixedHeader.from_stream(reader)
    theirs = await amqtt.mqtt.packet_class(fixed).from_stream(reader, fixed_header=fixed)
    assert theirs.to_bytes() == vector.data


def acknowledgements(kind: type[Acknowledgement], codes: list[int]) -> st.SearchStrategy[Packet]:
    return st.builds(kind, PACKET_IDS, st.sampled_from(codes), EXPLANATIONS)


V5_PACKETS: st.SearchStrategy[Packet] = st.one_of(
    acknowledgements(Puback, [0, 0x10, 0x87]),
    acknowledgements(Pubrec, [0, 0x10, 0x97]),
    acknowledgements(Pubrel, [0, 0x92]),
    acknowledgements(Pubcomp, [0, 0x92]),
    st.builds(
        Connect,
        st.just(V5),
        TEXTS,
        st.booleans(),
        st.integers(0, 0xFFFF),
        st.none() | TEXTS,
        st.none() | st.binary(max_size=20),
        st.none()
        | st.builds(
            Will,
            TOPICS,
            st.binary(max_size=20),
            st.integers(0, 2),
            st.booleans(),
            st.builds(
                Properties,
                will_delay_interval=st.none() | st.integers(0, 0xFFFFFFFF),
                correlation_data=st.none() | st.binary(max_size=20),
            ),
        ),
        st.builds(
            Properties,
            receive_maximum=st.none() | st.integers(1, 0xFFFF),
            user_properties=PAIRS,
            session_expiry_interval=st.none() | st.integers(0, 0xFFFFFFFF),
        ),
    ),
    st.builds(
        Subscribe,
        PACKET_IDS,
        st.lists(
            st.builds(
                Subscription,
                TOPICS.map(lambda topic: TopicFilter(topic, topic)),
                st.integers(0, 2),
                st.booleans(),
                st.booleans(),
                st.integers(0, 2),
            ),
            min_size=1,
            max_size=5,
        ),
        st.builds(
            Properties,
            subscription_identifiers=st.just(()) | st.tuples(st.integers(1, 268_435_455)),
            user_properties=PAIRS,
        ),
    ),
    st.builds(
        Unsubscribe,
        PACKET_IDS,
        st.lists(TOPICS.map(lambda topic: TopicFilter(topic, topic)), min_size=1, max_size=5),
        st.builds(Properties, user_properties=PAIRS),
    ),
    st.builds(Suback, PACKET_IDS, st.lists(st.integers(0, 2), max_size=5), EXPLANATIONS),
    st.builds(Unsuback, PACKET_IDS, st.lists(st.just(0x11), max_size=5), EXPLANATIONS),
    st.builds(
        Disconnect,
        st.sampled_from([0, 4, 0x8B, 0x8E, 0xA2]),
        st.builds(Properties, server_reference=st.none() | TEXTS, user_properties=PAIRS),
    ),
)


@given(V5_PACKETS)
def test_packets_come_back(packet: Packet) -> None:
    assert decode(encode_packet(packet, V5), V5) == packet


@given(st.integers(0, 255), st.binary(max_size=40), VERSIONS)
def test_random_bodies_are_read_or_refused(
    first: int, body: bytes, version: ProtocolVersion
) -> None:
    with contextlib.suppress(MqttError):
        decode(bytes((first,)) + variable_byte_integer(len(body)) + body, version)


def test_a_publish_is_encoded_elsewhere() -> None:
    with pytest.raises(LocalProtocolError):
        encode_packet(Publish("a", b""), V5)

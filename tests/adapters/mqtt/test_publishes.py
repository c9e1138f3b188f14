from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt import publishes
from adapters.mqtt.errors import MqttError
from adapters.mqtt.events import PublishesReceived
from adapters.mqtt.packets import ProtocolVersion, Publish
from adapters.mqtt.properties import NO_PROPERTIES, Properties
from adapters.mqtt.publishes import encode_publish, encode_publishes, known_topic
from tests.adapters.mqtt.transcript import Transcript
from tests.vectors.mqtt_packets import PUBLISHES, V5, Vector

TOPICS = st.text(
    st.characters(exclude_characters="\0+#", exclude_categories=["Cs"]), min_size=1, max_size=20
)
PUBLISH_RECORDS = st.builds(
    Publish,
    TOPICS,
    st.binary(max_size=300),
    st.integers(0, 2),
    st.booleans(),
    st.booleans(),
    st.integers(1, 0xFFFF),
    st.just(NO_PROPERTIES)
    | st.builds(
        Properties,
        message_expiry_interval=st.none() | st.integers(0, 0xFFFFFFFF),
        correlation_data=st.none() | st.binary(max_size=20),
        user_properties=st.lists(st.tuples(TOPICS, TOPICS), max_size=2).map(tuple),
    ),
)


def encoded(publish: Publish, version: ProtocolVersion) -> bytes:
    head, tail = encode_publish(publish, version_5=version is V5)
    packet_id = publish.packet_id.to_bytes(2, "big") if publish.qos else b""
    return head + packet_id + tail


@pytest.mark.parametrize("vector", PUBLISHES, ids=lambda each: each.name)
def test_vectors(vector: Vector) -> None:
    publish = vector.packet
    assert isinstance(publish, Publish)
    for version in vector.versions:
        assert encoded(publish, version) == vector.data
        transcript = Transcript()
        transcript.connect(version)
        received = transcript.send_one(PublishesReceived, vector.hex)
        assert received.publishes == [publish]


@given(st.lists(PUBLISH_RECORDS, max_size=20), st.sampled_from(ProtocolVersion), st.data())
def test_publishes_come_back_however_they_are_cut(
    sent: list[Publish], version: ProtocolVersion, data: st.DataObject
) -> None:
    expected = []
    for number, publish in enumerate(sent, 1):
        publish.dup = publish.dup and publish.qos > 0
        publish.packet_id = number if publish.qos else 0
        if version is not V5:
            publish.properties = NO_PROPERTIES
        expected.append(publish)
    wire = b"".join(encoded(publish, version) for publish in sent)
    transcript = Transcript()
    transcript.connect(version)
    received: list[Publish] = []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        for event in transcript.send(wire[:size].hex()):
            assert isinstance(event, PublishesReceived)
            received += event.publishes
        wire = wire[size:]
    for publish in received:  # no properties and empty ones look the same on the wire
        if publish.properties == NO_PROPERTIES:
            publish.properties = NO_PROPERTIES
    assert received == expected


@given(
    st.lists(PUBLISH_RECORDS | st.builds(Publish, st.just("a"), st.just(b"x"), st.integers(0, 2))),
    st.booleans(),
)
def test_many_are_encoded_as_one_is(publishes: list[Publish], version_5: bool) -> None:
    one_by_one = [encode_publish(each, version_5=version_5) for each in publishes]
    assert encode_publishes(publishes, version_5=version_5) == one_by_one


def test_a_topic_is_left_out() -> None:
    publish = Publish("a", b"!", 1)
    assert encode_publish(
        publish, version_5=True, properties=b"\x03\x23\x00\x01", without_topic=True
    ) == (
        b"\x32\x09\x00\x00",
        b"\x03\x23\x00\x01!",
    )


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishes, "REMEMBERED_TOPICS_MAX", 3)
    monkeypatch.setattr(publishes, "REMEMBERED_HEADERS_MAX", 3)
    for cache in (publishes.received_topics, publishes._topic_fields, publishes._headers):
        cache.clear()
    for number in range(20):
        topic = f"topic/{number}"
        assert known_topic(topic.encode()) == topic
        encode_publish(Publish(topic, b"x" * number), version_5=False)
        assert len(publishes.received_topics) <= 3
        assert len(publishes._topic_fields) <= 3
        assert len(publishes._headers) <= 3
    publishes.received_topics.clear()
    long_topic = "x" * (publishes.REMEMBERED_TOPIC_SIZE_MAX + 1)
    assert known_topic(long_topic.encode()) == long_topic
    assert not publishes.received_topics


def test_a_bad_topic_is_not_remembered() -> None:
    for _ in range(2):
        with pytest.raises(MqttError):
            known_topic(b"a/#")

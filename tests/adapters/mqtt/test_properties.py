from __future__ import annotations

from typing import Any

import paho.mqtt.properties
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes

from adapters.mqtt.errors import MqttError
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    SPECIFICATIONS,
    Carrier,
    Kind,
    Properties,
    Specification,
    decode_properties,
    encode_properties,
)
from adapters.mqtt.reason_codes import ReasonCode
from adapters.mqtt.wire import Reader, variable_byte_integer

SAMPLES: dict[Kind, Any] = {
    Kind.BYTE: 1,
    Kind.TWO_BYTE_INTEGER: 258,
    Kind.FOUR_BYTE_INTEGER: 66_051,
    Kind.VARIABLE_BYTE_INTEGER: 300,
    Kind.STRING: "höhe",
    Kind.BINARY: b"\x00\xff",
    Kind.STRING_PAIR: ("k", "v"),
}
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


def sample(specification: Specification) -> Properties:
    value = SAMPLES[specification.kind]
    values: dict[str, Any] = {specification.name: (value,) if specification.repeatable else value}
    return Properties(**values)


def decode(data: bytes, carrier: Carrier, user_properties_max: int = 10) -> Properties:
    reader = Reader(data)
    properties = decode_properties(reader, carrier, user_properties_max)
    reader.expect_end()
    return properties


def paho_name(specification: Specification) -> str:
    name = "".join(part.capitalize() for part in specification.name.split("_"))
    return {
        "MaximumQos": "MaximumQoS",
        "UserProperties": "UserProperty",
        "SubscriptionIdentifiers": "SubscriptionIdentifier",
    }.get(name, name)


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda each: each.name)
@pytest.mark.parametrize("carrier", Carrier)
def test_table_agrees_with_paho(specification: Specification, carrier: Carrier) -> None:
    packet_type = PacketTypes.WILLMESSAGE if carrier is Carrier.WILL else carrier.bit_length() - 1
    theirs: Any = paho.mqtt.properties.Properties(packet_type)  # type: ignore[no-untyped-call]
    ours = sample(specification)
    value = SAMPLES[specification.kind]
    if carrier not in specification.carriers:
        with pytest.raises((MQTTException, IndexError)):
            setattr(theirs, paho_name(specification), value)
        assert encode_properties(ours, carrier) == b"\x00"
        return
    setattr(theirs, paho_name(specification), value)
    assert encode_properties(ours, carrier) == theirs.pack()
    assert decode(theirs.pack(), carrier) == ours


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda each: each.name)
def test_a_property_in_the_wrong_packet_is_malformed(specification: Specification) -> None:
    carrier = next(each for each in Carrier if each in specification.carriers)
    encoded = encode_properties(sample(specification), carrier)
    for other in Carrier:
        if other not in specification.carriers:
            with pytest.raises(MqttError) as caught:
                decode(encoded, other)
            assert caught.value.reason is ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize("specification", SPECIFICATIONS, ids=lambda each: each.name)
def test_a_property_that_is_there_twice(specification: Specification) -> None:
    for carrier in Carrier:
        if carrier not in specification.carriers:
            continue
        once = encode_properties(sample(specification), carrier)[1:]
        twice = variable_byte_integer(2 * len(once)) + once + once
        # Identifiers repeat in PUBLISH only (MQTT 5, 3.3.2.3.8 and 3.8.2.1.2).
        if specification.repeatable and not (
            carrier is Carrier.SUBSCRIBE and specification.name == "subscription_identifiers"
        ):
            assert len(getattr(decode(twice, carrier), specification.name)) == 2
            continue
        with pytest.raises(MqttError) as caught:
            decode(twice, carrier)
        assert caught.value.reason is ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize("identifier", set(range(1, 0x90)) - {s.identifier for s in SPECIFICATIONS})
def test_unknown_properties(identifier: int) -> None:
    encoded = variable_byte_integer(identifier) + b"\x00\x00"
    with pytest.raises(MqttError) as caught:
        decode(variable_byte_integer(len(encoded)) + encoded, Carrier.PUBLISH)
    assert caught.value.reason is ReasonCode.MALFORMED_PACKET


@pytest.mark.parametrize(
    ("carrier", "encoded"),
    [
        (Carrier.PUBLISH, "0102"),
        (Carrier.PUBLISH, "0b00"),
        (Carrier.CONNECT, "1702"),
        (Carrier.CONNECT, "1902"),
        (Carrier.CONNECT, "210000"),
        (Carrier.CONNECT, "2700000000"),
        (Carrier.CONNACK, "2402"),
        (Carrier.CONNACK, "2502"),
    ],
)
def test_values_out_of_range(carrier: Carrier, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    with pytest.raises(MqttError) as caught:
        decode(variable_byte_integer(len(data)) + data, carrier)
    assert caught.value.reason is ReasonCode.PROTOCOL_ERROR


@pytest.mark.parametrize("encoded", ["01", "0201", "0300", "08000261", "0b", "0b80", "26000161"])
def test_values_that_end_early(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    with pytest.raises(MqttError) as caught:
        decode(variable_byte_integer(len(data)) + data, Carrier.PUBLISH)
    assert caught.value.reason is ReasonCode.MALFORMED_PACKET


def test_user_properties_are_bounded() -> None:
    def encoded(count: int) -> bytes:
        pairs = tuple(("k", str(number)) for number in range(count))
        return encode_properties(Properties(user_properties=pairs), Carrier.CONNECT)

    assert len(decode(encoded(10), Carrier.CONNECT).user_properties) == 10
    with pytest.raises(MqttError) as caught:
        decode(encoded(11), Carrier.CONNECT)
    assert caught.value.reason is ReasonCode.QUOTA_EXCEEDED


def test_nothing_is_one_byte() -> None:
    assert encode_properties(NO_PROPERTIES, Carrier.PUBLISH) == b"\x00"
    assert decode(b"\x00", Carrier.PUBLISH) is NO_PROPERTIES


@given(
    st.builds(
        Properties,
        payload_format_indicator=st.none() | st.integers(0, 1),
        message_expiry_interval=st.none() | st.integers(0, 0xFFFFFFFF),
        content_type=st.none() | TEXTS,
        response_topic=st.none() | TEXTS,
        correlation_data=st.none() | st.binary(max_size=30),
        subscription_identifiers=st.lists(st.integers(1, 268_435_455), max_size=3).map(tuple),
        topic_alias=st.none() | st.integers(0, 0xFFFF),
        user_properties=st.lists(st.tuples(TEXTS, TEXTS), max_size=5).map(tuple),
    )
)
def test_publish_properties_come_back(properties: Properties) -> None:
    assert decode(encode_properties(properties, Carrier.PUBLISH), Carrier.PUBLISH) == properties

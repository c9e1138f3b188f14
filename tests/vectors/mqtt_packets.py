"""Every packet of MQTT in every version that has it: bytes, by hand, and the record they mean."""

from __future__ import annotations

from typing import NamedTuple

from adapters.mqtt.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
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

V3_1, V3_1_1, V5 = ProtocolVersion.V3_1, ProtocolVersion.V3_1_1, ProtocolVersion.V5
V3 = (V3_1, V3_1_1)
ALL = (V3_1, V3_1_1, V5)


class Vector(NamedTuple):
    name: str
    versions: tuple[ProtocolVersion, ...]
    hex: str
    packet: Packet

    @property
    def data(self) -> bytes:
        return bytes.fromhex(self.hex)


def _filter(text: str) -> TopicFilter:
    return TopicFilter(text, text)


CONNECTS = [
    Vector(
        "3.1, the least",
        (V3_1,),
        "10 0f 0006 4d5149736470 03 02 000a 0001 70",
        Connect(V3_1, "p", keep_alive_seconds=10),
    ),
    Vector(
        "3.1.1, the least",
        (V3_1_1,),
        "10 0c 0004 4d515454 04 02 0000 0000",
        Connect(V3_1_1, ""),
    ),
    Vector(
        "3.1.1, a bridge that keeps its session",
        (V3_1_1,),
        "10 0d 0004 4d515454 84 00 003c 0001 62",
        Connect(V3_1_1, "b", clean_start=False, keep_alive_seconds=60, bridge=True),
    ),
    Vector(
        "3.1.1, everything",
        (V3_1_1,),
        "10 1c 0004 4d515454 04 f6 ffff 0001 63 0003 772f74 0002 00ff 0001 75 0001 70",
        Connect(
            V3_1_1,
            "c",
            keep_alive_seconds=65535,
            user_name="u",
            password=b"p",
            will=Will("w/t", b"\x00\xff", 2, retain=True),
        ),
    ),
    Vector(
        "5, the least",
        (V5,),
        "10 0d 0004 4d515454 05 02 0000 00 0000",
        Connect(V5, ""),
    ),
    Vector(
        "5, a password without a user name",
        (V5,),
        "10 10 0004 4d515454 05 42 0000 00 0000 0001 70",
        Connect(V5, "", password=b"p"),
    ),
    Vector(
        "5, everything",
        (V5,),
        "10 5d 0004 4d515454 05 ec 003c"
        " 23 11 00000e10 15 0001 6d 16 0001 64 17 00 19 01 21 0014 22 000a 26 0001 6b 0001 76"
        " 27 00001000"
        " 0001 63"
        " 1f 01 01 02 0000000a 03 0001 74 08 0001 72 09 0001 78 18 00000005 26 0001 61 0001 62"
        " 0001 77 0001 21"
        " 0001 75 0001 70",
        Connect(
            V5,
            "c",
            clean_start=False,
            keep_alive_seconds=60,
            user_name="u",
            password=b"p",
            will=Will(
                "w",
                b"!",
                1,
                retain=True,
                properties=Properties(
                    payload_format_indicator=1,
                    message_expiry_interval=10,
                    content_type="t",
                    response_topic="r",
                    correlation_data=b"x",
                    will_delay_interval=5,
                    user_properties=(("a", "b"),),
                ),
            ),
            properties=Properties(
                session_expiry_interval=3600,
                authentication_method="m",
                authentication_data=b"d",
                request_problem_information=0,
                request_response_information=1,
                receive_maximum=20,
                topic_alias_maximum=10,
                user_properties=(("k", "v"),),
                maximum_packet_size=4096,
            ),
        ),
    ),
]

PACKETS = [
    Vector("CONNACK", V3, "20 02 00 00", Connack()),
    Vector("CONNACK, refused", V3, "20 02 00 05", Connack(reason_code=5)),
    Vector("CONNACK, session present", (V3_1_1,), "20 02 01 00", Connack(session_present=True)),
    Vector("CONNACK of 5", (V5,), "20 03 00 00 00", Connack()),
    Vector(
        "CONNACK of 5, everything",
        (V5,),
        "20 3f 01 00 3c 11 00000e10 12 0001 61 13 003c 15 0001 6d 16 0001 64 1a 0001 69 1c 0001 73"
        " 1f 0001 72 21 0014 22 000a 24 01 25 00 26 0001 6b 0001 76 27 00001000 28 00 29 00 2a 00",
        Connack(
            session_present=True,
            properties=Properties(
                session_expiry_interval=3600,
                assigned_client_identifier="a",
                server_keep_alive=60,
                authentication_method="m",
                authentication_data=b"d",
                response_information="i",
                server_reference="s",
                reason_string="r",
                receive_maximum=20,
                topic_alias_maximum=10,
                maximum_qos=1,
                retain_available=0,
                user_properties=(("k", "v"),),
                maximum_packet_size=4096,
                wildcard_subscription_available=0,
                subscription_identifier_available=0,
                shared_subscription_available=0,
            ),
        ),
    ),
    Vector("PUBACK", ALL, "40 02 1234", Puback(0x1234)),
    Vector("PUBACK with a reason", (V5,), "40 03 1234 10", Puback(0x1234, 0x10)),
    Vector(
        "PUBACK, everything",
        (V5,),
        "40 0f 1234 87 0b 1f 0001 72 26 0001 6b 0001 76",
        Puback(0x1234, 0x87, Properties(reason_string="r", user_properties=(("k", "v"),))),
    ),
    Vector("PUBREC", ALL, "50 02 0001", Pubrec(1)),
    Vector("PUBREC with a reason", (V5,), "50 03 0001 91", Pubrec(1, 0x91)),
    Vector("PUBREL", ALL, "62 02 ffff", Pubrel(0xFFFF)),
    Vector("PUBREL with a reason", (V5,), "62 03 ffff 92", Pubrel(0xFFFF, 0x92)),
    Vector("PUBCOMP", ALL, "70 02 0102", Pubcomp(0x0102)),
    Vector(
        "PUBCOMP, everything",
        (V5,),
        "70 08 0102 92 04 1f 0001 72",
        Pubcomp(0x0102, 0x92, Properties(reason_string="r")),
    ),
    Vector(
        "SUBSCRIBE",
        V3,
        "82 0e 000a 0003 612f62 01 0003 632f23 02",
        Subscribe(10, [Subscription(_filter("a/b"), 1), Subscription(_filter("c/#"), 2)]),
    ),
    Vector(
        "SUBSCRIBE of 5, everything",
        (V5,),
        "82 20 000a 0a 0b ff7f 26 0001 6b 0001 76 0001 2b 2e 000c 2473686172652f672f612f62 19",
        Subscribe(
            10,
            [
                Subscription(
                    _filter("+"), 2, no_local=True, retain_as_published=True, retain_handling=2
                ),
                Subscription(
                    TopicFilter("$share/g/a/b", "a/b", "g"),
                    1,
                    retain_as_published=True,
                    retain_handling=1,
                ),
            ],
            Properties(subscription_identifiers=(16383,), user_properties=(("k", "v"),)),
        ),
    ),
    Vector("SUBACK", V3, "90 05 000a 01 02 80", Suback(10, [1, 2, 0x80])),
    Vector("SUBACK of 5", (V5,), "90 05 000a 00 01 87", Suback(10, [1, 0x87])),
    Vector(
        "SUBACK of 5 with a reason",
        (V5,),
        "90 08 000a 04 1f 0001 72 8f",
        Suback(10, [0x8F], Properties(reason_string="r")),
    ),
    Vector(
        "UNSUBSCRIBE",
        V3,
        "a2 08 000b 0001 61 0001 23",
        Unsubscribe(11, [_filter("a"), _filter("#")]),
    ),
    Vector(
        "UNSUBSCRIBE of 5",
        (V5,),
        "a2 0d 000b 07 26 0001 6b 0001 76 0001 61",
        Unsubscribe(11, [_filter("a")], Properties(user_properties=(("k", "v"),))),
    ),
    Vector("UNSUBACK", V3, "b0 02 000b", Unsuback(11, [])),
    Vector("UNSUBACK of 5", (V5,), "b0 05 000b 00 00 11", Unsuback(11, [0, 0x11])),
    Vector("PINGREQ", ALL, "c0 00", Pingreq()),
    Vector("PINGRESP", ALL, "d0 00", Pingresp()),
    Vector("DISCONNECT", ALL, "e0 00", Disconnect()),
    Vector("DISCONNECT with a reason", (V5,), "e0 01 04", Disconnect(4)),
    Vector(
        "DISCONNECT, everything",
        (V5,),
        "e0 16 9d 14 11 00000001 1c 0001 73 1f 0001 72 26 0001 6b 0001 76",
        Disconnect(
            0x9D,
            Properties(
                session_expiry_interval=1,
                server_reference="s",
                reason_string="r",
                user_properties=(("k", "v"),),
            ),
        ),
    ),
    Vector("AUTH", (V5,), "f0 00", Auth()),
    Vector(
        "AUTH, everything",
        (V5,),
        "f0 0e 18 0c 15 0001 6d 16 0001 64 1f 0001 72",
        Auth(
            0x18,
            Properties(authentication_method="m", authentication_data=b"d", reason_string="r"),
        ),
    ),
]

PUBLISHES = [
    Vector("QoS 0", V3, "30 06 0003 612f62 21", Publish("a/b", b"!")),
    Vector("QoS 0, retained and empty", V3, "31 03 0001 61", Publish("a", b"", retain=True)),
    Vector(
        "QoS 1, again",
        V3,
        "3a 08 0003 612f62 1234 21",
        Publish("a/b", b"!", 1, dup=True, packet_id=0x1234),
    ),
    Vector("QoS 2", V3, "34 05 0001 61 0001", Publish("a", b"", 2, packet_id=1)),
    Vector("QoS 0 of 5", (V5,), "30 07 0003 612f62 00 21", Publish("a/b", b"!")),
    Vector(
        "QoS 1 of 5, everything",
        (V5,),
        "33 29 0001 61 0001"
        " 20 01 01 02 0000000a 03 0001 74 08 0001 72 09 0001 78 26 0001 6b 0001 76 26 0001 6b 0000"
        " 706179",
        Publish(
            "a",
            b"pay",
            1,
            retain=True,
            packet_id=1,
            properties=Properties(
                payload_format_indicator=1,
                message_expiry_interval=10,
                content_type="t",
                response_topic="r",
                correlation_data=b"x",
                user_properties=(("k", "v"), ("k", "")),
            ),
        ),
    ),
]

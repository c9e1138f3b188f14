"""What clients must not send, by statement of the specification, and the reason code that MQTT 5
gives.

MQTT 3.x has no words for any of it: there the connection just ends, except where CONNACK has a
return code.
"""

from __future__ import annotations

from typing import NamedTuple

from adapters.mqtt.packets import ProtocolVersion

V3_1, V3_1_1, V5 = ProtocolVersion.V3_1, ProtocolVersion.V3_1_1, ProtocolVersion.V5
V3 = (V3_1, V3_1_1)
ALL = (V3_1, V3_1_1, V5)

MALFORMED = 0x81
PROTOCOL_ERROR = 0x82


class Violation(NamedTuple):
    """`reason` is what MQTT 5 is told in DISCONNECT."""

    statement: str
    versions: tuple[ProtocolVersion, ...]
    hex: str
    reason: int = MALFORMED


AFTER_CONNECT = [
    # Packets as such (MQTT 5, 2.1)
    Violation("2.1.2: type 0", ALL, "00 00"),
    Violation("2.1.2: type 15 is MQTT 5's", V3, "f0 00"),
    Violation("1.5.5: remaining length of 5 bytes", ALL, "30 80 80 80 80 01"),
    Violation("[MQTT-1.5.5-1]: remaining length longer than needed", (V5,), "c0 80 00"),
    Violation("[MQTT-3.1.0-2]: a second CONNECT", V3, "10 0d 0004 4d515454 04 02 000a 0001 70"),
    Violation(
        "[MQTT-3.1.0-2]: a second CONNECT",
        (V5,),
        "10 0e 0004 4d515454 05 02 000a 00 0001 70",
        PROTOCOL_ERROR,
    ),
    Violation("3.2: CONNACK from a client", V3, "20 02 00 00"),
    Violation("3.2: CONNACK from a client", (V5,), "20 03 00 00 00", PROTOCOL_ERROR),
    Violation("3.9: SUBACK from a client", V3, "90 03 0001 00"),
    Violation("3.9: SUBACK from a client", (V5,), "90 04 0001 00 00", PROTOCOL_ERROR),
    Violation("3.11: UNSUBACK from a client", V3, "b0 02 0001"),
    Violation("3.11: UNSUBACK from a client", (V5,), "b0 04 0001 00 00", PROTOCOL_ERROR),
    Violation("3.13: PINGRESP from a client", ALL, "d0 00", PROTOCOL_ERROR),
    # Reserved flags (MQTT 5, 2.1.3)
    *[
        Violation(f"[MQTT-2.1.3-1]: flags of {data[:2]}", (V3_1_1, V5), data)
        for data in (
            "41 02 0001",
            "42 02 0001",
            "51 02 0001",
            "60 02 0001",
            "63 02 0001",
            "66 02 0001",
            "6a 02 0001",
            "78 02 0001",
            "c1 00",
            "c8 00",
            "e1 00",
            "e2 00",
        )
    ],
    *[
        Violation(f"[MQTT-3.8.1-1]: flags of {first}", (V3_1_1,), f"{first} 06 0001 0001 61 00")
        for first in ("80", "83", "86", "8a")
    ],
    *[
        Violation(f"[MQTT-3.8.1-1]: flags of {first}", (V5,), f"{first} 07 0001 00 0001 61 00")
        for first in ("80", "83", "86", "8a")
    ],
    Violation("[MQTT-3.10.1-1]: flags of a0", (V3_1_1,), "a0 05 0001 0001 61"),
    Violation("[MQTT-3.10.1-1]: flags of a0", (V5,), "a0 06 0001 00 0001 61"),
    # PUBLISH (MQTT 5, 3.3)
    Violation("[MQTT-3.3.1-4]: QoS 3", V3, "36 05 0001 61 0001"),
    Violation("[MQTT-3.3.1-4]: QoS 3", (V5,), "36 06 0001 61 0001 00"),
    Violation("[MQTT-3.3.1-2]: DUP with QoS 0", (V3_1_1,), "38 03 0001 61"),
    Violation("[MQTT-3.3.1-2]: DUP with QoS 0", (V5,), "38 04 0001 61 00"),
    Violation("[MQTT-4.7.3-1]: empty topic", V3, "30 02 0000"),
    Violation("3.3.2.1: empty topic without an alias", (V5,), "30 03 0000 00", PROTOCOL_ERROR),
    Violation("[MQTT-3.3.2-2]: wildcard in a topic", V3, "30 05 0003 612f2b"),
    Violation("[MQTT-3.3.2-2]: wildcard in a topic", (V5,), "30 04 0001 23 00"),
    Violation("[MQTT-1.5.4-1]: surrogate in a topic", V3, "30 05 0003 eda080"),
    Violation("[MQTT-1.5.4-1]: surrogate in a topic", (V5,), "30 06 0003 eda080 00"),
    Violation("[MQTT-1.5.4-2]: U+0000 in a topic", V3, "30 05 0003 610062"),
    Violation("[MQTT-1.5.4-2]: U+0000 in a topic", (V5,), "30 06 0003 610062 00"),
    Violation("[MQTT-2.2.1-3]: packet identifier 0, QoS 1", V3, "32 05 0001 61 0000"),
    Violation(
        "[MQTT-2.2.1-3]: packet identifier 0, QoS 1", (V5,), "32 06 0001 61 0000 00", PROTOCOL_ERROR
    ),
    Violation(
        "[MQTT-2.2.1-3]: packet identifier 0, QoS 2", (V5,), "34 06 0001 61 0000 00", PROTOCOL_ERROR
    ),
    Violation("3.3: no topic length", ALL, "30 00"),
    Violation("3.3: half a topic length", ALL, "30 01 00"),
    Violation("3.3: topic beyond the end", ALL, "30 03 0002 61"),
    Violation("3.3: no packet identifier", ALL, "32 03 0001 61"),
    Violation("3.3: half a packet identifier", ALL, "32 04 0001 61 00"),
    Violation("3.3: no property length", (V5,), "30 03 0001 61"),
    Violation("3.3: no property length, QoS 1", (V5,), "32 05 0001 61 0001"),
    Violation("3.3: properties beyond the end", (V5,), "30 05 0001 61 02 01"),
    Violation(
        "[MQTT-3.3.4-6]: subscription identifier", (V5,), "30 06 0001 61 02 0b01", PROTOCOL_ERROR
    ),
    Violation("[MQTT-3.3.2-8]: topic alias 0", (V5,), "30 07 0001 61 03 230000", 0x94),
    Violation(
        "[MQTT-3.3.2-9]: topic alias beyond the maximum", (V5,), "30 07 0001 61 03 23ffff", 0x94
    ),
    Violation("3.3.4: a topic alias never set", (V5,), "30 06 0000 03 230001", PROTOCOL_ERROR),
    Violation(
        "[MQTT-3.3.2-14]: wildcard in a response topic",
        (V5,),
        "30 08 0001 61 04 08 0001 2b",
        PROTOCOL_ERROR,
    ),
    Violation(
        "3.3.2.3.2: payload format indicator 2", (V5,), "30 06 0001 61 02 0102", PROTOCOL_ERROR
    ),
    Violation("2.2.2.2: property of another packet", (V5,), "30 09 0001 61 05 1100000001"),
    Violation("2.2.2.2: unknown property", (V5,), "30 06 0001 61 02 0400"),
    Violation("[MQTT-3.3.2-4]: property twice", (V5,), "30 08 0001 61 04 01000100", PROTOCOL_ERROR),
    # Acknowledgements (MQTT 5, 3.4 to 3.7)
    Violation("[MQTT-2.2.1-3]: PUBACK of 0", ALL, "40 02 0000", PROTOCOL_ERROR),
    Violation("[MQTT-2.2.1-3]: PUBREL of 0", ALL, "62 02 0000", PROTOCOL_ERROR),
    Violation("3.4: PUBACK without an identifier", ALL, "40 00"),
    Violation("3.4: half an identifier", ALL, "50 01 00"),
    Violation("3.4: too long", V3, "40 03 0001 00"),
    Violation("[MQTT-3.4.2-1]: unknown reason code", (V5,), "40 03 0001 01", PROTOCOL_ERROR),
    Violation("[MQTT-3.6.2-1]: unknown reason code", (V5,), "62 03 0001 80", PROTOCOL_ERROR),
    # SUBSCRIBE (MQTT 5, 3.8)
    Violation("[MQTT-2.2.1-3]: packet identifier 0", V3, "82 06 0000 0001 61 00"),
    Violation(
        "[MQTT-2.2.1-3]: packet identifier 0", (V5,), "82 07 0000 00 0001 61 00", PROTOCOL_ERROR
    ),
    Violation("[MQTT-3.8.3-2]: no filter", V3, "82 02 0001"),
    Violation("[MQTT-3.8.3-2]: no filter", (V5,), "82 03 0001 00", PROTOCOL_ERROR),
    Violation("3.8.3: a filter without options", V3, "82 05 0001 0001 61"),
    Violation("3.8.3: a filter without options", (V5,), "82 06 0001 00 0001 61"),
    Violation("[MQTT-3-8.3-4]: QoS 3", V3, "82 06 0001 0001 61 03"),
    Violation("3.8.3.1: QoS 3", (V5,), "82 07 0001 00 0001 61 03", PROTOCOL_ERROR),
    *[
        Violation(f"[MQTT-3-8.3-4]: reserved option {bits}", V3, f"82 06 0001 0001 61 {bits}")
        for bits in ("04", "08", "10", "20", "40", "80")
    ],
    *[
        Violation(f"[MQTT-3.8.3-5]: reserved option {bits}", (V5,), f"82 07 0001 00 0001 61 {bits}")
        for bits in ("40", "80")
    ],
    Violation("3.8.3.1: retain handling 3", (V5,), "82 07 0001 00 0001 61 30", PROTOCOL_ERROR),
    Violation("[MQTT-4.7.3-1]: empty filter", V3, "82 05 0001 0000 00"),
    Violation("[MQTT-4.7.3-1]: empty filter", (V5,), "82 06 0001 00 0000 00"),
    Violation("[MQTT-4.7.1-1]: # inside", V3, "82 08 0001 0003 232f61 00"),
    Violation("[MQTT-4.7.1-1]: # inside", (V5,), "82 09 0001 00 0003 232f61 00"),
    Violation("[MQTT-4.7.1-2]: + in a level", V3, "82 07 0001 0002 612b 00"),
    Violation("[MQTT-4.7.1-2]: + in a level", (V5,), "82 08 0001 00 0002 612b 00"),
    Violation("[MQTT-1.5.4-2]: U+0000 in a filter", (V5,), "82 07 0001 00 0001 00 00"),
    Violation(
        "[MQTT-3.8.3-4]: no local on a shared subscription",
        (V5,),
        "82 10 0001 00 000a 2473686172652f672f61 04",
        PROTOCOL_ERROR,
    ),
    Violation(
        "[MQTT-4.8.2-1]: no share name",
        (V5,),
        "82 0f 0001 00 0009 2473686172652f2f61 00",
        PROTOCOL_ERROR,
    ),
    Violation(
        "[MQTT-4.8.2-2]: share name alone",
        (V5,),
        "82 0e 0001 00 0008 2473686172652f67 00",
        PROTOCOL_ERROR,
    ),
    Violation(
        "3.8.2.1.2: subscription identifier 0",
        (V5,),
        "82 09 0001 02 0b00 0001 61 00",
        PROTOCOL_ERROR,
    ),
    Violation(
        "3.8.2.1.2: two identifiers", (V5,), "82 0b 0001 04 0b010b02 0001 61 00", PROTOCOL_ERROR
    ),
    # UNSUBSCRIBE (MQTT 5, 3.10)
    Violation(
        "[MQTT-2.2.1-3]: packet identifier 0", (V5,), "a2 06 0000 00 0001 61", PROTOCOL_ERROR
    ),
    Violation("[MQTT-3.10.3-2]: no filter", V3, "a2 02 0001"),
    Violation("[MQTT-3.10.3-2]: no filter", (V5,), "a2 03 0001 00", PROTOCOL_ERROR),
    Violation("[MQTT-4.7.3-1]: empty filter", V3, "a2 04 0001 0000"),
    Violation("3.10.3: half a filter", (V5,), "a2 06 0001 00 0002 61"),
    # The rest
    Violation("3.12: PINGREQ with a body", ALL, "c0 01 00"),
    Violation("3.14: DISCONNECT with a body", V3, "e0 01 00"),
    Violation("[MQTT-3.14.2-1]: unknown reason code", (V5,), "e0 01 01", PROTOCOL_ERROR),
    Violation(
        "3.14.2.2.2: a session expiry interval that was 0",
        (V5,),
        "e0 07 00 05 1100000001",
        PROTOCOL_ERROR,
    ),
    Violation(
        "3.14.2.2.5: server reference from a client",
        (V5,),
        "e0 06 00 04 1c 0001 61",
        PROTOCOL_ERROR,
    ),
    Violation("4.12: AUTH without a method", (V5,), "f0 00", PROTOCOL_ERROR),
    Violation("4.12: AUTH to start over", (V5,), "f0 06 19 04 15 0001 6d", PROTOCOL_ERROR),
]


class Refusal(NamedTuple):
    """A first packet and the whole answer to it, as far as a reason string is not part of it."""

    statement: str
    hex: str
    answer: str


CONNECTS = [
    Refusal("[MQTT-3.1.0-1]: the first packet is not CONNECT", "c0 00", ""),
    Refusal("[MQTT-3.1.0-1]: half a PUBLISH, long enough to see", "30 ff", ""),
    Refusal("3.1.2.1: not MQTT at all", "10 0d 0004 4d515455 04 02 000a 0001 70", ""),
    Refusal("3.1.2.1: a name cut short", "10 02 0004", ""),
    Refusal("[MQTT-3.1.2-2]: level 2", "10 0d 0004 4d515454 02 02 000a 0001 70", "20 02 00 01"),
    Refusal(
        "[MQTT-3.1.2-2]: level 3 is MQIsdp's",
        "10 0d 0004 4d515454 03 02 000a 0001 70",
        "20 02 00 01",
    ),
    Refusal("3.1.2.2: level 6", "10 0e 0004 4d515454 06 02 000a 00 0001 70", "20 .. 00 84"),
    Refusal(
        "3.1.2.1: another name with level 5",
        "10 0e 0004 4d515455 05 02 000a 00 0001 70",
        "20 .. 00 84",
    ),
    Refusal("[MQTT-2.1.3-1]: flags of the header", "11 0d 0004 4d515454 04 02 000a 0001 70", ""),
    Refusal(
        "[MQTT-2.1.3-1]: flags of the header",
        "12 0e 0004 4d515454 05 02 000a 00 0001 70",
        "20 .. 00 81",
    ),
    Refusal("[MQTT-3.1.2-3]: reserved flag", "10 0d 0004 4d515454 04 03 000a 0001 70", ""),
    Refusal(
        "[MQTT-3.1.2-3]: reserved flag", "10 0e 0004 4d515454 05 03 000a 00 0001 70", "20 .. 00 81"
    ),
    Refusal(
        "[MQTT-3.1.2-11]: will QoS without a will", "10 0d 0004 4d515454 04 0a 000a 0001 70", ""
    ),
    Refusal(
        "[MQTT-3.1.2-13]: will retain without a will",
        "10 0e 0004 4d515454 05 22 000a 00 0001 70",
        "20 .. 00 81",
    ),
    Refusal(
        "[MQTT-3.1.2-12]: will QoS 3", "10 13 0004 4d515454 04 1e 000a 0001 70 0001 77 0001 6d", ""
    ),
    Refusal(
        "[MQTT-3.1.2-12]: will QoS 3",
        "10 15 0004 4d515454 05 1e 000a 00 0001 70 00 0001 77 0001 6d",
        "20 .. 00 81",
    ),
    Refusal(
        "4.7.1: wildcard in a will topic",
        "10 13 0004 4d515454 04 06 000a 0001 70 0001 2b 0001 6d",
        "",
    ),
    Refusal(
        "4.7.1: wildcard in a will topic",
        "10 15 0004 4d515454 05 06 000a 00 0001 70 00 0001 23 0001 6d",
        "20 .. 00 81",
    ),
    Refusal(
        "[MQTT-3.1.2-9]: will flag without a will", "10 0d 0004 4d515454 04 06 000a 0001 70", ""
    ),
    Refusal(
        "[MQTT-3.1.2-22]: password without user name",
        "10 10 0004 4d515454 04 42 000a 0001 70 0001 70",
        "",
    ),
    Refusal(
        "[MQTT-3.1.2-19]: user name flag without one", "10 0d 0004 4d515454 04 82 000a 0001 70", ""
    ),
    Refusal(
        "[MQTT-3.1.2-18]: a user name without the flag",
        "10 10 0004 4d515454 04 02 000a 0001 70 0001 75",
        "",
    ),
    Refusal(
        "[MQTT-3.1.3-8]: empty identifier, session kept",
        "10 0c 0004 4d515454 04 00 000a 0000",
        "20 02 00 02",
    ),
    Refusal(
        "3.1 of MQTT 3.1: empty identifier",
        "10 0e 0006 4d5149736470 03 02 000a 0000",
        "20 02 00 02",
    ),
    Refusal(
        "[MQTT-1.5.4-2]: U+0000 in the identifier", "10 0d 0004 4d515454 04 02 000a 0001 00", ""
    ),
    Refusal(
        "[MQTT-1.5.4-2]: U+0000 in the identifier",
        "10 0e 0004 4d515454 05 02 000a 00 0001 00",
        "20 .. 00 81",
    ),
    Refusal("3.1: no identifier at all", "10 0a 0004 4d515454 04 02 000a", ""),
    Refusal("3.1: no properties", "10 0a 0004 4d515454 05 02 000a", "20 .. 00 81"),
    Refusal(
        "3.1.2.11.3: receive maximum 0",
        "10 11 0004 4d515454 05 02 000a 03 210000 0001 70",
        "20 .. 00 82",
    ),
    Refusal(
        "3.1.2.11.4: maximum packet size 0",
        "10 13 0004 4d515454 05 02 000a 05 2700000000 0001 70",
        "20 .. 00 82",
    ),
    Refusal(
        "3.1.2.11.7: request problem information 2",
        "10 10 0004 4d515454 05 02 000a 02 1702 0001 70",
        "20 .. 00 82",
    ),
    Refusal(
        "3.1.2.11.2: session expiry twice",
        "10 18 0004 4d515454 05 02 000a 0a 1100000001 1100000001 0001 70",
        "20 .. 00 82",
    ),
    Refusal(
        "3.1.2.11.10: authentication data alone",
        "10 12 0004 4d515454 05 02 000a 04 16 0001 64 0001 70",
        "20 .. 00 82",
    ),
    Refusal(
        "[MQTT-4.12.0-1]: enhanced authentication",
        "10 12 0004 4d515454 05 02 000a 04 15 0001 6d 0001 70",
        "20 .. 00 8c",
    ),
]

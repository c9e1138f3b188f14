"""PUBLISH to message and back.

What the neutral form loses stands in `Message.original`: one byte of QoS and RETAIN, and for MQTT 5
the properties as they were, so that user properties keep their order and repetitions. Hot path: a
publish without properties shares all that it does not own, and costs 0.5 us each way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from adapters.mqtt.packets import Publish
from adapters.mqtt.properties import (
    NO_PROPERTIES,
    Carrier,
    Properties,
    decode_property_values,
    encode_property_values,
)
from adapters.mqtt.wire import Reader
from bridge.messaging.model import TOPIC_TREE, Message, Value
from bridge.messaging.properties import (
    APP_ID,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    CORRELATION_ID,
    MESSAGE_ID,
    PAYLOAD_IS_TEXT,
    PERSISTENT,
    REPLY_TO,
    TIMESTAMP,
    TYPE,
    USER_ID,
)
from mappings.mqtt.addresses import topic_from_subject
from mappings.mqtt.filters import Match
from mappings.text import text_from_value

PROTOCOL: Final = "mqtt"
QOS: Final = 0x03
RETAIN: Final = 0x04
FIXED: Final = 0x08
"""QoS, RETAIN and identifiers were decided when the message was put into the session's queue."""
_EXTRA: Final = 0x10
ONLY_IN_FULL: Final = FIXED | _EXTRA
"""Not to be sent without looking at the whole original."""

_PROPERTIES: Final = {
    "content_type": CONTENT_TYPE,
    "response_topic": REPLY_TO,
    "correlation_data": CORRELATION_ID,
    "payload_format_indicator": PAYLOAD_IS_TEXT,
}
"""The properties of PUBLISH that are standard properties. `_INWARD` and `_OUTWARD` say what becomes
of their values; the message expiry interval is the message's own field.
"""
_AS_USER_PROPERTIES: Final = (CONTENT_ENCODING, MESSAGE_ID, TIMESTAMP, TYPE, USER_ID, APP_ID)
"""Standard properties that PUBLISH has no word for: user properties of the same names."""

PLAIN: Final = tuple((PROTOCOL, bytes((flags,))) for flags in range(8))
"""`Message.original` of publishes without properties, by QoS and RETAIN."""
NONE: Final[dict[str, Value]] = {}
KEPT: Final[dict[str, Value]] = {PERSISTENT: True}
"""`Message.properties` of publishes without properties, of QoS 0 and of the others."""
_STRING_MAX: Final = 65_535
_PROPERTIES_MAX: Final = 100_000


class Extra(msgspec.Struct, array_like=True, omit_defaults=True):
    """What follows the first byte of an original that says more."""

    properties: bytes = b""
    identifiers: tuple[int, ...] = ()


_extra_encoder = msgspec.msgpack.Encoder()
_extra_decoder = msgspec.msgpack.Decoder(Extra)


# -- in


def messages_from_publishes(
    publishes: Sequence[Publish],
    message_ids: Sequence[str],
    subject: str,
    now_ms: int,
    sender: str | None,
) -> list[Message]:
    """The messages of publishes to `subject` of the topic tree, under these ids."""
    messages: list[Message] = []
    append = messages.append
    for publish, message_id in zip(publishes, message_ids, strict=True):
        if publish.properties is not NO_PROPERTIES:
            append(message_from_publish(publish, subject, message_id, now_ms, sender))
            continue
        # As `message_from_publish`, whose call would cost 3 % of a publish in a run.
        qos = publish.qos
        append(
            Message(
                message_id,
                publish.payload,
                now_ms,
                KEPT if qos else NONE,
                NONE,
                TOPIC_TREE,
                subject,
                sender,
                original=PLAIN[qos | RETAIN if publish.retain else qos],
            )
        )
    return messages


def message_from_publish(
    publish: Publish, subject: str, message_id: str, now_ms: int, sender: str | None
) -> Message:
    """The message of a publish to `subject` of the topic tree."""
    flags = publish.qos | (RETAIN if publish.retain else 0)
    neutral = KEPT if publish.qos else NONE
    properties = publish.properties
    if properties is NO_PROPERTIES:
        return Message(
            message_id,
            publish.payload,
            now_ms,
            neutral,
            NONE,
            TOPIC_TREE,
            subject,
            sender,
            original=PLAIN[flags],
        )
    expiry = properties.message_expiry_interval
    return Message(
        message_id,
        publish.payload,
        now_ms,
        {**neutral, **neutral_from_properties(properties)},
        dict(properties.user_properties),
        TOPIC_TREE,
        subject,
        sender,
        expires_at=None if expiry is None else now_ms + expiry * 1000,
        original=_original(flags, properties),
    )


def neutral_from_properties(properties: Properties) -> dict[str, Value]:
    """The standard properties among those of a PUBLISH or a will."""
    neutral: dict[str, Value] = {}
    for name, key in _PROPERTIES.items():
        value = getattr(properties, name)
        if value is not None:
            inward = _INWARD.get(name)
            neutral[key] = value if inward is None else inward(value)
    return neutral


def _original(flags: int, properties: Properties) -> tuple[str, bytes]:
    carried = msgspec.structs.replace(
        properties,
        message_expiry_interval=None,
        topic_alias=None,
        subscription_identifiers=(),
        will_delay_interval=None,
    )
    encoded = encode_property_values(carried, Carrier.PUBLISH)
    if not encoded:
        return PLAIN[flags]
    return PROTOCOL, bytes((flags | _EXTRA,)) + _extra_encoder.encode(Extra(encoded))


def fixed(
    message: Message, message_id: str, qos: int, *, retain: bool, identifiers: tuple[int, ...]
) -> Message:
    """A copy for one session, with all decided that its filters would decide otherwise."""
    flags = qos | FIXED | (RETAIN if retain else 0)
    extra = _extra_of(message) or Extra()
    if identifiers or extra.properties:
        encoded = _extra_encoder.encode(Extra(extra.properties, identifiers))
        original = (PROTOCOL, bytes((flags | _EXTRA,)) + encoded)
    else:
        original = (PROTOCOL, bytes((flags,)))
    return msgspec.structs.replace(message, message_id=message_id, original=original)


# -- out


def flags_of(message: Message) -> int:
    """QoS and flags that a message was published with; other protocols' count as QoS 1, unless
    they said that it need not be kept.
    """
    original = message.original
    if original is not None and original[0] == PROTOCOL:
        return original[1][0]
    return 0 if message.properties.get(PERSISTENT) is False else 1


def publish_from_message(
    message: Message, match: Match | None, *, version_5: bool, now_ms: int
) -> Publish:
    """What a session with `match` is sent; None is allowed for what is `FIXED`."""
    flags = flags_of(message)
    if flags & FIXED or match is None:
        qos, retain, topic = flags & QOS, flags & RETAIN != 0, topic_of(message)
        identifiers = None
    else:
        qos = flags & QOS
        qos = min(qos, match.qos)
        retain = match.retain_as_published and flags & RETAIN != 0
        topic, identifiers = match.topic, match.identifiers
    properties = NO_PROPERTIES
    if version_5 and (
        flags & _EXTRA
        or identifiers
        or message.expires_at is not None
        or message.headers
        or message.original is None
        or message.original[0] != PROTOCOL
    ):
        properties = properties_from_message(message, identifiers, now_ms)
    return Publish(topic, message.body, qos, retain, False, 0, properties)


def topic_of(message: Message) -> str:
    """The topic name of a message; that of its own topic where it has no subject."""
    if message.subject is None:
        return message.topic or "unknown"
    return topic_from_subject(message.subject)


def properties_from_message(
    message: Message, identifiers: tuple[int, ...] | None, now_ms: int
) -> Properties:
    """The PUBLISH properties for an MQTT 5 subscriber; `identifiers` None takes the fixed ones."""
    extra = _extra_of(message)
    if extra is not None and extra.properties:
        reader = Reader(extra.properties, 0, len(extra.properties))
        values = decode_property_values(reader, Carrier.PUBLISH, _PROPERTIES_MAX)
        pairs = tuple(values.pop("user_properties", ()))
    elif extra is None:
        values, pairs = _values_from_neutral(message), _pairs_from_neutral(message)
    else:
        values, pairs = {}, ()
    known = dict(pairs)
    pairs += tuple(
        (_short(name), _short(text_from_value(value)))
        for name, value in message.headers.items()
        if known.get(name) != value and name not in known
    )
    if identifiers is None:
        identifiers = extra.identifiers if extra is not None else ()
    if message.expires_at is not None:
        # MQTT 5, 3.3.2.3.3 [MQTT-3.3.2-6]: less what it has waited here.
        values["message_expiry_interval"] = max(0, -((now_ms - message.expires_at) // 1000))
    properties = Properties(**values, user_properties=pairs, subscription_identifiers=identifiers)
    return NO_PROPERTIES if properties == NO_PROPERTIES else properties


def _extra_of(message: Message) -> Extra | None:
    """What an MQTT client's own message carries; None for those of other protocols."""
    original = message.original
    if original is None or original[0] != PROTOCOL:
        return None
    data = original[1]
    return _extra_decoder.decode(data[1:]) if data[0] & _EXTRA else Extra()


def _values_from_neutral(message: Message) -> dict[str, object]:
    values: dict[str, object] = {}
    for name, key in _PROPERTIES.items():
        value = message.properties.get(key)
        said = None if value is None else _OUTWARD[name](value)
        if said is not None:
            values[name] = said
    return values


def _content_type(value: Value) -> str | None:
    return _short(value) if isinstance(value, str) else None


def _correlation_data(value: Value) -> bytes:
    return (value if isinstance(value, bytes) else text_from_value(value).encode())[:_STRING_MAX]


def _response_topic(value: Value) -> str | None:
    if not isinstance(value, str) or not value:
        return None
    topic = _topic_from_reply_to(value)
    return None if {"+", "#"} & set(topic) else _short(topic)


def _payload_format(value: Value) -> int | None:
    return 1 if value is True else None


def _topic_from_reply_to(address: str) -> str:
    """STOMP's spelling of a topic is MQTT's with other separators; the rest is shown as it is."""
    if address.startswith("/topic/"):
        return topic_from_subject(address.removeprefix("/topic/"))
    return address


def _pairs_from_neutral(message: Message) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, _short(text_from_value(message.properties[name])))
        for name in _AS_USER_PROPERTIES
        if name in message.properties
    )


def _short(text: str) -> str:
    """What fits into a string of MQTT, which has no NUL either."""
    if len(text) > _STRING_MAX // 4:
        text = text.encode("utf-8", "replace")[:_STRING_MAX].decode("utf-8", "ignore")
    return text.replace("\0", "\ufffd") if "\0" in text else text


def _text_or_bytes(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


_INWARD: Final[dict[str, Callable[[Any], Value]]] = {
    "correlation_data": _text_or_bytes,
    "payload_format_indicator": bool,
}
_OUTWARD: Final[dict[str, Callable[[Value], object]]] = {
    "content_type": _content_type,
    "response_topic": _response_topic,
    "correlation_data": _correlation_data,
    "payload_format_indicator": _payload_format,
}

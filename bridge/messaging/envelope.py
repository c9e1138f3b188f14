"""The form that a message takes in SQS, and back. Hot path: what is not special costs little.

A body that SQS takes is the text; any other is base64 with `landbridge-body: base64`, an empty
one `-` with `landbridge-body: empty`. Properties and headers that an attribute can hold become
one, and the subject `landbridge-subject`; all else, and what is over ten, is JSON in
`landbridge-properties`, which cloud code can read without a library. Each value travels once, so
nothing can disagree; what cloud code adds as an attribute wins over what is packed under that name.
Types and texts of attributes from cloud code are kept to the letter in `Message.original`. Not
carried, since SQS has its own: message id, times, sender, group and deduplication id.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from bridge.messaging import properties as standard
from bridge.messaging.attributes import Attribute, is_legal_name, is_legal_text, legal_text_of
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import TOPIC_TREE, Message, Value
from bridge.messaging.values import (
    attribute_from_value,
    is_canonical,
    json_from_value,
    same_value,
    value_from_attribute,
    value_from_json,
)

BODY_ATTRIBUTE: Final = "landbridge-body"
SUBJECT_ATTRIBUTE: Final = "landbridge-subject"
PROPERTIES_ATTRIBUTE: Final = "landbridge-properties"
ORIGIN_ATTRIBUTE: Final = "landbridge-origin"
"""On messages in SNS that a node published there: its id. No part of the message."""
AGAIN_ATTRIBUTE: Final = "landbridge-again"
"""On messages in SQS that were sent once more, since no answer had come. No part of the message.

Not reserved: where the API stands for SQS, it keeps the attribute as any other.
"""
RESERVED_ATTRIBUTES: Final = frozenset(
    {BODY_ATTRIBUTE, SUBJECT_ATTRIBUTE, PROPERTIES_ATTRIBUTE, ORIGIN_ATTRIBUTE}
)

EMPTY_BODY: Final = "-"
"""What stands for a body of no bytes."""

ORIGINAL: Final = "sqs"
"""The protocol under which `Message.original` keeps what an attribute's value does not tell."""

_ATTRIBUTES_MAX: Final = ServiceLimits().attributes_max
_NAME_LENGTH_MAX: Final = ServiceLimits().attribute_name_length_max
_BASE64 = Attribute("String", "base64")
_EMPTY = Attribute("String", "empty")

_PLAIN_TYPES: Final[dict[str, tuple[type, ...]]] = {
    standard.CONTENT_TYPE: (str,),
    standard.CONTENT_ENCODING: (str,),
    standard.CORRELATION_ID: (str, bytes),
    standard.REPLY_TO: (str,),
    standard.MESSAGE_ID: (str,),
    standard.TIMESTAMP: (int,),
    standard.TYPE: (str,),
    standard.USER_ID: (str,),
    standard.APP_ID: (str,),
}
"""Standard properties that cloud code has a use for, and what an attribute must hold to be one."""

_PACKED_TYPES: Final[dict[str, tuple[type, ...]]] = {
    **_PLAIN_TYPES,
    standard.PERSISTENT: (bool,),
    standard.PAYLOAD_IS_TEXT: (bool,),
}


class _AsSent(msgspec.Struct, omit_defaults=True, array_like=True):
    """What cloud code sent and the neutral form would lose."""

    attributes: dict[str, Attribute] = {}
    base64: bool = False


_as_sent_encoder = msgspec.msgpack.Encoder()
_as_sent_decoder = msgspec.msgpack.Decoder(_AsSent)
_packed_encoder = msgspec.json.Encoder()


def plain_text_of(message: Message) -> str | None:
    """The body of a message that is nothing but text; None for all others."""
    if (
        message.headers
        or message.properties
        or message.original is not None
        or message.topic is not None
        or message.subject is not None
        or message.priority is not None
        or message.expires_at is not None
        or not message.body
    ):
        return None
    return legal_text_of(message.body)


def attributes_from_message(
    message: Message, *, carry_delay: bool = False, attributes_max: int = _ATTRIBUTES_MAX
) -> tuple[str, dict[str, Attribute]]:
    """Body and attributes under which `message` stands in SQS; at most `attributes_max` of them.

    `carry_delay`: its delay is longer than SQS gives, and has to be found again when it arrives.
    """
    text = None if carry_delay else plain_text_of(message)
    if text is not None:
        return text, {}
    body = message.body
    text = legal_text_of(body) if body else None
    attributes: dict[str, Attribute] = {}
    as_sent = _as_sent(message)
    if not body:
        text = EMPTY_BODY
        attributes[BODY_ATTRIBUTE] = _EMPTY
    elif text is None or as_sent.base64:
        text = b64encode(body).decode()
        attributes[BODY_ATTRIBUTE] = _BASE64
    packed = _pack_address(message, attributes)
    if carry_delay and message.visible_at is not None:
        packed["visible_at"] = message.visible_at
    plain, properties, headers = _sort_out(message, as_sent.attributes)
    room = attributes_max - len(attributes)
    if packed or properties or headers or len(plain) > room:
        room -= 1
        for is_header, name, value, _ in plain[room:]:
            left = headers if is_header else properties
            left[name] = value
        if properties:
            packed["properties"] = json_from_value(properties)
        if headers:
            packed["headers"] = json_from_value(headers)
        packed_text = _packed_encoder.encode(packed).decode()
        attributes[PROPERTIES_ATTRIBUTE] = Attribute("String", packed_text)
    attributes.update({name: attribute for _, name, _, attribute in plain[:room]})
    return text, attributes


def message_from_attributes(
    body: str, attributes: Mapping[str, Attribute], *, message_id: str, sent_at: int
) -> Message:
    """The message that stands in SQS under `body` and `attributes`."""
    if not attributes:
        return Message(message_id, body.encode(), sent_at)
    message = Message(message_id, b"", sent_at)
    as_sent = _AsSent()
    rest = dict(attributes)
    _read_body(message, body, rest, as_sent)
    packed = _read_packed(rest)
    _read_subject(message, rest)
    headers: dict[str, Value] = {}
    properties: dict[str, Value] = {}
    for name, attribute in rest.items():
        value = value_from_attribute(attribute)
        types = _PLAIN_TYPES.get(name)
        if types is not None and type(value) in types:
            properties[name] = value
        else:
            headers[name] = value
        if not is_canonical(attribute, value) or not _stays_plain(name):
            as_sent.attributes[name] = attribute
    message.headers = headers
    message.properties = properties
    if as_sent.attributes or as_sent.base64:
        message.original = (ORIGINAL, _as_sent_encoder.encode(as_sent))
    if packed is not None:
        _unpack(message, packed)
    return message


def attributes_for_filter(message: Message) -> Mapping[str, Value]:
    """What filter policies of subscriptions and rules see: headers, properties and the subject."""
    if not message.properties and message.subject is None:
        return message.headers
    seen = {**message.properties, **message.headers}
    if message.subject is not None:
        seen.setdefault(SUBJECT_ATTRIBUTE, message.subject)
    return seen


_Plain = tuple[bool, str, Value, Attribute]


def _sort_out(
    message: Message, as_sent: dict[str, Attribute]
) -> tuple[list[_Plain], dict[str, Value], dict[str, Value]]:
    """The properties and headers that can be attributes, and the properties and headers left."""
    plain: list[_Plain] = []
    properties: dict[str, Value] = {}
    headers: dict[str, Value] = {}
    for name, value in message.properties.items():
        types = _PLAIN_TYPES.get(name)
        attribute = _attribute_as_sent(name, value, as_sent)
        if attribute is None or types is None or type(value) not in types:
            properties[name] = value
        else:
            plain.append((False, name, value, attribute))
    for name, value in message.headers.items():
        types = _PLAIN_TYPES.get(name)
        attribute = _attribute_as_sent(name, value, as_sent)
        if (
            attribute is None
            or name in message.properties
            # It would come back as a property.
            or (types is not None and type(value) in types)
        ):
            headers[name] = value
        else:
            plain.append((True, name, value, attribute))
    return plain, properties, headers


def _attribute_as_sent(name: str, value: Value, as_sent: dict[str, Attribute]) -> Attribute | None:
    """The attribute of one value: the one it came in, unless it was changed since."""
    sent = as_sent.get(name)
    if sent is not None and same_value(value_from_attribute(sent), value):
        return sent
    return attribute_from_value(value) if _stays_plain(name) else None


def _stays_plain(name: str) -> bool:
    """Whether a header may be an attribute under its own name."""
    return len(name) <= _NAME_LENGTH_MAX and _is_plain_name(name)


@lru_cache(maxsize=4096)
def _is_plain_name(name: str) -> bool:
    return is_legal_name(name) and name not in RESERVED_ATTRIBUTES


def _pack_address(message: Message, attributes: dict[str, Attribute]) -> dict[str, object]:
    """Begin what is packed with the fields of the message; put its subject among `attributes`."""
    packed: dict[str, object] = {}
    subject = message.subject
    implied_topic: str | None = None
    if subject is not None:
        if subject and is_legal_text(subject):
            attributes[SUBJECT_ATTRIBUTE] = Attribute("String", subject)
            implied_topic = TOPIC_TREE
        else:
            packed["subject"] = json_from_value(subject)
    if message.topic != implied_topic:
        packed["topic"] = json_from_value(message.topic)
    if message.priority is not None:
        packed["priority"] = message.priority
    if message.expires_at is not None:
        packed["expires_at"] = message.expires_at
        # The time between the two is the publisher's; SQS has its own time of sending.
        packed["sent_at"] = message.sent_at
    if message.original is not None and message.original[0] != ORIGINAL:
        packed["original"] = [message.original[0], b64encode(message.original[1]).decode()]
    return packed


def _as_sent(message: Message) -> _AsSent:
    if message.original is None or message.original[0] != ORIGINAL:
        return _AsSent()
    return _as_sent_decoder.decode(message.original[1])


def _read_body(message: Message, body: str, rest: dict[str, Attribute], as_sent: _AsSent) -> None:
    """Take the flag of the body out of `rest`, if it tells the truth, and decode accordingly."""
    message.body = body.encode()
    flag = rest.get(BODY_ATTRIBUTE)
    if flag == _EMPTY and body == EMPTY_BODY:
        message.body = b""
    elif flag == _BASE64:
        try:
            message.body = b64decode(body, validate=True)
        except ValueError:
            return
        as_sent.base64 = legal_text_of(message.body) is not None
    else:
        return
    del rest[BODY_ATTRIBUTE]


def _read_packed(rest: dict[str, Attribute]) -> dict[str, Any] | None:
    """Take what is packed out of `rest`; None where there is nothing, or nothing that we packed."""
    attribute = rest.get(PROPERTIES_ATTRIBUTE)
    if attribute is None or attribute.data_type != "String":
        return None
    try:
        held = msgspec.json.decode(attribute.string_value or "")
        packed = _checked(held)
    except (ValueError, RecursionError):
        return None
    del rest[PROPERTIES_ATTRIBUTE]
    return packed


def _checked(held: Any) -> dict[str, Any]:
    """What is packed, with its values restored. Raises `ValueError` for what was never packed."""
    if not isinstance(held, dict):
        raise ValueError("not an object")
    packed: dict[str, Any] = {}
    for name, value in held.items():
        packed[name] = restored = value_from_json(value)
        match name, restored:
            case (("headers" | "properties"), dict()):
                pass
            case "subject", str():
                pass
            case "topic", (str() | None):
                pass
            case (("priority" | "expires_at" | "sent_at" | "visible_at"), int()) if not isinstance(
                restored, bool
            ):
                pass
            case "original", [str() as protocol, str() as encoded]:
                packed[name] = (protocol, b64decode(encoded, validate=True))
            case _:
                raise ValueError(f"{name!r} is not packed like this")
    return packed


def _unpack(message: Message, packed: dict[str, Any]) -> None:
    """Add what is packed to `message`, where no attribute says otherwise."""
    message.topic = packed.get("topic", message.topic)
    if message.subject is None:
        message.subject = packed.get("subject")
    message.priority = packed.get("priority")
    message.expires_at = packed.get("expires_at")
    message.sent_at = packed.get("sent_at", message.sent_at)
    message.visible_at = packed.get("visible_at")
    message.original = packed.get("original", message.original)
    for name, value in packed.get("properties", {}).items():
        types = _PACKED_TYPES.get(name)
        fits = types is None or type(value) in types
        (message.properties if fits else message.headers).setdefault(name, value)
    for name, value in packed.get("headers", {}).items():
        message.headers.setdefault(name, value)


def _read_subject(message: Message, rest: dict[str, Attribute]) -> None:
    attribute = rest.get(SUBJECT_ATTRIBUTE)
    if attribute is not None and attribute.data_type == "String" and attribute.string_value:
        message.subject = attribute.string_value
        message.topic = TOPIC_TREE
        del rest[SUBJECT_ATTRIBUTE]

"""Message attributes of requests and results: SQS's checks, sizes and sums, and the way into a
message and back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bridge.api.errors import INVALID_PARAMETER_VALUE, ApiError
from bridge.api.sqs.shapes import MessageAttributeValue
from bridge.messaging.attributes import (
    Attribute,
    attribute_size,
    base_type,
    is_legal_name,
    is_legal_number,
    is_legal_text,
    is_reserved_name,
)
from bridge.messaging.checksums import md5_of_attributes
from bridge.messaging.envelope import attributes_from_message, message_from_attributes
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.model import Message

_LIMITS = ServiceLimits()
DATA_TYPE_LENGTH_MAX = 256
TRACE_HEADER = "AWSTraceHeader"
TRACE_KEY = "AWS.TraceHeader"
"""The header that carries it through the model; no user's attribute can have this name."""
ALL = frozenset({"All", ".*", "*"})


def checked(values: Mapping[str, MessageAttributeValue]) -> dict[str, Attribute]:
    """A request's attributes. Raises InvalidParameterValue in SQS's words."""
    if len(values) > _LIMITS.attributes_max:
        raise INVALID_PARAMETER_VALUE(
            f"Number of message attributes [{len(values)}] exceeds the allowed maximum"
            f" [{_LIMITS.attributes_max}]."
        )
    return {name: _checked_attribute(name, value) for name, value in values.items()}


def checked_system(values: Mapping[str, MessageAttributeValue]) -> dict[str, Attribute]:
    """A request's system attributes: senders may set the trace header, and nothing else."""
    for name in values:
        if name != TRACE_HEADER:
            raise INVALID_PARAMETER_VALUE(
                f"Message system attribute name '{name}' is invalid. Valid values are:"
                f" [{TRACE_HEADER}]"
            )
    attributes = {name: _checked_value(name, value) for name, value in values.items()}
    for name, attribute in attributes.items():
        if attribute.data_type != "String":
            raise INVALID_PARAMETER_VALUE(
                f"Message system attribute '{name}' must be of type 'String'."
            )
    return attributes


def message_with(
    message: Message,
    text: str,
    values: Mapping[str, MessageAttributeValue],
    system: Mapping[str, MessageAttributeValue],
) -> Message:
    """The message that a send with attributes makes, in the place of a plain one."""
    message = message_from_attributes(
        text, checked(values), message_id=message.message_id, sent_at=message.sent_at
    )
    for attribute in checked_system(system).values():
        message.headers = {**message.headers, TRACE_KEY: attribute.string_value}
    return message


def shown(
    message: Message, names: Sequence[str] | None
) -> tuple[str, dict[str, MessageAttributeValue]]:
    """The body of a message, and those of its attributes that a receive asked for."""
    if TRACE_KEY in message.headers:
        headers = {name: value for name, value in message.headers.items() if name != TRACE_KEY}
        message = msgspec.structs.replace(message, headers=headers)
    text, attributes = attributes_from_message(message)
    if attributes and names:
        return text, selected(attributes, names)
    return text, {}


def with_trace_header(message: Message, value: str) -> None:
    """Note the trace header that came with the request, unless the message brings its own."""
    message.headers = {TRACE_KEY: value, **message.headers}


def trace_header_of(message: Message) -> str | None:
    """The trace header that the sender gave."""
    value = message.headers.get(TRACE_KEY)
    return value if isinstance(value, str) else None


def unchecked(values: Mapping[str, MessageAttributeValue]) -> dict[str, Attribute]:
    """The same without any check, for sizes and sums."""
    return {
        name: Attribute(value.data_type or "", value.string_value, value.binary_value)
        for name, value in values.items()
    }


def size_of(values: Mapping[str, MessageAttributeValue]) -> int:
    """What a request's attributes add to the size of its message."""
    return sum(attribute_size(name, each) for name, each in unchecked(values).items())


def md5_of(values: Mapping[str, MessageAttributeValue] | None) -> str | None:
    """The sum that goes with attributes; none where there are none."""
    return md5_of_attributes(unchecked(values)) if values else None


def selected(
    attributes: Mapping[str, Attribute], names: Sequence[str]
) -> dict[str, MessageAttributeValue]:
    """Those that a receive asked for: by name, by `prefix.*`, or all."""
    if not ALL.isdisjoint(names):
        wanted = attributes
    else:
        prefixes = tuple(name[:-2] for name in names if name.endswith(".*"))
        wanted = {
            name: attribute
            for name, attribute in attributes.items()
            if name in names or (prefixes and name.startswith(prefixes))
        }
    return {
        name: MessageAttributeValue(
            each.data_type, string_value=each.string_value, binary_value=each.binary_value
        )
        for name, each in wanted.items()
    }


def _checked_attribute(name: str, value: MessageAttributeValue) -> Attribute:
    if not name:
        raise INVALID_PARAMETER_VALUE("Message (user) attribute names must not be empty.")
    if len(name) > _LIMITS.attribute_name_length_max:
        raise INVALID_PARAMETER_VALUE(
            "Message (user) attribute names must be shorter than 256 Bytes"
        )
    if is_reserved_name(name):
        raise INVALID_PARAMETER_VALUE(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These"
            " strings are"
            " reserved for internal use."
        )
    if not is_legal_name(name):
        raise INVALID_PARAMETER_VALUE(
            f"Message (user) attribute name '{name}' is invalid. It can contain alphanumeric"
            f" characters,"
            " hyphens, underscores and periods; it must not start or end with a period, or have"
            " periods"
            " in succession."
        )
    return _checked_value(name, value)


def _checked_value(name: str, value: MessageAttributeValue) -> Attribute:
    data_type = value.data_type
    if not data_type:
        raise INVALID_PARAMETER_VALUE(
            f"The message attribute '{name}' must contain a non-empty message attribute type."
        )
    base = base_type(data_type)
    if base is None or len(data_type) >= DATA_TYPE_LENGTH_MAX:
        raise INVALID_PARAMETER_VALUE(
            f"The type of message (user) attribute '{name}' is invalid. You must use only the"
            f" following"
            " supported type prefixes: Binary, Number, String."
        )
    if value.string_list_values or value.binary_list_values:
        raise INVALID_PARAMETER_VALUE(
            f"Message (user) attribute '{name}' must not contain a list of values."
        )
    if base == "Binary":
        if value.string_value is not None:
            raise _wrong_field(name, data_type, "BinaryValue")
        if not value.binary_value:
            raise _empty(name, data_type)
        return Attribute(data_type, binary_value=value.binary_value)
    if value.binary_value is not None:
        raise _wrong_field(name, data_type, "StringValue")
    text = value.string_value
    if not text:
        raise _empty(name, data_type)
    if not is_legal_text(text):
        raise INVALID_PARAMETER_VALUE(
            f"Message (user) attribute '{name}' contains invalid characters. Valid unicode"
            f" characters are"
            " #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        )
    if base == "Number" and not is_legal_number(text):
        raise INVALID_PARAMETER_VALUE(
            f"Can't cast the value of message (user) attribute '{name}' to a number."
        )
    return Attribute(data_type, text)


def _empty(name: str, data_type: str) -> ApiError:
    return INVALID_PARAMETER_VALUE(
        f"Message (user) attribute '{name}' must contain a non-empty value of type '{data_type}'."
    )


def _wrong_field(name: str, data_type: str, field: str) -> ApiError:
    return INVALID_PARAMETER_VALUE(
        f"The message attribute '{name}' with type '{data_type}' must use field '{field}'."
    )

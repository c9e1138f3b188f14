"""Message attributes of publishes: SNS's checks, whose words are not SQS's."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.api.errors import SNS_PARAMETER_VALUE_INVALID, SNS_VALIDATION_ERROR, ApiError
from bridge.api.sqs.shapes import MessageAttributeValue
from bridge.messaging.attributes import (
    Attribute,
    base_type,
    first_illegal_name_character,
    is_legal_number,
    is_legal_text,
    is_reserved_name,
)

NAME_BYTES_MAX = 256


def checked(values: Mapping[str, MessageAttributeValue], place: str = "") -> dict[str, Attribute]:
    """A publish's attributes; `place` is where in the request they stand.

    Raises ParameterValueInvalid and ValidationError in SNS's words.
    """
    for name in values:
        _check_name(name)
    return {name: _checked_value(name, value, place) for name, value in values.items()}


def _check_name(name: str) -> None:
    if not name:
        raise _invalid("The message attribute name must not be empty.")
    if len(name.encode()) > NAME_BYTES_MAX:
        raise _invalid("Length of message attribute name must be less than 256 bytes.")
    if name.startswith("."):
        raise _invalid("Invalid message attribute name starting with character '.' was found.")
    if name.endswith("."):
        raise _invalid("Invalid message attribute name ending with character '.' was found.")
    if ".." in name:
        raise _invalid("Message attribute name can not have successive '.' character.")
    illegal = first_illegal_name_character(name)
    if illegal is not None:
        raise _invalid(
            f"Invalid non-alphanumeric character '#x{ord(illegal):X}' was found in the message"
            " attribute name. Can only include alphanumeric characters, hyphens, underscores,"
            " or dots."
        )
    if is_reserved_name(name):
        raise _invalid(
            f"The message attribute name '{name}' begins with a prefix that is reserved: AWS.,"
            " Amazon."
        )


def _checked_value(name: str, value: MessageAttributeValue, place: str) -> Attribute:
    data_type = value.data_type
    if data_type is None:
        raise SNS_VALIDATION_ERROR(
            f"1 validation error detected: Value null at '{place}messageAttributes.{name}.member"
            ".dataType' failed to satisfy constraint: Member must not be null"
        )
    if not data_type:
        raise _invalid(
            f"The message attribute '{name}' must contain non-empty message attribute type."
        )
    base = base_type(data_type)
    # SQS takes a dot with no label behind it; SNS was recorded to refuse it.
    if base is None or data_type == f"{base}.":
        raise _invalid(
            f"The message attribute '{name}' has an invalid message attribute type, the set of"
            " supported type prefixes is Binary, Number, and String."
        )
    field = "Binary" if base == "Binary" else "String"
    other = value.string_value if base == "Binary" else value.binary_value
    if other is not None:
        raise _invalid(
            f"The message attribute '{name}' with type '{data_type}' must use field '{field}'."
        )
    if base == "Binary":
        if not value.binary_value:
            raise _empty(name, data_type)
        return Attribute(data_type, binary_value=value.binary_value)
    text = value.string_value
    if not text:
        raise _empty(name, data_type)
    if not is_legal_text(text):
        raise _invalid(f"Invalid character was found in the message attribute '{name}'.")
    if base == "Number" and not is_legal_number(text):
        raise _invalid(f"Could not cast message attribute '{name}' value to number.")
    return Attribute(data_type, text)


def _empty(name: str, data_type: str) -> ApiError:
    return _invalid(
        f"The message attribute '{name}' must contain non-empty message attribute value for message"
        f" attribute type '{data_type}'."
    )


def _invalid(message: str) -> ApiError:
    return SNS_PARAMETER_VALUE_INVALID(message)

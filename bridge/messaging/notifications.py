"""SNS's notification: the JSON around a message for subscriptions that are not raw.

Laid out as AWS does it, one field in a line. `text_to_sign` says what is signed (SNS developer
guide, "Verifying the signatures of Amazon SNS messages"); who signs is passed in. FIFO topics do
not sign.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from bridge.messaging.attributes import Attribute

SIGNED_FIELDS: Final = (
    "Message",
    "MessageId",
    "Subject",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
)
"""Fields that are signed, in their order, each where the message has it."""


class Signing(NamedTuple):
    """How a topic signs: `version` 1 is RSA with SHA-1, 2 with SHA-256; `sign` answers base64."""

    version: str
    certificate_url: str
    sign: Callable[[bytes], str]


def notification(  # noqa: PLR0913 - each is a field of the envelope
    text: str,
    attributes: Mapping[str, Attribute],
    *,
    topic_arn: str,
    message_id: str,
    sent_at: int,
    unsubscribe_url: str,
    subject: str | None = None,
    sequence_number: str | None = None,
    signing: Signing | None = None,
) -> str:
    """The envelope of one message, whose body and attributes are as `envelope` makes them.

    `sent_at` is in epoch milliseconds; `subject` is SNS's own, a line for a reader. Topics of type
    FIFO give a `sequence_number` and no `signing`.
    """
    fields = {"Type": "Notification", "MessageId": message_id}
    if sequence_number is not None:
        fields["SequenceNumber"] = sequence_number
    fields["TopicArn"] = topic_arn
    if subject is not None:
        fields["Subject"] = subject
    fields["Message"] = text
    fields["Timestamp"] = timestamp_text(sent_at)
    if signing is not None:
        fields |= signature_of(fields, signing)
    fields["UnsubscribeURL"] = unsubscribe_url
    lines = [f"{_quoted(name)} : {_quoted(value)}" for name, value in fields.items()]
    if attributes:
        members = [f"    {_quoted(name)} : {_member(each)}" for name, each in attributes.items()]
        lines.append('"MessageAttributes" : {\n' + ",\n".join(members) + "\n  }")
    return "{\n  " + ",\n  ".join(lines) + "\n}"


def signature_of(fields: Mapping[str, str], signing: Signing) -> dict[str, str]:
    """The three fields that sign `fields`, of a notification or a confirmation."""
    return {
        "SignatureVersion": signing.version,
        "Signature": signing.sign(text_to_sign(fields)),
        "SigningCertURL": signing.certificate_url,
    }


def text_to_sign(fields: Mapping[str, str]) -> bytes:
    """Name and value of each signed field, each followed by a newline."""
    signed = [f"{name}\n{fields[name]}\n" for name in SIGNED_FIELDS if name in fields]
    return "".join(signed).encode()


def timestamp_text(epoch_ms: int) -> str:
    """ISO 8601 in UTC with milliseconds."""
    seconds, milliseconds = divmod(epoch_ms, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


def _member(attribute: Attribute) -> str:
    value = attribute.string_value
    if value is None:
        value = b64encode(attribute.binary_value or b"").decode()
    return f'{{"Type":{_quoted(attribute.data_type)},"Value":{_quoted(value)}}}'


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)

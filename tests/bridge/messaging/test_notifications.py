"""The envelope that SNS puts around messages."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bridge.messaging.attributes import Attribute
from bridge.messaging.notifications import (
    Signing,
    notification,
    signature_of,
    text_to_sign,
    timestamp_text,
)

TOPIC = "arn:aws:sns:us-east-1:000000000000:events"
UNSUBSCRIBE = "http://localhost:4566/?Action=Unsubscribe"


def test_the_layout_is_that_of_aws() -> None:
    text = notification(
        'say "hi"\n',
        {"n": Attribute("Number", "1"), "b": Attribute("Binary", None, b"\x00")},
        topic_arn=TOPIC,
        message_id="m-1",
        unsubscribe_url=UNSUBSCRIBE,
        sent_at=1_767_323_045_678,
        subject="greeting",
        signing=Signing("1", "http://localhost/cert.pem", lambda _: "c2ln"),
    )
    assert text == (
        "{\n"
        '  "Type" : "Notification",\n'
        '  "MessageId" : "m-1",\n'
        f'  "TopicArn" : "{TOPIC}",\n'
        '  "Subject" : "greeting",\n'
        '  "Message" : "say \\"hi\\"\\n",\n'
        '  "Timestamp" : "2026-01-02T03:04:05.678Z",\n'
        '  "SignatureVersion" : "1",\n'
        '  "Signature" : "c2ln",\n'
        '  "SigningCertURL" : "http://localhost/cert.pem",\n'
        '  "UnsubscribeURL" : "http://localhost:4566/?Action=Unsubscribe",\n'
        '  "MessageAttributes" : {\n'
        '    "n" : {"Type":"Number","Value":"1"},\n'
        '    "b" : {"Type":"Binary","Value":"AA=="}\n'
        "  }\n"
        "}"
    )


def test_first_in_first_out_topics_number_and_do_not_sign() -> None:
    text = notification(
        "x",
        {},
        topic_arn=TOPIC,
        message_id="m-1",
        unsubscribe_url=UNSUBSCRIBE,
        sent_at=0,
        sequence_number="1" * 20,
    )
    envelope = json.loads(text)
    assert list(envelope) == [
        "Type",
        "MessageId",
        "SequenceNumber",
        "TopicArn",
        "Message",
        "Timestamp",
        "UnsubscribeURL",
    ]
    assert envelope["SequenceNumber"] == "1" * 20
    assert envelope["Timestamp"] == "1970-01-01T00:00:00.000Z"


def test_what_is_signed() -> None:
    fields = {"Type": "Notification", "TopicArn": "t", "MessageId": "m", "Message": "x\ny"}
    fields["Timestamp"] = "now"
    assert text_to_sign(fields) == (
        b"Message\nx\ny\nMessageId\nm\nTimestamp\nnow\nTopicArn\nt\nType\nNotification\n"
    )
    fields["Subject"] = "s\u00e4"
    assert b"MessageId\nm\nSubject\ns\xc3\xa4\nTimestamp\n" in text_to_sign(fields)
    confirmation = {
        "Type": "SubscriptionConfirmation",
        "MessageId": "m",
        "Token": "k",
        "TopicArn": "t",
        "Message": "x",
        "SubscribeURL": "u",
        "Timestamp": "now",
    }
    assert text_to_sign(confirmation) == (
        b"Message\nx\nMessageId\nm\nSubscribeURL\nu\nTimestamp\nnow\nToken\nk\nTopicArn\nt\n"
        b"Type\nSubscriptionConfirmation\n"
    )


def test_a_signature_can_be_verified() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def sign(text: bytes) -> str:
        return b64encode(key.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()

    fields = {"Message": "x", "Type": "Notification"}
    signed = signature_of(fields, Signing("2", "http://localhost/cert.pem", sign))
    key.public_key().verify(
        b64decode(signed["Signature"]), text_to_sign(fields), padding.PKCS1v15(), hashes.SHA256()
    )
    assert signed["SignatureVersion"] == "2"


def test_timestamps() -> None:
    assert timestamp_text(1_767_323_045_007) == "2026-01-02T03:04:05.007Z"

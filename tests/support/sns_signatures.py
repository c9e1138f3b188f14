"""Checks a message of SNS as its subscribers do: with the certificate that it names."""

from __future__ import annotations

import base64
import urllib.request
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


def check_signature(envelope: dict[str, Any]) -> None:
    """Raises InvalidSignature where a field was changed."""
    fields = ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    if envelope["Type"] != "Notification":
        fields = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    text = "".join(f"{each}\n{envelope[each]}\n" for each in fields if each in envelope)
    with urllib.request.urlopen(envelope["SigningCertURL"], timeout=60) as answer:
        certificate = x509.load_pem_x509_certificate(answer.read())
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(
        base64.b64decode(envelope["Signature"]),
        text.encode(),
        padding.PKCS1v15(),
        hashes.SHA1() if envelope["SignatureVersion"] == "1" else hashes.SHA256(),
    )

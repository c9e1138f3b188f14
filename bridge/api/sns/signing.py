"""The key that signs notifications, and its certificate, which subscribers fetch to check them.

Made once and kept in the state store, so that a subscriber may cache the certificate by its URL, as
with SNS. SNS developer guide, "Verifying the signatures of Amazon SNS messages".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from bridge.messaging.clock import Clock
from bridge.messaging.model import StateChange, UnitOfWork
from bridge.messaging.ports import StateStore, Store

KIND = "sns-signing-key"
KEY_BITS = 2048
CERTIFICATE_DAYS = 3_650
_HASHES: Mapping[str, type[hashes.HashAlgorithm]] = {"1": hashes.SHA1, "2": hashes.SHA256}
NOTIFICATION_FIELDS = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
CONFIRMATION_FIELDS = (
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
)


class _Stored(msgspec.Struct, array_like=True):
    key: bytes
    certificate: bytes


class Signer:
    """Signs envelopes. The key is read, or made, when the first one is asked for."""

    def __init__(self, store: Store, state: StateStore, clock: Clock) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._key: rsa.RSAPrivateKey | None = None
        self._certificate = b""
        self._secret = b""
        state.watch([KIND], lambda _: self._forget())

    def _forget(self) -> None:
        """Another node has made the key, at the same time: all of them use the one that stays."""
        self._key = None

    @property
    def certificate(self) -> bytes:
        """The certificate, PEM."""
        self._ready()
        return self._certificate

    @property
    def certificate_name(self) -> str:
        """The file name under which the certificate is served."""
        digest = hashlib.sha256(self.certificate).hexdigest()[:32]
        return f"SimpleNotificationService-{digest}.pem"

    def sign(self, envelope: Mapping[str, object], version: str) -> str:
        """The signature of an envelope, in base64; `version` says which hash."""
        fields = NOTIFICATION_FIELDS if envelope["Type"] == "Notification" else CONFIRMATION_FIELDS
        text = "".join(
            f"{name}\n{envelope[name]}\n" for name in fields if envelope.get(name) is not None
        )
        signature = self._ready().sign(text.encode(), padding.PKCS1v15(), _HASHES[version]())
        return base64.b64encode(signature).decode()

    def token_of(self, text: str) -> str:
        """A token that only the holder of the key can make, for links in messages."""
        self._ready()
        return hmac.new(self._secret, text.encode(), hashlib.sha512).hexdigest()

    def _ready(self) -> rsa.RSAPrivateKey:
        if self._key is None:
            value = self._state.get(KIND, "1")
            stored = self._make() if value is None else msgspec.msgpack.decode(value, type=_Stored)
            key = serialization.load_pem_private_key(stored.key, None)
            assert isinstance(key, rsa.RSAPrivateKey)
            self._key, self._certificate = key, stored.certificate
            self._secret = stored.key
        return self._key

    def _make(self) -> _Stored:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=KEY_BITS)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        now = datetime.fromtimestamp(self._clock.epoch_ms() / 1000, UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=CERTIFICATE_DAYS))
            .sign(key, hashes.SHA256())
        )
        stored = _Stored(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate.public_bytes(serialization.Encoding.PEM),
        )
        unit = UnitOfWork()
        unit.state.append(StateChange(KIND, "1", msgspec.msgpack.encode(stored)))
        self._store.submit(unit)
        return stored

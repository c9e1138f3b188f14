"""A certificate authority for tests, made with `cryptography`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bridge.net.tls import TlsFiles

ADDRESSES = [
    x509.DNSName("localhost"),
    x509.IPAddress(ip_address("127.0.0.1")),
    x509.IPAddress(ip_address("::1")),
]


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


@dataclass(frozen=True)
class Issued:
    certificate: Path
    key: Path


class Authority:
    """Issues certificates into a folder of its own."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.certificate = folder / "ca.pem"
        self.certificate.write_bytes(
            self._signed(self._name, self._key, authority=True).public_bytes(
                serialization.Encoding.PEM
            )
        )

    def issue(self, common_name: str, *, file: str = "", password: str | None = None) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        stem = file or common_name
        issued = Issued(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        certificate = self._signed(_name(common_name), key, authority=False)
        issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if password is not None:
            encryption = serialization.BestAvailableEncryption(password.encode())
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
            )
        )
        return issued

    def server_files(
        self, name: str = "localhost", *, clients: bool = False, required: bool = False
    ) -> TlsFiles:
        issued = self.issue(name)
        return TlsFiles(
            issued.certificate,
            issued.key,
            client_ca=self.certificate if clients or required else None,
            require_client_certificate=required,
        )

    def client_context(self, shown: Issued | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.certificate)
        context.check_hostname = False
        if shown is not None:
            context.load_cert_chain(shown.certificate, shown.key)
        return context

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, authority: bool
    ) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(ADDRESSES), critical=False)
            .sign(self._key, hashes.SHA256())
        )

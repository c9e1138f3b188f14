"""The forms of password hashes that are understood: our own, RabbitMQ's and mosquitto's.

- argon2, as `landbridge user hash` makes it: `$argon2id$v=19$m=...,t=...,p=...$salt$hash`
- RabbitMQ's export: base64 of a 4-byte salt and SHA-256 or SHA-512 of salt and password, told
  apart by length, or by `rabbitmq-sha256:` and `rabbitmq-sha512:` in front
- mosquitto_passwd: `$7$iterations$salt$hash` (PBKDF2 with SHA-512) and `$6$salt$hash` (SHA-512)
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from base64 import b64decode
from dataclasses import dataclass
from typing import Final, Protocol

import argon2

_ARGON2: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
"""OWASP's parameters: 19 MiB for some 20 ms, so that a crowd of clients can log in."""
_ARGON2_MEMORY_KIB_MAX: Final = 1024 * 1024
_ITERATIONS_MAX: Final = 10_000_000
_RABBITMQ_SALT_SIZE: Final = 4
_RABBITMQ_PREFIXES: Final = {"rabbitmq-sha256:": "sha256", "rabbitmq-sha512:": "sha512"}
_ALLOWED: Final = (
    "allowed: what `landbridge user hash` prints, RabbitMQ's SHA-256 and SHA-512 hashes,"
    " mosquitto_passwd's $6$ and $7$"
)


class PasswordHashInvalid(ValueError):
    """The text is no password hash that is understood; says what is."""


class PasswordHash(Protocol):
    """One stored hash."""

    @property
    def slow(self) -> bool:
        """True where verifying takes milliseconds, and so must not be done on the event loop."""
        ...

    def verify(self, password: bytes) -> bool:
        """Compare in time that does not depend on how much of the password is right."""
        ...


@dataclass(frozen=True, slots=True)
class Argon2Hash:
    """Our own form; the library reads the parameters from it."""

    encoded: str
    slow: bool = True

    def verify(self, password: bytes) -> bool:
        try:
            return _ARGON2.verify(self.encoded, password)
        except argon2.exceptions.VerificationError:
            return False


@dataclass(frozen=True, slots=True)
class SaltedHash:
    """One round of SHA over salt and password, in either order."""

    algorithm: str
    salt: bytes
    digest: bytes
    salt_first: bool
    slow: bool = False

    def verify(self, password: bytes) -> bool:
        salted = self.salt + password if self.salt_first else password + self.salt
        return hmac.compare_digest(hashlib.new(self.algorithm, salted).digest(), self.digest)


@dataclass(frozen=True, slots=True)
class Pbkdf2Hash:
    """Many rounds of SHA-512."""

    iterations: int
    salt: bytes
    digest: bytes
    slow: bool = True

    def verify(self, password: bytes) -> bool:
        digest = hashlib.pbkdf2_hmac(
            "sha512", password, self.salt, self.iterations, dklen=len(self.digest)
        )
        return hmac.compare_digest(digest, self.digest)


def make_password_hash(password: bytes) -> str:
    """A new argon2id hash of a password."""
    return _ARGON2.hash(password)


def parse_password_hash(text: str) -> PasswordHash:
    """Recognise a stored hash. Raises `PasswordHashInvalid`, whose text does not show the hash."""
    if text.startswith("$argon2"):
        return _argon2_hash(text)
    if text.startswith("$7$"):
        return _mosquitto_pbkdf2(text)
    if text.startswith("$6$"):
        return _mosquitto_sha512(text)
    for prefix, algorithm in _RABBITMQ_PREFIXES.items():
        if text.startswith(prefix):
            return _rabbitmq_hash(text.removeprefix(prefix), algorithm)
    return _rabbitmq_hash(text, None)


def _argon2_hash(text: str) -> Argon2Hash:
    try:
        parameters = argon2.extract_parameters(text)
    except argon2.exceptions.InvalidHashError:
        raise PasswordHashInvalid("is cut off or damaged: not a whole argon2 hash") from None
    if parameters.memory_cost > _ARGON2_MEMORY_KIB_MAX:
        raise PasswordHashInvalid(
            f"asks for {parameters.memory_cost} KiB of memory per login"
            f" (allowed: up to {_ARGON2_MEMORY_KIB_MAX})"
        )
    return Argon2Hash(text)


def _mosquitto_pbkdf2(text: str) -> Pbkdf2Hash:
    parts = text.split("$")
    if len(parts) != 5 or not parts[2].isdecimal():
        raise PasswordHashInvalid("is cut off: mosquitto writes $7$iterations$salt$hash")
    iterations = int(parts[2])
    if not 1 <= iterations <= _ITERATIONS_MAX:
        raise PasswordHashInvalid(f"has {iterations} iterations (allowed: 1 to {_ITERATIONS_MAX})")
    salt, digest = _base64(parts[3]), _base64(parts[4])
    if not salt or len(digest) != hashlib.sha512().digest_size:
        raise PasswordHashInvalid("is cut off: mosquitto writes $7$iterations$salt$hash")
    return Pbkdf2Hash(iterations, salt, digest)


def _mosquitto_sha512(text: str) -> SaltedHash:
    parts = text.split("$")
    if len(parts) == 4:
        salt, digest = _base64(parts[2]), _base64(parts[3])
        if salt and len(digest) == hashlib.sha512().digest_size:
            return SaltedHash("sha512", salt, digest, salt_first=False)
    raise PasswordHashInvalid("is cut off: mosquitto writes $6$salt$hash in base64")


def _rabbitmq_hash(text: str, algorithm: str | None) -> SaltedHash:
    salted = _base64(text)
    digest_size = len(salted) - _RABBITMQ_SALT_SIZE
    if digest_size == hashlib.md5(usedforsecurity=False).digest_size:
        raise PasswordHashInvalid(f"is an MD5 hash of an old RabbitMQ; {_ALLOWED}")
    for known in ("sha256", "sha512") if algorithm is None else (algorithm,):
        if digest_size == hashlib.new(known).digest_size:
            salt, digest = salted[:_RABBITMQ_SALT_SIZE], salted[_RABBITMQ_SALT_SIZE:]
            return SaltedHash(known, salt, digest, salt_first=True)
    raise PasswordHashInvalid(f"is not a password hash; {_ALLOWED}")


def _base64(text: str) -> bytes:
    """The decoded bytes, or nothing where it is not base64."""
    try:
        return b64decode(text, validate=True)
    except binascii.Error:
        return b""

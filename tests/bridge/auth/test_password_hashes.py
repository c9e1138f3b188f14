"""The forms of password hashes, with hashes that the other brokers' own tools made."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest

from bridge.auth import PasswordHashInvalid, make_password_hash, parse_password_hash

# From RabbitMQ's documentation on password hashing: salt 908D C60A, password "test12".
RABBITMQ_SHA256 = "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
SALT = bytes(range(12))


def rabbitmq(algorithm: str, password: bytes) -> str:
    salt = bytes.fromhex("908dc60a")
    return b64encode(salt + hashlib.new(algorithm, salt + password).digest()).decode()


def mosquitto6(password: bytes) -> str:
    digest = hashlib.sha512(password + SALT).digest()
    return f"$6${b64encode(SALT).decode()}${b64encode(digest).decode()}"


def mosquitto7(password: bytes, iterations: int = 101) -> str:
    digest = hashlib.pbkdf2_hmac("sha512", password, SALT, iterations)
    return f"$7${iterations}${b64encode(SALT).decode()}${b64encode(digest).decode()}"


def test_a_hash_made_here_verifies() -> None:
    made = make_password_hash(b"correct horse")
    assert made.startswith("$argon2id$")
    stored = parse_password_hash(made)
    assert stored.slow
    assert stored.verify(b"correct horse")
    assert not stored.verify(b"correct horse ")


def test_the_documented_hash_of_rabbitmq_verifies() -> None:
    stored = parse_password_hash(RABBITMQ_SHA256)
    assert stored.verify(b"test12")
    assert not stored.verify(b"test13")


@pytest.mark.parametrize(
    "text",
    [
        rabbitmq("sha256", b"secret"),
        rabbitmq("sha512", b"secret"),
        "rabbitmq-sha256:" + rabbitmq("sha256", b"secret"),
        "rabbitmq-sha512:" + rabbitmq("sha512", b"secret"),
        mosquitto6(b"secret"),
        mosquitto7(b"secret"),
    ],
)
def test_hashes_of_other_brokers_verify(text: str) -> None:
    stored = parse_password_hash(text)
    assert stored.verify(b"secret")
    assert not stored.verify(b"Secret")
    assert not stored.verify(b"")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
        "$argon2id$v=19$m=99999999,t=2,p=1$c29tZXNhbHQ$c29tZWhhc2hzb21laGFzaA",
        "$7$0$AAAA$AAAA",
        mosquitto7(b"x").rpartition("$")[0],
        mosquitto7(b"x").replace("$101$", "$10000001$"),
        "$6$AAAA$AAAA",
        "$5$rounds=5000$x$y",
        rabbitmq("md5", b"x"),
        "rabbitmq-sha512:" + rabbitmq("sha256", b"x"),
    ],
)
def test_what_is_no_hash_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(PasswordHashInvalid) as refused:
        parse_password_hash(text)
    if text:
        assert text not in str(refused.value)


def test_iterations_at_the_bound_are_taken() -> None:
    assert parse_password_hash(mosquitto7(b"x").replace("$101$", "$10000000$")).slow

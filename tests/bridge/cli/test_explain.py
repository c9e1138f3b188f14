"""`landbridge explain`, run as users run it."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from pathlib import Path

import pytest

from bridge.auth import make_password_hash
from tests.support.program import run_landbridge

HASH = make_password_hash(b"secret")
RABBITMQ_HASH = b64encode(b"salt" + hashlib.sha256(b"saltpw").digest()).decode()


def test_explain_shows_route_by_route(tmp_path: Path) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        "routes:\n"
        "  - name: meters\n"
        "    from: stomp:/queue/meter.{line}\n"
        "    filter: {unit: [kWh]}\n"
        "    to: ['sqs:line-{line}', default]\n"
        "  - {name: others, from: 'stomp:/queue/other', to: sqs:x}\n"
    )
    source = "stomp:/queue/meter.7"
    result = run_landbridge("explain", source, "--attribute", "unit=kWh", directory=tmp_path)
    assert result.returncode == 0
    assert "route 'meters' (from stomp:/queue/meter.{line}): matches with line=7" in result.stdout
    assert "to sqs:line-{line}: queue line-7 (to be created)" in result.stdout
    assert "route 'others' (from stomp:/queue/other): does not match" in result.stdout
    result = run_landbridge("explain", source, directory=tmp_path)
    assert "but its filter does not" in result.stdout
    assert not (tmp_path / "landbridge-data").exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("mqtt:plant/7", "user 'meter': may publish this"),
        ("mqtt:other", "REFUSED, so nothing of this happens: write access to topic 'other'"),
        ("amqp:/own", "REFUSED, so nothing of this happens: write access to exchange 'amq."),
        ("stomp:/queue/own", "user 'meter': may publish this"),
        ("stomp:own", "user 'meter': may publish this"),
        ("stomp:/amq/queue/other", "REFUSED, so nothing of this happens: write access to exchange"),
        ("stomp:/topic/plant.7", "user 'meter': may publish this"),
        (
            "stomp:/topic/other",
            "REFUSED, so nothing of this happens: write access to topic 'other'",
        ),
        ("sqs:orders", "sqs:orders in namespace /"),
    ],
)
def test_explain_says_whether_the_user_may(tmp_path: Path, source: str, said: str) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        "users:\n"
        "  - name: meter\n"
        f"    password_hash: {HASH}\n"
        "    permissions: [{write: '^(amq[.]topic|own)$', configure: '^own$'}]\n"
        "    topics: {publish: ['plant/#']}\n"
    )
    result = run_landbridge("explain", source, "--user", "meter", directory=tmp_path)
    assert result.returncode == 0
    assert said in result.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("user", "problem"),
    [
        ("mater", "it is neither in the configuration nor in the store; did you mean 'meter'?"),
        ("probe", "it has no password_hash, and no listener asks for certificates (tls.client_ca)"),
        ("anonymous", "it is neither in the configuration nor in the store; known: meter, probe"),
    ],
)
def test_explain_says_that_a_user_cannot_log_in(tmp_path: Path, user: str, problem: str) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        f"users: [{{name: meter, password_hash: '{HASH}'}}, {{name: probe}}]\n"
    )
    result = run_landbridge("explain", "mqtt:a", "--user", user, directory=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"user {user!r} cannot log in: {problem}\n"


def test_explain_knows_who_needs_no_credentials(tmp_path: Path) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        f"users: [{{name: meter, password_hash: '{HASH}'}}]\n"
        "listeners: {mqtt: {anonymous: true}}\n"
    )
    result = run_landbridge("explain", "mqtt:a", "--user", "anonymous", directory=tmp_path)
    assert result.stdout.startswith("user 'anonymous': may publish this, where a listener lets in")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["stomp:/queue/a", "--attribute", "x"], ["stomp:/nowhere/a"]]
)
def test_explain_refuses_what_is_no_source(tmp_path: Path, arguments: list[str]) -> None:
    result = run_landbridge("explain", *arguments, directory=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("source", "client", "said"),
    [
        # Subjects count in topic exchanges only, and an exchange that clients declare may be one.
        ("amqp:amq.direct/k", "c", "may publish this"),
        ("amqp:own/k", "c", "REFUSED, so nothing of this happens: write access to topic 'k'"),
        ("amqp:amq.topic/c", "c", "REFUSED, so nothing of this happens: write access to topic 'c'"),
        ("stomp:/topic/c", "c", "may publish this"),
        ("mqtt:c", "c", "may publish this"),
        ("mqtt:c", "d", "REFUSED, so nothing of this happens: write access to topic 'c'"),
    ],
)
def test_explain_asks_about_subjects_as_the_protocol_does(
    tmp_path: Path, source: str, client: str, said: str
) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        "users:\n"
        "  - name: meter\n"
        f"    password_hash: {HASH}\n"
        "    topic_permissions:\n"
        "      - {exchange: amq.topic, write: '^{client_id}$'}\n"
        "      - {exchange: amq.direct, write: '^never$'}\n"
        "      - {exchange: own, write: '^never$'}\n"
    )
    result = run_landbridge(
        "explain", source, "--user", "meter", "--client-id", client, directory=tmp_path
    )
    assert result.stdout.startswith(f"user 'meter': {said}")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("amqp:/q", "may publish this"),
        ("amqp:amq.topic/a", "REFUSED, so nothing of this happens: write access to exchange 'amq."),
        (
            "stomp:/queue/new",
            "REFUSED, so nothing of this happens: configure access to queue",
        ),
    ],
)
def test_explain_knows_what_an_imported_user_may(tmp_path: Path, source: str, said: str) -> None:
    definitions = {
        "rabbitmq_version": "3.13.7",
        "vhosts": [{"name": "/"}],
        "users": [{"name": "shop", "password_hash": RABBITMQ_HASH, "tags": []}],
        "permissions": [
            {"user": "shop", "vhost": "/", "configure": "", "write": "^amq.default$", "read": ""}
        ],
    }
    (tmp_path / "definitions.json").write_text(json.dumps(definitions))
    assert not run_landbridge(
        "import", "rabbitmq", "definitions.json", directory=tmp_path
    ).returncode
    result = run_landbridge("explain", source, "--user", "shop", directory=tmp_path)
    assert result.stdout.startswith(f"user 'shop': {said}")


def test_explain_does_not_know_the_users_of_a_state_table(tmp_path: Path) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        f"backend: {{kind: aws}}\nusers: [{{name: meter, password_hash: '{HASH}'}}]\n"
    )
    result = run_landbridge("explain", "mqtt:a", "--user", "shop", directory=tmp_path)
    assert "it is not in the configuration, and the state table is not asked" in result.stderr


@pytest.mark.parametrize("source", ["amqp:/orders", "amqp:amq.default/orders"])
def test_the_default_exchange_has_two_names(tmp_path: Path, source: str) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        "queues: [{name: orders}]\n"
        "routes: [{name: copies, from: 'amqp:amq.default/orders', to: [default, 'sqs:copy']}]\n"
    )
    result = run_landbridge("explain", source, directory=tmp_path)
    assert result.stdout == (
        "amqp:/orders in namespace /\n"
        "route 'copies' (from amqp:amq.default/orders): matches\n"
        "  to default: queue orders\n"
        "  to sqs:copy: queue copy\n"
        "default mapping: replaced by the routes above\n"
    )

"""What check says of names that nothing answers to, and of which it says nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.auth import make_password_hash
from tests.support.program import run_landbridge

HASH = make_password_hash(b"secret")
USER = f"namespaces: [shop]\nusers:\n  - name: a\n    password_hash: {HASH}\n"


def warnings_of(directory: Path, text: str) -> list[str]:
    (directory / "f.yaml").write_text(text)
    result = run_landbridge("check", "f.yaml", directory=directory)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line for line in result.stdout.splitlines() if line.startswith("warning: f.yaml")]
    return [line.removeprefix("warning: ") for line in lines]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            USER + "    namespaces: [/, shop, shpo]\n",
            (
                "f.yaml:5: users[0].namespaces[2]: 'shpo' is no namespace (did you mean 'shop'?);"
                " until it is one (under namespaces, or by an import or the management API), this"
                " permits nothing"
            ),
        ),
        (
            USER + "    permissions:\n      - {namespace: staging, read: .*}\n",
            "f.yaml:6: users[0].permissions[0].namespace: 'staging' is no namespace; until",
        ),
        (
            USER + "    topic_permissions: [{namespace: staging}]\n",
            "f.yaml:5: users[0].topic_permissions[0].namespace: 'staging' is no namespace; until",
        ),
        (
            USER + "    topic_permissions: [{exchange: amq.topics, write: a}]\n",
            (
                "f.yaml:5: users[0].topic_permissions[0].exchange: 'amq.topics' is no exchange (did"
                " you mean 'amq.topic'?), and clients cannot declare names that begin with amq."
            ),
        ),
        (
            USER + "    tags: [management, adminstrator]\n",
            (
                "f.yaml:5: users[0].tags[1]: 'adminstrator' opens nothing of the management API;"
                " did you mean 'administrator'?"
            ),
        ),
        (
            USER + "    topics: {publish: ['p/{user}/{username}'], subscribe: ['{client_id}/#']}\n",
            "f.yaml:5: users[0].topics.publish[0]: {username} stands for itself; known: {user}",
        ),
        (
            USER + "    topics: {subscribe: ['p/%c/#']}\n",
            "f.yaml:5: users[0].topics.subscribe[0]: %c stands for itself; known: {user}",
        ),
        (
            "queues:\n  - {name: orders, dead_letter: faild}\n  - {name: failed}\n",
            (
                "f.yaml:2: queues[0].dead_letter: there is no queue 'faild' in namespace '/' (did"
                " you mean 'failed'?); until somebody makes it, what is rejected or returned too"
                " often goes to queue 'landbridge-dead-letters', and what expires or does not"
                " fit is gone"
            ),
        ),
        (
            "namespaces: [shop]\nqueues: [{name: a, namespace: shop, dead_letter: b}, {name: b}]\n",
            "f.yaml:2: queues[0].dead_letter: there is no queue 'b' in namespace 'shop' (did you",
        ),
        (
            "queues:\n  - name: orders\n    dead_letter: {topic: dead}\n",
            "f.yaml:3: queues[0].dead_letter: there is no exchange 'dead' in namespace '/'; until",
        ),
        (
            "queues: [{name: orders, redrive: {queue: failed, receive_count_max: 3}}]\n",
            (
                "f.yaml:1: queues[0].redrive: there is no queue 'failed' in namespace '/'; until"
                " somebody makes it, messages stay where they are"
            ),
        ),
        (
            (
                "backend: {kind: aws}\n"
                "queues: [{name: orders, redrive: {queue: failed, receive_count_max: 3}}]\n"
            ),
            (
                "f.yaml:2: queues[0].redrive: there is no queue 'failed' in namespace '/'; unless"
                " SQS has it, the broker does not start"
            ),
        ),
    ],
)
def test_a_name_that_nothing_answers_to(tmp_path: Path, text: str, warning: str) -> None:
    (found,) = warnings_of(tmp_path, text)
    assert found.startswith(warning)


@pytest.mark.parametrize(
    "text",
    [
        USER + "    namespaces: [/, shop]\n    tags: [monitoring]\n"
        "    topic_permissions: [{exchange: own}, {exchange: amq.topic}]\n",
        (
            "queues: [{name: a, dead_letter: b}, {name: b, dead_letter: {topic: amq.fanout}}]\n"
            "routes: [{from: 'mqtt:x', to: ['sqs:c', 'sns:t']}]\n"
        ),
        (
            "queues: [{name: a, dead_letter: c}, {name: b, dead_letter: {topic: t}}]\n"
            "routes: [{from: 'mqtt:x', to: ['sqs:c', 'sns:t']}]\n"
        ),
        (
            "backend: {kind: aws, queues: {failed: legacy-failed}}\n"
            "queues: [{name: a, dead_letter: failed}]\n"
        ),
    ],
)
def test_names_that_are_there(tmp_path: Path, text: str) -> None:
    assert not warnings_of(tmp_path, text)


def test_what_the_store_has_is_there(tmp_path: Path) -> None:
    definitions = {
        "rabbitmq_version": "3.13.7",
        "vhosts": [{"name": "/"}, {"name": "imported"}],
        "queues": [{"name": "failed", "vhost": "/", "durable": True, "arguments": {}}],
        "exchanges": [
            {"name": "dead", "vhost": "/", "type": "fanout", "durable": True, "arguments": {}}
        ],
    }
    (tmp_path / "definitions.json").write_text(json.dumps(definitions))
    text = USER + (
        "    namespaces: [imported]\n"
        "queues:\n"
        "  - {name: a, dead_letter: failed}\n"
        "  - {name: b, dead_letter: {topic: dead}}\n"
    )
    assert len(warnings_of(tmp_path, text)) == 3
    imported = run_landbridge("import", "rabbitmq", "definitions.json", directory=tmp_path)
    assert imported.returncode == 0, imported.stderr
    assert not warnings_of(tmp_path, text)


def test_the_warnings_are_bounded(tmp_path: Path) -> None:
    queues = "".join(f"  - {{name: q{n}, dead_letter: d{n}}}\n" for n in range(21))
    assert len(warnings_of(tmp_path, "queues:\n" + queues)) == 20
    result = run_landbridge("check", "f.yaml", directory=tmp_path)
    assert "\nwarning: there are more names that nothing answers to\n" in result.stdout

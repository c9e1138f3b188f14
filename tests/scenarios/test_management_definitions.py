"""Definitions that are uploaded to the management API of a running broker."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest

from tests.support.management_api import Api
from tests.support.program import Program, running

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
HASH = b64encode(b"salt" + hashlib.sha256(b"saltpw").digest()).decode()
LASTING = {"durable": True, "auto_delete": False, "arguments": {}}
DEFINITIONS: dict[str, Any] = {
    "rabbit_version": "3.10.8",
    "users": [
        {"name": "guest", "password_hash": HASH, "tags": ["administrator"], "limits": {}},
        {
            "name": "shop",
            "password_hash": HASH,
            "hashing_algorithm": "rabbit_password_hashing_sha256",
            "tags": [],
        },
    ],
    "vhosts": [
        {"name": "/"},
        {"name": "shop", "limits": [], "metadata": {"description": "the shop", "tags": ["a"]}},
    ],
    "permissions": [
        {"user": "guest", "vhost": "/", **EVERYTHING},
        {"user": "shop", "vhost": "shop", **EVERYTHING},
    ],
    "topic_permissions": [
        {"user": "shop", "vhost": "shop", "exchange": "amq.topic", "write": "^a", "read": ".*"}
    ],
    "parameters": [],
    "global_parameters": [{"name": "cluster_name", "value": "rabbit@elsewhere"}],
    "policies": [],
    "exchanges": [
        {"name": "x", "vhost": "shop", "type": "headers", "internal": False, **LASTING},
        {"name": "y", "vhost": "shop", "type": "fanout", "internal": True, **LASTING},
    ],
    "queues": [{"name": "q", "vhost": "shop", **LASTING, "arguments": {"x-max-length": 5}}],
    "bindings": [
        {
            "source": "x",
            "vhost": "shop",
            "destination": "q",
            "destination_type": "queue",
            "routing_key": "k",
            "arguments": {"x-match": "all", "a": "b"},
        },
        {
            "source": "x",
            "vhost": "shop",
            "destination": "y",
            "destination_type": "exchange",
            "routing_key": "",
            "arguments": {},
        },
        {
            "source": "",
            "vhost": "shop",
            "destination": "q",
            "destination_type": "queue",
            "routing_key": "q",
            "arguments": {},
        },
    ],
}
POLICY = {"name": "p", "vhost": "/", "pattern": ".*", "definition": {"max-length": 1}}


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with running(directory=tmp_path_factory.mktemp("uploaded")) as program:
        yield program


def upload(api: Api, definitions: object, path: str = "definitions") -> tuple[int, Any]:
    status, _, answer = api.ask(f"/api/{path}", "POST", definitions)
    return status, answer


def test_what_is_uploaded_is_there_and_may_come_again(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        assert upload(Api(program, "guest", "guest"), DEFINITIONS) == (204, b"")
        api = Api(program, "guest", "pw")
        assert upload(api, DEFINITIONS) == (204, b"")
        found = api.get("definitions")
        for section in ("exchanges", "queues", "topic_permissions"):
            assert found[section] == DEFINITIONS[section]
        # Who makes a virtual host may do everything in it.
        maker = {"user": "guest", "vhost": "shop", **EVERYTHING}
        assert [each for each in found["permissions"] if each != maker] == (
            DEFINITIONS["permissions"]
        )
        assert found["bindings"] == sorted(
            DEFINITIONS["bindings"][:2], key=lambda each: each["destination"]
        )
        shown = api.get("vhosts/shop")
        assert (shown["description"], shown["tags"]) == ("the shop", ["a"])
        pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1",
                program.port("amqp"),
                "shop",
                pika.PlainCredentials("shop", "pw"),
            )
        ).close()
        # What there is may be given to another.
        assert upload(api, found) == (204, b"")


def test_the_objects_of_one_virtual_host(program: Program) -> None:
    api = Api(program, "guest", "guest")
    api.put("vhosts/one")
    queue = {"name": "only", **LASTING}
    # Users are not of one virtual host, and left out.
    given = {"queues": [queue], "users": [{"name": "nobody"}], "rabbit_version": "3.10.8"}
    assert upload(api, given, "definitions/one") == (204, b"")
    assert [each["name"] for each in api.get("queues/one")] == ["only"]
    assert [each["name"] for each in api.get("users")] == ["guest"]
    assert upload(api, given, "definitions/none") == (
        404,
        {"error": "not_found", "reason": "vhost_not_found"},
    )
    allowed = api.ask("/api/definitions/one", "OPTIONS")[1]["allow"]
    assert allowed == "HEAD, GET, POST, OPTIONS"


@pytest.mark.parametrize(
    ("definitions", "reason"),
    [
        ("{", "failed_to_parse_json"),
        ("[]", "failed_to_parse_json"),
        ({"queues": [{"name": "q"}]}, ["no_such_vhost", "undefined"]),
        ({"queues": [{"name": "q", "vhost": "none"}]}, ["no_such_vhost", "none"]),
        ({"queues": 5}, ["not_list", "queues"]),
        ({"queues": [5]}, ["not_list", "queues"]),
        ({"queues": [{"vhost": "/"}]}, "[{key_missing,name}]"),
        ({"queues": [{"vhost": "/", "name": 5}]}, ["not_string", "name"]),
        ({"users": [{"name": "u"}]}, "tags_not_present"),
        ({"policies": [POLICY]}, "policies are not changed by this API"),
        (
            {"parameters": [{"component": "shovel", "vhost": "/", "name": "s", "value": {}}]},
            "there are no runtime parameters here",
        ),
    ],
)
def test_what_is_not_offered_is_refused_before_anything_is_made(
    program: Program, definitions: Any, reason: Any
) -> None:
    api = Api(program, "guest", "guest")
    if isinstance(definitions, dict):
        definitions = {"vhosts": [{"name": "early"}], **definitions}
    status, answer = upload(api, definitions)
    assert (status, answer["error"]) == (400, "bad_request")
    found = answer["reason"]
    assert found.startswith(reason) if isinstance(reason, str) else found == reason
    assert api.ask("/api/vhosts/early")[0] == 404


def test_the_configuration_decides_its_users(tmp_path: Path) -> None:
    users = (
        f"users=[{{name: root, password_hash: {HASH}, tags: [administrator]}},"
        f" {{name: shop, password_hash: {HASH}, tags: [management], permissions: []}}]"
    )
    with running("--set", users, directory=tmp_path) as program:
        api = Api(program, "root", "pw")
        assert upload(api, DEFINITIONS) == (204, b"")
        assert api.get("users/shop")["tags"] == ["management"]
        assert api.get("users/shop/permissions") == []
        assert api.get("users/guest")["tags"] == ["administrator"]
        status, answer = upload(Api(program, "shop", "pw"), {})
        assert (status, answer["reason"]) == (401, "Not administrator user")

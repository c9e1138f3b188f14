"""Who may change what by the management API, and what the configuration owns."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pika
import pytest

from tests.support.management_api import Api
from tests.support.program import Program, running

VHOST: dict[str, Any] = {"description": "", "tags": "", "tracing": False}
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
REFUSED = {"error": "not_authorised", "reason": "Access refused."}
OUTSIDE = {"error": "not_authorised", "reason": "User not authorised to access virtual host"}
NOT_FOUND = {"error": "Object Not Found", "reason": "Not Found"}


def hash_of(password: str) -> str:
    """In RabbitMQ's form."""
    digest = hashlib.sha256(b"salt" + password.encode()).digest()
    return b64encode(b"salt" + digest).decode()


def user(name: str, more: str) -> str:
    return f'{{name: {name}, password_hash: "{hash_of(name)}", {more}}}'


def permission(namespace: str, pattern: str) -> str:
    each = f"configure: {pattern}, write: {pattern}, read: {pattern}"
    return f"permissions: [{{namespace: {namespace}, {each}}}]"


USERS = ", ".join(
    (
        user("admin", "tags: [administrator]"),
        user("limited", f"tags: [management], {permission('/', '^own-')}"),
        user("watcher", f"tags: [monitoring], {permission('shop', '.*')}"),
        user("outside", "tags: [administrator], permissions: []"),
        user("untagged", permission("/", "^own-")),
        user("nobody", "tags: []"),
    )
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    arguments = ("--set", f"users=[{USERS}]", "--set", "namespaces=[shop]")
    with running(*arguments, directory=tmp_path_factory.mktemp("access")) as program:
        yield program


def as_user(program: Program, name: str) -> Api:
    return Api(program, name, name)


@pytest.fixture
def admin(program: Program) -> Api:
    return as_user(program, "admin")


def publish(key: str) -> dict[str, Any]:
    return {"properties": {}, "routing_key": key, "payload": "x", "payload_encoding": "string"}


GET = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}


@pytest.mark.parametrize("name", ["limited", "untagged"])
def test_permissions_are_those_of_amqp(program: Program, admin: Api, name: str) -> None:
    api = as_user(program, name)
    for path in ("queues/%2F/other", "exchanges/%2F/other", "exchanges/%2F/own-x"):
        admin.put(path, {})
    api.put("queues/%2F/own-q", {})
    own, other = "ACCESS_REFUSED - {} access to queue 'other'", "write access to exchange '{}'"
    get_refused = own.format("read") + f" in vhost '/' refused for user '{name}'"
    refused: list[tuple[str, str, object, int, str]] = [
        ("PUT", "queues/%2F/other-2", {}, 401, "Access refused."),
        ("PUT", "queues/%2F/other", {}, 401, "Access refused."),
        ("DELETE", "queues/%2F/other", None, 401, "Access refused."),
        ("DELETE", "queues/%2F/other/contents", None, 401, "Access refused."),
        ("PUT", "exchanges/%2F/other-2", {}, 401, "Access refused."),
        ("DELETE", "exchanges/%2F/other", None, 401, "Access refused."),
        ("POST", "bindings/%2F/e/own-x/q/other", {}, 401, "Access refused."),
        ("POST", "bindings/%2F/e/other/q/own-q", {}, 401, "Access refused."),
        ("POST", "queues/%2F/other/get", GET, 401, get_refused),
        (
            "POST",
            "exchanges/%2F/other/publish",
            publish("k"),
            400,
            f"403 ACCESS_REFUSED - {other.format('other')} in vhost '/' refused for user '{name}'",
        ),
    ]
    for method, path, body, status, reason in refused:
        got, _, answer = api.ask(f"/api/{path}", method, body)
        assert (got, answer["reason"]) == (status, reason), path
    assert api.ask("/api/bindings/%2F/e/own-x/q/own-q", "POST", {})[0] == 201
    assert api.post("exchanges/%2F/own-x/publish", publish("")) == {"routed": True}
    assert api.post("queues/%2F/own-q/get", GET)[0]["payload"] == "x"
    api.delete("bindings/%2F/e/own-x/q/own-q/~")
    api.delete("queues/%2F/own-q/contents")
    api.delete("queues/%2F/own-q")
    for path in ("exchanges/%2F/own-x", "exchanges/%2F/other", "queues/%2F/other"):
        admin.delete(path)


def test_virtual_hosts_are_entered_by_those_who_may(program: Program, admin: Api) -> None:
    admin.put("queues/%2F/there", {})
    requests: list[tuple[str, str, object]] = [
        ("PUT", "queues/{}/there", {}),
        ("DELETE", "queues/{}/there", None),
        ("POST", "queues/{}/there/get", GET),
        ("PUT", "exchanges/{}/there", {}),
        ("POST", "exchanges/{}/amq.direct/publish", publish("k")),
        ("POST", "bindings/{}/e/amq.direct/q/there", {}),
    ]
    for name, vhost, expected in (
        ("limited", "shop", OUTSIDE),
        ("watcher", "%2F", OUTSIDE),
        ("untagged", "shop", OUTSIDE),
        ("outside", "%2F", REFUSED),
    ):
        for method, path, body in requests:
            status, _, answer = as_user(program, name).ask(
                f"/api/{path.format(vhost)}", method, body
            )
            assert (status, answer) == (401, expected), (name, path)
    for method, path, _ in requests:
        if method == "DELETE":
            assert admin.ask(f"/api/{path.format('none')}", method)[2] == NOT_FOUND
    assert as_user(program, "outside").ask("/api/queues/%2F/none", "DELETE")[2] == NOT_FOUND
    as_user(program, "watcher").put("queues/shop/there", {})
    assert admin.get("queues/shop/there")["durable"] is False
    status, _, answer = as_user(program, "nobody").ask("/api/queues/%2F/there", "DELETE")
    assert (status, answer["reason"]) == (401, "Not management user")
    program.wait_for_log("Not management user")
    assert Api(program).ask("/api/queues/%2F/there", "DELETE")[0] == 401
    for vhost in ("%2F", "shop"):
        admin.delete(f"queues/{vhost}/there")


def wait_for_the_end(connection: pika.BlockingConnection) -> None:
    while True:
        connection.process_data_events(1)


def test_connections_are_closed_by_their_users_and_administrators(
    program: Program, admin: Api
) -> None:
    connection = pika.BlockingConnection(
        pika.ConnectionParameters(
            "127.0.0.1",
            program.port("amqp"),
            credentials=pika.PlainCredentials("limited", "limited"),
        )
    )
    (shown,) = admin.get("connections")
    path = f"/api/connections/{quote(shown['name'], safe='')}"
    for name in ("untagged", "watcher"):
        for asked in (path, "/api/connections/username/limited"):
            status, _, answer = as_user(program, name).ask(asked, "DELETE")
            assert (status, answer["reason"]) == (401, "User not authorised to access object")
    assert as_user(program, "limited").ask(path, "DELETE")[0] == 204
    with pytest.raises(pika.exceptions.ConnectionClosedByBroker):
        wait_for_the_end(connection)
    assert admin.ask("/api/connections/username/limited", "DELETE")[0] == 204


# -- what the configuration owns


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("vhosts/%2F", None),
        ("vhosts/%2F", {"description": "Default virtual host"}),
        ("vhosts/shop", VHOST),
        ("users/admin", {"password": "admin", "tags": "administrator"}),
        ("users/admin", {"password_hash": hash_of("admin"), "tags": ["administrator"]}),
        ("users/nobody", {"password": "nobody", "tags": ""}),
        ("permissions/%2F/admin", EVERYTHING),
        ("permissions/shop/watcher", EVERYTHING),
        ("permissions/%2F/limited", dict.fromkeys(EVERYTHING, "^own-")),
    ],
)
def test_what_is_there_already_may_be_put(admin: Api, path: str, body: object) -> None:
    assert admin.ask(f"/api/{path}", "PUT", body)[::2] == (204, b"")


@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("PUT", "vhosts/shop", {"description": "ours"}, "named in the configuration file"),
        ("DELETE", "vhosts/shop", None, "named in the configuration file"),
        ("DELETE", "vhosts/%2F", None, "the default one"),
        ("PUT", "users/admin", {"password": "x", "tags": "administrator"}, "this user is set"),
        ("PUT", "users/admin", {"password": "admin", "tags": ""}, "this user is set"),
        ("PUT", "users/admin", {"tags": "administrator"}, "this user is set"),
        ("DELETE", "users/admin", None, "this user is set under `users`"),
        ("POST", "users/bulk-delete", {"users": ["admin"]}, "this user is set under `users`"),
        ("PUT", "permissions/%2F/limited", EVERYTHING, "this user's permissions are set"),
        ("DELETE", "permissions/%2F/limited", None, "this user's permissions are set"),
        (
            "PUT",
            "topic-permissions/%2F/admin",
            {"exchange": "x", "write": "", "read": ""},
            "this user's topic permissions are set",
        ),
        ("PUT", "policies/%2F/p", {"pattern": "", "definition": {}}, "policies are not changed"),
        ("PUT", "parameters/shovel/%2F/s", {"value": {}}, "shovels"),
        ("PUT", "vhost-limits/%2F/max-queues", {"value": 1}, "see `limits`"),
        ("PUT", "cluster-name", {"name": "n"}, "that of the node"),
        ("POST", "rebalance/queues", {}, "no leaders"),
        ("POST", "queues/%2F/q/actions", {"action": "sync"}, "no mirrors"),
    ],
)
def test_what_the_configuration_owns_is_refused(
    admin: Api, method: str, path: str, body: object, reason: str
) -> None:
    status, headers, answer = admin.ask(f"/api/{path}", method, body)
    assert (status, answer["error"]) == (405, "method_not_allowed")
    assert "HEAD" in headers["allow"] or path == "users/bulk-delete"
    assert reason in answer["reason"]


def test_who_asks_for_what_is_not_there_or_may_not(program: Program, admin: Api) -> None:
    for path in ("vhosts/none", "users/none", "policies/%2F/none", "permissions/%2F/watcher"):
        assert admin.ask(f"/api/{path}", "DELETE")[2] == NOT_FOUND
    status, _, answer = admin.ask("/api/permissions/%2F/none", "PUT", EVERYTHING)
    assert (status, answer["reason"]) == (400, "vhost_or_user_not_found")
    status, _, answer = admin.ask("/api/permissions/%2F/admin", "PUT", {"configure": ""})
    assert (status, answer["reason"]) == (400, "[{key_missing,write},{key_missing,read}]")
    # Nobody else may try other users' passwords here.
    body = {"password": "admin", "tags": "administrator"}
    for name in ("limited", "watcher", "untagged"):
        status, _, answer = as_user(program, name).ask("/api/users/admin", "PUT", body)
        assert (status, answer["reason"]) == (401, "Not administrator user")

"""Users and virtual hosts of the management API: the open door, restarts, and the configuration."""

from __future__ import annotations

import signal
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import pika
import pytest
from pika.exceptions import (
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from tests.support.management_api import Api
from tests.support.moto_server import moto_server
from tests.support.program import FREE_PORTS, Program, node_on_aws, running, start

EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}
USER = {"password": "sells", "tags": "management"}


def opened(program: Program, user: str, password: str, vhost: str = "/") -> pika.BlockingConnection:
    credentials = pika.PlainCredentials(user, password)
    parameters = pika.ConnectionParameters(
        "127.0.0.1", program.port("amqp"), vhost, credentials=credentials
    )
    return pika.BlockingConnection(parameters)


def wait_for_the_end(connection: pika.BlockingConnection) -> None:
    """Raises what the client makes of it."""
    while True:
        connection.process_data_events(1)


def log_in(program: Program, user: str, password: str, vhost: str = "/") -> None:
    opened(program, user, password, vhost).close()


def test_the_first_user_closes_the_door_and_keeps_its_maker(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        log_in(program, "anybody", "anything")
        api = Api(program, "guest", "guest")
        api.put("users/shop", USER)
        assert {each["name"] for each in api.get("users")} == {"guest", "shop"}
        assert api.get("whoami") == {"name": "guest", "tags": ["administrator"]}
        log_in(program, "guest", "guest")
        for user, password in (("anybody", "anything"), ("guest", "wrong"), ("shop", "")):
            with pytest.raises(ProbableAuthenticationError):
                log_in(program, user, password)
        assert Api(program).ask("/api/overview")[0] == 401
        program.wait_for_log("user added name=shop")


def test_the_last_user_stays(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        guest = Api(program, "guest", "guest")
        last = "is the last one: without users anybody would be let in"
        assert last in guest.ask("/api/users/guest", "DELETE")[2]["reason"]
        guest.put("users/root", {"password": "toor", "tags": "administrator"})
        guest.delete("users/guest")
        root = Api(program, "root", "toor")
        for path, method, body in (
            ("users/root", "DELETE", None),
            ("users/bulk-delete", "POST", {"users": ["root"]}),
        ):
            status, _, answer = root.ask(f"/api/{path}", method, body)
            assert (status, answer["error"]) == (400, "bad_request")
            assert last in answer["reason"]
        assert guest.ask("/api/overview")[0] == 401


def test_who_has_no_password_cannot_make_the_first_user(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        status, _, answer = Api(program, "guest").ask("/api/users/shop", "PUT", USER)
        assert (status, answer["error"]) == (400, "bad_request")
        assert answer["reason"].startswith("log in with a password")
        assert Api(program).get("users") == Api(program, "guest").get("users")


def test_scripts_that_put_what_holds_for_anybody_leave_the_door_open(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        api = Api(program, "guest", "guest")
        for path, body in (
            ("vhosts/%2F", {}),
            ("users/guest", {"password": "guest", "tags": "administrator"}),
            ("permissions/%2F/guest", EVERYTHING),
            ("permissions/%2F/anybody", EVERYTHING),
        ):
            assert api.ask(f"/api/{path}", "PUT", body)[0] == 204
        log_in(program, "anybody", "anything")
        # Of others nothing can be said while they are nobody.
        for kind in ("permissions", "topic-permissions"):
            body = {"exchange": "x", **dict.fromkeys(EVERYTHING, "")}
            status, _, answer = api.ask(f"/api/{kind}/%2F/anybody", "PUT", body)
            assert (status, answer["reason"]) == (400, "vhost_or_user_not_found")
            for path in ("%2F/anybody", "none/guest"):
                assert api.ask(f"/api/{kind}/{path}", "DELETE")[0] == 404
        log_in(program, "anybody", "anything")


def test_who_is_permitted_less_becomes_a_user(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        api = Api(program, "guest", "guest")
        api.put("vhosts/shop")
        log_in(program, "guest", "guest", "shop")
        api.delete("permissions/shop/guest")
        assert api.get("users/guest/permissions") == [{"user": "guest", "vhost": "/", **EVERYTHING}]
        log_in(program, "guest", "guest")
        with pytest.raises(ProbableAccessDeniedError):
            log_in(program, "guest", "guest", "shop")
        with pytest.raises(ProbableAuthenticationError):
            log_in(program, "anybody", "anything")
        assert api.ask("/api/permissions/shop/guest", "DELETE")[0] == 404
        api.delete("vhosts/shop")


def test_what_was_made_outlasts_restarts_and_reloads(tmp_path: Path) -> None:
    digest = b64encode(b"salt" + sha256(b"saltpw").digest()).decode()
    program = start(*FREE_PORTS, directory=tmp_path)
    try:
        api = Api(program, "guest", "guest")
        api.put("users/shop", USER)
        api.put("users/hashed", {"password_hash": digest, "tags": ""})
        api.put("vhosts/shop", {"description": "the shop", "tags": "one,two"})
        api.put("vhosts/gone")
        api.put("permissions/shop/shop", EVERYTHING)
        api.put("permissions/gone/shop", EVERYTHING)
        api.put("permissions/%2F/hashed", EVERYTHING)
        api.put("queues/gone/q", {"durable": True})
        api.delete("vhosts/gone")
        program.signal(signal.SIGHUP)
        program.wait_for_log("configuration reloaded")
        log_in(program, "shop", "sells", "shop")
    finally:
        program.kill()
    with running(directory=tmp_path) as program:
        api = Api(program, "guest", "guest")
        log_in(program, "shop", "sells", "shop")
        log_in(program, "hashed", "pw")
        shown = api.get("vhosts/shop")
        assert (shown["description"], shown["tags"]) == ("the shop", ["one", "two"])
        assert api.get("users/shop/permissions") == [
            {"user": "shop", "vhost": "shop", **EVERYTHING}
        ]
        assert {each["name"] for each in api.get("vhosts")} == {"/", "shop"}
        assert api.get("users/hashed")["password_hash"] == digest
        api.put("vhosts/gone")
        assert api.get("queues/gone") == []


def test_a_listener_on_the_network_starts_with_the_users_that_were_made(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        Api(program, "guest", "guest").put("users/shop", USER)
    elsewhere = ("--set", "listeners.amqp.bind=0.0.0.0")
    with running(*elsewhere, directory=tmp_path) as program:
        with pytest.raises(ProbableAuthenticationError):
            # As in RabbitMQ it is of no use on a listener that others reach.
            log_in(program, "guest", "guest")
        assert Api(program, "guest", "guest").get("whoami")["name"] == "guest"


def test_who_came_over_the_network_is_kept_for_it(tmp_path: Path) -> None:
    listener = "listeners.management={bind: 0.0.0.0, anonymous: true, port: 0}"
    with running("--set", listener, directory=tmp_path) as program:
        api = Api(program, "root", "toor")
        api.put("users/shop", USER)
        assert api.get("whoami") == {"name": "root", "tags": ["administrator"]}
        assert Api(program, "root", "wrong").ask("/api/whoami")[0] == 401


def test_the_configuration_wins_and_is_not_changed(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        api = Api(program, "guest", "guest")
        api.put("users/shop", USER)
        api.put("vhosts/served")
        api.put("vhosts/mine")
    digest = b64encode(b"salt" + sha256(b"saltpw").digest()).decode()
    configured = (
        "--set",
        f"users=[{{name: shop, password_hash: {digest}, tags: [administrator], namespaces: [/]}}]",
        "--set",
        "listeners.stomp.namespace=served",
    )
    with running(*configured, directory=tmp_path) as program:
        with pytest.raises(ProbableAuthenticationError):
            log_in(program, "shop", "sells")
        api = Api(program, "shop", "pw")
        for method, path, body in (
            ("PUT", "users/shop", USER),
            ("DELETE", "users/shop", None),
            ("PUT", "permissions/mine/shop", EVERYTHING),
            ("DELETE", "vhosts/served", None),
        ):
            status, headers, answer = api.ask(f"/api/{path}", method, body)
            assert (status, answer["error"]) == (405, "method_not_allowed")
            assert "DELETE" in headers["allow"]
        # Others go on being made beside it.
        api.put("users/other", USER)
        api.put("vhosts/other")
        api.put("permissions/other/other", EVERYTHING)
        log_in(program, "other", "sells", "other")
        for path in ("vhosts/mine", "vhosts/other", "users/other"):
            api.delete(path)
    with running(directory=tmp_path) as program:
        # What the file does not say any more is as it was made.
        assert Api(program, "shop", "sells").get("whoami")["tags"] == ["management"]


def test_users_and_virtual_hosts_are_of_all_nodes(tmp_path: Path) -> None:
    with (
        moto_server() as url,
        node_on_aws(url, tmp_path / "one", "tenants") as one,
        node_on_aws(url, tmp_path / "two", "tenants") as two,
    ):
        api, other = Api(one, "guest", "guest"), Api(two, "guest", "guest")
        api.put("users/shop", USER)
        api.put("vhosts/shop")
        other.put("permissions/shop/shop", EVERYTHING)
        # What is answered holds at every node.
        log_in(two, "shop", "sells", "shop")
        log_in(one, "shop", "sells", "shop")
        with pytest.raises(ProbableAuthenticationError):
            log_in(two, "anybody", "anything")
        other.put("queues/shop/lasting", {"durable": True})
        connection = opened(two, "shop", "sells", "shop")
        connection.channel().queue_declare("mine", exclusive=True)
        api.delete("vhosts/shop")
        with pytest.raises(ConnectionClosedByBroker, match="vhost 'shop' is deleted"):
            wait_for_the_end(connection)
        assert {each["name"] for each in other.get("vhosts")} == {"/"}
        assert [each for each in other.get("queues") if each["vhost"] == "shop"] == []
        other.delete("users/shop")
        with pytest.raises(ProbableAuthenticationError):
            log_in(one, "shop", "sells")

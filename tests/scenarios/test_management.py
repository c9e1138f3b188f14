"""RabbitMQ's management API from the real program, asked by what polls it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pika
import pytest

from tests.bridge.net.certificates import Authority
from tests.support.management_api import Api
from tests.support.program import Program, run_landbridge, running
from tests.support.stomp_client import StompClient

VECTOR = Path(__file__).parents[1] / "vectors" / "rabbitmq" / "definitions_3_10.json"
ADMIN = shutil.which("rabbitmqadmin")


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A broker with what was imported from a RabbitMQ."""
    directory = tmp_path_factory.mktemp("imported")
    done = run_landbridge("import", "rabbitmq", str(VECTOR), directory=directory)
    assert done.returncode == 0, done.stderr
    # The recorded guest has the password of every RabbitMQ: guest.
    with running(directory=directory) as program:
        yield program


@pytest.fixture
def admin(imported: Program) -> Api:
    return Api(imported, "guest", "guest")


def test_whoever_reaches_a_broker_without_users_is_an_administrator(tmp_path: Path) -> None:
    with running(directory=tmp_path) as program:
        assert Api(program).get("whoami") == {"name": "guest", "tags": ["administrator"]}
        assert Api(program, "me", "x").get("whoami")["name"] == "me"
        assert Api(program).get("definitions")["users"] == []
        me = Api(program, "me", "x")
        (shown,) = me.get("users")
        assert (shown["name"], shown["tags"]) == ("me", ["administrator"])
        assert me.get("permissions/%2F/me")["configure"] == ".*"
        assert me.ask("/api/users/other")[0] == 404


def test_overview_and_nodes(admin: Api) -> None:
    overview = admin.get("overview")
    assert overview["object_totals"]["queues"] == 8
    assert overview["queue_totals"]["messages"] >= 0
    (context,) = overview["contexts"]
    assert (context["node"], context["port"]) == (overview["node"], str(admin.port))
    assert {"amqp", "mqtt", "stomp", "http"} <= {each["protocol"] for each in overview["listeners"]}
    (node,) = admin.get("nodes")
    assert node["name"] == overview["node"]
    assert node["running"] is True
    assert node["mem_used"] > 0
    assert admin.get(f"nodes/{node['name']}")["uptime"] >= node["uptime"]
    assert admin.get("overview?columns=node,object_totals.queues") == {
        "node": node["name"],
        "object_totals": {"queues": 8},
    }


def test_queues_in_lists_pages_and_alone(admin: Api) -> None:
    assert len(admin.get("queues")) == 8
    assert [each["name"] for each in admin.get("queues/shop")] == ["shop.q"]
    page = admin.get("queues/%2F?page=1&page_size=3&name=orders&columns=name,policy")
    assert page["items"] == [
        {"name": "orders.eu", "policy": "dlx"},
        {"name": "orders.us", "policy": "dlx"},
    ]
    assert (page["filtered_count"], page["total_count"]) == (2, 7)
    queue = admin.get("queues/%2F/orders.eu")
    assert queue["arguments"] == {"x-delivery-limit": 5, "x-queue-type": "quorum"}
    assert queue["effective_policy_definition"]["max-length"] == 1000
    assert admin.get("queues/shop/shop.q")["operator_policy"] == "cap"
    assert admin.ask("/api/queues/%2F/nope")[0] == 404
    assert admin.ask("/api/queues/nope")[0] == 404


def test_exchanges_and_bindings(admin: Api) -> None:
    names = {each["name"] for each in admin.get("exchanges/shop")}
    assert names == {"", "amq.direct", "amq.fanout", "amq.headers", "amq.match", "amq.topic"}
    assert admin.get("exchanges/%2F/orders")["type"] == "topic"
    assert admin.get("exchanges/%2F/amq.default")["name"] == ""
    (binding,) = admin.get("bindings/%2F/e/orders/q/orders.eu")
    assert binding["routing_key"] == "eu.#"
    key = quote(binding["properties_key"], safe="")
    assert admin.get(f"bindings/%2F/e/orders/q/orders.eu/{key}") == binding
    assert {each["source"] for each in admin.get("queues/%2F/dead/bindings")} == {
        "",
        "dlx",
        "headers-ex",
    }
    assert len(admin.get("exchanges/%2F/orders/bindings/source")) == 3
    (incoming,) = admin.get("exchanges/%2F/dlx/bindings/destination")
    assert incoming["source"] == "orders"
    assert len([each for each in admin.get("bindings") if each["source"]]) == 6


def test_users_permissions_and_policies(admin: Api) -> None:
    recorded = json.loads(VECTOR.read_text())
    users = {each["name"]: each for each in admin.get("users")}
    for each in recorded["users"]:
        assert users[each["name"]] == each
    by_key = sorted(admin.get("permissions"), key=lambda each: (each["user"], each["vhost"]))
    assert by_key == sorted(recorded["permissions"], key=lambda each: (each["user"], each["vhost"]))
    assert admin.get("topic-permissions") == recorded["topic_permissions"]
    assert admin.get("permissions/%2F/meter")["write"] == r"^amq\.topic$"
    assert len(admin.get("users/orders/permissions")) == 2
    assert len(admin.get("vhosts/%2F/permissions")) == 3
    assert {each["name"] for each in admin.get("policies")} == {"dlx", "ha", "ttl"}
    assert admin.get("operator-policies/shop")[0]["definition"] == {"max-length": 500}
    assert [each["name"] for each in admin.get("vhosts")] == ["/", "shop"]
    assert admin.get("vhosts/shop")["messages"] == 0


def test_definitions_can_be_imported_again(admin: Api, tmp_path: Path) -> None:
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps(admin.get("definitions")))
    done = run_landbridge("import", "rabbitmq", str(file), directory=tmp_path)
    assert done.returncode == 0, done.stderr
    for line in ("users       3", "queues      8", "bindings    6", "policies    4"):
        assert line in done.stdout
    whole = admin.get("definitions/shop")
    assert whole["queues"] == [
        {"name": "shop.q", "durable": True, "auto_delete": False, "arguments": {}}
    ]
    assert "users" not in whole
    _, headers, _ = admin.ask("/api/definitions?download=x%22%0a.json")
    assert headers["content-disposition"] == "attachment; filename=x.json"


@pytest.mark.parametrize(
    ("check", "status"),
    [
        ("health/checks/alarms", 200),
        ("health/checks/local-alarms", 200),
        ("health/checks/virtual-hosts", 200),
        ("health/checks/node-is-quorum-critical", 200),
        ("health/checks/protocol-listener/amqp", 200),
        ("health/checks/protocol-listener/kafka", 503),
        ("health/checks/port-listener/1", 503),
        ("health/checks/port-listener/x", 400),
        ("health/checks/certificate-expiration/1/months", 200),
        ("health/checks/certificate-expiration/1/fortnights", 400),
        ("health/checks/nonsense", 404),
        ("aliveness-test/%2F", 200),
        ("aliveness-test/nope", 404),
        ("healthchecks/node", 200),
    ],
)
def test_health_checks(admin: Api, check: str, status: int) -> None:
    got, _, answer = admin.ask(f"/api/{check}")
    assert got == status
    expected = {200: "ok", 503: "failed"}.get(status)
    assert answer.get("status") == expected


def test_the_port_of_the_api_itself_is_listened_on(admin: Api) -> None:
    assert admin.get(f"health/checks/port-listener/{admin.port}")["port"] == admin.port


def test_amqp_connections_channels_and_consumers(imported: Program, admin: Api) -> None:
    parameters = pika.ConnectionParameters(
        "127.0.0.1",
        imported.port("amqp"),
        "/",
        pika.PlainCredentials("orders", "orders-secret"),
        client_properties={"connection_name": "the shop"},
        heartbeat=42,
        frame_max=65_536,
    )
    client = pika.BlockingConnection(parameters)
    channel = client.channel()
    channel.confirm_delivery()
    channel.basic_qos(prefetch_count=7)
    channel.basic_publish("", "dead", b"one", mandatory=True)
    tag = channel.basic_consume("dead", lambda *_: None)
    client.process_data_events(0)
    (connection,) = admin.get("connections")
    assert connection["user"] == "orders"
    assert connection["protocol"] == "AMQP 0-9-1"
    assert connection["user_provided_name"] == "the shop"
    assert connection["channels"] == 1
    sides = f"{connection['peer_host']}:{connection['peer_port']}", f"127.0.0.1:{parameters.port}"
    assert connection["name"] == " -> ".join(sides)
    assert (connection["host"], connection["port"]) == ("127.0.0.1", parameters.port)
    assert (connection["ssl"], connection["auth_mechanism"]) == (False, "PLAIN")
    assert (connection["timeout"], connection["frame_max"]) == (42, 65_536)
    assert admin.get(f"connections/{quote(connection['name'])}") == connection
    (shown,) = admin.get("channels")
    assert shown["prefetch_count"] == 7
    assert shown["confirm"] is True
    assert shown["messages_unacknowledged"] == 1
    assert shown["connection_details"]["name"] == connection["name"]
    (consumer,) = admin.get("consumers/%2F")
    assert (consumer["consumer_tag"], consumer["prefetch_count"]) == (tag, 7)
    assert consumer["queue"] == {"name": "dead", "vhost": "/"}
    queue = admin.get("queues/%2F/dead")
    assert (queue["messages"], queue["messages_unacknowledged"], queue["consumers"]) == (1, 1, 1)
    assert queue["consumer_details"] == [consumer]
    assert admin.get("overview")["object_totals"]["connections"] == 1
    assert Api(imported, "orders", "orders-secret").get("connections") == [connection]
    client.close()
    assert admin.get("connections") == []


def test_a_prefetch_is_what_the_client_has_asked_for(imported: Program, admin: Api) -> None:
    """Recorded at RabbitMQ."""
    client = pika.BlockingConnection(
        pika.ConnectionParameters(
            "127.0.0.1",
            imported.port("amqp"),
            credentials=pika.PlainCredentials("orders", "orders-secret"),
        )
    )
    for tag, count, whole_channel, automatic in (
        ("none", 0, False, False),
        ("each", 7, False, False),
        ("each, automatic", 7, False, True),
        ("all", 9, True, False),
        ("all, automatic", 9, True, True),
        ("most", 65_535, False, False),
    ):
        channel = client.channel()
        channel.basic_qos(prefetch_count=count, global_qos=whole_channel)
        channel.basic_consume("dead", lambda *_: None, auto_ack=automatic, consumer_tag=tag)
    shown = {each["consumer_tag"]: each["prefetch_count"] for each in admin.get("consumers")}
    assert shown == {
        "none": 0,
        "each": 7,
        "each, automatic": 7,
        "all": 0,
        "all, automatic": 0,
        "most": 65_535,
    }
    client.close()


def test_connections_over_tls_and_without_a_name(tmp_path: Path) -> None:
    authority = Authority("authority", tmp_path)
    issued = authority.issue("localhost", file="server")
    tls = f"{{certificate: {issued.certificate}, key: {issued.key}}}"
    with running("--set", f"listeners.amqp.tls={tls}", directory=tmp_path) as program:
        port = program.port("amqp")
        options = pika.SSLOptions(authority.client_context(), "localhost")
        client = pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", port, ssl_options=options)
        )
        (connection,) = Api(program).get("connections")
        assert (connection["ssl"], connection["port"]) == (True, port)
        assert connection["name"].endswith(f" -> 127.0.0.1:{port}")
        # A product is no name of a connection.
        assert "user_provided_name" not in connection
        client.close()


async def test_stomp_connections(imported: Program, admin: Api) -> None:
    client = await StompClient.connect(
        imported.port("stomp"), login="orders", passcode="orders-secret"
    )
    client.send("SUBSCRIBE", {"id": "s", "destination": "/amq/queue/b", "receipt": "1"})
    await client.receive()
    (connection,) = admin.get("connections")
    assert connection["protocol"] == "STOMP 1.2"
    (consumer,) = admin.get("consumers")
    assert (consumer["consumer_tag"], consumer["ack_required"]) == ("s", False)
    await client.close()


def test_who_may_see_what(imported: Program) -> None:
    for api in (Api(imported), Api(imported, "guest", "wrong"), Api(imported, "nobody", "x")):
        status, headers, answer = api.ask("/api/overview")
        assert status == 401
        assert headers["www-authenticate"].startswith("Basic realm=")
        assert answer["error"] == "not_authorized"
    meter = Api(imported, "meter", "meter-secret")
    assert meter.ask("/api/overview")[2] == {
        "error": "not_authorised",
        "reason": "Not management user",
    }
    monitor = Api(imported, "orders", "orders-secret")
    assert len(monitor.get("queues")) == 8
    for path in ("users", "permissions", "definitions"):
        status, _, answer = monitor.ask(f"/api/{path}")
        assert (status, answer["reason"]) == (401, "Not administrator user")


def test_a_user_without_tags_sees_its_namespaces_and_no_hashes(tmp_path: Path) -> None:
    hashed = b64encode(b"salt" + hashlib.sha256(b"saltpw").digest()).decode()
    plain_user = f"{{name: plain, password_hash: {hashed}, namespaces: [shop]}}"
    users = f"users=[{plain_user}, {{name: other}}]"
    queues = "queues=[{name: a}, {name: b, namespace: shop}]"
    arguments = ("--set", users, "--set", "namespaces=[shop]", "--set", queues)
    with running(*arguments, directory=tmp_path) as program:
        plain = Api(program, "plain", "pw")
        assert [each["name"] for each in plain.get("queues")] == ["b"]
        assert plain.ask("/api/queues/%2F/a")[0] == 404
        assert [each["name"] for each in plain.get("vhosts")] == ["shop"]
        assert [each["password_hash"] for each in plain.get("users")] == ["", ""]
        assert plain.get("definitions")["users"][0]["password_hash"] == ""


def test_other_methods_and_paths(admin: Api) -> None:
    status, _, body = admin.ask("/api/overview", "HEAD")
    assert (status, body) == (200, b"")
    assert admin.ask("/api/overview", "OPTIONS")[1]["allow"] == "HEAD, GET, OPTIONS"
    assert admin.ask("/api/overview", "PUT")[::2] == (405, b"")
    assert admin.ask("/")[0] == 200
    assert admin.ask("/elsewhere")[0] == 404
    for path in ("", "queues/%2F/a/b/c", "nodes/other", "vhosts/nope", "users/nope", "%00"):
        assert admin.ask(f"/api/{path}")[0] == 404


@pytest.mark.skipif(ADMIN is None, reason="rabbitmqadmin is not installed: rabbitmq-server has it")
def test_rabbitmqadmin(imported: Program, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        assert ADMIN is not None
        port = str(imported.port("management"))
        done = subprocess.run(
            [ADMIN, "-P", port, "-u", "guest", "-p", "guest", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "orders.eu" in run("list", "queues", "vhost", "name", "messages", "node")
    assert "3.13.7" in run("show", "overview")
    for kind in (
        "exchanges",
        "bindings",
        "connections",
        "channels",
        "consumers",
        "nodes",
        "users",
        "vhosts",
        "permissions",
        "policies",
        "parameters",
    ):
        assert run("list", kind)
    run("export", str(tmp_path / "exported.json"))
    assert len(json.loads((tmp_path / "exported.json").read_text())["queues"]) == 8


def test_certificates_that_expire_are_named(tmp_path: Path) -> None:
    authority = Authority("authority", tmp_path)
    issued = authority.issue("localhost", file="server")
    tls = f"{{certificate: {issued.certificate}, key: {issued.key}}}"
    arguments = ("--set", f"listeners.stomp.tls={tls}")
    with running(*arguments, directory=tmp_path) as program:
        api = Api(program)
        assert api.get("health/checks/certificate-expiration/0/days") == {"status": "ok"}
        status, _, answer = api.ask("/api/health/checks/certificate-expiration/100/years")
        assert status == 503
        assert [each["listener"] for each in answer["expired"]] == ["stomp"]
        assert "stomp/ssl" in {each["protocol"] for each in api.get("overview")["listeners"]}

"""What RabbitMQ's management API changes, asked of the real program with clients at the other end.

The vector was recorded at RabbitMQ: every request there is answered here as it was there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aio_pika
import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ConnectionClosedByBroker

from adapters.mqtt.packets import ProtocolVersion, Will
from adapters.mqtt.reason_codes import ReasonCode
from tests.support.management_api import Api, replayed
from tests.support.mqtt_client import SocketClient, connect
from tests.support.program import AWS_SIMULATED, Place, Program
from tests.support.stomp_client import StompClient

VECTOR = Path(__file__).parents[1] / "vectors" / "rabbitmq" / "management_changes_3_10.json"
ADMIN = shutil.which("rabbitmqadmin")


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("changed")) as program:
        yield program


@pytest.fixture
def api(program: Program) -> Api:
    return Api(program, "guest", "guest")


@pytest.fixture
def channel(program: Program) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", program.port("amqp"))
    )
    yield connection.channel()
    if connection.is_open:
        connection.close()


def test_answers_are_those_of_rabbitmq(place: Place, api: Api) -> None:
    if place.backend == AWS_SIMULATED:
        pytest.skip("SQS counts roughly, and its standard queues are in no order")
    recorded = json.loads(VECTOR.read_text())
    for each in recorded:
        assert replayed(api, each) == each


# -- declarations, used over AMQP


def test_what_is_declared_here_is_used_over_amqp(api: Api, channel: BlockingChannel) -> None:
    api.put("queues/%2F/declared", {"durable": True, "arguments": {"x-max-priority": 5}})
    api.put("exchanges/%2F/declared-x", {"type": "headers", "durable": True})
    match = {"routing_key": "", "arguments": {"x-match": "all", "n": 1}}
    status, headers, _ = api.ask("/api/bindings/%2F/e/declared-x/q/declared", "POST", match)
    assert status == 201
    arguments = {"x-max-priority": 5}
    channel.queue_declare("declared", durable=True, arguments=arguments)
    channel.exchange_declare("declared-x", "headers", durable=True)
    channel.confirm_delivery()
    for number in (1, 2):
        properties = pika.BasicProperties(headers={"n": number})
        channel.basic_publish("declared-x", "", str(number).encode(), properties)
    (message,) = api.messages("declared")
    assert message["payload"] == "1"
    location = f"bindings/%2F/e/declared-x/q/{headers['location']}"
    assert api.get(location)["arguments"] == {"x-match": "all", "n": 1}
    api.delete(location)
    assert api.get("bindings/%2F/e/declared-x/q/declared") == []
    api.delete("queues/%2F/declared")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        channel.queue_declare("declared", passive=True)
    api.delete("exchanges/%2F/declared-x")


def test_a_binding_is_found_by_its_routing_key_quoted_once(api: Api) -> None:
    api.put("queues/%2F/bound")
    for key in ("", "~", "a b/#", "a%20b"):
        body = {"routing_key": key}
        status, headers, _ = api.ask("/api/bindings/%2F/e/amq.topic/q/bound", "POST", body)
        assert status == 201
        shown = api.get(f"bindings/%2F/e/amq.topic/q/{headers['location']}")
        assert shown["routing_key"] == key
    path = "bindings/%2F/e/amq.topic/q/bound"
    api.delete(f"{path}/{quote('a b/#', safe='')}")
    api.delete(f"{path}/~")
    assert {each["routing_key"] for each in api.get(path)} == {"~", "a%20b"}
    api.delete("queues/%2F/bound")


def test_exclusive_queues_are_their_connections_alone(api: Api, channel: BlockingChannel) -> None:
    name = channel.queue_declare("locked", exclusive=True).method.queue
    locked = f"cannot obtain exclusive access to locked queue '{name}' in vhost '/'"
    wanted = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto"}
    for path, method, body, reason in (
        ("", "PUT", {}, locked),
        ("", "DELETE", None, locked),
        ("/contents", "DELETE", None, locked),
        ("/get", "POST", wanted, f"405 RESOURCE_LOCKED - {locked}"),
    ):
        status, _, answer = api.ask(f"/api/queues/%2F/{name}{path}", method, body)
        assert (status, answer["error"]) == (400, "bad_request")
        assert answer["reason"].startswith(reason)


def test_a_consumer_is_told_that_its_queue_is_gone(api: Api, channel: BlockingChannel) -> None:
    api.put("queues/%2F/consumed", {"auto_delete": True})
    gone: list[Any] = []
    channel.add_on_cancel_callback(gone.append)
    channel.basic_consume("consumed", lambda *_: None)
    status, _, answer = api.ask("/api/queues/%2F/consumed?if-unused=true", "DELETE")
    assert (status, answer["reason"]) == (400, "queue 'consumed' in vhost '/' in use")
    api.delete("queues/%2F/consumed")
    while not gone:
        channel.connection.process_data_events(1)


# -- messages


def test_what_is_published_here_is_consumed_over_amqp(api: Api, channel: BlockingChannel) -> None:
    api.put("queues/%2F/sent")
    table = {"n": 1, "s": "text", "b": True, "l": [1, "two"], "t": {"u": "v"}}
    given = {
        "content_type": "text/plain",
        "headers": table,
        "delivery_mode": 2,
        "priority": 4,
        "correlation_id": "c",
        "reply_to": "r",
        "message_id": "m",
        "timestamp": 1_700_000_000,
        "type": "t",
        "user_id": "guest",
        "app_id": "a",
    }
    assert api.publish("amq.default", "sent", "grüße", **given)
    method, properties, body = channel.basic_get("sent", auto_ack=True)
    assert body.decode() == "grüße"
    assert (method.exchange, method.routing_key) == ("", "sent")
    assert {name: getattr(properties, name) for name in given} == given
    octets = {
        "properties": {},
        "routing_key": "sent",
        "payload": "/wA=",
        "payload_encoding": "base64",
    }
    assert api.post("exchanges/%2F/amq.default/publish", octets) == {"routed": True}
    assert channel.basic_get("sent", auto_ack=True)[2] == b"\xff\0"
    api.delete("queues/%2F/sent")


async def test_what_is_published_over_amqp_is_got_here(program: Program, api: Api) -> None:
    connection = await aio_pika.connect(f"amqp://127.0.0.1:{program.port('amqp')}/")
    channel = await connection.channel()
    queue = await channel.declare_queue("got", durable=True)
    for body in (b"one", b"\xff", "drei ü".encode()):
        await channel.default_exchange.publish(
            aio_pika.Message(body, headers={"n": 1}, message_id="m"), "got"
        )
    first, second, third = api.messages("got", "ack_requeue_true")
    assert first == {
        "payload": "one",
        "payload_bytes": 3,
        "payload_encoding": "string",
        "exchange": "",
        "routing_key": "got",
        "redelivered": False,
        "message_count": 2,
        "properties": {
            "headers": {"n": 1},
            "message_id": "m",
            "delivery_mode": 1,
            "priority": 0,
        },
    }
    assert (second["payload"], second["payload_encoding"]) == ("/w==", "base64")
    assert (third["payload"], third["message_count"]) == ("drei ü", 0)
    # They are where they were, in their order.
    got = await queue.get()
    assert (got.body, got.redelivered) == (b"one", True)
    await got.nack(requeue=True)
    assert [each["payload_bytes"] for each in api.messages("got")] == [3, 1, 7]
    assert api.messages("got") == []
    await queue.delete()
    await connection.close()


def test_rejected_messages_are_dead_lettered_and_returns_are_counted(api: Api) -> None:
    dead = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead-here"}
    quorum = {"x-queue-type": "quorum", "x-delivery-limit": 1}
    api.put("queues/%2F/dead-here", {"durable": True})
    api.put("queues/%2F/limited", {"durable": True, "arguments": {**quorum, **dead}})
    api.publish("amq.default", "limited", "twice")
    for count in (0, 1):
        (got,) = api.messages("limited", "reject_requeue_true")
        assert got["properties"]["headers"]["x-delivery-count"] == count
    assert api.messages("limited") == []
    (got,) = api.messages("dead-here")
    assert got["properties"]["headers"]["x-death"][0]["reason"] == "delivery_limit"
    api.publish("amq.default", "limited", "once")
    api.messages("limited", "reject_requeue_false")
    (got,) = api.messages("dead-here")
    assert got["properties"]["headers"]["x-first-death-reason"] == "rejected"
    for name in ("limited", "dead-here"):
        api.delete(f"queues/%2F/{name}")


def test_purging_leaves_what_a_consumer_holds(api: Api, channel: BlockingChannel) -> None:
    api.put("queues/%2F/purged")
    for body in ("one", "two", "three"):
        api.publish("amq.default", "purged", body)
    method, _, _ = channel.basic_get("purged")
    api.delete("queues/%2F/purged/contents")
    assert api.messages("purged") == []
    channel.basic_nack(method.delivery_tag)
    channel.connection.process_data_events(0)
    assert [each["payload"] for each in api.messages("purged")] == ["one"]
    api.delete("queues/%2F/purged")


def test_publishes_that_amqp_could_not_carry_are_refused(api: Api) -> None:
    message = {
        "properties": {},
        "routing_key": "nobody",
        "payload": "x",
        "payload_encoding": "string",
    }
    for change, reason in (
        ({"routing_key": "k" * 256}, "routing_key should be less than 255 bytes"),
        ({"routing_key": 5}, ["not_string", "routing_key"]),
        ({"properties": {"message_id": "m" * 256}}, "short string of 256 bytes, 255 allowed"),
        ({"properties": {"priority": 256}}, "property value 256 is not within 0 to 255"),
        ({"properties": "x"}, "properties must be an object"),
        ({"properties": {"headers": "x"}}, "headers must be an object"),
        ({"properties": {"headers": {"n": 2**64}}}, ["not_integer", str(2**64)]),
    ):
        status, _, answer = api.ask(
            "/api/exchanges/%2F/amq.default/publish", "POST", {**message, **change}
        )
        assert (status, answer["error"]) == (400, "bad_request")
        if isinstance(reason, list):
            assert answer["reason"] == reason
        else:
            assert answer["reason"].startswith(reason)
    assert api.post("exchanges/%2F/amq.default/publish", {**message, "routing_key": "k" * 255}) == {
        "routed": False
    }


# -- connections


def wait_for_the_end(connection: pika.BlockingConnection) -> None:
    """Raises what the client makes of it."""
    while True:
        connection.process_data_events(1)


def name_of(api: Api, protocol: str) -> str:
    (name,) = [each["name"] for each in api.get("connections") if protocol in each["protocol"]]
    return quote(name, safe="")


def test_an_amqp_connection_is_closed_with_the_reason(
    program: Program, api: Api, channel: BlockingChannel
) -> None:
    channel.queue_declare("held", auto_delete=False)
    channel.basic_publish("", "held", b"x")
    assert channel.basic_get("held")[0] is not None
    name = name_of(api, "AMQP")
    assert api.ask(f"/api/connections/{name}x", "DELETE")[0] == 404
    api.delete(f"connections/{name}", **{"X-Reason": "for maintenance"})
    with pytest.raises(ConnectionClosedByBroker) as closed:
        wait_for_the_end(channel.connection)
    assert closed.value.reply_code == 320
    assert closed.value.reply_text == "CONNECTION_FORCED - for maintenance"
    program.wait_for_log("closed by an administrator: for maintenance")
    # What it held is back.
    (message,) = api.messages("held")
    assert message["redelivered"] is True
    assert api.ask(f"/api/connections/{name}", "DELETE")[0] == 404
    api.delete("queues/%2F/held")


def test_all_connections_of_a_user_are_closed(program: Program, api: Api) -> None:
    ann, again, bob = (
        pika.BlockingConnection(
            pika.ConnectionParameters(
                "127.0.0.1", program.port("amqp"), credentials=pika.PlainCredentials(user, "x")
            )
        )
        for user in ("ann", "ann", "bob")
    )
    assert len(api.get("connections/username/ann")) == 2
    api.delete("connections/username/ann")
    for each in (ann, again):
        with pytest.raises(ConnectionClosedByBroker, match="Closed via management plugin"):
            wait_for_the_end(each)
    assert [each["user"] for each in api.get("connections")] == ["bob"]
    bob.close()


async def test_a_stomp_connection_is_closed_with_an_error(program: Program, api: Api) -> None:
    client = await StompClient.connect(program.port("stomp"))
    api.delete(f"connections/{name_of(api, 'STOMP')}", **{"X-Reason": "because"})
    frame = await client.receive()
    assert (frame.command, frame.body) == ("ERROR", b"because\n")
    with pytest.raises((EOFError, ConnectionError)):
        await client.receive()
    await client.close()


@pytest.mark.parametrize("version", [ProtocolVersion.V5, ProtocolVersion.V3_1_1])
async def test_an_mqtt_connection_is_closed(
    program: Program, api: Api, version: ProtocolVersion
) -> None:
    will = Will("gone", b"was closed")
    client = await SocketClient.open(
        program.port("mqtt"), connect("closed", version=version, will=will)
    )
    name = name_of(api, "MQTT")
    other = await SocketClient.open(program.port("mqtt"), connect("other"))
    await other.subscribe("gone")
    api.delete(f"connections/{name}", **{"X-Reason": "because"})
    await client.until(lambda: client.closed)
    expected = ReasonCode.ADMINISTRATIVE_ACTION if version is ProtocolVersion.V5 else None
    assert client.disconnected == expected
    # It has not said goodbye itself.
    assert await other.payloads(1) == [b"was closed"]
    await other.leave()


# -- the script of RabbitMQ's users


@pytest.mark.skipif(ADMIN is None, reason="rabbitmqadmin is not installed: rabbitmq-server has it")
def test_rabbitmqadmin(api: Api, channel: BlockingChannel) -> None:
    def run(*arguments: str, fails: bool = False) -> str:
        assert ADMIN is not None
        done = subprocess.run(
            [ADMIN, "-P", str(api.port), *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert bool(done.returncode) is fails, done.stderr
        return done.stdout + done.stderr

    run("declare", "queue", "name=script", "durable=true", 'arguments={"x-max-length":10}')
    run("declare", "exchange", "name=script-x", "type=topic")
    run("declare", "binding", "source=script-x", "destination=script", "routing_key=a.#")
    assert "Message published" in run(
        "publish", "exchange=script-x", "routing_key=a.b", "payload=x"
    )
    assert "NOT routed" in run("publish", "routing_key=nobody", "payload=x")
    assert "a.b" in run("get", "queue=script")
    assert "a.b" in run("get", "queue=script", "ackmode=ack_requeue_false")
    assert "No items" in run("get", "queue=script")
    run("publish", "routing_key=script", 'properties={"delivery_mode":2}', "payload=y")
    run("purge", "queue", "name=script")
    run(
        "delete",
        "binding",
        "source=script-x",
        "destination=script",
        "destination_type=queue",
        f"properties_key={quote('a.#', safe='')}",
    )
    run("delete", "exchange", "name=script-x")
    run("delete", "queue", "name=script")
    assert "Not found" in run("delete", "queue", "name=script", fails=True)
    reason = run("declare", "queue", "name=amq.script", fails=True)
    assert "Access refused" in reason
    run("declare", "vhost", "name=/")
    run("declare", "permission", "vhost=/", "user=guest", "configure=.*", "write=.*", "read=.*")
    run("close", "connection", f"name={api.get('connections')[0]['name']}")
    with pytest.raises(ConnectionClosedByBroker):
        wait_for_the_end(channel.connection)

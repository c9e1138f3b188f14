"""Users, permissions and virtual hosts that are made by RabbitMQ's management API, and then used.

The vector was recorded at RabbitMQ: every request there is answered here as it was there.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pika
import pytest
from pika.exceptions import (
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from adapters.mqtt.reason_codes import ReasonCode
from tests.support.management_api import Api, replayed
from tests.support.mqtt_client import SocketClient, connect
from tests.support.program import Place, Program
from tests.support.stomp_client import StompClient

VECTOR = Path(__file__).parents[1] / "vectors" / "rabbitmq" / "management_provisioning_3_10.json"
ADMIN = shutil.which("rabbitmqadmin")
EVERYTHING = {"configure": ".*", "write": ".*", "read": ".*"}


@pytest.fixture(scope="module")
def program(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    with place.running(directory=tmp_path_factory.mktemp("provisioned")) as program:
        yield program


@pytest.fixture
def api(program: Program) -> Api:
    return Api(program, "guest", "guest")


@pytest.fixture
def shop(api: Api) -> Iterator[str]:
    """A virtual host in which the user of the same name may do everything."""
    api.put("vhosts/shop")
    api.put("users/shop", {"password": "sells", "tags": ""})
    api.put("permissions/shop/shop", EVERYTHING)
    yield "shop"
    for path in ("vhosts/shop", "users/shop"):
        assert api.ask(f"/api/{path}", "DELETE")[0] in {204, 404}


def opened(
    program: Program, vhost: str = "shop", password: str = "sells"
) -> pika.BlockingConnection:
    return pika.BlockingConnection(
        pika.ConnectionParameters(
            "127.0.0.1",
            program.port("amqp"),
            vhost,
            pika.PlainCredentials("shop", password),
        )
    )


def wait_for_the_end(connection: pika.BlockingConnection) -> str:
    """What the client is told."""
    try:
        while True:
            connection.process_data_events(1)
    except ConnectionClosedByBroker as closed:
        text: str = closed.reply_text
        return text


def test_answers_are_those_of_rabbitmq(api: Api) -> None:
    for each in json.loads(VECTOR.read_text()):
        assert replayed(api, each) == each


@pytest.mark.usefixtures("shop")
async def test_a_user_that_was_made_works_over_amqp(program: Program) -> None:
    url = f"amqp://shop:sells@127.0.0.1:{program.port('amqp')}/shop"
    connection = await aio_pika.connect(url)
    channel = await connection.channel()
    queue = await channel.declare_queue("orders", durable=True)
    await channel.default_exchange.publish(aio_pika.Message(b"one"), "orders")
    message = await queue.get()
    assert message.body == b"one"
    await message.ack()
    await connection.close()
    for vhost, password, expected in (
        ("shop", "wrong", ProbableAuthenticationError),
        ("/", "sells", ProbableAccessDeniedError),
        ("none", "sells", ProbableAccessDeniedError),
    ):
        with pytest.raises(expected):
            opened(program, vhost, password)


@pytest.mark.usefixtures("shop")
async def test_a_user_that_was_made_works_over_stomp_and_mqtt(program: Program, api: Api) -> None:
    client = await StompClient.connect(
        program.port("stomp"), login="shop", passcode="sells", host="shop"
    )
    client.send("SEND", {"destination": "/queue/made", "receipt": "1"}, b"x")
    assert (await client.receive()).command == "RECEIPT"
    await client.close()
    assert api.get("queues/shop/made")["messages"] == 1
    packet = connect("shop", user="shop", password=b"sells")
    # It may not be in the default virtual host yet, where MQTT's clients are.
    for expected in (ReasonCode.NOT_AUTHORIZED, ReasonCode.SUCCESS):
        device = await SocketClient.open(program.port("mqtt"), packet)
        assert device.connack is not None
        assert device.connack.reason_code == expected
        api.ask("/api/permissions/%2F/shop", "PUT", EVERYTHING)
        device.cut()


@pytest.mark.usefixtures("shop")
def test_permissions_hold_at_once_for_those_who_are_connected(program: Program, api: Api) -> None:
    connection = opened(program)
    channel = connection.channel()
    channel.queue_declare("own-1")
    status, _, _ = api.ask(
        "/api/permissions/shop/shop", "PUT", dict.fromkeys(EVERYTHING, "^(own-.*|amq\\.default)$")
    )
    assert status == 204
    channel.queue_declare("own-2")
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        channel.queue_declare("other")
    api.delete("permissions/shop/shop")
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        connection.channel().queue_declare("own-3")
    connection.close()
    with pytest.raises(ProbableAccessDeniedError):
        opened(program)


@pytest.mark.usefixtures("shop")
def test_topic_permissions_hold(program: Program, api: Api) -> None:
    grant = {"exchange": "amq.topic", "write": "^open\\.", "read": ".*"}
    api.put("topic-permissions/shop/shop", grant)
    connection = opened(program)
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("amq.topic", "open.a", b"x")
    with pytest.raises(ChannelClosedByBroker, match="ACCESS_REFUSED"):
        channel.basic_publish("amq.topic", "closed.a", b"x")
    api.delete("topic-permissions/shop/shop/amq.topic")
    channel = connection.channel()
    channel.confirm_delivery()
    channel.basic_publish("amq.topic", "closed.a", b"x")
    connection.close()


@pytest.mark.usefixtures("shop")
async def test_who_is_in_a_virtual_host_that_is_deleted_is_told(program: Program, api: Api) -> None:
    connection = opened(program)
    channel = connection.channel()
    channel.queue_declare("lasting", durable=True)
    channel.queue_declare("exclusive", exclusive=True)
    stomp = await StompClient.connect(
        program.port("stomp"), login="shop", passcode="sells", host="shop"
    )
    api.delete("vhosts/shop")
    gone = "vhost 'shop' is deleted"
    assert wait_for_the_end(connection) == f"CONNECTION_FORCED - {gone}"
    assert (await stomp.receive()).body == f"{gone}\n".encode()
    await stomp.close()
    with pytest.raises(ProbableAccessDeniedError, match="vhost shop not found"):
        opened(program)
    # Under the same name there is another one.
    api.put("vhosts/shop")
    assert api.get("queues/shop") == []
    assert api.get("users/shop/permissions") == []


@pytest.mark.usefixtures("shop")
def test_a_password_changes_for_logins_and_a_deleted_user_goes(program: Program, api: Api) -> None:
    connection = opened(program)
    connection.channel()
    assert api.ask("/api/users/shop", "PUT", {"password": "new", "tags": ""})[0] == 204
    connection.process_data_events(0)
    with pytest.raises(ProbableAuthenticationError):
        opened(program)
    opened(program, password="new").close()
    api.delete("users/shop")
    assert wait_for_the_end(connection) == "CONNECTION_FORCED - user 'shop' is deleted"
    with pytest.raises(ProbableAuthenticationError):
        opened(program, password="new")


@pytest.mark.skipif(ADMIN is None, reason="rabbitmqadmin is not installed: rabbitmq-server has it")
def test_rabbitmqadmin(program: Program, api: Api, tmp_path: Path) -> None:
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

    (tmp_path / "made.json").write_text(json.dumps({"vhosts": [{"name": "shop"}]}))
    run("import", str(tmp_path / "made.json"))
    run("declare", "vhost", "name=shop")
    run("declare", "user", "name=shop", "password=sells", "tags=management")
    run(
        *("declare", "permission", "vhost=shop", "user=shop"),
        *("configure=.*", "write=.*", "read=.*"),
    )
    assert "management" in run("list", "users")
    assert "shop" in run("list", "permissions")
    opened(program).close()
    run("-V", "shop", "declare", "queue", "name=lasting", "durable=true")
    run("delete", "permission", "vhost=shop", "user=shop")
    run("delete", "user", "name=shop")
    run("delete", "vhost", "name=shop")
    assert "Not found" in run("delete", "vhost", "name=shop", fails=True)

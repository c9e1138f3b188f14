"""What a STOMP user may not do is an ERROR in RabbitMQ's words, and nothing happens."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest

from bridge.auth import Account, Accounts, Grants, NamespacePermission, SubjectPermission
from tests.mappings.stomp.broker import Broker, Client, receipts_of, send, subscribe

HASH = b64encode(b"salt" + hashlib.sha256(b"saltpw").digest()).decode()


def grants(configure: str, write: str, read: str, **more: object) -> Grants:
    permissions = (NamespacePermission("/", configure, write, read),)
    return Grants(permissions=permissions, **more)  # type: ignore[arg-type]


@pytest.fixture
async def accounts() -> AsyncIterator[Accounts]:
    accounts = Accounts(
        [
            Account("own", HASH, grants("^own", "^own", "^own")),
            Account("sender", HASH, grants("", r"^amq\.(default|topic)$", "")),
            Account("reader", HASH, grants("", "", r"^(own|amq\.topic)")),
            Account("shop", HASH, Grants(namespaces=frozenset({"other"}))),
            Account("meter", HASH, Grants(publish=("m/{client_id}",), subscribe=("m/{user}/#",))),
            Account(
                "keyed",
                HASH,
                Grants(subjects=(SubjectPermission("/", "amq.topic", "^k", "^k"),)),
            ),
        ],
        secret=b"s",
    )
    yield accounts
    accounts.close()


async def client_of(accounts: Accounts, user: str, *headers: str) -> tuple[Broker, Client]:
    broker = Broker(accounts=accounts)
    client = await broker.client("1.2", f"login:{user}", "passcode:pw", *headers)
    return broker, client


REFUSED = [
    (
        "own",
        send("/queue/other"),
        "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user",
    ),
    ("own", send("/topic/a"), "write access to exchange 'amq.topic'"),
    ("own", send("/exchange/amq.fanout/x"), "write access to exchange 'amq.fanout'"),
    ("sender", send("/queue/new"), "configure access to queue 'new'"),
    ("own", subscribe("/queue/other"), "configure access to queue 'other'"),
    ("reader", subscribe("/queue/own"), "configure access to queue 'own'"),
    ("sender", subscribe("/topic/a"), "read access to exchange 'amq.topic'"),
    ("own", subscribe("/exchange/amq.fanout"), "read access to exchange 'amq.fanout'"),
    (
        "reader",
        subscribe("/topic/a", "0", "x-queue-name:mine"),
        "configure access to queue 'mine'",
    ),
    (
        "own",
        subscribe("/queue/own", "0", "x-dead-letter-exchange:alien"),
        "write access to exchange 'alien'",
    ),
    (
        "own",
        send("/queue/own", "x", "x-dead-letter-exchange:alien"),
        "write access to exchange 'alien'",
    ),
    (
        "reader",
        subscribe("/topic/a", "0", "x-dead-letter-exchange:"),
        "write access to exchange 'amq.default'",
    ),
    ("meter", send("/topic/m.b"), "write access to topic 'm.b' in exchange 'amq.topic'"),
    ("meter", subscribe("/topic/m.*"), "read access to topic 'm.*' in exchange 'amq.topic'"),
    ("keyed", send("/topic/x"), "write access to topic 'x' in exchange 'amq.topic'"),
    ("keyed", subscribe("/topic/#"), "read access to topic '#' in exchange 'amq.topic'"),
]


@pytest.mark.parametrize(("user", "frame", "text"), REFUSED)
async def test_what_is_not_permitted_is_refused(
    accounts: Accounts, user: str, frame: str, text: str
) -> None:
    broker, client = await client_of(accounts, user, "client-id:a")
    before = broker.queue_names()
    answer = await client.send(frame)
    assert answer.startswith("ERROR\n")
    assert "message:access_refused\n" in answer
    assert text in answer
    assert broker.queue_names() == before


@pytest.mark.parametrize(
    ("user", "frame"),
    [
        ("own", send("/queue/own-1", "x", "receipt:1")),
        ("own", subscribe("/queue/own-1", "0", "receipt:1")),
        ("sender", send("/topic/a", "x", "receipt:1")),
        ("reader", subscribe("/topic/a", "0", "receipt:1")),
        ("meter", send("/topic/m.a", "x", "receipt:1")),
        ("meter", subscribe("/topic/m.meter.*", "0", "receipt:1")),
        ("meter", send("/queue/any", "x", "receipt:1")),
        ("keyed", send("/topic/k.x", "x", "receipt:1")),
        ("keyed", subscribe("/topic/k.x", "0", "receipt:1")),
    ],
)
async def test_what_is_permitted_happens(accounts: Accounts, user: str, frame: str) -> None:
    _, client = await client_of(accounts, user, "client-id:a")
    assert receipts_of(await client.send(frame)) == ["1"]


async def test_a_namespace_that_the_user_may_not_open(accounts: Accounts) -> None:
    broker = Broker(accounts=accounts)
    client = Client(broker)
    answer = await client.send("CONNECT\naccept-version:1.2\nlogin:shop\npasscode:pw\n\n^@")
    assert answer.startswith("ERROR\nmessage:Bad CONNECT\n")
    assert "Virtual host '/' access denied" in answer
    assert client.wire.closed
    assert broker.log.lines == ["refused shop: access to vhost '/' refused for user 'shop'"]
    await client_of(accounts, "shop", "host:other")


async def test_a_reload_holds_for_destinations_that_were_met_before(accounts: Accounts) -> None:
    _, client = await client_of(accounts, "meter")
    assert receipts_of(await client.send(send("/queue/a", "x", "receipt:1"))) == ["1"]
    accounts.replace([Account("meter", HASH, grants("", "", ""))])
    answer = await client.send(send("/queue/a", "x", "receipt:2"))
    assert "write access to exchange 'amq.default'" in answer
    assert receipts_of(answer) == []

"""`landbridge import rabbitmq` with the real program: after one command, a start has it all."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.program import run_landbridge, running
from tests.support.stomp_client import StompClient

VECTOR = Path(__file__).parents[1] / "vectors" / "rabbitmq" / "definitions_3_10.json"


def import_file(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_landbridge("import", "rabbitmq", *arguments, directory=directory)


def connect(port: int, user: str, password: str) -> bytes:
    """What the broker answers to a CONNECT."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        frame = f"CONNECT\naccept-version:1.2\nhost:/\nlogin:{user}\npasscode:{password}\n\n\0"
        client.sendall(frame.encode())
        return client.recv(4096)


def test_a_plan_changes_nothing(tmp_path: Path) -> None:
    done = import_file(tmp_path, str(VECTOR), "--plan")
    assert done.returncode == 0, done.stderr
    assert "binding in '/': 'orders' -> queue 'orders.eu' ('eu.#')" in done.stdout
    assert "would be imported" in done.stdout
    assert "queue 'events' in vhost '/': streams are not offered" in done.stdout
    assert list(tmp_path.iterdir()) == []


async def test_the_next_start_has_users_queues_bindings_and_policies(tmp_path: Path) -> None:
    done = import_file(tmp_path, str(VECTOR))
    assert done.returncode == 0, done.stderr
    assert "  queues      8" in done.stdout
    with running(directory=tmp_path) as program:
        assert "3 users: guest, meter, orders" in "\n".join(program.text)
        port = program.port("stomp")
        client = await StompClient.connect(port, login="orders", passcode="orders-secret")
        client.send("SUBSCRIBE", {"id": "0", "destination": "/amq/queue/orders.eu"})
        client.send("SEND", {"destination": "/exchange/orders/eu.berlin", "receipt": "1"}, b"hello")
        got = {(await client.receive()).command, (await client.receive()).command}
        assert got == {"MESSAGE", "RECEIPT"}
        client.send("SEND", {"destination": "/exchange/dlx/x"})
        refused = await client.receive()
        assert refused.headers["message"] == "access_refused"
        assert b"write access to exchange 'dlx' in vhost '/' refused" in refused.body
        shop = await StompClient.connect(
            port, login="orders", passcode="orders-secret", host="shop"
        )
        shop.send("SUBSCRIBE", {"id": "0", "destination": "/amq/queue/shop.q", "receipt": "s"})
        assert (await shop.receive()).headers["receipt-id"] == "s"
        assert b"Access refused for user 'meter'" in connect(port, "meter", "wrong")
        again = import_file(tmp_path, str(VECTOR))
        assert again.returncode == 1
        assert "is in use by process" in again.stderr
        for each in (client, shop):
            await each.close()
    again = import_file(tmp_path, str(VECTOR))
    assert again.returncode == 0, again.stderr
    assert "  queues      0, 8 there already" in again.stdout
    assert "  users       0, 3 there already" in again.stdout
    assert "  bindings    0, 6 there already" in again.stdout


def test_the_configuration_wins_over_an_imported_user(tmp_path: Path) -> None:
    assert import_file(tmp_path, str(VECTOR)).returncode == 0
    done = import_file(tmp_path, str(VECTOR), "--set", "users=[{name: orders}]")
    assert "users that the configuration has too, and which it decides: orders" in done.stdout


def test_imported_users_open_listeners_to_the_network(tmp_path: Path) -> None:
    wide = ("check", "--set", "listeners.stomp.bind=0.0.0.0")
    assert run_landbridge(*wide, directory=tmp_path).returncode == 1
    assert import_file(tmp_path, str(VECTOR)).returncode == 0
    assert run_landbridge(*wide, directory=tmp_path).returncode == 0


def test_all_or_nothing(tmp_path: Path) -> None:
    definitions = json.loads(VECTOR.read_text())
    definitions["bindings"].append(
        {"source": "nowhere", "vhost": "/", "destination": "dead", "routing_key": ""}
    )
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(definitions))
    done = import_file(tmp_path, str(file))
    assert done.returncode == 1
    assert "bindings[6]: there is no exchange 'nowhere' in vhost '/'" in done.stderr
    assert "nothing was imported" in done.stderr
    assert not (tmp_path / "landbridge-data").exists()


def test_what_contradicts_the_store_is_refused_as_a_whole(tmp_path: Path) -> None:
    assert import_file(tmp_path, str(VECTOR)).returncode == 0
    definitions = json.loads(VECTOR.read_text())
    definitions["exchanges"][0]["type"] = "topic"
    definitions["queues"].append({"name": "new", "vhost": "/", "durable": True})
    next(each for each in definitions["queues"] if each["name"] == "dead")["arguments"] = {
        "x-max-length": 5
    }
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(definitions))
    done = import_file(tmp_path, str(file))
    assert done.returncode == 1
    assert "queue 'dead' in vhost '/' exists with other arguments: none" in done.stderr
    assert "exists with kind 'direct', and the definitions say 'topic'" in done.stderr
    plan = import_file(tmp_path, str(VECTOR), "--plan")
    assert "  queues      0, 8 there already" in plan.stdout


@pytest.mark.parametrize(
    ("text", "reason"), [("", "is not JSON"), ("{}", "is no export of RabbitMQ's definitions")]
)
def test_a_file_that_is_no_export(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "f.json"
    file.write_text(text)
    done = import_file(tmp_path, str(file))
    assert done.returncode == 1
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = import_file(tmp_path, "nowhere.json")
    assert done.returncode == 1
    assert done.stderr == "nowhere.json: cannot be read: no such file or directory\n"

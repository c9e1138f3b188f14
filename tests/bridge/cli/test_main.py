"""The commands that start nothing, run as users run them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bridge.auth import make_password_hash, parse_password_hash
from tests.support.program import LANDBRIDGE, run_landbridge

HASH = make_password_hash(b"secret")


def test_version(tmp_path: Path) -> None:
    result = run_landbridge("--version", directory=tmp_path)
    assert (result.returncode, result.stdout) == (0, "landbridge 0.1.0\n")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["frobnicate"],
        ["serve", "--prot-offset", "1"],
        ["serve", "--port-offset", "x"],
        ["config", "--schema", "--reference"],
        ["user"],
        ["explain"],
    ],
)
def test_a_wrong_command_line_is_2(tmp_path: Path, arguments: list[str]) -> None:
    result = run_landbridge(*arguments, directory=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("usage: landbridge")


def test_without_a_command_it_says_which_there_are(tmp_path: Path) -> None:
    assert "check the configuration" in run_landbridge(directory=tmp_path).stderr


def test_check_of_the_defaults_warns_once(tmp_path: Path) -> None:
    result = run_landbridge("check", directory=tmp_path)
    assert result.returncode == 0
    assert result.stdout.count("warning: ") == 1
    assert "stomp: STOMP on 127.0.0.1:61613" in result.stdout


def test_check_reads_the_file_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("log: {}\nbackends: {}\n")
    result = run_landbridge(
        "check", directory=tmp_path, environment={"LANDBRIDGE_CONFIG": "other.yaml"}
    )
    assert result.returncode == 1
    assert result.stderr == "other.yaml:2: backends: is no option; did you mean 'backend'?\n"


def test_the_file_may_be_given_alone(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("log: {}\nbackends: {}\n")
    for command in ("check", "plan", "config", "serve"):
        result = run_landbridge(command, "--port-offset=1", "other.yaml", directory=tmp_path)
        assert result.returncode == 1
        assert result.stderr == "other.yaml:2: backends: is no option; did you mean 'backend'?\n"
    result = run_landbridge("check", "other.yaml", "-c", "landbridge.yaml", directory=tmp_path)
    assert result.returncode == 2
    assert "not allowed with argument FILE" in result.stderr


@pytest.mark.parametrize(
    ("override", "warning"),
    [
        ("backend.durability=memory", "every start deletes"),
        ("listeners={}", "there are no listeners for clients: nobody can connect"),
        ("backend.durability=os", "can be lost with the machine"),
        ("listeners.stomp={bind: 0.0.0.0, anonymous: true}", "may connect with any credentials"),
    ],
)
def test_check_warns(tmp_path: Path, override: str, warning: str) -> None:
    result = run_landbridge("check", "--set", override, directory=tmp_path)
    assert result.returncode == 0
    assert warning in result.stdout


def test_check_says_what_the_backend_makes_of_an_option(tmp_path: Path) -> None:
    (tmp_path / "landbridge.yaml").write_text(
        "queues: [{name: orders, priority_max: 9, message_ttl_ms: 60000}]\n"
    )
    embedded = run_landbridge("check", directory=tmp_path)
    assert "x-max-priority (queues.priority_max): emulated: sixteen bands" in embedded.stdout
    assert "queues.message_ttl_ms" not in embedded.stdout
    given = ("--set=backend.kind=aws", "--set=backend.region=eu-west-1")
    aws = run_landbridge("check", *given, directory=tmp_path)
    assert "x-max-priority (queues.priority_max): emulated: up to four bands" in aws.stdout
    assert "(queues.message_ttl_ms): emulated: one node at a time" in aws.stdout


def test_a_full_disk_is_told_without_a_traceback(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [LANDBRIDGE, "losses"], cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert result.returncode == 1
    assert result.stderr == b"landbridge: no space is left for the output\n"


def test_check_says_what_is_not_installed(tmp_path: Path) -> None:
    (tmp_path / "botocore.py").write_text("raise ModuleNotFoundError(name='botocore')\n")
    (tmp_path / "landbridge.yaml").write_text("log: {}\nbackend: {region: x, kind: aws}\n")
    for command in ("check", "plan"):
        result = run_landbridge(
            command, directory=tmp_path, environment={"PYTHONPATH": str(tmp_path)}
        )
        assert result.returncode == 1
        assert result.stderr.startswith("landbridge.yaml:2: backend.kind: the aws backend needs")


def test_config_prints_a_file_that_means_the_same(tmp_path: Path) -> None:
    first = run_landbridge("config", "--port-offset", "5", directory=tmp_path)
    assert first.returncode == 0
    (tmp_path / "landbridge.yaml").write_text(first.stdout)
    second = run_landbridge("config", directory=tmp_path)
    assert second.stdout == first.stdout
    data = YAML(typ="safe").load(first.stdout)
    assert data["listeners"]["stomp"]["port"] == 61618


def test_the_schema_is_json(tmp_path: Path) -> None:
    schema = json.loads(run_landbridge("config", "--schema", directory=tmp_path).stdout)
    assert schema["properties"].keys() >= {"backend", "listeners", "routes", "users"}
    assert schema["additionalProperties"] is False


def test_a_hashed_password_is_a_users_entry(tmp_path: Path) -> None:
    result = run_landbridge(
        "user", "hash", "--name", 'o"x', directory=tmp_path, stdin="s3cret\nmore\n"
    )
    assert result.returncode == 0
    (user,) = YAML(typ="safe").load(result.stdout)["users"]
    assert user["name"] == 'o"x'
    assert parse_password_hash(user["password_hash"]).verify(b"s3cret")
    (tmp_path / "landbridge.yaml").write_text(result.stdout)
    assert run_landbridge("check", directory=tmp_path).returncode == 0


def test_a_hash_without_a_name_is_for_the_environment(tmp_path: Path) -> None:
    result = run_landbridge("user", "hash", directory=tmp_path, stdin="s3cret\n")
    assert parse_password_hash(result.stdout.removesuffix("\n")).verify(b"s3cret")
    (tmp_path / "landbridge.yaml").write_text("users: [{name: a, password_hash: '${HASH}'}]")
    environment = {"HASH": result.stdout.removesuffix("\n")}
    checked = run_landbridge("check", directory=tmp_path, environment=environment)
    assert checked.returncode == 0


def test_a_user_needs_a_name(tmp_path: Path) -> None:
    result = run_landbridge("user", "hash", "--name", "", directory=tmp_path, stdin="secret\n")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "--name: a name has 1 to 255 characters\n"


@pytest.mark.parametrize("stdin", ["", "\n", "x" * 4097 + "\n"])
def test_no_password_is_no_user(tmp_path: Path, stdin: str) -> None:
    result = run_landbridge("user", "hash", directory=tmp_path, stdin=stdin)
    assert result.returncode == 1
    assert result.stdout == ""
    assert "1 to 4096 characters" in result.stderr

"""From a file to a checked configuration: defaults, mistakes, the doors that stay shut."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.auth import make_password_hash
from bridge.config import (
    ConfigInvalid,
    Sources,
    effective,
    find_file,
    limits_of,
    load,
)
from bridge.config.reference import HIDDEN, effective_yaml, json_schema, reference_page
from bridge.messaging.limits import Limits
from bridge.protocols import PROTOCOLS
from tests.bridge.config.conftest import TABLE, Load, mistakes_of

HASH = make_password_hash(b"secret")


def test_no_file_at_all_is_valid(loaded: Load) -> None:
    result = loaded()
    assert [(each.name, each.address) for each in result.listeners] == [
        ("stomp", "127.0.0.1:61613"),
        ("aws", "127.0.0.1:4566"),
        ("metrics", "127.0.0.1:15692"),
    ]
    assert result.config.backend.durability == "fsync"
    assert limits_of(result.config) == Limits()


@pytest.mark.parametrize("text", ["# nothing\n", "---\n", "null\n"])
def test_an_empty_file_is_the_defaults(loaded: Load, text: str) -> None:
    assert loaded(text).listeners == loaded().listeners


def test_listeners_of_the_file_replace_the_defaults(loaded: Load) -> None:
    result = loaded(
        "listeners:\n"
        "  stomp: null\n"
        "  local: {protocol: stomp, port: 0}\n"
        "  ws: {protocol: stomp, websocket: true}\n"
        "  v6: {protocol: aws, bind: '::1'}\n"
    )
    assert [(each.name, each.address) for each in result.listeners] == [
        ("local", "127.0.0.1:0"),
        ("ws", "127.0.0.1:15674"),
        ("v6", "[::1]:4566"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "listeners: {stomp:}",
        "listeners: {stomp: }",
        "listeners:\n  stomp:\n",
        "listeners:\n  stomp: # all of it\n",
    ],
)
def test_a_listener_with_nothing_but_a_name_has_the_defaults(loaded: Load, text: str) -> None:
    result = loaded(text)
    assert [(each.name, each.address) for each in result.listeners] == [
        ("stomp", "127.0.0.1:61613")
    ]
    assert loaded(text, "listeners.stomp.port=7").listeners[0].port == 7
    assert loaded(text, "listeners.stomp=null").listeners == ()
    (mistake,) = mistakes_of(loaded, text.replace("stomp", "stmp"))
    assert mistake.startswith(f"f.yaml:{1 + text.count('  ')}: listeners.stmp: ")


def test_overrides_change_the_default_listeners(loaded: Load) -> None:
    result = loaded(None, "listeners.stomp.port=0", "listeners.metrics=null", port_offset=10)
    assert [(each.name, each.port) for each in result.listeners] == [("stomp", 0), ("aws", 4576)]


def test_the_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file(None, {}) in {None, Path("/etc/landbridge/landbridge.yaml")}
    Path("landbridge.yaml").touch()
    assert find_file(None, {}) == Path("landbridge.yaml")
    assert find_file(None, {"LANDBRIDGE_CONFIG": "e.yaml"}) == Path("e.yaml")
    assert find_file(Path("c.yaml"), {"LANDBRIDGE_CONFIG": "e.yaml"}) == Path("c.yaml")


@pytest.mark.parametrize(
    "bind", ["*", "::", "localhost", "node-01", "a.example.com.", "fe80::1%lo"]
)
def test_addresses_and_names_to_bind(loaded: Load, bind: str) -> None:
    text = f"listeners: {{stomp: {{bind: '{bind}', anonymous: true}}}}"
    assert loaded(text).listeners[0].bind == bind


def test_what_a_variable_leaves_empty_is_not_given(loaded: Load) -> None:
    text = "backend: {kind: aws, region: ${REGION:-}, prefix: }\nlog: null\n"
    assert mistakes_of(loaded, text)[0].startswith("f.yaml:1: backend.prefix: has no value")
    region = "backend: {kind: aws, region: ${REGION:-}, endpoint_url: null}\n"
    assert loaded(region).config.backend.region is None
    assert loaded(region, REGION="eu-west-1").config.backend.region == "eu-west-1"


def test_a_file_that_is_not_there(loaded: Load, tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"no\.yaml: cannot be read: no such file"):
        load(Sources(tmp_path / "no.yaml", (), 0, {}, TABLE))
    with pytest.raises(ConfigInvalid, match="is a directory"):
        load(Sources(tmp_path, (), 0, {}, TABLE))
    (tmp_path / "b.yaml").write_bytes(b"a: \xff")
    with pytest.raises(ConfigInvalid, match="not UTF-8"):
        load(Sources(tmp_path / "b.yaml", (), 0, {}, TABLE))


def test_ports_are_bounded_after_the_offset(loaded: Load) -> None:
    assert loaded(None, port_offset=65535 - 61613).listeners[0].port == 65535
    found = mistakes_of(loaded, None, port_offset=65535 - 61613 + 1)
    assert found == [
        "defaults: listeners.stomp.port: port 65536 after --port-offset 3923 (allowed: 0 to 65535)"
    ]


def test_given_options_are_known_without_names_and_indexes(loaded: Load) -> None:
    text = "queues: [{name: a}, {name: b, priority_max: 3}]\nlisteners: {x: {protocol: stomp}}\n"
    assert set(loaded(text).config.given_options()) == {
        "queues",
        "queues.name",
        "queues.priority_max",
        "listeners",
        "listeners.protocol",
    }


class TestDoors:
    """A listener that others can reach needs somebody to let in."""

    def test_without_users_it_does_not_open_and_the_mending_is_printed(self, loaded: Load) -> None:
        (found,) = mistakes_of(loaded, None, "listeners.stomp.bind=0.0.0.0")
        assert "users:\n      - name:" in found
        assert "landbridge user hash" in found
        assert "--set listeners.stomp.bind=127.0.0.1" in found

    @pytest.mark.parametrize("bind", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
    def test_loopback_opens(self, loaded: Load, bind: str) -> None:
        assert loaded(None, f"listeners.stomp.bind={bind!r}").listeners[0].loopback

    def test_with_users_it_opens(self, loaded: Load) -> None:
        loaded(f"users: [{{name: a, password_hash: '{HASH}'}}]", "listeners.stomp.bind=0.0.0.0")

    def test_whoever_says_anonymous_gets_it(self, loaded: Load) -> None:
        loaded(None, "listeners.stomp={bind: 0.0.0.0, anonymous: true}")

    def test_the_api_needs_keys_and_metrics_need_nothing(self, loaded: Load) -> None:
        (found,) = mistakes_of(loaded, None, "listeners.aws.bind=0.0.0.0")
        assert "access_keys:" in found
        keys = "aws_api.access_keys=[{id: AKIA1, secret: verysecret}]"
        loaded(None, "listeners.aws.bind=0.0.0.0", keys)
        loaded(None, "listeners.metrics.bind=0.0.0.0")


class TestShown:
    """What `landbridge config` prints."""

    def test_the_effective_file_means_the_same(self, loaded: Load) -> None:
        text = (
            f"users: [{{name: a, password_hash: '{HASH}'}}]\n"
            "listeners: {x: {protocol: stomp}}\n"
            "routes: [{from: stomp:/queue/a, to: sqs:b, set: {attributes: {site: berlin}}}]\n"
            "queues: [{name: q, dead_letter: failed}]\n"
            "aws_api: {access_keys: [{id: AKIA1, secret: verysecret}]}\n"
        )
        first = loaded(text)
        printed = effective_yaml(effective(first), secrets=True)
        second = loaded(printed)
        assert second.listeners == first.listeners
        assert effective(second) == effective(first)

    def test_secrets_are_hidden(self, loaded: Load) -> None:
        text = (
            f"users: [{{name: a, password_hash: '{HASH}'}}]\n"
            "aws_api: {access_keys: [{id: AKIA1, secret: verysecret}]}\n"
        )
        printed = effective_yaml(effective(loaded(text)), secrets=False)
        assert HASH not in printed
        assert "verysecret" not in printed
        assert printed.count(HIDDEN) == 2

    def test_the_reference_is_the_one_in_docs(self) -> None:
        page = Path(__file__).parents[3] / "docs" / "configuration.md"
        assert page.read_text() == reference_page(PROTOCOLS), (
            "run: landbridge config --reference > docs/configuration.md"
        )

    def test_every_option_has_help(self) -> None:
        assert '"description"' in json_schema()
        for line in reference_page(PROTOCOLS).splitlines():
            if line.startswith("| `"):
                assert not line.endswith("|  |") or "| `aws`" in line or "metrics" in line, line

    def test_the_environment_is_only_what_was_given(self, loaded: Load) -> None:
        assert "HOME" in os.environ
        assert mistakes_of(loaded, "backend: {path: '${HOME}'}")

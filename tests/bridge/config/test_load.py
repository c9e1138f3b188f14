"""From a file to a checked configuration: defaults, mistakes, the doors that stay shut."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from bridge.auth import make_password_hash
from bridge.config import (
    ConfigInvalid,
    Loaded,
    ProtocolPorts,
    Sources,
    effective,
    find_file,
    limits_of,
    load,
)
from bridge.config.reference import HIDDEN, effective_yaml, json_schema, reference_page
from bridge.config.section import Form, Section
from bridge.messaging.limits import Limits
from bridge.protocols import PROTOCOLS

HASH = make_password_hash(b"secret")
TABLE = {
    ports.name: ports
    for ports in (
        ProtocolPorts("stomp", "STOMP", 61613, 61614, 15674),
        ProtocolPorts("aws", "SQS and SNS API", 4566, 4566),
        ProtocolPorts("metrics", "Metrics", 15692, 15692, authenticated=False),
    )
}

Load: TypeAlias = Callable[..., Loaded]


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    monkeypatch.chdir(tmp_path)

    def run(text: str | None = None, *overrides: str, port_offset: int = 0, **env: str) -> Loaded:
        file = None
        if text is not None:
            file = Path("f.yaml")
            file.write_text(text)
        return load(Sources(file, overrides, port_offset, env, TABLE))

    return run


def mistakes_of(loaded: Load, *arguments: Any, **env: Any) -> list[str]:
    with pytest.raises(ConfigInvalid) as refused:
        loaded(*arguments, **env)
    return [str(mistake) for mistake in refused.value.mistakes]


def test_no_file_at_all_is_valid(loaded: Load) -> None:
    result = loaded()
    assert [(each.name, each.address) for each in result.listeners] == [
        ("stomp", "127.0.0.1:61613"),
        ("aws", "127.0.0.1:4566"),
        ("metrics", "127.0.0.1:15692"),
    ]
    assert result.config.backend.durability == "fsync"
    assert limits_of(result.config) == Limits()


def test_an_empty_file_is_the_defaults(loaded: Load) -> None:
    assert loaded("# nothing\n").listeners == loaded().listeners


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


def test_all_mistakes_are_reported_at_once_with_their_places(loaded: Load) -> None:
    text = (
        "backend: {kind: aws, durability: os}\n"
        "user: []\n"
        "users:\n"
        "  - {name: 7, password_hash: hunter2}\n"
        "  - {password_hash: $argon2id$cut}\n"
        "listeners:\n"
        "  stomp: {prt: 1, port: 70000}\n"
        "  openwire: {port: 61616}\n"
        "  w: {protocol: stmp}\n"
        "  aws: {bind: 0.0.0.0, port: ${PORT}}\n"
        "routes:\n"
        "  - {from: stomp:/queue/a, to: sqs:b, filter_scope: head}\n"
        "  - {from: stmp:/queue/a, to: sqs:b}\n"
        "log: {level: loud}\n"
        "limits: {prefetch_max: true}\n"
        "queues: [{name: a, dead_letter: {}}, {name: b, namespace: staging}]\n"
    )
    found = mistakes_of(loaded, text)
    for start in (
        "f.yaml:1: backend.durability: means nothing to the aws backend",
        "f.yaml:2: user: is no option; did you mean 'users'?",
        "f.yaml:4: users[0].name: must be text",
        "f.yaml:4: users[0].password_hash: is not a password hash",
        "f.yaml:5: users[1].name: is missing",
        "f.yaml:5: users[1].password_hash: is cut off",
        "f.yaml:7: listeners.stomp.prt: is no option; did you mean 'port'?",
        "f.yaml:7: listeners.stomp.port: must be 0 to 65535, not 70000",
        "f.yaml:8: listeners.openwire: openwire is not spoken yet",
        "f.yaml:9: listeners.w.protocol: 'stmp' is no protocol; did you mean 'stomp'?",
        "f.yaml:10: listeners.aws.port: the environment has no PORT",
        "f.yaml:10: listeners.aws: 0.0.0.0 is not loopback and there are no access keys",
        "f.yaml:12: routes[0].filter_scope: must be 'attributes' or 'body', not 'head'",
        "f.yaml:13: routes[1].from: address 'stmp:/queue/a' does not begin with one of",
        "f.yaml:14: log.level: must be 'debug', 'info', 'warning' or 'error', not 'loud'",
        "f.yaml:15: limits.prefetch_max: must be a whole number, not true",
        "f.yaml:16: queues[0].dead_letter.topic: is missing: a queue or a topic is needed",
        "f.yaml:16: queues[1].namespace: 'staging' is no namespace (known: /;",
    ):
        assert any(line.startswith(start) for line in found), (start, found)
    assert "hunter2" not in "".join(found)
    assert len(found) == 18


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("routes: [{from: foo, to: sqs:b}]", "f.yaml:1: routes[0].from: "),
        (
            "listeners: {stomp: {port: '61613'}}",
            "f.yaml:1: listeners.stomp.port: must be a whole number, without quotes, not '61613'",
        ),
        (
            "listeners: {stomp: {websocket: 'true'}}",
            "f.yaml:1: listeners.stomp.websocket: must be true or false, without quotes, not",
        ),
        (
            "listeners: {stomp: 61613}",
            (
                "f.yaml:1: listeners.stomp: must be a mapping of options (protocol, bind, port,"
                " tls, websocket, ...), not 61613"
            ),
        ),
        (
            "backend: aws",
            "f.yaml:1: backend: must be a mapping of options (kind, path, durability, region,",
        ),
        (
            "backend: {kind: aws, queues: {a: 'arn:aws:sqs:eu-west-1:123456789012:a'}}",
            "f.yaml:1: backend.queues.a: must be the name of a queue in SQS (not its ARN or URL)",
        ),
        (
            "backend: {kind: aws, topics: {a: 'arn:aws:sqs:eu-west-1:123456789012:a'}}",
            "f.yaml:1: backend.topics.a: must be the name of a topic in SNS, or its ARN",
        ),
        (
            "backend: {kind: aws, payload_bucket: 's3://bucket'}",
            "f.yaml:1: backend.payload_bucket: must be the name of a bucket, without s3:// and",
        ),
        (
            "backend: {kind: aws, ordering: [{queues: a, group: customer}]}",
            "f.yaml:1: backend.ordering[0].group: must be strict, subject, topic, header:NAME or",
        ),
        (
            "backend: {kind: aws, state_table: a b}",
            "f.yaml:1: backend.state_table: must be 3 to 255 letters, digits, `.`, `-` and `_`,",
        ),
        (
            "aws_api: {access_keys: [{id: a-b, secret: ${NONE:-12345678}}]}",
            "f.yaml:1: aws_api.access_keys[0].id: must be 3 to 128 letters, digits and `_`, not",
        ),
        (
            "users: [{name: a, permissions: }]",
            "f.yaml:1: users[0].permissions: has no value: write one, or leave the option out",
        ),
        (
            "listeners: {stomp: {tls: , certificate: a}}",
            "f.yaml:1: listeners.stomp.certificate: is no option here; it belongs under tls",
        ),
        (
            "listeners: {stomp: {tls: , certificate: a}}",
            "f.yaml:1: listeners.stomp.tls: has no value: write one, or leave the option out",
        ),
        ("listeners:", "f.yaml:1: listeners: has no value: write one, or leave the option out"),
        ("backend: {path: f.yaml}", "f.yaml:1: backend.path: f.yaml is not a directory"),
        (
            "listeners: {stomp: {bind: 'localhost:61613'}}",
            "f.yaml:1: listeners.stomp.bind: must be an address of this machine, without a port",
        ),
        ("listeners: {stomp: {bind: 10.0.0.300}}", "f.yaml:1: listeners.stomp.bind: must be an a"),
        (
            "aws_api: {access_keys: [{id: abc, secret: abcdefgh}, {id: abc, secret: abcdefgi}]}",
            "f.yaml:1: aws_api.access_keys[1]: 'abc' is given twice",
        ),
        (
            "queues: [{name: a.fifo, fifo: true, redrive: {queue: b, receive_count_max: 1}}]",
            "f.yaml:1: queues[0].redrive: goes to a FIFO queue (.fifo) from a FIFO queue, and only",
        ),
        (
            "queues: [{name: a, redrive: {queue: a, receive_count_max: 1}}]",
            "f.yaml:1: queues[0].redrive: goes to another queue than its own",
        ),
        (
            "routes: [{from: 'stomp:/queue/a', to: 'sqs:arn:aws:sqs:eu-west-1:1:a'}]",
            "f.yaml:1: routes[0].to[0]: address 'sqs:arn:aws:sqs:eu-west-1:1:a': sqs: takes a name",
        ),
        (
            "users: [{name: a, password_hash: $argon2id$v=19$m=65536,t=3,p=4$c2FsdA$abc}]",
            (
                "f.yaml:1: users[0].password_hash: is cut off or damaged: not a whole argon2 hash"
                " (between braces it goes in quotes, since commas end it there)"
            ),
        ),
        ("backend:", "f.yaml:1: backend: has no value; it must be a mapping of options (kind,"),
        (
            "queues: [orders]",
            "f.yaml:1: queues[0]: must be a mapping of options (name, namespace, dead_letter,",
        ),
        (
            "users: {orders: {}}",
            "f.yaml:1: users: must be a list (`[a, b]`, or lines that begin with `- `), not the",
        ),
        (
            "routes: [{from: 'mqtt:a', to: 'sqs:b', filter: unit = kWh}]",
            "f.yaml:1: routes[0].filter: must be a mapping (`{name: value}`, or lines of `name:",
        ),
        ("routes: [{from: stomp:/queue/a, to: [sqs:b, x]}]", "f.yaml:1: routes[0].to[1]: "),
        (
            "routes: [{from: stomp:/queue/a, to: []}]",
            "f.yaml:1: routes[0].to: must have at least 1 item, not a list of 0",
        ),
        ("routes: [{to: sqs:a}]", "f.yaml:1: routes[0].from: is missing"),
        ("routes: [{from: 'stomp:/queue/a', to: 'sqs:{b}'}]", "f.yaml:1: routes[0].to[0]: "),
        (
            "routes: [{from: stomp:/queue/a, to: sqs:b, set: {attributes: {a: [1]}}}]",
            "f.yaml:1: routes[0].set.attributes: ",
        ),
        ("users: [{name: a}, {name: a}]", "f.yaml:1: users[1]: 'a' is given twice"),
        (
            "queues: [{name: a}, {name: a}]",
            "f.yaml:1: queues[1]: 'a' in namespace '/' is given twice",
        ),
        ("queues: [{name: q}, {name: q}]", "f.yaml:1: queues[1]: "),
        ("queues: [{name: q, fifo: true}]", "f.yaml:1: queues[0].fifo: names of FIFO queues"),
        (
            "limits: {prefetch_max: 199}",
            "f.yaml:1: limits.prefetch_max: is 199, below ",
        ),
        (
            "listeners: {stomp: {}, b: {protocol: stomp, bind: 0.0.0.0, anonymous: true}}",
            "f.yaml:1: listeners.b.port: 0.0.0.0:61613 is taken by listener 'stomp' already",
        ),
        ("aws_api: {external_url: sqs.example.com}", "f.yaml:1: aws_api.external_url: must look"),
        (
            "aws_api: {external_url: 'https://sqs.example.com/api'}",
            "f.yaml:1: aws_api.external_url: must be https://host or http://host:port, no more",
        ),
        ("namespaces: [/]", "f.yaml:1: namespaces[0]: '/' is there without being named"),
        ("namespaces: [a, a]", "f.yaml:1: namespaces[1]: 'a' is given twice"),
        (
            "listeners: {stomps: {port: 1}}",
            "f.yaml:1: listeners.stomps: 'stomps' is no protocol; did you mean 'stomp'? (a list",
        ),
        ("listeners: {stomp: {namespace: x}}", "f.yaml:1: listeners.stomp.namespace: "),
        (r'backend: {path: "a\0b"}', "f.yaml:1: backend.path: must not contain a null character"),
        ("listeners: {stomp: {}, b: {protocol: stomp}}", "f.yaml:1: listeners.b.port: "),
        ("listeners: {aws: {websocket: true, port: 1}}", "f.yaml:1: listeners.aws.websocket: "),
        ("queues: [{name: q, dead_letter: {queue: a, topic: b}}]", "f.yaml:1: queues[0].dead"),
        ("backend: {kind: embedded, durability: sync}", "f.yaml:1: backend.durability: "),
        ("aws_api: {access_keys: [{id: a b, secret: s}]}", "f.yaml:1: aws_api.access_keys[0].id"),
        (
            "listeners: {stomp: {tls: {certificate: no.pem, require_client_certificate: true}}}",
            "f.yaml:1: listeners.stomp.tls.require_client_certificate: needs client_ca",
        ),
        (
            "listeners: {stomp: {tls: {certificate: no.pem}}}",
            "f.yaml:1: listeners.stomp.tls: certificate file no.pem cannot be read",
        ),
    ],
)
def test_a_mistake(loaded: Load, text: str, message: str) -> None:
    found = mistakes_of(loaded, text)
    assert any(line.startswith(message) for line in found), found


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


def test_no_mistake_hides_another_one(loaded: Load) -> None:
    text = (
        "backend: {region: eu-west-1, prefix: 'a b'}\n"
        "users: [{name: a, password_hash: x}, {name: a}]\n"
        "listeners:\n"
        "  stomp: {port: no, namespace: nowhere, tls: {certificate: no.pem}}\n"
        "  aws: {websocket: true, namespace: nowhere, bind: 0.0.0.0}\n"
        "routes:\n"
        "  - {from: foo:bar, to: [], filter_scope: head}\n"
        "  - {from: sqs:a, filter: {a: {b: 1}}, set: {attributes: {n: '{nobody}'}}}\n"
        "queues:\n"
        "  - {name: a, namespace: nowhere, length_max: many, fifo: true}\n"
        "  - {nam: q}\n"
        "  - {name: a, namespace: nowhere}\n"
        "aws_api: {simulation: {seed: 3}, purge_interval_seconds: -1}\n"
        "limits: {prefetch_default: 300, prefetch_max: 200, connections_max: 0}\n"
    )
    paths = [line.partition(": ")[2].partition(": ")[0] for line in mistakes_of(loaded, text)]
    assert sorted(paths) == sorted(
        [
            "backend.region",
            "backend.prefix",
            "users[0].password_hash",
            "users[1]",
            "listeners.stomp.port",
            "listeners.stomp.tls",
            "listeners.stomp.namespace",
            "listeners.aws",
            "listeners.aws.websocket",
            "listeners.aws.namespace",
            "routes[0].to",
            "routes[0].from",
            "routes[0].filter_scope",
            "routes[1].to",
            "routes[1].filter",
            "routes[1].set.attributes.n",
            "queues[0].length_max",
            "queues[0].fifo",
            "queues[0].namespace",
            "queues[1].name",
            "queues[1].nam",
            "queues[2]",
            "queues[2].namespace",
            "aws_api.purge_interval_seconds",
            "aws_api.simulation",
            "limits.prefetch_max",
            "limits.connections_max",
        ]
    )


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("backend: {kind: embeded, region: eu-west-1}", "backend.kind"),
        ("users: {name: a}\nlisteners: {stomp: {bind: 0.0.0.0}}", "users"),
        ("backend: {path: 5}\nlisteners: {stomp: {bind: 0.0.0.0}}", "backend.path"),
        ("listeners: {stomp: {}, o: {protocol: stomp, port: x}}", "listeners.o.port"),
        ("listeners: {stomp: {tls: {certificate: no.pem, key: 5}}}", "listeners.stomp.tls.key"),
        ("listeners: {stomp: {namespace: '5'}}\nnamespaces: [5]", "namespaces[0]"),
        ("listeners: 5", "listeners"),
        ("queues: [{name: a, namespace: 5}, {name: a}]", "queues[0].namespace"),
        ("queues: [{name: a.fifo, fifo: yes}]", "queues[0].fifo"),
        ("queues: [{name: q, dead_letter: {queue: 5}}]", "queues[0].dead_letter.queue"),
        ("routes: [{from: 5, to: 'sqs:{line}'}]", "routes[0].from"),
        (
            "routes: [{from: sqs:a, to: sqs:b, filter: {a: {b: [1]}}, filter_scope: bdy}]",
            "routes[0].filter_scope",
        ),
    ],
)
def test_nothing_is_said_about_what_stands_in_for_a_wrong_value(
    loaded: Load, text: str, path: str
) -> None:
    (found,) = mistakes_of(loaded, text)
    assert found.partition(": ")[2].startswith(f"{path}: ")


def test_a_path_of_the_command_line_is_named_once(loaded: Load) -> None:
    (found,) = mistakes_of(loaded, None, "listeners.stomp.port=abc")
    assert found == "--set listeners.stomp.port: must be a whole number, not 'abc'"


def test_secrets_are_not_shown_in_mistakes(loaded: Load) -> None:
    found = mistakes_of(loaded, "aws_api: {access_keys: [{id: AKIA1, secret: shorty}]}")
    assert "shorty" not in "".join(found)


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


def test_every_pattern_has_words() -> None:
    options = [
        (f"{section.__name__}.{name}", option.metadata)
        for section in sections_in(Section)
        for name, option in section.model_fields.items()
    ]
    patterned = [
        (name, any(isinstance(each, Form) for each in metadata))
        for name, metadata in options
        if any(getattr(each, "pattern", None) for each in metadata)
    ]
    assert len(patterned) >= 5
    assert not [name for name, worded in patterned if not worded]


def sections_in(section: type[Section]) -> Iterator[type[Section]]:
    for each in section.__subclasses__():
        yield each
        yield from sections_in(each)

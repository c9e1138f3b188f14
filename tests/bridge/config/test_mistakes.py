"""What users are told of a wrong value: its place, what it must be, and nothing besides."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bridge.config.section import Form, Section
from tests.bridge.config.conftest import Load, mistakes_of


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
        (
            "listeners: {stomp:}\nlisteners: {aws: {}}",
            "f.yaml:2: listeners: is given twice, first in line 1",
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

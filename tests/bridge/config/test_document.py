"""YAML with places, and the environment put in."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config.document import Document, parse_document
from bridge.config.mistakes import VALUE_CHARACTERS_MAX, ConfigInvalid
from bridge.config.overrides import apply_override


def parse(text: str, **environment: str) -> Document:
    return parse_document(text, "f.yaml", environment)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("'1'", "1"),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", 10),
        ("1_000", 1000),
        ("1e3", 1000.0),
        ("-2.5", -2.5),
        ("true", True),
        ("yes", "yes"),
        ("~", None),
        ("", None),
        ("2001-01-01", "2001-01-01"),
        ("[1, [a]]", [1, ["a"]]),
        ("{b:}", {"b": None}),
        ("{b:, c: 1, 'd:': }", {"b": None, "c": 1, "d:": None}),
        ("|\n  two\n  lines\n", "two\nlines\n"),
    ],
)
def test_values_have_yamls_core_types(text: str, value: Any) -> None:
    assert parse(f"a: {text}").data == {"a": value}


def test_every_value_has_its_line() -> None:
    document = parse("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n")
    assert document.place(("a", "b")) == "f.yaml:2"
    assert document.place(("a", "c", 1, "y")) == "f.yaml:5"
    assert document.place(("a", "c", 1, "missing")) == "f.yaml:5"
    assert document.place(("z",)) == "f.yaml:1"


def test_variables_are_replaced_before_types_are_decided() -> None:
    document = parse(
        "a: {port: ${PORT}, host: ${HOST:-local host: really}, quoted: '${PORT}'}\n"
        "mixed: x-${PORT}-${EMPTY:-none}-${EMPTY2}\n"
        "plain: $${PORT} costs 5$\n",
        PORT="7000",
        EMPTY="",
        EMPTY2="",
    )
    assert not document.mistakes
    assert document.data == {
        "a": {"port": 7000, "host": "local host: really", "quoted": "7000"},
        "mixed": "x-7000-none-",
        "plain": "${PORT} costs 5$",
    }


def test_missing_variables_are_mistakes_with_places_and_the_rest_is_still_read() -> None:
    document = parse("a: ${ONE}\nb: 2\nc: [x, ${not a name}]\n# ${COMMENT}\n")
    assert [str(mistake).split(" (")[0] for mistake in document.mistakes] == [
        "f.yaml:1: a: the environment has no ONE",
        "f.yaml:3: c[1]: ${not a name} does not name a variable",
    ]
    assert document.data["b"] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('a: {b: "${HASH"}', "a.b: a ${ without its } (write $${ for a plain ${)"),
        ("a: ${PORT:1883}", "a: a default stands behind :- as in ${PORT:-1883}"),
        ("a: ${PORT:=1883}", "a: a default stands behind :- as in ${PORT:-1883}"),
        ("a: $HOST", "a: $HOST stands for itself; the variable is ${HOST}"),
    ],
)
def test_variables_that_are_not_written_as_such(text: str, said: str) -> None:
    (mistake,) = parse(text, HOST="h").mistakes
    assert str(mistake) == f"f.yaml:1: {said}"


def test_dollars_that_name_no_variable_stay() -> None:
    document = parse("a: $OTHER\nb: x-$HOST\nc: $${\nd: \"it's ${HOST:-'x'}\"\n", HOST="h")
    assert not document.mistakes
    assert document.data == {"a": "$OTHER", "b": "x-$HOST", "c": "${", "d": "it's h"}


def test_substituted_text_is_never_structure() -> None:
    assert parse("a: ${X}", X="{b: 1}\nc: 2").data == {"a": "{b: 1}\nc: 2"}


def test_aliases_and_merges() -> None:
    document = parse("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x\nd: {<<: [{p: 5}, *x]}\n")
    assert document.data["b"] == {"p": 1, "q": 3}
    assert document.data["c"] == {"p": 1, "q": 2}
    assert document.data["d"] == {"p": 5, "q": 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "f.yaml:2: a: is given twice, first in line 1"),
        ("a: &x [*x]", "f.yaml:1: a[0]: an alias that contains itself"),
        ("a: &x {<<: *x}", "f.yaml:1: a: << takes mappings that are not around it"),
        ("a: {<<: 3}", "f.yaml:1: a: << takes mappings that are not around it"),
        ("a: !secret x", "f.yaml:1: a: the YAML tag !secret is not known"),
        ("? [x]\n: 1\n", "f.yaml:1: a key must be a word"),
    ],
)
def test_odd_yaml_is_a_mistake(text: str, message: str) -> None:
    assert [str(mistake) for mistake in parse(text).mistakes] == [message]


@pytest.mark.parametrize(
    "text", ["a: [1\nb: 2", "a: b: c", "\tx: 1", "a: *u", "--- 1\n--- 2", "a: \x01", "- list", "x"]
)
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(ConfigInvalid, match=r"^f\.yaml"):
        parse(text)


def test_many_aliases_are_bounded() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ConfigInvalid, match="more than"):
        parse("\n".join(lines))


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ConfigInvalid, match="nested"):
        parse("a: " + "[" * 5000)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("a.b=2", {"a": {"b": 2}, "list": [{"n": 1}]}),
        (
            "x.y.z=[1, {q: r}]",
            {"a": {"b": 1}, "list": [{"n": 1}], "x": {"y": {"z": [1, {"q": "r"}]}}},
        ),
        ("list[0].n=x", {"a": {"b": 1}, "list": [{"n": "x"}]}),
        ("list.0.n=x", {"a": {"b": 1}, "list": [{"n": "x"}]}),
        ("list[1]=y", {"a": {"b": 1}, "list": [{"n": 1}, "y"]}),
        ("list[+].n=y", {"a": {"b": 1}, "list": [{"n": 1}, {"n": "y"}]}),
        ("new[0].n=1", {"a": {"b": 1}, "list": [{"n": 1}], "new": [{"n": 1}]}),
        ('a."b.c"=1', {"a": {"b": 1, "b.c": 1}, "list": [{"n": 1}]}),
        ("a=", {"a": None, "list": [{"n": 1}]}),
        ("a.b=${HOME}", {"a": {"b": "${HOME}"}, "list": [{"n": 1}]}),
        ("a.b=p=q", {"a": {"b": "p=q"}, "list": [{"n": 1}]}),
    ],
)
def test_overrides(override: str, expected: dict[str, Any]) -> None:
    document = parse("a: {b: 1}\nlist: [{n: 1}]\n")
    apply_override(document, override)
    assert document.data == expected


@pytest.mark.parametrize(
    "override",
    ["a", "=1", "a..b=1", "list[5]=1", "list.x=1", "a.b.c=1", "a[=1", "a={", "list[0].n=[1"],
)
def test_overrides_that_lead_nowhere_are_refused(override: str) -> None:
    document = parse("a: {b: 1}\nlist: [{n: 1}]\n")
    with pytest.raises(ConfigInvalid) as refused:
        apply_override(document, override)
    assert str(refused.value).startswith(f"--set {override.partition('=')[0]}: ")


def test_an_override_is_the_place_of_what_it_sets() -> None:
    document = parse("a:\n  b: {c: 1}\n")
    apply_override(document, "a.b={c: 2}")
    assert document.place(("a", "b", "c")) == "--set a.b"
    assert document.place(("a",)) == "f.yaml:1"


def test_a_message_shows_no_value_at_length() -> None:
    fits = "a" * (VALUE_CHARACTERS_MAX - 2)
    for text, shown_as in ((fits, f"'{fits}'"), (fits + "a", f"'{fits[:-2]}...")):
        with pytest.raises(ConfigInvalid) as refused:
            parse(text)
        assert str(refused.value).endswith(f"(`log: {{level: info}}`), not {shown_as}")

"""What users are told of a file that is not YAML: the line to look at, and what to do there."""

from __future__ import annotations

import pytest

from bridge.config import ConfigInvalid
from bridge.config.document import parse_document

KEY_EXPECTED = "a `:` where no key can be: the line is indented too far, one above lacks its `:`,"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "listeners:\n  mqtt:\n    port: 1\n   amqp:\n",
            "4: indented by 3 spaces, and the block that it would belong to (in line 2) by 2",
        ),
        (
            "users:\n  - name: a\n   - name: b\n",
            "3: indented by 3 spaces, and the block that it would belong to (in line 2) by 2",
        ),
        (
            "users:\n  - name: a\n  password_hash: b\n",
            "3: a `- ` is missing, or more spaces: a list began in line 2",
        ),
        ("log: debug\n  level: info\n", f"2: {KEY_EXPECTED}"),
        ("listeners:\n  port 1883\n  mqtt: {}\n", f"3: {KEY_EXPECTED}"),
        ("a: b: c\n", f"1: {KEY_EXPECTED}"),
        ("log: {}\nlistener 1883\nusers: []\n", "2: a key without a `:` behind it"),
        ("users:\n\t- name: a\n", "2: a tab stands where YAML takes only spaces"),
        ('a: 1\nb: "x\nc: 1\n', "2: the quote that begins here is never closed"),
        ("a: 'it's'\nb: 1\n", "1: something behind a value that has ended: put quotes around"),
        (
            "log: {level: info\nusers: []\n",
            "2: a `,` or `}` is missing: the `{` in line 1 is still open",
        ),
        ("a: [1, {b: 2]\n", "1: a `,` or `}` is missing: the `{` before it is still open"),
        ("a: [1, 2\n", "2: a `,` or `]` is missing: the `[` in line 1 is still open"),
        ("a: {b: 1}}\n", "1: a `}` that closes nothing"),
        ("a: @b\n", "1: text that begins with `@` goes in quotes"),
        ("read: *\nwrite: a\n", "1: text that begins with `*` goes in quotes"),
        ("read: *.orders\n", "1: text that begins with `*` goes in quotes (there is no anchor `&."),
        ("a: &\n", "1: text that begins with `&` goes in quotes"),
        ('a: "\\d"\n', r"1: `\d` means nothing in double quotes: take single ones, or write `\\`"),
        ("a: |b\n", "1: behind `|` and `>` the line ends; text that begins with them goes in"),
        ("a: - b\n", "1: a list begins on a line of its own (or in brackets: `[a, b]`)"),
        ("a: 1\n---\nb: 2\n", "2: expected a single document in the stream, but found another"),
        ("a: 1\nb: \x01\n", "2: the character 0x0001 is not allowed in it"),
        ("a: ?\n", "1: mapping keys are not allowed here"),
    ],
)
def test_the_line_and_what_to_do(text: str, said: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        parse_document(text, "f.yaml", {})
    line, _, words = said.partition(": ")
    assert str(refused.value).startswith(f"f.yaml:{line}: is not YAML: {words}")

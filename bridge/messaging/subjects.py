"""Subjects: one escaped form for topic names, however a protocol joins their levels.

A subject is levels joined with ".". Protocols write it in one of two shapes. *Dotted*: words joined
with ".", which is the subject itself, except that characters which attributes forbid are
percent-encoded and the empty one is `%e`. *Slashed*: levels joined with "/", in which "." and "%"
are ordinary characters (`%2E` and `%25` in the subject), and which cannot show "/", "+", "#" or NUL
inside a level (`%2F`, `%2B`, `%23` and `%00` there). Each shape comes back as it was:
`dotted_from_subject(subject_from_dotted(key)) == key`, and the same for slashed.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

EMPTY_SUBJECT: Final = "%e"
"""The subject of no levels."""

_CODES = r"0[0-8BCEF]|1[0-9A-F]|EF%BF%B[EF]|ED%[AB][0-9A-F]%[89AB][0-9A-F]"
_FORBIDDEN = "\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff"

_DOTTED_SPECIAL = re.compile(rf"[{_FORBIDDEN}]|%(?=(?:25)*(?:{_CODES}))")
_DOTTED_ESCAPED = re.compile(rf"%(?:25(?=(?:25)*(?:{_CODES}))|{_CODES})")
_LOOKS_EMPTY = re.compile(r"%(?:25)*e")

_SLASHED_SPECIAL = re.compile(rf"%(?:2F|2B|23|00)|[%.{_FORBIDDEN}]")
_SLASHED_ESCAPED = re.compile(rf"%(?:25|2E|{_CODES})|[/+#]")

_ESCAPED_WILDCARD = re.compile(r"%(?:25)*(?:2A|23)")


def levels_of(subject: str) -> list[str]:
    """The levels of a subject or a pattern; none for the empty one."""
    if subject in ("", EMPTY_SUBJECT):
        return []
    return subject.split(".")


def subject_from_dotted(key: str) -> str:
    """Escape what an attribute cannot hold; keys that are not levels at all are escaped alike."""
    if not key:
        return EMPTY_SUBJECT
    if "%" not in key:
        return key if key.isprintable() else _DOTTED_SPECIAL.sub(_encoded, key)
    if _LOOKS_EMPTY.fullmatch(key):
        return "%25" + key[1:]
    return _DOTTED_SPECIAL.sub(_encoded, key)


def dotted_from_subject(subject: str) -> str:
    """The key as its publisher wrote it; a slashed topic with its "." and "%" escaped."""
    if "%" not in subject:
        return subject
    if _LOOKS_EMPTY.fullmatch(subject):
        return "" if subject == EMPTY_SUBJECT else "%" + subject[3:]
    return _DOTTED_ESCAPED.sub(_decoded, subject)


def subject_from_slashed(topic: str) -> str:
    """Escape "." and "%" in each level, then join the levels with ".".

    `%2F`, `%2B`, `%23` and `%00` are read as `slashed_from_subject` shows them, so that what a
    client was shown means the same when it comes back.
    """
    if topic in ("", EMPTY_SUBJECT):
        return EMPTY_SUBJECT
    if "%" in topic or "." in topic or not topic.isprintable():
        return ".".join([_SLASHED_SPECIAL.sub(_encoded_level, level) for level in topic.split("/")])
    return topic.replace("/", ".")


def slashed_from_subject(subject: str) -> str:
    """The topic as its publisher wrote it, or the nearest that a slashed shape can show."""
    if subject == EMPTY_SUBJECT:
        return subject
    if "%" in subject or "/" in subject or "+" in subject or "#" in subject:
        return "/".join(
            [_SLASHED_ESCAPED.sub(_decoded_level, level) for level in subject.split(".")]
        )
    return subject.replace(".", "/")


def pattern_from_slashed(topic_filter: str) -> str:
    """The pattern of a filter in which "+" is one level and "#" none or more."""
    if topic_filter in ("", EMPTY_SUBJECT):
        return EMPTY_SUBJECT
    levels: list[str] = []
    for level in topic_filter.split("/"):
        if level == "+":
            levels.append("*")
        elif level == "#":
            levels.append("#")
        else:
            levels.append(literal_level(_SLASHED_SPECIAL.sub(_encoded_level, level)))
    return ".".join(levels)


def pattern_from_dotted(key: str) -> str:
    """The pattern of a key in which "*" is one word and "#" none or more."""
    subject = subject_from_dotted(key)
    if "%" not in subject or subject == EMPTY_SUBJECT:
        return subject
    return ".".join(
        [word if word in ("*", "#") else literal_level(word) for word in subject.split(".")]
    )


def literal_level(level: str) -> str:
    """A level as a pattern writes it that means this level only, be it `*` itself."""
    if level == "*":
        return "%2A"
    if level == "#":
        return "%23"
    return "%25" + level[1:] if _ESCAPED_WILDCARD.fullmatch(level) else level


def literal_from_pattern(level: str) -> str:
    """The level that a pattern's level means which is not a wildcard."""
    if not level.startswith("%") or not _ESCAPED_WILDCARD.fullmatch(level):
        return level
    if level == "%2A":
        return "*"
    return "#" if level == "%23" else "%" + level[3:]


def _encoded(match: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass")])


def _decoded(match: re.Match[str]) -> str:
    return unquote(match[0], errors="surrogatepass")


def _encoded_level(match: re.Match[str]) -> str:
    special = match[0]
    if len(special) == 1:
        return "%2E" if special == "." else _encoded(match)
    return "%00" if special == "%00" else unquote(special)


def _decoded_level(match: re.Match[str]) -> str:
    escape = match[0]
    if len(escape) == 1:
        return f"%{ord(escape):02X}"
    return escape if escape == "%00" else _decoded(match)

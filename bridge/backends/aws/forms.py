"""The Query protocol, which SNS speaks: forms in, XML out (SNS API reference)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final
from urllib.parse import quote
from xml.etree import ElementTree as ET

VERSION: Final = "2010-03-31"
"""Of SNS's API."""

Field = tuple[str, str]

_SHORT: Final = 128
"""Characters of a value that is remembered: names, types and subjects come again and again."""


def form(action: str, fields: Iterable[Field]) -> bytes:
    """The body of a request."""
    parts = [f"Action={action}&Version={VERSION}"]
    parts += [
        f"{name}={_quoted(value) if len(value) <= _SHORT else quote(value, safe='')}"
        for name, value in fields
    ]
    return "&".join(parts).encode()


@lru_cache(maxsize=4096)
def _quoted(value: str) -> str:
    return quote(value, safe="")


def entries(name: str, values: Iterable[Field]) -> Iterator[Field]:
    """A map, as `Attributes.entry.1.key`."""
    for number, (key, value) in enumerate(values, 1):
        yield f"{name}.entry.{number}.key", key
        yield f"{name}.entry.{number}.value", value


def tags(values: Iterable[Field]) -> Iterator[Field]:
    """Tags, as `Tags.member.1.Key`."""
    for number, (key, value) in enumerate(values, 1):
        yield f"Tags.member.{number}.Key", key
        yield f"Tags.member.{number}.Value", value


def parse(body: bytes) -> ET.Element:
    """The root of an answer. Raises `ValueError` for what is not XML."""
    try:
        # It comes from the service that this node trusts with its messages; expat bounds entities.
        return ET.fromstring(body)  # noqa: S314
    except ET.ParseError as error:
        raise ValueError(str(error)) from None


def text(element: ET.Element, *path: str) -> str | None:
    """The text of an element below `element`, whatever the namespace; None where there is none."""
    return element.findtext(_steps(path))


def members(element: ET.Element, *path: str) -> list[ET.Element]:
    """The members of a list below `element`."""
    return element.findall(_steps((*path, "member")))


def texts(element: ET.Element) -> dict[str, str]:
    """The texts of the elements right below `element`, by their local names."""
    return {child.tag.rpartition("}")[2]: child.text or "" for child in element}


def mapping(element: ET.Element, *path: str) -> dict[str, str]:
    """The entries of a map below `element`."""
    return {
        text(entry, "key") or "": text(entry, "value") or ""
        for entry in element.findall(_steps((*path, "entry")))
    }


def _steps(path: Iterable[str]) -> str:
    return "/".join([f"{{*}}{step}" for step in path])

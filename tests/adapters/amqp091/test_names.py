from __future__ import annotations

import re

from adapters.amqp091.names import name_from_octets, name_of


def test_names_have_rabbitmqs_form() -> None:
    assert name_from_octets(bytes(range(240, 256))) == "8PHy8_T19vf4-fr7_P3-_w"
    assert re.fullmatch(r"[\w-]{22}", name_of("connection/1/2"))


def test_each_source_has_one_name_of_its_own() -> None:
    assert name_of("a/1") == name_of("a/1")
    assert name_of("a/1") != name_of("a/2")

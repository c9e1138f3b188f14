from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import LocalProtocolError
from adapters.mqtt.errors import MqttError
from adapters.mqtt.wire import (
    Reader,
    binary,
    packets_of,
    string,
    text_from_utf8,
    variable_byte_integer,
)


# MQTT 5, table 1-1
@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "8001"),
        (16_383, "ff7f"),
        (16_384, "808001"),
        (2_097_151, "ffff7f"),
        (2_097_152, "80808001"),
        (268_435_455, "ffffff7f"),
    ],
)
def test_variable_byte_integers(value: int, encoded: str) -> None:
    assert variable_byte_integer(value).hex() == encoded
    assert Reader(bytes.fromhex(encoded)).variable_byte_integer() == value


@pytest.mark.parametrize(
    "encoded", ["8000", "ff8000", "80808000", "8080808001", "ffffffff7f", "80"]
)
def test_malformed_variable_byte_integers(encoded: str) -> None:
    with pytest.raises(MqttError):
        Reader(bytes.fromhex(encoded)).variable_byte_integer()


def test_what_cannot_be_written() -> None:
    with pytest.raises(LocalProtocolError):
        variable_byte_integer(268_435_456)
    assert len(binary(b"x" * 65_535)) == 65_537
    with pytest.raises(LocalProtocolError):
        binary(b"x" * 65_536)


@pytest.mark.parametrize(
    "raw",
    [
        b"a\x00b",
        b"\xed\xa0\x80",  # U+D800
        b"\xed\xbf\xbf",  # U+DFFF
        b"\xc0\x80",  # an overlong U+0000
        b"\xf4\x90\x80\x80",  # beyond U+10FFFF
        b"\xff",
        b"\xc3",
    ],
)
def test_strings_that_are_not_utf8(raw: bytes) -> None:
    with pytest.raises(MqttError):
        text_from_utf8(raw)


@pytest.mark.parametrize("text", ["", "\ufeff", "A\U0002a6d4", "\x01", "\x7f", "\uffff", " "])
def test_odd_strings_that_are_legal(text: str) -> None:
    assert text_from_utf8(text.encode()) == text


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100))
def test_strings_come_back(text: str) -> None:
    reader = Reader(string(text))
    assert reader.string() == text
    reader.expect_end()


def test_reader_stops_at_its_end() -> None:
    reader = Reader(b"\x00\x01\x02\x03", 1, 3)
    assert reader.two_byte_integer() == 0x0102
    assert not reader
    with pytest.raises(MqttError):
        reader.byte()
    with pytest.raises(MqttError):
        Reader(b"\x00\x05ab").binary()
    with pytest.raises(MqttError):
        Reader(b"ab").part(3)
    with pytest.raises(MqttError):
        Reader(b"ab").expect_end()


@given(st.lists(st.integers(0, 300) | st.sampled_from([16_383, 16_384])), st.booleans())
def test_output_is_cut_into_its_packets(sizes: list[int], cut_short: bool) -> None:
    packets = [b"\x30" + variable_byte_integer(size) + b"x" * size for size in sizes]
    if cut_short and packets:
        packets[-1] = packets[-1][:-1]
    assert packets_of(b"".join(packets)) == packets

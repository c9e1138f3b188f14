from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stomp.codec import KNOWN_HEADS_MAX, DecoderLimits, Frame, FrameDecoder
from adapters.stomp.frames import FrameError, Version, encode_frame, unescape

V1_0, V1_1, V1_2 = Version.V1_0, Version.V1_1, Version.V1_2
SMALL = DecoderLimits(header_bytes_max=100, headers_max=3, body_bytes_max=10)


def decoder(version: Version | None = V1_2, limits: DecoderLimits | None = None) -> FrameDecoder:
    made = FrameDecoder(limits or DecoderLimits())
    made.version = version
    return made


def decode(data: bytes, version: Version = V1_2) -> list[Frame]:
    made = decoder(version)
    frames = made.decode(data)
    assert made.error is None, made.error
    return frames


def failure(data: bytes, version: Version = V1_2, limits: DecoderLimits | None = None) -> str:
    made = decoder(version, limits)
    made.decode(data)
    assert made.error is not None
    assert made.decode(b"SEND\ndestination:/queue/a\n\n\0") == []
    return str(made.error)


def test_one_chunk_holds_many_frames() -> None:
    frames = decode(b"SEND\ndestination:/queue/a\n\nfirst\0\n\r\nACK\nid:1\n\n\0\0SEND\na:b\n\n\0")
    assert [frame.command for frame in frames] == ["SEND", "ACK", "SEND"]
    assert frames[0].body == b"first"
    assert frames[1].headers == {"id": "1"}


def test_content_length_lets_a_body_hold_nul() -> None:
    (frame,) = decode(b"SEND\ncontent-length:5\n\na\0\n\0b\0")
    assert frame.body == b"a\0\n\0b"


@pytest.mark.parametrize("command", ["ACK", "NACK", "SUBSCRIBE", "COMMIT", "DISCONNECT"])
def test_frames_without_a_body_have_none_whatever_they_say(command: str) -> None:
    head = f"{command}\ncontent-length:8511\nid:1\n\n\0"
    first, second = decode(head.encode() + b"SEND\na:b\n\nx\0")
    assert (first.command, first.headers["id"], first.body) == (command, "1", b"")
    assert (second.command, second.body) == ("SEND", b"x")


def test_a_body_ends_at_the_first_nul_without_content_length() -> None:
    assert decode(b"SEND\na:b\n\n\n\nbody\n\0")[0].body == b"\n\nbody\n"


def test_the_first_of_repeated_headers_counts() -> None:
    assert decode(b"SEND\nfoo:first\nfoo:second\n\n\0")[0].headers == {"foo": "first"}


def test_a_colon_in_a_value_is_taken() -> None:
    assert decode(b"SEND\nfoo:a:b:\n\n\0")[0].headers == {"foo": "a:b:"}


def test_the_receipt_stands_apart_wherever_it_is() -> None:
    frames = decode(
        b"SEND\nreceipt:1\na:b\n\n\0SEND\na:b\nreceipt:2\nc:d\n\n\0SEND\na:b\nreceipt:3\n\n\0"
        b"SEND\na:b\nreceipt:4\nreceipt:5\n\n\0SEND\na:b\n\n\0SEND\na:b\nreceipt:\\c\n\n\0"
    )
    assert [frame.receipt for frame in frames] == ["1", "2", "3", "4", None, ":"]
    assert [frame.headers for frame in frames] == [
        {"a": "b"},
        {"a": "b", "c": "d"},
        *[{"a": "b"}] * 4,
    ]


def test_headers_that_come_again_are_the_same_dictionary() -> None:
    first, second, other = decode(
        b"SEND\na:b\nreceipt:1\n\n\0SEND\na:b\nreceipt:2\n\n\0SEND\na:c\n\n\0"
    )
    assert first.headers is second.headers
    assert first.headers_kept
    assert second.headers_kept
    assert other.headers == {"a": "c"}


def test_heads_that_never_come_again_are_no_longer_kept() -> None:
    made = decoder()
    for number in range(2 * KNOWN_HEADS_MAX + 1):
        made.decode(b"SEND\na:%d\n\n\0" % number)
        assert len(made._heads) <= KNOWN_HEADS_MAX
    (frame,) = made.decode(b"SEND\na:b\n\n\0")
    assert not frame.headers_kept


@pytest.mark.parametrize(
    "data",
    [
        b"ACK\r\nid:1\r\n\r\n\0",
        b"ACK\nid:1\r\n\n\0",
        b"ACK\r\nid:1\n\r\n\0",
        b"\r\n\r\nACK\nid:1\n\r\n\0\r\n",
    ],
)
def test_lines_may_end_in_carriage_return_and_line_feed(data: bytes) -> None:
    frames = decode(data + b"SEND\r\n\r\nx\n\n\0ACK\nid:2\n\n\0")
    assert [(frame.command, frame.headers, frame.body) for frame in frames] == [
        ("ACK", {"id": "1"}, b""),
        ("SEND", {}, b"x\n\n"),
        ("ACK", {"id": "2"}, b""),
    ]


@pytest.mark.parametrize(
    ("version", "line", "value"),
    [
        (V1_0, rb"a\n\c\\\r", r"a\n\c\\\r"),
        (V1_0, b"  a b ", "a b"),
        (V1_1, rb" a\n\c\\c ", " a\n:\\c "),
        (V1_2, rb" a\n\c\\c\r ", " a\n:\\c\r "),
        (V1_2, rb"\\\\n", "\\\\n"),
    ],
)
def test_each_version_has_its_escapes(version: Version, line: bytes, value: str) -> None:
    assert decode(b"SEND\nfoo:" + line + b"\n\n\0", version)[0].headers == {"foo": value}


@pytest.mark.parametrize(
    ("version", "line"), [(V1_1, rb"a\r"), (V1_1, rb"a\t"), (V1_2, rb"\0"), (V1_2, b"a\\")]
)
def test_an_undefined_escape_is_fatal(version: Version, line: bytes) -> None:
    assert "escape" in failure(b"SEND\nfoo:" + line + b"\n\n\0", version)


def test_connect_is_not_unescaped() -> None:
    made = decoder(None)
    (frame,) = made.decode(b"CONNECT\npasscode:a\\nb\\t\n\n\0")
    assert frame.headers == {"passcode": r"a\nb\t"}


def test_decoding_waits_behind_connect_for_the_version() -> None:
    made = decoder(None)
    (frame,) = made.decode(b"STOMP\naccept-version:1.1\n\n\0\nSEND\nfoo:a\\cb\n\n\0")
    assert frame.command == "STOMP"
    assert made.paused
    made.version = V1_1
    assert made.decode(b"")[0].headers == {"foo": "a:b"}
    assert not made.paused


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HELLO\n\n\0", 'Could not interpret command "HELLO"'),
        (b"send\n\n\0", 'Could not interpret command "send"'),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xaa" * 40, "blank line"),
        (b"\xaa" * 40, "Could not interpret command"),
        (b"SEND\nfoo:bar\0", "no blank line"),
        (b"SEND\nfoo:b\0r\n\n\0", "no blank line"),
        (b"SEND\nfoo:b\nreceipt:r\0\n\n\0", "no blank line"),
        (b"SEND\nreceipt:\xff\n\n\0", "not UTF-8"),
        (b"SEND\nfoo\n\n\0", "'foo' is not a header"),
        (b"SEND\n:foo\n\n\0", "':foo' is not a header"),
        (b"SEND\nfoo:\xff\xfe\n\n\0", "not UTF-8"),
        (b"SEND\ncontent-length:x\n\n\0", "content-length 'x'"),
        (b"SEND\ncontent-length:-1\n\n\0", "content-length '-1'"),
        (b"SEND\ncontent-length:" + b"9" * 5_000 + b"\n\n\0", "content-length '999"),
        (b"SEND\ncontent-length:2\n\nabc\0", "no NUL after the 2 bytes"),
    ],
)
def test_malformed_frames_say_what_is_wrong(data: bytes, reason: str) -> None:
    assert reason in failure(data)


def test_frames_before_a_malformed_one_count() -> None:
    made = decoder()
    assert len(made.decode(b"ACK\nid:1\n\n\0NONSENSE\n\n\0")) == 1
    assert made.error is not None


@pytest.mark.parametrize(
    ("fits", "too_long"),
    [
        (b"SEND\na:" + b"b" * 93 + b"\n\n\0", b"SEND\na:" + b"b" * 94 + b"\n\n\0"),
        (b"SEND\na:1\nb:2\nc:3\n\n\0", b"SEND\na:1\nb:2\nc:3\nd:4\n\n\0"),
        (b"SEND\n\n" + b"x" * 10 + b"\0", b"SEND\n\n" + b"x" * 11 + b"\0"),
        (b"SEND\ncontent-length:10\n\n" + b"x" * 10 + b"\0", b"SEND\ncontent-length:11\n\n"),
        (b"SEND\n\n" + b"x" * 10, b"SEND\n\n" + b"x" * 11),
        (b"SEND\na:" + b"b" * 90, b"SEND\na:" + b"b" * 110),
    ],
)
def test_bounds(fits: bytes, too_long: bytes) -> None:
    made = decoder(limits=SMALL)
    made.decode(fits)
    assert made.error is None
    assert "Frame too long" in failure(too_long, limits=SMALL)


def test_bounds_hold_for_bytes_that_trickle_in() -> None:
    for start in (b"SEND\na:", b"SEND\n\n"):
        made = decoder(limits=SMALL)
        made.decode(start)
        for _ in range(200):
            made.decode(b"x")
        assert made.error is not None


def test_a_large_body_in_many_chunks_is_not_scanned_again() -> None:
    made = decoder()
    made.decode(b"SEND\ncontent-length:8000000\n\n")
    piece = b"x" * 1_000
    for _ in range(8_000):
        assert made.decode(piece) == []
    (frame,) = made.decode(b"\0")
    assert len(frame.body) == 8_000_000


texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
names = texts.filter(lambda text: text.strip() not in ("", "content-length"))


@given(st.dictionaries(names, texts, max_size=5), st.binary(max_size=200), st.data())
def test_what_is_encoded_is_decoded_however_it_is_cut(
    headers: dict[str, str], body: bytes, data: st.DataObject
) -> None:
    encoded = encode_frame(
        "SEND",
        [*headers.items(), ("content-length", str(len(body)))],
        V1_2,
    )
    # The encoder writes content-length of non-empty bodies itself; here it stands in the headers.
    wire = (encoded[:-2] + body + b"\0\n") * 2
    made = decoder()
    frames: list[Frame] = []
    while wire:
        cut = data.draw(st.integers(1, len(wire)))
        frames += made.decode(wire[:cut])
        wire = wire[cut:]
    assert made.error is None
    expected = {**headers, "content-length": str(len(body))}
    receipt = expected.pop("receipt", None)
    assert [(frame.headers, frame.body, frame.receipt) for frame in frames] == [
        (expected, body, receipt)
    ] * 2


@pytest.mark.parametrize("version", [None, V1_0])
def test_headers_of_old_clients_that_are_not_utf_8_are_latin_1(version: Version | None) -> None:
    made = decoder(version)
    (frame,) = made.decode(b"SEND\nwho:J\xfcrgen\nreceipt:\xe4\n\nx\0")
    assert (frame.headers, frame.receipt) == ({"who": "Jürgen"}, "ä")


@given(texts, st.sampled_from([V1_1, V1_2]))
def test_unescaping_never_fails_in_another_way(text: str, version: Version) -> None:
    try:
        unescape(text, version)
    except FrameError:
        pass

"""STOMP frames: commands, versions, escaping, and the encoding of what a server sends.

The versions differ on the wire in their escapes, and in the carriage return that 1.2 allows before
a line feed. 1.0 has no escapes: there a name or value that would break the frame is escaped all
the same, since the alternative is to let a header forge others. Every frame ends with NUL and a
line feed, as RabbitMQ's and ActiveMQ's do; old clients wait for both.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

from adapters.errors import RemoteProtocolError


class Version(Enum):
    """A version of STOMP, under the number that CONNECT and CONNECTED call it by."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"


SUPPORTED_VERSIONS = "1.0,1.1,1.2"


class FrameError(RemoteProtocolError):
    """The client's frame cannot be accepted.

    `title` becomes the ERROR's header `message`, `detail` its body; `receipt` is the refused
    frame's own header, where it was understood that far.
    """

    def __init__(self, title: str, detail: str, receipt: str | None = None) -> None:
        super().__init__(f"{title}: {detail}")
        self.title = title
        self.detail = detail
        self.receipt = receipt


CLIENT_COMMANDS = frozenset(
    {
        "ABORT",
        "ACK",
        "BEGIN",
        "COMMIT",
        "CONNECT",
        "DISCONNECT",
        "NACK",
        "SEND",
        "STOMP",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
    }
)

END = b"\0\n"
"""What ends a frame that the server sends."""

HEARTBEAT = b"\n"

_ESCAPED = re.compile(r"[\\:\n\r]")
_UNESCAPES_1_1 = {"n": "\n", "c": ":", "\\": "\\"}
_UNESCAPES = {
    Version.V1_1: _UNESCAPES_1_1,
    Version.V1_2: {**_UNESCAPES_1_1, "r": "\r"},
}

# NUL ends a frame without content-length and no version can escape it.
_ESCAPES_VALUE_1_0 = str.maketrans({"\n": "\\n", "\r": "\\r", "\0": "\ufffd"})
_ESCAPES_NAME_1_0 = str.maketrans({"\n": "\\n", "\r": "\\r", ":": "\\c", "\0": "\ufffd"})
_ESCAPES_1_1 = str.maketrans({"\\": "\\\\", "\n": "\\n", ":": "\\c", "\0": "\ufffd"})
_ESCAPES_1_2 = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", ":": "\\c", "\0": "\ufffd"})
_NAME_ESCAPES = {
    Version.V1_0: _ESCAPES_NAME_1_0,
    Version.V1_1: _ESCAPES_1_1,
    Version.V1_2: _ESCAPES_1_2,
}
_VALUE_ESCAPES = {
    Version.V1_0: _ESCAPES_VALUE_1_0,
    Version.V1_1: _ESCAPES_1_1,
    Version.V1_2: _ESCAPES_1_2,
}


def unescape(text: str, version: Version) -> str:
    """Undo the escapes of a header's name or value. Raises `FrameError` for an undefined one.

    STOMP 1.2, "Value Encoding": undefined escape sequences must be treated as a fatal error.
    """
    escapes = _UNESCAPES.get(version)
    if escapes is None or "\\" not in text:
        return text
    first, *rest = text.split("\\")
    pieces = [first]
    parts = iter(rest)
    for part in parts:
        if not part:
            # Two backslashes: what follows them was split off as a part of its own.
            pieces.append("\\")
            following = next(parts, None)
            if following is None:
                raise FrameError("Malformed frame", f"header '{text}' ends within an escape")
            pieces.append(following)
            continue
        character = escapes.get(part[0])
        if character is None:
            raise FrameError(
                "Malformed frame",
                f"undefined escape '\\{part[0]}' in header '{text}': STOMP {version.value}"
                f" has {' '.join(chr(92) + key for key in escapes)}",
            )
        pieces.append(character)
        pieces.append(part[1:])
    return "".join(pieces)


def encode_headers(headers: Iterable[tuple[str, str]], version: Version) -> str:
    """The header lines, each with its line feed.

    Nearly no header needs an escape, and one look at the whole block tells.
    """
    pairs = list(headers)
    block = "".join([f"{name}:{value}\n" for name, value in pairs])
    lines = len(pairs)
    if (
        block.count("\n") == lines
        and block.count(":") == lines
        and "\\" not in block
        and "\r" not in block
        and "\0" not in block
    ):
        return block
    names = _NAME_ESCAPES[version]
    values = _VALUE_ESCAPES[version]
    return "".join(
        [f"{name.translate(names)}:{value.translate(values)}\n" for name, value in pairs]
    )


def encode_frame(
    command: str,
    headers: Iterable[tuple[str, str]],
    version: Version,
    body: bytes = b"",
) -> bytes:
    """A whole frame; the frames that are sent per message have faster ways beside their callers."""
    block = encode_headers(headers, version)
    length = f"content-length:{len(body)}\n" if body else ""
    return f"{command}\n{block}{length}\n".encode() + body + END


def encode_connected(headers: Iterable[tuple[str, str]]) -> bytes:
    """CONNECTED is never escaped, so that any version can read it (1.2, "Value Encoding")."""
    lines = "".join([f"{name}:{value}\n" for name, value in headers])
    return f"CONNECTED\n{lines}\n".encode() + END


def encode_receipts(receipts: list[str], version: Version) -> bytes:
    """RECEIPT frames for headers `receipt` as the client gave them; all of them in one piece."""
    if _ESCAPED.search("".join(receipts)):
        escapes = _VALUE_ESCAPES[version]
        receipts = [receipt.translate(escapes) for receipt in receipts]
    return "".join([f"RECEIPT\nreceipt-id:{receipt}\n\n\0\n" for receipt in receipts]).encode()

"""Receipt handles: the entry's id, its message's id and the count of the receive, in base64.

They survive a restart, since all three are stored. The message's id tells an entry from a later one
that got the same number after its lane had run empty.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import TYPE_CHECKING, NamedTuple

from bridge.messaging.errors import ReceiptHandleInvalid

if TYPE_CHECKING:
    from bridge.backends.embedded.entry import Entry


class Handle(NamedTuple):
    """What stands in a receipt handle."""

    entry_id: int
    message_id: str
    receive_count: int


def handle_from_entry(entry: Entry) -> str:
    """The handle of the entry's latest receive."""
    text = f"{entry.id}/{entry.message.message_id}/{entry.receive_count}"
    return urlsafe_b64encode(text.encode()).decode()


def parse_handle(handle: str) -> Handle:
    """Raises `ReceiptHandleInvalid` for what `handle_from_entry` never made."""
    try:
        text = urlsafe_b64decode(handle.encode("ascii")).decode("ascii")
        entry_id, message_id, receive_count = text.split("/")
        return Handle(int(entry_id), message_id, int(receive_count))
    except (ValueError, binascii.Error):
        raise ReceiptHandleInvalid(f'"{handle}" is not a receipt handle') from None

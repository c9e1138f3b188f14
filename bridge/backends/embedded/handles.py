"""Receipt handles: the entry's id, its message's id and the count of the receive.

They survive a restart, since all three are stored. The message's id tells an entry from a later one
that got the same number after its lane had run empty. No hyphen is in them, as none is in SQS's:
extended clients find the handle behind the last hyphen of what they have made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.messaging.errors import ReceiptHandleInvalid

if TYPE_CHECKING:
    from bridge.backends.embedded.entry import Entry


def handle_from_entry(entry: Entry) -> str:
    """The handle of the entry's latest receive; the entry keeps it."""
    message_id = entry.message.message_id.replace("-", "_")
    handle = entry.handle = f"{entry.id:x}.{message_id}.{entry.receive_count:x}"
    return handle


def entry_id_from(handle: str) -> int:
    """The entry's id in a handle; -1 where there is none."""
    try:
        return int(handle.partition(".")[0], 16)
    except ValueError:
        return -1


def parse_handle(handle: str) -> tuple[int, str, int]:
    """Entry's id, message's id, receive count. Raises `ReceiptHandleInvalid` for what
    `handle_from_entry` never made.
    """
    entry_id, _, rest = handle.partition(".")
    message_id, _, receive_count = rest.rpartition(".")
    try:
        return int(entry_id, 16), message_id.replace("_", "-"), int(receive_count, 16)
    except ValueError:
        raise ReceiptHandleInvalid(f'"{handle}" is not a receipt handle') from None

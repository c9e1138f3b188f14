"""Receipt handles: a ticket, which is the entry's id and its message's id, and the count of the
receive.

They survive a restart, since all three are stored. The message's id tells an entry from a later one
that got the same number after its lane had run empty. No hyphen is in them, as none is in SQS's:
extended clients find the handle behind the last hyphen of what they have made of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.messaging.errors import ReceiptHandleInvalid

if TYPE_CHECKING:
    from bridge.backends.embedded.entry import Entry


def ticket_from_entry(entry: Entry) -> str:
    """What all handles of an entry begin with."""
    return f"{entry.id:x}.{entry.message.message_id.replace('-', '_')}"


def handle_from_entry(entry: Entry) -> str:
    """The handle of the entry's latest receive."""
    return f"{entry.ticket or ticket_from_entry(entry)}.{entry.receive_count:x}"


def ticket_from_handle(handle: str) -> str:
    """The ticket in a handle; some text that is none where there is none."""
    ticket, _, receive_count = handle.rpartition(".")
    try:
        int(receive_count, 16)
    except ValueError:
        return ""
    return ticket


def parse_handle(handle: str) -> tuple[int, str]:
    """Entry's id and message's id. Raises `ReceiptHandleInvalid` for what `handle_from_entry` never
    made.
    """
    entry_id, _, rest = handle.partition(".")
    message_id, _, receive_count = rest.rpartition(".")
    try:
        int(receive_count, 16)
        return int(entry_id, 16), message_id.replace("_", "-")
    except ValueError:
        raise ReceiptHandleInvalid(f'"{handle}" is not a receipt handle') from None

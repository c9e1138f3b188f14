"""What start-ok's response says in each mechanism: a user name and a password.

PLAIN is RFC 4616, AMQPLAIN a field table without its length, EXTERNAL trusts the certificate of the
client.
"""

from __future__ import annotations

from typing import Final

from adapters.amqp091.errors import HardError, ReplyCode, syntax_error
from adapters.amqp091.tables import decode_table

MECHANISMS: Final = ("PLAIN", "AMQPLAIN")
EXTERNAL: Final = "EXTERNAL"


def credentials_from(mechanism: str, response: bytes) -> tuple[str | None, bytes | None]:
    """User and password, None and None for EXTERNAL. Raises `HardError` for what cannot be read."""
    match mechanism:
        case "PLAIN":
            parts = response.split(b"\0")
            if len(parts) == 3:
                return _text(parts[1]), parts[2]
            raise syntax_error("invalid PLAIN response")
        case "AMQPLAIN":
            return _from_amqplain(response)
        case "EXTERNAL":
            return None, None
        case _:
            raise HardError(
                ReplyCode.COMMAND_INVALID, f"unknown authentication mechanism '{mechanism}'"
            )


def _from_amqplain(response: bytes) -> tuple[str | None, bytes | None]:
    try:
        table, _ = decode_table(len(response).to_bytes(4, "big") + response)
    except ValueError as error:
        raise syntax_error("invalid AMQPLAIN response") from error
    login, password = table.get("LOGIN"), table.get("PASSWORD")
    if not isinstance(login, str) or not isinstance(password, str | bytes):
        raise syntax_error("AMQPLAIN auth info without LOGIN and PASSWORD")
    return login, password.encode() if isinstance(password, str) else password


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")

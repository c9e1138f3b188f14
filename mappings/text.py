"""Values of properties and headers as text, for protocols that know nothing else."""

from __future__ import annotations

import base64
from datetime import datetime
from decimal import Decimal

import msgspec

from bridge.messaging.model import Value


def text_from_value(value: Value) -> str:
    """Numbers, times and booleans as text, tables and lists as JSON, bytes as UTF-8 or base64."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return str(value)
        case None:
            return ""
        case bytes():
            try:
                return value.decode()
            except UnicodeDecodeError:
                return base64.b64encode(value).decode()
        case datetime():
            return value.isoformat()
        case _:
            return msgspec.json.encode(value).decode()

"""Pages of a hundred, as SNS gives them; the token says what came last."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

from bridge.api.errors import SNS_INVALID_PARAMETER

PAGE = 100


def page_of(keys: Sequence[str], token: str | None) -> tuple[list[str], str | None]:
    """One page of sorted keys, and the token that asks for the next."""
    if token:
        try:
            last = base64.b64decode(token, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise SNS_INVALID_PARAMETER("Invalid parameter: NextToken") from None
        keys = [key for key in keys if key > last]
    page = list(keys[:PAGE])
    if len(keys) <= PAGE:
        return page, None
    return page, base64.b64encode(page[-1].encode()).decode()

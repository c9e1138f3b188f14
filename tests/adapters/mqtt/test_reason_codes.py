from __future__ import annotations

import pytest

from adapters.mqtt.reason_codes import ReasonCode, connect_return_code, suback_return_code


@pytest.mark.parametrize(
    ("reason", "return_code"),
    [
        (ReasonCode.SUCCESS, 0),
        (ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, 1),
        (ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 2),
        (ReasonCode.SERVER_UNAVAILABLE, 3),
        (ReasonCode.SERVER_BUSY, 3),
        (ReasonCode.BAD_USER_NAME_OR_PASSWORD, 4),
        (ReasonCode.NOT_AUTHORIZED, 5),
        (ReasonCode.MALFORMED_PACKET, None),
        (ReasonCode.PACKET_TOO_LARGE, None),
        (0x55, None),
    ],
)
def test_connect_return_codes(reason: int, return_code: int | None) -> None:
    assert connect_return_code(reason) == return_code


def test_suback_return_codes() -> None:
    codes = [0, 1, 2, ReasonCode.NOT_AUTHORIZED, ReasonCode.QUOTA_EXCEEDED, 0x80]
    assert [suback_return_code(code) for code in codes] == [0, 1, 2, 0x80, 0x80, 0x80]

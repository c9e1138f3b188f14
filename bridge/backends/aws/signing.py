"""Signature version 4 for AWS's JSON and Query protocols: one POST on one path, always the same
headers.

Hot path. A signature of botocore's costs 150 us, since it builds and sorts a request each time; of
this one, only the hashes are left (AWS General Reference, "Signing AWS API requests").
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final, NamedTuple

from bridge.backends.aws.connections import Endpoint

JSON: Final = "application/x-amz-json-1.0"
QUERY: Final = "application/x-www-form-urlencoded; charset=utf-8"


class Keys(NamedTuple):
    """Credentials at one time."""

    access_key: str
    secret_key: str
    token: str | None


class Signer:
    """Makes the heads of signed requests to one service in one region."""

    def __init__(
        self, endpoint: Endpoint, region: str, service: str, content_type: str = JSON
    ) -> None:
        self._endpoint = endpoint
        self._content_type = content_type
        self._region = region
        self._service = service
        self._second = -1
        self._timestamp = ""
        self._scope = ""
        self._signed_with: tuple[str, str] | None = None
        self._signing_key = b""

    def head(self, target: str | None, body: bytes, keys: Keys, epoch_ms: int) -> bytes:
        """Request line and headers for `body`, up to and with the empty line.

        `target` is the X-Amz-Target, which the Query protocol does without.
        """
        second = epoch_ms // 1000
        if second != self._second:
            self._set_time(second)
        key = self._key(keys.secret_key)
        host, path, timestamp = self._endpoint.authority, self._endpoint.path, self._timestamp
        token, token_name, token_header = "", "", ""
        if keys.token is not None:
            token = f"x-amz-security-token:{keys.token}\n"
            token_name = "x-amz-security-token;"  # noqa: S105 - a header's name
            token_header = f"X-Amz-Security-Token: {keys.token}\r\n"
        signed = f"content-type;host;x-amz-date;{token_name}x-amz-target"
        target_line, target_header = f"x-amz-target:{target}\n", f"X-Amz-Target: {target}\r\n"
        if target is None:
            signed = signed.removesuffix(";x-amz-target")
            target_line = target_header = ""
        canonical = (
            f"POST\n{path}\n\ncontent-type:{self._content_type}\nhost:{host}\n"
            f"x-amz-date:{timestamp}\n{token}{target_line}\n"
            f"{signed}\n{sha256(body).hexdigest()}"
        )
        to_sign = (
            f"AWS4-HMAC-SHA256\n{timestamp}\n{self._scope}\n"
            f"{sha256(canonical.encode()).hexdigest()}"
        )
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        return (
            f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: {self._content_type}\r\n"
            f"Content-Length: {len(body)}\r\nX-Amz-Date: {timestamp}\r\n{token_header}"
            f"{target_header}Authorization: AWS4-HMAC-SHA256"
            f" Credential={keys.access_key}/{self._scope}, SignedHeaders={signed},"
            f" Signature={signature}\r\n\r\n"
        ).encode()

    def _set_time(self, second: int) -> None:
        self._second = second
        self._timestamp = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        self._scope = f"{self._timestamp[:8]}/{self._region}/{self._service}/aws4_request"

    def _key(self, secret: str) -> bytes:
        """The key of the day."""
        wanted = (secret, self._timestamp[:8])
        if wanted != self._signed_with:
            key = f"AWS4{secret}".encode()
            for part in (wanted[1], self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._signed_with = wanted
            self._signing_key = key
        return self._signing_key

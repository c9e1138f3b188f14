"""Signature Version 4: who signed a request, and whether the signature is right (AWS Signature
reference).

Without access keys everybody is let in, whatever the signature says; that is for loopback. With
access keys, every request must carry a signature in its header or, presigned, in its query, made
with one of them.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, unquote_plus

from bridge.api import errors
from bridge.messaging.clock import Clock
from bridge.net.http_messages import HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
SERVICES = ("sqs", "sns")
SKEW_SECONDS_MAX = 900
PRESIGNED_SECONDS_MAX = 604_800
_TIME = re.compile(r"\d{8}T\d{6}Z")
_CREDENTIAL = re.compile(r"Credential=([^,/ ]+)")
_UNRESERVED = "-_.~"
_MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS"
    " Secret Access Key and signing method. Consult the service documentation for details."
)


class _Signed(NamedTuple):
    """What a request says of its signature."""

    credential: str
    headers: str
    signature: str
    time: str
    expires_seconds: int | None


class Authenticator:
    """Verifies requests against the configured access keys."""

    def __init__(self, access_keys: Mapping[str, str], clock: Clock) -> None:
        self._secrets = dict(access_keys)
        self._clock = clock

    @property
    def required(self) -> bool:
        """False where anybody may call."""
        return bool(self._secrets)

    def verify(self, request: HttpRequest) -> str:
        """The access key id that signed the request. Raises AWS's errors for what is not right."""
        path, _, query = request.target.partition("?")
        pairs = _pairs_of(query)
        signed = _from_header(request) or _from_query(dict(pairs))
        scope = signed.credential.split("/")
        if len(scope) != 5 or scope[4] != "aws4_request":
            raise errors.INCOMPLETE_SIGNATURE(
                "Credential must have exactly 5 slash-delimited elements, e.g."
                f" keyid/date/region/service/term, got '{signed.credential}'"
            )
        key, date, region, service, _ = scope
        secret = self._secrets.get(key)
        if secret is None:
            raise errors.INVALID_CLIENT_TOKEN(
                "The security token included in the request is invalid."
            )
        if service not in SERVICES:
            raise errors.INVALID_SIGNATURE(
                f"Credential should be scoped to correct service: '{SERVICES[0]}'."
            )
        self._check_time(signed, date)
        canonical = _canonical_request(request, path, pairs, signed)
        text = "\n".join(
            (
                ALGORITHM,
                signed.time,
                f"{date}/{region}/{service}/aws4_request",
                hashlib.sha256(canonical.encode()).hexdigest(),
            )
        )
        expected = hmac.new(
            _signing_key(secret, date, region, service), text.encode(), hashlib.sha256
        ).hexdigest()
        if not hmac.compare_digest(expected.encode(), signed.signature.encode()):
            raise errors.INVALID_SIGNATURE(_MISMATCH)
        return key

    def _check_time(self, signed: _Signed, date: str) -> None:
        if not _TIME.fullmatch(signed.time) or not signed.time.startswith(date):
            raise errors.INVALID_SIGNATURE(
                f"Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date:"
                f" {signed.time}"
            )
        try:
            made = datetime.strptime(signed.time, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        except ValueError as error:
            raise errors.INCOMPLETE_SIGNATURE(f"{signed.time} is not a date.") from error
        age = self._clock.epoch_ms() / 1000 - made.timestamp()
        if age < -SKEW_SECONDS_MAX:
            raise errors.INVALID_SIGNATURE(
                f"Signature not yet current: {signed.time} is in the future."
            )
        if signed.expires_seconds is not None:
            if age > signed.expires_seconds:
                raise errors.REQUEST_EXPIRED("Request has expired.")
        elif age > SKEW_SECONDS_MAX:
            raise errors.INVALID_SIGNATURE(
                f"Signature expired: {signed.time} is more than {SKEW_SECONDS_MAX // 60} minutes"
                f" ago."
            )


def claimed_key(request: HttpRequest) -> str | None:
    """The access key id that a request names, right or wrong; for the log."""
    query = dict(_pairs_of(request.target.partition("?")[2]))
    found = _CREDENTIAL.search(request.headers.get("authorization", ""))
    credential = found[1] if found else query.get("X-Amz-Credential", "")
    return credential.partition("/")[0] or None


def _from_header(request: HttpRequest) -> _Signed | None:
    header = request.headers.get("authorization")
    if header is None:
        return None
    algorithm, _, rest = header.partition(" ")
    if algorithm != ALGORITHM:
        raise errors.INCOMPLETE_SIGNATURE(f"Unsupported AWS 'algorithm': '{algorithm}'.")
    fields = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    for name in ("Credential", "SignedHeaders", "Signature"):
        if not fields.get(name):
            raise errors.INCOMPLETE_SIGNATURE(f"Authorization header requires '{name}' parameter.")
    time = request.headers.get("x-amz-date", "")
    if not time:
        raise errors.INCOMPLETE_SIGNATURE(
            "Authorization header requires existence of 'X-Amz-Date'."
        )
    return _Signed(fields["Credential"], fields["SignedHeaders"], fields["Signature"], time, None)


def _from_query(query: Mapping[str, str]) -> _Signed:
    if query.get("X-Amz-Algorithm") != ALGORITHM:
        raise errors.MISSING_AUTHENTICATION_TOKEN("Request is missing Authentication Token")
    names = ("Credential", "SignedHeaders", "Signature", "Date", "Expires")
    values = [query.get(f"X-Amz-{name}", "") for name in names]
    if not all(values):
        raise errors.INCOMPLETE_SIGNATURE(
            "AWS query-string parameters must include " + ", ".join(f"'X-Amz-{n}'" for n in names)
        )
    expires = values[4]
    if not expires.isdigit() or not 0 < int(expires[:9]) <= PRESIGNED_SECONDS_MAX:
        raise errors.INCOMPLETE_SIGNATURE(
            f"X-Amz-Expires must be between 1 and {PRESIGNED_SECONDS_MAX} seconds."
        )
    return _Signed(values[0], values[1], values[2], values[3], int(expires))


def _canonical_request(
    request: HttpRequest, path: str, pairs: list[tuple[str, str]], signed: _Signed
) -> str:
    names = signed.headers.split(";")
    if "host" not in names:
        raise errors.INVALID_SIGNATURE("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    headers = "".join(
        f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names
    )
    payload = request.headers.get("x-amz-content-sha256")
    actual = hashlib.sha256(request.body).hexdigest()
    if payload is None:
        payload = actual
    elif payload not in (actual, "UNSIGNED-PAYLOAD"):
        raise errors.INVALID_SIGNATURE(_MISMATCH)
    encoded = sorted(
        (quote(name, safe=_UNRESERVED), quote(value, safe=_UNRESERVED))
        for name, value in pairs
        if name != "X-Amz-Signature"
    )
    query = "&".join(f"{name}={value}" for name, value in encoded)
    return "\n".join(
        (request.method, quote(path or "/", safe="/~"), query, headers, signed.headers, payload)
    )


def _pairs_of(query: str) -> list[tuple[str, str]]:
    pairs = []
    for part in query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((unquote_plus(name), unquote_plus(value)))
    return pairs


def _signing_key(secret: str, date: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key

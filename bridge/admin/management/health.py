"""`/api/health/checks/*` and the older checks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from bridge.admin.management.listing import BadRequest
from bridge.admin.management.overview import listeners
from bridge.admin.management.sources import Json, ManagementSources

_OK: Final = {"status": "ok"}
_SINGLE_NODE: Final = {"status": "ok", "reason": "single node cluster"}
_DAYS: Final = {"days": 1, "weeks": 7, "months": 30, "years": 365}
_DAYS_MAX: Final = 365_000


def health_check(sources: ManagementSources, check: Sequence[str]) -> tuple[int, Json] | None:
    """Status and answer of one check; None for one that does not exist. Raises `BadRequest`."""
    match check:
        case ["alarms" | "local-alarms"]:
            return _alarms(sources)
        case ["virtual-hosts" | "ready-to-serve-clients" | "is-in-service"]:
            return _alarms(sources)
        case ["node-is-quorum-critical" | "node-is-mirror-sync-critical"]:
            return 200, _SINGLE_NODE
        case ["below-node-connection-limit"]:
            return 200, _OK
        case ["quorum-queues-without-elected-leaders", *_]:
            return 200, _OK
        case ["port-listener", port]:
            return _port_listener(sources, port)
        case ["protocol-listener", protocol]:
            return _protocol_listener(sources, protocol)
        case ["certificate-expiration", within, unit]:
            return _certificates(sources, within, unit)
    return None


def _alarms(sources: ManagementSources) -> tuple[int, Json]:
    if sources.store_healthy():
        return 200, _OK
    reason = "There are alarms in effect in the cluster"
    alarm = {"node": sources.node.name, "resource": "disk"}
    return 503, {"status": "failed", "reason": reason, "alarms": [alarm]}


def _port_listener(sources: ManagementSources, port: str) -> tuple[int, Json]:
    if not port.isdecimal() or len(port) > 5:
        raise BadRequest("bad_request", "Invalid port")
    ports = [listener["port"] for listener in listeners(sources)]
    if int(port) in ports:
        return 200, {"status": "ok", "port": int(port)}
    failed = {"status": "failed", "reason": "No active listener"}
    return 503, {**failed, "missing": int(port), "ports": ports}


def _protocol_listener(sources: ManagementSources, protocol: str) -> tuple[int, Json]:
    protocols = [listener["protocol"] for listener in listeners(sources)]
    if protocol.lower() in {*protocols, *(f"{each}091" for each in protocols if each == "amqp")}:
        return 200, {"status": "ok", "protocol": protocol}
    failed = {"status": "failed", "reason": "No active listener"}
    return 503, {**failed, "missing": protocol, "protocols": protocols}


def _certificates(sources: ManagementSources, within: str, unit: str) -> tuple[int, Json]:
    if unit not in _DAYS:
        reason = "Time unit not recognised. Supported units: days, weeks, months, years."
        raise BadRequest("bad_request", reason)
    if not within.isdecimal() or len(within) > 6:
        raise BadRequest("bad_request", "Invalid expiration value.")
    days = min(int(within) * _DAYS[unit], _DAYS_MAX)
    now = datetime.fromtimestamp(sources.clock.epoch_ms() / 1000, UTC)
    expired = []
    for listener, file in sources.certificates():
        ends = _earliest_end(file.read_bytes())
        if ends <= now + timedelta(days=days):
            expired.append({"listener": listener, "cert_expires_on": ends.isoformat()})
    if not expired:
        return 200, _OK
    return 503, {"status": "failed", "reason": "Certificates expiring", "expired": expired}


def _earliest_end(pem: bytes) -> datetime:
    return min(each.not_valid_after_utc for each in x509.load_pem_x509_certificates(pem))

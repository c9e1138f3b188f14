"""The `$SYS/broker/...` topics that Mosquitto's users graph.

They are made when somebody is subscribed to them and at no other time: at once for the new
subscription, then every ten seconds.
"""

from __future__ import annotations

import asyncio
import math
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from adapters.mqtt.packets import Publish
from mappings.mqtt.addresses import SYS_PREFIX, subject_from_topic
from mappings.mqtt.filters import Filter, covers
from mappings.mqtt.messages import PROTOCOL

if TYPE_CHECKING:
    from mappings.mqtt.gateway import MqttGateway
    from mappings.mqtt.sessions import Sessions

INTERVAL_SECONDS: Final = 10.0
LOAD_MINUTES: Final = (1, 5, 15)


class Figures:
    """What the gateways count, and who is told."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._started_at = sessions.services.clock.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self.counts = sessions.services.counters.of(PROTOCOL)
        """What the gateways count for everybody's figures."""
        self.bytes_received = 0
        self.connections = 0
        self.connected_max = 0
        self.expired = 0
        """Sessions whose time was over."""
        self._told: dict[str, bytes] = {}
        self._counted: dict[str, int] = {}
        self._counted_at = 0.0
        self._loads: dict[str, float] = {}

    def wanted(self) -> None:
        """Somebody subscribes to figures: see to it that they come."""
        if self._timer is None:
            self._counted = self._counts()
            self._counted_at = self._sessions.services.clock.monotonic()
            self._loads.clear()
            self._told = self.current()
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._tick)

    def _tick(self) -> None:
        self._timer = None
        if self.tell():
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._tick)

    def tell(self) -> bool:
        """Send what has changed to all who want it; False where nobody does any more."""
        self._weigh()
        current = self.current()
        changed = {name: value for name, value in current.items() if self._told.get(name) != value}
        self._told = current
        anybody = False
        for session in self._sessions.by_client.values():
            gateway = session.gateway
            if gateway is None:
                continue
            for each in session.filters.by_text.values():
                if each.text.startswith(SYS_PREFIX):
                    anybody = True
                    self._send(gateway, each, changed, retain=False)
        return anybody

    def send_current(self, gateway: MqttGateway, wanted: Filter) -> None:
        """For a new subscription: all figures as they are, as retained messages."""
        self._send(gateway, wanted, self.current(), retain=True)

    def _send(
        self, gateway: MqttGateway, wanted: Filter, figures: dict[str, bytes], *, retain: bool
    ) -> None:
        publishes = [
            Publish(topic, value, retain=retain)
            for topic, value in figures.items()
            if covers(wanted.pattern, subject_from_topic(topic))
        ]
        gateway.outbound.write_figures(publishes, wanted.identifier)

    def _counts(self) -> dict[str, int]:
        """What Mosquitto shows loads of."""
        return {
            "messages/received": self.counts.published,
            "messages/sent": self.counts.delivered,
            "bytes/received": self.bytes_received,
            "bytes/sent": self.counts.delivered_bytes,
            "publish/received": self.counts.published,
            "publish/sent": self.counts.delivered,
            "publish/dropped": self._sessions.fanout.dropped,
            "connections": self.connections,
        }

    def _weigh(self) -> None:
        """Averages per minute that forget exponentially; they begin with the first subscriber."""
        now = self._sessions.services.clock.monotonic()
        seconds = max(now - self._counted_at, 0.001)
        counts = self._counts()
        for name, value in counts.items():
            rate = (value - self._counted.get(name, 0)) * 60 / seconds
            for minutes in LOAD_MINUTES:
                key = f"load/{name}/{minutes}min"
                forgotten = math.exp(-seconds / (60 * minutes))
                self._loads[key] = rate + forgotten * (self._loads.get(key, 0.0) - rate)
        self._counted, self._counted_at = counts, now

    def current(self) -> dict[str, bytes]:
        """All figures by topic, under Mosquitto's names."""
        sessions = self._sessions
        connected = sum(each.gateway is not None for each in sessions.by_client.values())
        self.connected_max = max(self.connected_max, connected)
        total = len(sessions.by_client)
        subscriptions = sum(
            len(each.filters) + len(each.shared) for each in sessions.by_client.values()
        )
        shared = sum(len(each.shared) for each in sessions.by_client.values())
        services = sessions.services
        seconds = int(services.clock.monotonic() - self._started_at)
        waiting = sum(each.state.in_flight for each in sessions.by_client.values())
        figures: dict[str, object] = {
            "version": f"landbridge version {version('landbridge')}",
            "uptime": f"{seconds} seconds",
            "clients/total": total,
            "clients/connected": connected,
            "clients/active": connected,
            "clients/disconnected": total - connected,
            "clients/inactive": total - connected,
            "clients/maximum": max(self.connected_max, connected),
            "clients/expired": self.expired,
            "messages/received": self.counts.published,
            "messages/sent": self.counts.delivered,
            "messages/inflight": waiting,
            "messages/stored": sessions.retained.count,
            "store/messages/count": sessions.retained.count,
            "bytes/received": self.bytes_received,
            "bytes/sent": self.counts.delivered_bytes,
            "publish/messages/received": self.counts.published,
            "publish/messages/sent": self.counts.delivered,
            "publish/messages/dropped": sessions.fanout.dropped,
            "publish/bytes/received": self.counts.published_bytes,
            "publish/bytes/sent": self.counts.delivered_bytes,
            "subscriptions/count": subscriptions,
            "shared_subscriptions/count": shared,
            "retained messages/count": sessions.retained.count,
        }
        loads = {name: f"{value:.2f}" for name, value in self._loads.items()}
        figures |= loads
        return {
            f"{SYS_PREFIX}/broker/{name}": str(value).encode() for name, value in figures.items()
        }

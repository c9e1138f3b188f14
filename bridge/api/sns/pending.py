"""Subscriptions of HTTP endpoints that wait for their confirmation, and the messages that ask for
it.

They enter the catalogue with the confirmation. SNS API reference, Subscribe and
ConfirmSubscription.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlencode

import msgspec

from bridge.api.sns.notifications import REGION_OF, Notifications, timestamp_of
from bridge.api.sns.outbound import Outbound
from bridge.messaging.clock import Clock, MessageIds
from bridge.messaging.commits import committed
from bridge.messaging.identifiers import ACCOUNT, REGION, topic_arn
from bridge.messaging.model import StateChange, TopicName, UnitOfWork
from bridge.messaging.names import sns_name
from bridge.messaging.ports import StateStore, Store
from bridge.routing.catalogue import Subscription, decode_subscription, encode

KIND = "sns-pending"
KIND_CONFIRMED = "sns-confirmed"
TOKEN_DAYS = 2
_DAY_MS = 86_400_000


class _Record(msgspec.Struct, array_like=True):
    token: str
    until: int
    subscription: bytes
    ended: bool = False


class Pending(msgspec.Struct):
    """A subscription that waits; `token` confirms it until `until` (epoch ms).

    `ended`: it was unsubscribed, and only the token in the last message to it can bring it back.
    """

    token: str
    until: int
    subscription: Subscription
    ended: bool = False


class PendingSubscriptions:
    """All that wait, durable."""

    def __init__(
        self,
        store: Store,
        state: StateStore,
        clock: Clock,
        message_ids: MessageIds,
        notifications: Notifications,
        outbound: Outbound,
    ) -> None:
        self._store = store
        self._state = state
        self._clock = clock
        self._message_ids = message_ids
        self._notifications = notifications
        self._signer = notifications.signer
        self._outbound = outbound
        self._by_id: dict[str, Pending] = {}

    def load(self) -> None:
        """Read what is stored, and follow it. Called once, when the store is open."""
        self._state.watch([KIND], self._follow)
        self._follow(StateChange(KIND, key, value) for key, value in self._state.scan(KIND))

    def _follow(self, changes: Iterable[StateChange]) -> None:
        for _, subscription_id, value in changes:
            if value is None:
                self._by_id.pop(subscription_id, None)
                continue
            record = msgspec.msgpack.decode(value, type=_Record)
            subscription = decode_subscription(record.subscription)
            pending = Pending(record.token, record.until, subscription, record.ended)
            self._by_id[subscription_id] = pending

    def all(self) -> Iterable[Pending]:
        return [each for each in self._valid() if not each.ended]

    def _valid(self) -> list[Pending]:
        now = self._clock.epoch_ms()
        return [each for each in self._by_id.values() if each.until > now]

    def of_topic(self, topic: TopicName) -> list[Pending]:
        return [each for each in self.all() if each.subscription.topic == topic]

    def by_id(self, subscription_id: str) -> Pending | None:
        pending = self._by_id.get(subscription_id)
        return None if pending is None or pending.ended else pending

    def by_token(self, token: str) -> Pending | None:
        return next((each for each in self._valid() if each.token == token), None)

    def confirmed_by(self, token: str) -> str | None:
        """The subscription that a token confirmed before; a link may be followed twice."""
        value = self._state.get(KIND_CONFIRMED, token)
        return None if value is None else value.decode()

    async def add(self, subscription: Subscription) -> Pending:
        """Keep a subscription, and send its endpoint what confirms it."""
        until = self._clock.epoch_ms() + TOKEN_DAYS * _DAY_MS
        token = self._signer.token_of(f"subscribe {subscription.id}")
        pending = Pending(token, until, subscription)
        self._by_id[subscription.id] = pending
        unit = UnitOfWork(answered=True)
        unit.state.append(_record(pending))
        await self._send(subscription, "SubscriptionConfirmation", pending.token, unit)
        return pending

    async def replace(self, subscription: Subscription) -> None:
        """Keep what was changed before the confirmation."""
        pending = self._by_id[subscription.id]
        pending.subscription = subscription
        unit = UnitOfWork(answered=True)
        unit.state.append(_record(pending))
        await committed(self._store, unit)

    async def confirmed(self, pending: Pending) -> None:
        """Forget it: it is in the catalogue now."""
        self._by_id.pop(pending.subscription.id, None)
        unit = UnitOfWork(answered=True)
        unit.state.append(StateChange(KIND, pending.subscription.id, None))
        unit.state.append(
            StateChange(KIND_CONFIRMED, pending.token, pending.subscription.id.encode())
        )
        await committed(self._store, unit)

    async def discard(self, subscription_id: str) -> None:
        """Forget it unconfirmed."""
        if self._by_id.pop(subscription_id, None) is not None:
            unit = UnitOfWork(answered=True)
            unit.state.append(StateChange(KIND, subscription_id, None))
            await committed(self._store, unit)

    async def discard_topic(self, topic: TopicName) -> None:
        """Forget all that wait for a topic, which is about to be deleted."""
        unit = UnitOfWork(answered=True)
        for each in list(self._by_id.values()):
            if each.subscription.topic == topic:
                del self._by_id[each.subscription.id]
                unit.state.append(StateChange(KIND, each.subscription.id, None))
        if unit.state:
            await committed(self._store, unit)

    async def say_goodbye(self, subscription: Subscription) -> None:
        """Tell an endpoint that its subscription ended, with a link that brings it back."""
        until = self._clock.epoch_ms() + TOKEN_DAYS * _DAY_MS
        token = self._signer.token_of(f"restore {subscription.id} {until}")
        pending = Pending(token, until, subscription, ended=True)
        self._by_id[subscription.id] = pending
        unit = UnitOfWork(answered=True)
        unit.state.append(_record(pending))
        await self._send(subscription, "UnsubscribeConfirmation", pending.token, unit)

    async def _send(
        self, subscription: Subscription, kind: str, token: str, unit: UnitOfWork
    ) -> None:
        region = subscription.attributes.get(REGION_OF, REGION)
        arn = topic_arn(region, ACCOUNT, sns_name(subscription.topic))
        action = {"Action": "ConfirmSubscription", "TopicArn": arn, "Token": token}
        query = urlencode(action, safe=":")
        now = self._clock.epoch_ms()
        if kind == "SubscriptionConfirmation":
            text = (
                f"You have chosen to subscribe to the topic {arn}.\nTo confirm the subscription,"
                " visit the SubscribeURL included in this message."
            )
        else:
            text = (
                f"You have chosen to deactivate subscription {arn}:{subscription.id}.\nTo cancel"
                " this operation and restore the subscription, visit the SubscribeURL included in"
                " this message."
            )
        envelope: dict[str, object] = {
            "Type": kind,
            "MessageId": self._message_ids.next(),
            "Token": token,
            "TopicArn": arn,
            "Message": text,
            "SubscribeURL": f"{self._notifications.base_url(subscription)}/?{query}",
            "Timestamp": timestamp_of(now),
            "SignatureVersion": "1",
        }
        envelope["Signature"] = self._signer.sign(envelope, "1")
        envelope["SigningCertURL"] = self._notifications.certificate_url(subscription)
        await self._outbound.send_envelope(subscription, envelope, unit)


def _record(pending: Pending) -> StateChange:
    record = _Record(pending.token, pending.until, encode(pending.subscription), pending.ended)
    return StateChange(KIND, pending.subscription.id, msgspec.msgpack.encode(record))

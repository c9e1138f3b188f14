"""What subscriptions get of a publish: the notification envelope, signed, unless delivery is raw.

The router asks for it while it routes, for every subscription. What a publisher at the API gave
besides the message (subject, texts by protocol, sequence number) is held here for that moment only.
SNS developer guide, "Parsing Amazon SNS message formats".
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from bridge.api.sns.signing import Signer
from bridge.api.sqs.message_attributes import TRACE_KEY
from bridge.messaging.attributes import Attribute
from bridge.messaging.clock import MessageIds
from bridge.messaging.envelope import attributes_from_message
from bridge.messaging.identifiers import ACCOUNT, REGION, topic_arn
from bridge.messaging.model import TOPIC_TREE, Message
from bridge.messaging.names import sns_name
from bridge.messaging.ports import Queue
from bridge.routing.catalogue import Subscription
from bridge.routing.topology import Topology

BASE_URL = "landbridge-base-url"
REGION_OF = "landbridge-region"
"""Attributes of a subscription that are not shown: how its subscriber reached the API."""
INTERNAL = frozenset({BASE_URL, REGION_OF})


@dataclass(slots=True)
class Published:
    """What a publisher gave besides the message itself; `texts` are bodies by protocol."""

    subject: str | None = None
    texts: Mapping[str, str] | None = None
    sequence_number: str | None = None


class Notifications:
    """Renders and signs what goes to subscriptions."""

    def __init__(
        self,
        topology: Topology,
        signer: Signer,
        message_ids: MessageIds,
        external_url: str | None = None,
    ) -> None:
        """`external_url`: what all links begin with; by default, where the subscriber came in."""
        self._topology = topology
        self._external_url = external_url
        self._message_ids = message_ids
        self._published: dict[str, Published] = {}
        self._signatures: dict[str, tuple[str, str]] = {}
        self.signer = signer

    @contextmanager
    def publishing(self, published: Mapping[str, Published]) -> Iterator[None]:
        """Know, while routing, what was published under these message ids."""
        self._published.update(published)
        try:
            yield
        finally:
            for message_id in published:
                del self._published[message_id]
            self._signatures.clear()

    def published_of(self, message: Message) -> Published:
        """What the publisher gave besides the message that is being routed."""
        return self._published.get(message.message_id) or Published()

    def wrap(self, subscription: Subscription, message: Message) -> Message:
        """The message that a queue gets by a subscription whose delivery is not raw."""
        envelope = self.envelope(subscription, message)
        return Message(
            self._message_ids.next(),
            json.dumps(envelope, ensure_ascii=False).encode(),
            message.sent_at,
            group_id=message.group_id,
            deduplication_id=message.deduplication_id,
            headers={name: message.headers[name] for name in message.headers if name == TRACE_KEY},
        )

    def envelope(self, subscription: Subscription, message: Message) -> dict[str, object]:
        """The notification of a message, for one subscription."""
        published = self.published_of(message)
        region = subscription.attributes.get(REGION_OF, REGION)
        topic = self._topology.topic(subscription.topic)
        fifo = topic is not None and topic.fifo
        arn = topic_arn(region, ACCOUNT, sns_name(subscription.topic, fifo=fifo))
        if message.message_id in self._published:
            message = natural(message, sns_name(subscription.topic, fifo=fifo))
        text, attributes = attributes_from_message(without_trace(message))
        envelope: dict[str, object] = {
            "Type": "Notification",
            "MessageId": message.message_id,
        }
        if published.sequence_number is not None:
            envelope["SequenceNumber"] = published.sequence_number
        envelope["TopicArn"] = arn
        if published.subject is not None:
            envelope["Subject"] = published.subject
        envelope["Message"] = text_for(subscription.protocol, published, text)
        envelope["Timestamp"] = timestamp_of(message.sent_at)
        if not fifo:
            version = "1" if topic is None else topic.attributes.get("SignatureVersion", "1")
            self._sign(envelope, version, subscription)
        base = self.base_url(subscription)
        envelope["UnsubscribeURL"] = unsubscribe_url(base, f"{arn}:{subscription.id}")
        if attributes:
            envelope["MessageAttributes"] = {
                name: _shown(attribute) for name, attribute in attributes.items()
            }
        return envelope

    def base_url(self, subscription: Subscription) -> str:
        """What the links in a subscription's messages begin with."""
        return self._external_url or subscription.attributes.get(BASE_URL, "http://localhost:4566")

    def certificate_url(self, subscription: Subscription) -> str:
        """Where a subscription's messages say that the certificate is."""
        return f"{self.base_url(subscription)}/{self.signer.certificate_name}"

    def _sign(self, envelope: dict[str, object], version: str, subscription: Subscription) -> None:
        """All subscriptions of a publish that get the same text get the same signature."""
        key = f"{envelope['MessageId']}/{envelope['TopicArn']}"
        text = str(envelope["Message"])
        known = self._signatures.get(key)
        if known is None or known[0] != text:
            known = (text, self.signer.sign(envelope, version))
            if envelope["MessageId"] in self._published:
                self._signatures[key] = known
        envelope["SignatureVersion"] = version
        envelope["Signature"] = known[1]
        envelope["SigningCertURL"] = self.certificate_url(subscription)


def natural(message: Message, topic: str) -> Message:
    """What cloud code published, without what it got for the subscribers of the topic tree.

    A subject that the publisher gave itself, as an attribute, stays that attribute.
    """
    if message.subject != topic:
        return msgspec.structs.replace(message, topic=TOPIC_TREE)
    return msgspec.structs.replace(message, topic=None, subject=None)


def without_trace(message: Message) -> Message:
    """The message without X-Ray's header, which is no attribute of its publisher's."""
    if TRACE_KEY not in message.headers:
        return message
    headers = {name: value for name, value in message.headers.items() if name != TRACE_KEY}
    return msgspec.structs.replace(message, headers=headers)


def for_queue(queue: Queue, message: Message) -> Message:
    """FIFO topics keep group and deduplication id for FIFO queues only."""
    if queue.settings.fifo or message.deduplication_id is None:
        return message
    return msgspec.structs.replace(message, group_id=None, deduplication_id=None)


def text_for(protocol: str, published: Published, text: str) -> str:
    """A publish's text for one protocol (MessageStructure json), else the one for all."""
    if published.texts is None:
        return text
    return published.texts.get(protocol, text)


def timestamp_of(epoch_ms: int) -> str:
    """ISO 8601 with milliseconds."""
    moment = datetime.fromtimestamp(epoch_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{epoch_ms % 1000:03d}Z"


def unsubscribe_url(base: str, subscription_arn: str) -> str:
    """The link that ends a subscription."""
    return f"{base}/?Action=Unsubscribe&SubscriptionArn={quote(subscription_arn, safe=':')}"


def _shown(attribute: Attribute) -> dict[str, str]:
    if attribute.binary_value is not None:
        return {"Type": attribute.data_type, "Value": b64encode(attribute.binary_value).decode()}
    return {"Type": attribute.data_type, "Value": attribute.string_value or ""}

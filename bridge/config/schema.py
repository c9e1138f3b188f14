"""Every option of the configuration, declared once: type, default, bounds and help.

The reference page, the JSON schema, the checks and the effective file all come from here. Names
have their unit last. What a listener leaves out (protocol, port) is completed in `listeners.py`.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from bridge.config.backend import Backend, BaseUrl
from bridge.config.mistakes import suggestion
from bridge.config.section import SECRET, FilePath, Form, Name, Namespace, Section
from bridge.config.simulation import Simulation
from bridge.config.users import User
from bridge.messaging.limits import Limits
from bridge.messaging.model import DEFAULT_NAMESPACE
from bridge.messaging.names import FIFO_SUFFIX

_LIMITS: Final = Limits()
_HOST_NAME: Final = re.compile(r"([A-Za-z0-9_-]+\.)*[0-9]*[A-Za-z_-][A-Za-z0-9_-]*\.?")
"""Without a number at its end, which would be that of a mistyped address."""
NOT_SPOKEN: Final = {
    "openwire": "openwire is not spoken yet; ActiveMQ clients can use stomp",
    "amqp10": "amqp 1.0 is not spoken yet",
    "amqp1": "amqp 1.0 is not spoken yet",
    "amqp1.0": "amqp 1.0 is not spoken yet",
    "kafka": "kafka is not spoken",
}
"""Protocols that are refused by name."""


class Tls(Section):
    """Encryption of a listener. The files are read again at a reload."""

    certificate: FilePath = Field(description="PEM file: the certificate, then its chain.")
    key: FilePath | None = Field(
        None,
        description="PEM file with the certificate's private key; by default it stands in the"
        " certificate's file.",
    )
    client_ca: FilePath | None = Field(
        None,
        description="PEM file with the authorities whose client certificates are trusted. A client"
        " with such a certificate is logged in as the user of its common name.",
    )
    require_client_certificate: bool = Field(
        default=False,
        description="Refuse clients without a certificate of `client_ca`.",
    )

    @field_validator("require_client_certificate")
    @classmethod
    def _needs_an_authority(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("client_ca", "mistaken") is None:
            raise PydanticCustomError("refused", "needs client_ca: whose certificates to trust")
        return value


def _bind(value: str) -> str:
    if value == "*" or _HOST_NAME.fullmatch(value):
        return value
    try:
        ip_address(value.partition("%")[0])
    except ValueError:
        reason = "must be an address of this machine, without a port (`127.0.0.1`, `::`, `*`)"
        raise PydanticCustomError("refused", "{reason}", {"reason": reason}) from None
    return value


class Listener(Section):
    """One address on which clients of one protocol are answered."""

    protocol: str | None = Field(
        None, description="The protocol spoken; by default the listener's own name."
    )
    bind: Annotated[str, AfterValidator(_bind)] = Field(
        "127.0.0.1",
        description="Address of this machine: `127.0.0.1` for programs on it, `0.0.0.0` or `::` for"
        " all its interfaces of IPv4 or IPv6, `*` for both.",
    )
    port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="By default the protocol's usual one (see below). 0 lets the system choose; the"
        " start-up text says what it chose.",
    )
    tls: Tls | None = Field(None, description="Encrypts the listener.")
    websocket: bool = Field(default=False, description="Speak the protocol inside WebSocket.")
    namespace: Namespace = Field(
        DEFAULT_NAMESPACE,
        description="Namespace (virtual host) of clients that name none.",
    )
    anonymous: bool = Field(
        default=False,
        description="Let clients in that give no credentials, although there are users; and let"
        " a listener that is not on loopback start without users.",
    )


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _attribute_values(value: dict[str, Any]) -> dict[str, Any]:
    for name, item in value.items():
        if not isinstance(item, str | int | float | bool):
            reason = f"the attribute {name!r} must be text, a number, true or false"
            raise PydanticCustomError("refused", "{reason}", {"reason": reason})
    return value


class RouteSet(Section):
    """What a route changes in the messages that it sends on."""

    attributes: Annotated[dict[str, Any], AfterValidator(_attribute_values)] = Field(
        {}, description="Attributes that the messages get; text may be a template."
    )


class Route(Section):
    """Where messages go that should not go where their address says.

    Every route that matches applies. A message that no route matches keeps its default mapping; a
    matching route replaces that, unless `default` is among its targets.
    """

    name: str = Field("", description="For the log and `landbridge explain`.")
    source: str = Field(
        alias="from",
        description="`protocol:address`, matching only what comes in by that protocol, with its"
        " wildcards; `{line}` captures a level.",
    )
    filter: dict[str, Any] | None = Field(
        None, description="An SNS filter policy: only messages that it accepts."
    )
    filter_scope: Literal["attributes", "body"] = Field(
        "attributes", description="What the filter looks at: attributes, or a JSON body."
    )
    to: Annotated[
        list[str], BeforeValidator(_one_or_many, json_schema_input_type=list[str] | str)
    ] = Field(
        min_length=1,
        description="Targets: `sqs:queue`, `sns:topic`, an address of another protocol, `default`."
        " Templates over captures (`{line}`), attributes (`{header:unit}`), `{subject}`,"
        " `{address}`, `{client_id}`, `{user}`. A message without such a value is"
        " dead-lettered.",
    )
    set: RouteSet = Field(RouteSet(), description="Changes to the messages.")


class DeadLetter(Section):
    """Where a queue's dead letters go; a queue's name alone stands for `{queue: name}`."""

    queue: Name | None = Field(None, description="A queue of the same namespace.")
    topic: Name | None = Field(
        None, description="Or a topic (exchange) to publish to.", validate_default=True
    )
    subject: str | None = Field(
        None, description="Subject for the topic; by default the message's own."
    )

    @field_validator("topic")
    @classmethod
    def _one_target(cls, value: str | None, info: ValidationInfo) -> str | None:
        queue = info.data.get("queue", "mistaken")
        if value is not None and queue is not None:
            raise PydanticCustomError("refused", "goes to a queue or to a topic, not to both")
        if value is None and queue is None:
            raise PydanticCustomError("refused", "is missing: a queue or a topic is needed")
        return value


def _dead_letter(value: object) -> object:
    return {"queue": value} if isinstance(value, str) else value


class Redrive(Section):
    """SQS's own dead-lettering (RedrivePolicy)."""

    queue: Name = Field(description="The dead-letter queue.")
    receive_count_max: int = Field(ge=1, le=1000, description="Receives before a message moves.")


class Queue(Section):
    """A queue that exists from the start; others are made when clients first use them."""

    name: Name = Field(description="As legacy clients call it.")
    namespace: Namespace = Field(DEFAULT_NAMESPACE, description="Its namespace (virtual host).")
    dead_letter: Annotated[
        DeadLetter | None,
        BeforeValidator(_dead_letter, json_schema_input_type=DeadLetter | str | None),
    ] = Field(
        None,
        description="Where rejected, expired and too often returned messages go: a queue's name, or"
        " `{topic: ..., subject: ...}`. By default the queue of `dead_letters`.",
    )
    return_limit: int | None = Field(
        None, ge=1, description="Explicit returns (nack) after which a message is dead-lettered."
    )
    message_ttl_ms: int | None = Field(
        None, ge=0, description="Age at which messages expire. By default they do not."
    )
    length_max: int | None = Field(None, ge=1, description="Messages that the queue holds at most.")
    bytes_max: int | None = Field(None, ge=1, description="Bytes that the queue holds at most.")
    overflow: Literal["drop-head", "reject-publish"] = Field(
        "drop-head", description="What a full queue does: dead-letter its oldest, or refuse."
    )
    fifo: bool = Field(
        default=False,
        validate_default=True,
        description="An SQS FIFO queue: ordered in groups and deduplicated. Its name ends in"
        " `.fifo`. Cannot be changed once it is made.",
    )
    priority_max: int = Field(0, ge=0, le=255, description="Highest priority told apart.")
    single_active_consumer: bool = Field(
        default=False, description="Only one consumer at a time gets messages."
    )
    visibility_timeout_seconds: int = Field(
        30, ge=0, le=43_200, description="For SQS receivers: how long a message is theirs."
    )
    delay_seconds: int = Field(0, ge=0, le=900, description="Delay of each message.")
    retention_seconds: int | None = Field(
        None,
        ge=60,
        le=1_209_600,
        description="Age at which messages are deleted. By default they are kept.",
    )
    redrive: Redrive | None = Field(None, description="SQS's own dead-lettering, by receives.")

    @field_validator("fifo")
    @classmethod
    def _named_as_in_sqs(cls, value: bool, info: ValidationInfo) -> bool:
        name = info.data.get("name")
        if name is not None and name.endswith(FIFO_SUFFIX) is not value:
            raise PydanticCustomError(
                "refused", "names of FIFO queues, and only they, end in .fifo"
            )
        return value

    @field_validator("redrive")
    @classmethod
    def _of_its_type(cls, value: Redrive | None, info: ValidationInfo) -> Redrive | None:
        name = info.data.get("name")
        if value is None or name is None:
            return value
        if value.queue == name:
            raise PydanticCustomError("refused", "goes to another queue than its own")
        if value.queue.endswith(FIFO_SUFFIX) is not name.endswith(FIFO_SUFFIX):
            message = "goes to a FIFO queue (.fifo) from a FIFO queue, and only from one"
            raise PydanticCustomError("refused", message)
        return value


class DeadLetters(Section):
    """Where messages go that nothing else says where to put."""

    queue: Name = Field(
        "landbridge-dead-letters",
        description="In each namespace, the queue of messages that were rejected, expired or could"
        " not be routed, with the reason in their headers. Made when first needed.",
    )


class AccessKey(Section):
    """A key pair with which programs sign their calls."""

    id: Annotated[str, Form("3 to 128 letters, digits and `_`")] = Field(
        pattern="^[A-Za-z0-9_]{3,128}$",
        description="Access key id (AWS_ACCESS_KEY_ID of the program).",
    )
    secret: Annotated[str, Field(min_length=8, max_length=256)] = Field(
        description="Secret access key, of 8 to 256 characters.", json_schema_extra=SECRET
    )


class AwsApi(Section):
    """The SQS and SNS API that boto3 and other SDKs call."""

    access_keys: list[AccessKey] = Field(
        [],
        description="Who may call; every call must be signed with one of these. None: anybody may,"
        " on loopback.",
    )
    name_reuse_seconds: int = Field(
        60, ge=0, le=60, description="Wait after a queue's deletion before its name is free again."
    )
    purge_interval_seconds: int = Field(
        60, ge=0, le=60, description="Least time between two purges of one queue."
    )
    external_url: BaseUrl | None = Field(
        None,
        max_length=255,
        description="What queue URLs and the links in SNS's messages (`SubscribeURL`,"
        " `UnsubscribeURL`, `SigningCertURL`) begin with, as in `https://sqs.example.com`: how"
        " clients reach the API behind a load balancer or a port mapping. By default the scheme and"
        " `Host` that they called; a `Host` without a port leads to port 80 or 443.",
    )
    simulate: Literal["nothing", "aws"] = Field(
        "nothing",
        description="`aws`: behave like AWS at its worst, for tests of programs that will run"
        " there. Nothing is lost, but whatever AWS may do will happen.",
    )
    simulation: Simulation = Field(
        Simulation(), description="What happens with `simulate: aws`, and how often."
    )

    @field_validator("simulation")
    @classmethod
    def _simulation_is_on(cls, value: Simulation, info: ValidationInfo) -> Simulation:
        if info.data.get("simulate") == "nothing" and value != Simulation():
            raise PydanticCustomError("refused", "means nothing without simulate: aws")
        return value


class LimitsSection(Section):
    """Bounds of the broker. The others are fixed."""

    message_size_max: int = Field(
        _LIMITS.message_size_max, ge=1024, le=512 * 1024**2, description="Bytes of one body."
    )
    prefetch_default: int = Field(
        _LIMITS.prefetch_default,
        ge=1,
        le=65_535,
        description="Unsettled deliveries of a consumer that names no prefetch.",
    )
    prefetch_max: int = Field(
        _LIMITS.prefetch_max,
        validate_default=True,
        ge=1,
        le=65_535,
        description="Unsettled deliveries of any consumer, whatever it asks for.",
    )
    consumer_timeout_seconds: int = Field(
        _LIMITS.consumer_timeout_seconds,
        ge=0,
        le=31_536_000,
        description="How long an AMQP client may take to acknowledge a delivery before its channel"
        " is closed (RabbitMQ's consumer_timeout); 0 sets no bound.",
    )
    connections_max: int = Field(
        _LIMITS.connections_max, ge=1, le=1_000_000, description="Open connections of one listener."
    )
    consumers_per_connection_max: int = Field(
        _LIMITS.consumers_per_connection_max, ge=1, le=100_000, description="Of one connection."
    )
    unanswered_bytes_max: int = Field(
        _LIMITS.unanswered_bytes_max,
        ge=64 * 1024,
        le=1024**3,
        description="Published bytes of one connection that are not stored yet; above it the broker"
        " stops reading from that connection.",
    )
    unanswered_messages_max: int = Field(
        _LIMITS.unanswered_messages_max, ge=1, le=1_000_000, description="The same in messages."
    )
    write_buffer_bytes_max: int = Field(
        _LIMITS.write_buffer_bytes_max,
        ge=16 * 1024,
        le=1024**3,
        description="Unsent bytes of one connection above which its consumers pause.",
    )
    transaction_messages_max: int = Field(
        _LIMITS.transaction_messages_max,
        ge=1,
        le=1_000_000,
        description="Sends and acknowledgements that one open transaction may hold.",
    )
    mqtt_in_flight_max: int = Field(
        _LIMITS.mqtt_in_flight_max,
        ge=1,
        le=65_535,
        description="QoS 1 and 2 publishes of one MQTT connection without an acknowledgement, each"
        " way.",
    )
    mqtt_subscriptions_max: int = Field(
        _LIMITS.mqtt_subscriptions_max, ge=1, le=1_000_000, description="Of one MQTT session."
    )
    mqtt_session_messages_max: int = Field(
        _LIMITS.mqtt_session_messages_max,
        ge=1,
        le=1_000_000_000,
        description="Messages that wait for one MQTT session or shared subscription; the oldest are"
        " dropped then.",
    )
    mqtt_session_expiry_seconds_max: int = Field(
        _LIMITS.mqtt_session_expiry_seconds_max,
        ge=0,
        le=0xFFFF_FFFF,
        description="The longest session expiry of an MQTT 5 client; the default has no end.",
    )
    mqtt_keep_alive_seconds_max: int = Field(
        _LIMITS.mqtt_keep_alive_seconds_max,
        ge=0,
        le=65_535,
        description="The longest keep-alive of an MQTT 5 client; 0 leaves it to the client.",
    )
    mqtt_qos_0_buffer_bytes_max: int = Field(
        _LIMITS.mqtt_qos_0_buffer_bytes_max,
        ge=0,
        le=1024**3,
        description="QoS 0 publishes kept for an MQTT client that does not read.",
    )
    mqtt_publish_rate_max: int = Field(
        _LIMITS.mqtt_publish_rate_max,
        ge=0,
        le=1_000_000_000,
        description="Publishes of one MQTT connection in a second; 0 sets no bound.",
    )
    mqtt_retained_max: int = Field(
        _LIMITS.mqtt_retained_max, ge=0, le=1_000_000_000, description="Retained messages."
    )
    mqtt_denied_publish_disconnects: bool = Field(
        _LIMITS.mqtt_denied_publish_disconnects,
        description="Disconnect an MQTT 3.x client that publishes what it may not, rather than"
        " acknowledge and drop it.",
    )
    transaction_bytes_max: int = Field(
        _LIMITS.transaction_bytes_max,
        ge=64 * 1024,
        le=1024**3,
        description="Bytes that one open transaction may hold.",
    )

    @field_validator("prefetch_max")
    @classmethod
    def _default_within_the_bound(cls, value: int, info: ValidationInfo) -> int:
        default = info.data.get("prefetch_default")
        if default is not None and value < default:
            reason = f"is {value}, below prefetch_default, {default}"
            raise PydanticCustomError("refused", "{reason}", {"reason": reason})
        return value


class Log(Section):
    """What the broker writes to standard error: a line for each connect, disconnect and refusal."""

    format: Literal["text", "json"] = Field("text", description="`json`: one object per line.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least serious lines that are written."
    )


class Config(Section):
    """The whole file."""

    backend: Backend = Field(Backend(), description="Where queues and messages are kept.")
    users: list[User] = Field(
        [],
        description="Who may connect. With users, every client must log in as one of them, on every"
        " listener (unless the listener says `anonymous: true`). Without users, listeners on"
        " loopback let everybody in with any credentials, and listeners elsewhere do not start."
        " The AWS API has `access_keys` instead; metrics are open to whoever reaches them.",
    )
    listeners: dict[Name, Listener | None] | None = Field(
        None,
        description="Addresses to answer on, by a free name. Giving this replaces the defaults: one"
        " listener on loopback for each protocol at its usual port, the AWS API, the management API"
        " and metrics. One with nothing behind its name has its protocol's defaults, one that is"
        " `null` is left out.",
    )
    routes: list[Route] = Field(
        [], description="Where messages go that should not go where their address says."
    )
    queues: list[Queue] = Field(
        [], description="Queues that exist from the start, with their settings."
    )
    namespaces: list[Namespace] = Field(
        [],
        description=f"Namespaces (virtual hosts) besides the default one, `{DEFAULT_NAMESPACE}`.",
    )
    dead_letters: DeadLetters = Field(DeadLetters(), description="The queue of last resort.")
    aws_api: AwsApi = Field(AwsApi(), description="The SQS and SNS API.")
    limits: LimitsSection = Field(LimitsSection(), description="Bounds that can be changed.")
    log: Log = Field(Log(), description="Log lines.")


def refusal_of_protocol(name: str, known: list[str]) -> str:
    """Why a protocol cannot be spoken, for the place that names it."""
    if reason := NOT_SPOKEN.get(name.lower()):
        return f"{reason} (spoken: {', '.join(known)})"
    return f"{name!r} is no protocol; {suggestion(name, known)}"

"""The backend's section: the data directory of the embedded one, the names and places of AWS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from bridge.config.section import FilePath, Form, Name, Section
from bridge.messaging.limits import ServiceLimits
from bridge.messaging.names import FIFO_SUFFIX, is_legal_queue_name, is_legal_topic_name
from bridge.messaging.prices import Prices


def _endpoint(value: str) -> str:
    scheme, separator, rest = value.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest.strip("/"):
        raise PydanticCustomError("refused", "must look like https://host or http://host:port")
    return value


def _base(value: str) -> str:
    base = _endpoint(value).rstrip("/")
    if not _BASE.fullmatch(base):
        # Signatures cover the path, so nothing on the way may put one in front of it.
        raise PydanticCustomError("refused", "must be https://host or http://host:port, no more")
    return base


def _sqs_queue(value: str) -> str:
    if not is_legal_queue_name(value, fifo=value.endswith(FIFO_SUFFIX)):
        message = "must be the name of a queue in SQS (not its ARN or URL)"
        raise PydanticCustomError("refused", message)
    return value


def _sns_topic(value: str) -> str:
    name = _TOPIC_ARN.sub("", value)
    if not is_legal_topic_name(name, fifo=name.endswith(FIFO_SUFFIX)):
        raise PydanticCustomError("refused", "must be the name of a topic in SNS, or its ARN")
    return value


def _bucket(value: str) -> str:
    if ("/" in value or ":" in value) and not value.startswith("arn:"):
        raise PydanticCustomError("refused", "must be the name of a bucket, without s3:// and path")
    return value


TopicMode = Literal["auto", "always", "never"]
EndpointUrl = Annotated[str, AfterValidator(_endpoint)]
BaseUrl = Annotated[str, AfterValidator(_base)]
"""An address that paths are put behind."""
SqsQueue = Annotated[Name, AfterValidator(_sqs_queue)]
SnsTopic = Annotated[Name, AfterValidator(_sns_topic)]
Bucket = Annotated[Name, AfterValidator(_bucket)]
_TOPIC_ARN: Final = re.compile(r"arn:[a-z0-9-]+:sns:[a-z0-9-]+:\d{12}:")
_BASE: Final = re.compile(r"https?://[^/?#@\s]+")

SERVICE: Final = ServiceLimits()
_PRICES: Final = Prices()
_ONLY_EMBEDDED: Final = ("durability",)
_ONLY_AWS: Final = (
    "region",
    "prefix",
    "endpoint_url",
    "endpoints",
    "create",
    "state_table",
    "queues",
    "topics",
    "publish",
    "ingest",
    "topic_rules",
    "topic_check_seconds",
    "ordering",
    "payload_bucket",
    "payload_prefix",
    "payload_bytes_max",
    "legacy_payload_attribute",
    "prices",
)


class Endpoints(Section):
    """Addresses of single services of AWS, before `endpoint_url`."""

    sqs: EndpointUrl | None = Field(None, description="Where SQS is.")
    sns: EndpointUrl | None = Field(None, description="Where SNS is.")
    dynamodb: EndpointUrl | None = Field(None, description="Where DynamoDB is.")
    s3: EndpointUrl | None = Field(None, description="Where S3 is.")


class Ordering(Section):
    """Queues that keep an order in SQS, which then are first-in-first-out queues there."""

    queues: Name = Field(description="Their names; `*` and `?` stand for any characters.")
    group: Annotated[str, Form("strict, subject, topic, header:NAME or property:NAME")] = Field(
        "strict",
        pattern="^(strict|subject|topic|(header|property):.+)$",
        description="`strict` keeps one order for all messages of a queue (300 calls a second)."
        " Otherwise messages keep their order among those of the same `subject`, `topic`,"
        " `header:NAME` or `property:NAME`.",
    )


class TopicRule(Section):
    """How some topics have to do with SNS, other than all others."""

    topics: Name = Field(description="Their names; `*` and `?` stand for any characters.")
    publish: TopicMode | None = Field(None, description="Instead of `backend.publish`.")
    ingest: TopicMode | None = Field(None, description="Instead of `backend.ingest`.")


_Dollars = Annotated[float, Field(ge=0, le=1_000)]


class PricesSection(Section):
    """What a million calls or units cost, in dollars: for `/metrics` and `landbridge explain`.

    The defaults are those of us-east-1 in November 2026, first tier.
    """

    sqs: _Dollars = Field(_PRICES.sqs, description="Requests to standard queues.")
    sqs_fifo: _Dollars = Field(_PRICES.sqs_fifo, description="Requests to FIFO queues.")
    sns: _Dollars = Field(_PRICES.sns, description="Requests that publish to SNS.")
    dynamodb_write: _Dollars = Field(_PRICES.dynamodb_write, description="Write request units.")
    dynamodb_read: _Dollars = Field(_PRICES.dynamodb_read, description="Read request units.")
    s3_write: _Dollars = Field(_PRICES.s3_write, description="Objects written.")
    s3_read: _Dollars = Field(_PRICES.s3_read, description="Objects read.")


class Backend(Section):
    """Where queues and messages are kept.

    Credentials for AWS come from its standard chain: environment, profile, role.
    """

    kind: Literal["embedded", "aws"] = Field(
        "embedded",
        description="`embedded` keeps everything in one data directory of this machine. `aws` keeps"
        " queues in SQS, gives topics a face in SNS, and has everything else in a DynamoDB table.",
    )
    path: FilePath = Field(
        Path("landbridge-data"),
        description="The data directory, made if it is absent. One broker at a time can use it."
        " With `aws`, what does not fit into memory of transient queues goes there.",
    )
    durability: Literal["fsync", "os", "memory"] = Field(
        "fsync",
        description="What a confirm promises. `fsync`: the message survives power loss. `os`: it"
        " survives the death of the process, not of the machine. `memory`: a confirm"
        " promises nothing, and every start begins empty. `embedded` only.",
    )
    region: Name | None = Field(
        None, description="AWS region; by default the environment's. `aws` only, as all below."
    )
    prefix: Annotated[str, Form("up to 40 letters, digits, `-` and `_`")] = Field(
        "",
        pattern="^[A-Za-z0-9_-]{0,40}$",
        description="In front of the names of all queues in SQS and topics in SNS; queues without"
        " it are not seen.",
    )
    endpoint_url: EndpointUrl | None = Field(
        None,
        description="Address of all services; by default AWS's own, or what `AWS_ENDPOINT_URL` and"
        " `AWS_ENDPOINT_URL_SQS` say.",
    )
    endpoints: Endpoints = Field(Endpoints(), description="Addresses of single services.")
    create: Literal["always", "never"] = Field(
        "always",
        description="Whether queues, topics and the table are made on demand; `never` takes what"
        " there is and refuses the rest.",
    )
    state_table: Annotated[str, Form("3 to 255 letters, digits, `.`, `-` and `_`")] = Field(
        "landbridge",
        pattern="^[A-Za-z0-9_.-]{3,255}$",
        description="DynamoDB table of catalogue and state: partition key `kind`, sort key `key`.",
    )
    queues: dict[Name, SqsQueue] = Field(
        {},
        description="Names of legacy clients' queues, each with the SQS queue that it stands for,"
        " prefix and all.",
    )
    topics: dict[Name, SnsTopic] = Field(
        {},
        description="Names of topics and exchanges, each with the SNS topic that it is, by name,"
        " prefix and all, or ARN.",
    )
    publish: TopicMode = Field(
        "auto",
        description="Whether what comes to a topic here is also published to its SNS topic. `auto`:"
        " while anybody besides Landbridge is subscribed there. What routes send to `sns:` always"
        " is.",
    )
    ingest: TopicMode = Field(
        "auto",
        description="Whether what others publish to a topic in SNS is taken in, through a queue in"
        " SQS. `auto`: while anybody here is subscribed to the topic, or a route begins there.",
    )
    topic_rules: list[TopicRule] = Field(
        [],
        description="Topics for which something else holds; the first that matches and says"
        " something counts.",
    )
    topic_check_seconds: float = Field(
        60.0,
        ge=1,
        le=3_600,
        description="Longest time between two times that SNS is asked who is subscribed to a topic"
        " that is used here; the shortest is half of it.",
    )
    ordering: list[Ordering] = Field(
        [],
        description="Queues that are made with an order; the first that matches counts, and a queue"
        " keeps what it was made with. All others give messages out in about the order of sending.",
    )

    payload_bucket: Bucket | None = Field(
        None,
        description="S3 bucket for the bodies of messages that are too large for SQS, in the form"
        " of AWS's extended clients. Without one, such messages are refused. A lifecycle rule"
        " should end what is older than 15 days.",
    )
    payload_prefix: Annotated[str, Form("up to 500 letters, digits, `/`, `.`, `-` and `_`")] = (
        Field(
            "",
            pattern="^[A-Za-z0-9./_-]{0,500}$",
            description="In front of the keys of all objects in the bucket.",
        )
    )
    payload_bytes_max: int = Field(
        SERVICE.message_size_max,
        ge=1_024,
        le=SERVICE.message_size_max,
        description="Size, attributes included, above which a body goes to the bucket.",
    )
    legacy_payload_attribute: bool = Field(
        default=False,
        description="Mark such messages with `SQSLargePayloadSize`, as readers with an old extended"
        " client want it, instead of `ExtendedPayloadSize`. Both are read.",
    )

    prices: PricesSection = Field(PricesSection(), description="What AWS charges.")

    @field_validator(*_ONLY_AWS, *_ONLY_EMBEDDED)
    @classmethod
    def _belongs_to_kind(cls, value: Any, info: ValidationInfo) -> Any:
        name, kind = str(info.field_name), info.data.get("kind", "")
        foreign = {"embedded": _ONLY_AWS, "aws": _ONLY_EMBEDDED}.get(kind, ())
        if name in foreign and value != cls.model_fields[name].default:
            reason = f"means nothing to the {kind} backend"
            raise PydanticCustomError("refused", "{reason}", {"reason": reason})
        return value

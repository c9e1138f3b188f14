"""What configuration says about the AWS backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bridge.backends.aws.ordering import OrderingRule
from bridge.messaging.limits import ServiceLimits


@dataclass(frozen=True, slots=True)
class AwsOptions:
    """Names and places; bounds are in `limits`.

    `region` None takes the environment's. `endpoints` give single services (`sqs`, `dynamodb`,
    `s3`) an endpoint of their own, before `endpoint_url` for all of them, before AWS's variables.
    `create` False takes queues and the table as they are. `queues` pins names of the default
    namespace to existing SQS queues. `ordering` says which new queues are first-in-first-out; the
    first rule counts. `exclusive`: only one node at a time may open the table; without it, nodes
    see one another's changes of the catalogue only when they are opened again. Messages over
    `payload_bytes_max` leave their body in `payload_bucket`; readers with an old extended client
    for Java want the legacy attribute.
    """

    region: str | None = None
    prefix: str = ""
    endpoint_url: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    create: bool = True
    table: str = "landbridge"
    queues: Mapping[str, str] = field(default_factory=dict)
    ordering: tuple[OrderingRule, ...] = ()
    exclusive: bool = True
    payload_bucket: str | None = None
    payload_prefix: str = ""
    payload_bytes_max: int = ServiceLimits().message_size_max
    legacy_payload_attribute: bool = False

    def endpoint_of(self, service: str) -> str | None:
        return self.endpoints.get(service) or self.endpoint_url

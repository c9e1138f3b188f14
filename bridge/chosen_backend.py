"""The backend that a configuration asks for: made here, opened by whoever asked."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from bridge.backends.embedded import EmbeddedBackend
from bridge.config import BackendSection, Config
from bridge.messaging.clock import Clock
from bridge.messaging.limits import Limits
from bridge.messaging.ports import Backend
from bridge.messaging.prices import Prices

if TYPE_CHECKING:
    from bridge.backends.aws import AwsOptions


class StartRefused(Exception):
    """The broker cannot start; says why, and what to do about it."""


def backend_of(config: Config, clock: Clock, limits: Limits) -> Backend:
    """The backend that the configuration asks for, not opened yet."""
    section = config.backend
    if section.kind == "embedded":
        return EmbeddedBackend(
            section.path, durability=section.durability, clock=clock, limits=limits
        )
    local = EmbeddedBackend(section.path, durability="memory", clock=clock, limits=limits)
    return _aws_backend(section, local, clock)


def _aws_backend(section: BackendSection, local: Backend, clock: Clock) -> Backend:
    options = aws_options(section)
    from bridge.backends.aws import AwsBackend

    return AwsBackend(options, local=local, clock=clock, random=random.random)


def aws_options(section: BackendSection) -> AwsOptions:
    """What the section says to the AWS backend. Raises `StartRefused` where that is not there."""
    try:
        from bridge.backends.aws import AwsOptions, Mode, OrderingRule, TopicRule
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "botocore":
            raise
        raise StartRefused(
            "the aws backend needs botocore, which is not installed: install landbridge[aws]"
        ) from None
    return AwsOptions(
        region=section.region,
        prefix=section.prefix,
        endpoint_url=section.endpoint_url,
        endpoints=section.endpoints.model_dump(exclude_none=True),
        create=section.create == "always",
        table=section.state_table,
        queues=section.queues,
        topics=section.topics,
        publish=Mode(section.publish),
        ingest=Mode(section.ingest),
        topic_rules=tuple(
            TopicRule(
                each.topics,
                None if each.publish is None else Mode(each.publish),
                None if each.ingest is None else Mode(each.ingest),
            )
            for each in section.topic_rules
        ),
        topic_check_seconds=section.topic_check_seconds,
        ordering=tuple(OrderingRule(each.queues, each.group) for each in section.ordering),
        payload_bucket=section.payload_bucket,
        payload_prefix=section.payload_prefix,
        payload_bytes_max=section.payload_bytes_max,
        legacy_payload_attribute=section.legacy_payload_attribute,
        prices=Prices(**section.prices.model_dump()),
    )

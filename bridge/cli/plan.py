"""`landbridge plan`: what the AWS backend would make, and the IAM policy for it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Final

from bridge.chosen_backend import StartRefused, aws_options
from bridge.config import ConfigInvalid, Loaded
from bridge.declared import settings_of
from bridge.messaging.model import QueueName, QueueSettings

if TYPE_CHECKING:
    from bridge.backends.aws import AwsOptions


KIND: Final = ("backend", "kind")


def usable_aws_options(loaded: Loaded) -> AwsOptions:
    """What the AWS backend is told. Raises `ConfigInvalid` where it is not installed."""
    try:
        return aws_options(loaded.config.backend)
    except StartRefused as refused:
        raise ConfigInvalid([loaded.mistake(KIND, str(refused))]) from None


def plan(loaded: Loaded, *, policy_only: bool) -> int:
    """Print it; nothing is called and nothing is made."""
    if loaded.config.backend.kind != "aws":
        raise ConfigInvalid([loaded.mistake(KIND, "is not aws: nothing to plan")])
    options = usable_aws_options(loaded)
    from bridge.backends.aws.plan import plan_lines
    from bridge.backends.aws.plan import policy as policy_of

    region = options.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not policy_only:
        queues = {name: QueueSettings() for name in loaded.rules.queues()}
        for declared in loaded.config.queues:
            name = QueueName(declared.namespace, declared.name)
            queues[name] = settings_of(declared, QueueSettings())
        rules = loaded.rules
        where = region or "of the environment"
        for line in plan_lines(options, where, queues, rules.topics(), rules.source_topics()):
            print(line)
        print("\nIAM policy:")
    print(json.dumps(policy_of(options, region or "*"), indent=2))
    return 0

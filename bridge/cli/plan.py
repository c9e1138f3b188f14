"""`landbridge plan`: what the AWS backend would make, and the IAM policy for it."""

from __future__ import annotations

import json
import os

from bridge.chosen_backend import StartRefused, aws_options
from bridge.config import ConfigInvalid, Loaded, Mistake
from bridge.declared import settings_of
from bridge.messaging.model import QueueName, QueueSettings


def plan(loaded: Loaded, *, policy_only: bool) -> int:
    """Print it; nothing is called and nothing is made."""
    section = loaded.config.backend
    where = str(loaded.file or "defaults")
    if section.kind != "aws":
        raise ConfigInvalid([Mistake(where, ("backend", "kind"), "is not aws: nothing to plan")])
    try:
        options = aws_options(section)
    except StartRefused as refused:
        raise ConfigInvalid([Mistake(where, ("backend", "kind"), str(refused))]) from None
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

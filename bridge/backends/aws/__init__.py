"""The AWS backend: queues in SQS, topics in SNS, the catalogue and state in DynamoDB.

credentials, connections, signing -> service   signed calls, tried again under a deadline
batches -> sending, settling                   ten at a time, many under way
receiving, holding                             long polls by demand, visibility renewed
directory, control, attributes                 queues by both their names
sns, topics, publishing, ingest                topics in SNS, what goes there and what comes
state                                          DynamoDB, answered from memory
store, backend                                 the ports
"""

from bridge.backends.aws.backend import AwsBackend
from bridge.backends.aws.limits import AwsLimits
from bridge.backends.aws.options import AwsOptions, Mode, TopicRule
from bridge.backends.aws.ordering import OrderingRule

__all__ = ["AwsBackend", "AwsLimits", "AwsOptions", "Mode", "OrderingRule", "TopicRule"]

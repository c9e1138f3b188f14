"""STS's GetCallerIdentity: what programs ask for their account's number, to write ARNs with it."""

from __future__ import annotations

from bridge.api.call import Call
from bridge.api.operation import Operation
from bridge.api.sqs.shapes import Shape
from bridge.api.wire.query import Names
from bridge.api.wire.xml import Rendering
from bridge.messaging.identifiers import ACCOUNT, caller_arn

VERSION = "2011-06-15"
ACTION = "GetCallerIdentity"


class Nothing(Shape):
    """A request without parameters."""


class Identity(Shape):
    """Who asks."""

    user_id: str
    account: str
    arn: str


def get_caller_identity(_: None, call: Call, __: Nothing) -> Identity:
    """There is one account, and whoever is let in is its one user."""
    return Identity(ACCOUNT, ACCOUNT, caller_arn(call.region))


OPERATION = Operation(
    ACTION,
    Nothing,
    get_caller_identity,
    Names(),
    Rendering("https://sts.amazonaws.com/doc/2011-06-15/"),
)

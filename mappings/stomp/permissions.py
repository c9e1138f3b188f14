"""What a user may publish: a SEND to a queue needs access to that or to the default exchange, which
STOMP does not know; one to a topic the same as by other protocols.
"""

from __future__ import annotations

from bridge.auth import User, checks
from bridge.auth.checks import Sending


def require_publish(user: User, sending: Sending) -> None:
    """Raises `AccessDenied`."""
    if sending.queue is not None:
        checks.require_send(user, sending.namespace, sending.queue)
    else:
        checks.require_publish(user, sending)

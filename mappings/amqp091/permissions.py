"""What a user may publish: RabbitMQ's rules. A queue is published to by way of the default
exchange, so the queue's own name is not asked for; client ids do not count.
"""

from __future__ import annotations

from bridge.auth import User, checks
from bridge.auth.checks import Sending


def require_publish(user: User, sending: Sending) -> None:
    """Raises `AccessDenied`."""
    checks.require_publish(user, sending._replace(client_id=None))

"""The read-only parts of RabbitMQ's management HTTP API that tools poll.

Shapes are those of RabbitMQ 3.13; what nobody measures here is left out instead of made up. What
would change something is answered 405.
"""

from bridge.admin.management.handler import ManagementHandler
from bridge.admin.management.sources import ManagementSources, NodeFacts

__all__ = ["ManagementHandler", "ManagementSources", "NodeFacts"]

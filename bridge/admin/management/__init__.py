"""RabbitMQ's management HTTP API: what tools poll, and what scripts declare, send and take by it.

Shapes are those of RabbitMQ 3.13; what nobody measures here is left out instead of made up. Queues,
exchanges, bindings, messages and connections can be changed, by the same rules and permissions as
over AMQP; users, permissions and virtual hosts by administrators, as far as they are not those of
the configuration file, which are shown, and refused 405.
"""

from bridge.admin.management.handler import ManagementHandler
from bridge.admin.management.sources import ConfiguredNames, ManagementSources, NodeFacts

__all__ = ["ConfiguredNames", "ManagementHandler", "ManagementSources", "NodeFacts"]

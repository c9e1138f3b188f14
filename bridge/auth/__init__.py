"""Who may connect, and what they may do.

`Accounts` answers whether credentials are a user's, and gives the `User` that gateways ask for
permission; `password_hashes.py` knows the forms of hashes that are taken from other brokers,
`permissions.py` what RabbitMQ's patterns and MQTT's topic filters permit.
"""

from bridge.auth.accounts import NOBODY, Account, Accounts, User
from bridge.auth.password_hashes import PasswordHashInvalid, make_password_hash, parse_password_hash
from bridge.auth.permissions import (
    EVERYTHING,
    Grants,
    NamespacePermission,
    Permissions,
    SubjectPermission,
)
from bridge.auth.topic_filters import PermittedFilter
from bridge.messaging.expressions import Expression, PatternInvalid

__all__ = [
    "EVERYTHING",
    "NOBODY",
    "Account",
    "Accounts",
    "Expression",
    "Grants",
    "NamespacePermission",
    "PasswordHashInvalid",
    "PatternInvalid",
    "Permissions",
    "PermittedFilter",
    "SubjectPermission",
    "User",
    "make_password_hash",
    "parse_password_hash",
]

"""Who may connect: users, their password hashes, and the rule of loopback.

`Accounts` answers whether credentials are a user's; `password_hashes.py` knows the forms of hashes
that are taken from other brokers.
"""

from bridge.auth.accounts import Account, Accounts, User
from bridge.auth.password_hashes import PasswordHashInvalid, make_password_hash, parse_password_hash

__all__ = [
    "Account",
    "Accounts",
    "PasswordHashInvalid",
    "User",
    "make_password_hash",
    "parse_password_hash",
]

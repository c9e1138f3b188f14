"""Who may come in, and into which namespaces: what the configuration says, and what is stored.

The store's share is the import's and the management API's, and changes while connections live on:
those of a user or in a namespace that is deleted are ended, at whichever node they are, and those
of a user that a reload takes out of the configuration.
"""

from __future__ import annotations

from bridge.admin.log import StructuredLog
from bridge.admin.management import ConfiguredNames
from bridge.auth import Account, Accounts
from bridge.auth.stored import KIND_NAMESPACE, KIND_USER, stored_accounts, stored_namespaces
from bridge.config import Config, Loaded
from bridge.messaging.model import DEFAULT_NAMESPACE
from bridge.messaging.ports import StateStore
from mappings.connections import Connections


class Tenancy:
    """Keeps users and namespaces to what the configuration and the store say."""

    def __init__(
        self, loaded: Loaded, state: StateStore, accounts: Accounts, log: StructuredLog
    ) -> None:
        self.namespaces: set[str] = set()
        """Those that exist; the same set for as long as the broker runs."""
        self.connections = Connections()
        self._loaded = loaded
        self._state = state
        self._accounts = accounts
        self._log = log
        self._stored_users: set[str] = set()
        state.watch([KIND_USER, KIND_NAMESPACE], lambda _: self.look())
        self._follow()

    def use(self, loaded: Loaded) -> None:
        """Go by another configuration, whose namespaces are the same."""
        users = self._users()
        self._loaded = loaded
        self._look_again(users)

    def look(self) -> None:
        """Go by what the store says now."""
        self._look_again(self._users())

    def _users(self) -> frozenset[str]:
        return self.configured().users | self._stored_users

    def _look_again(self, users: frozenset[str]) -> None:
        stored, namespaces = self._stored_users, set(self.namespaces)
        self._follow()
        self._log_changes("user", stored, self._stored_users)
        self._log_changes("namespace", namespaces, self.namespaces)
        gone_users = users - self._users()
        gone_namespaces = namespaces - self.namespaces
        for connection in self.connections:
            if connection.namespace in gone_namespaces:
                connection.dismiss(f"vhost '{connection.namespace}' is deleted")
            elif connection.user in gone_users:
                connection.dismiss(f"user '{connection.user}' is deleted")

    def configured(self) -> ConfiguredNames:
        """What is the configuration's, and only changes there."""
        config = self._loaded.config
        used = {
            *(each.namespace for each in self._loaded.listeners),
            *(each.namespace for each in config.queues),
        }
        return ConfiguredNames(
            users=frozenset(each.name for each in config.users),
            namespaces=frozenset([DEFAULT_NAMESPACE, *config.namespaces]),
            namespaces_used=frozenset(used),
        )

    def _follow(self) -> None:
        config = self._loaded.config
        stored = stored_accounts(self._state)
        self._stored_users = {each.name for each in stored}
        # A user of the configuration wins over a stored one.
        self._accounts.replace([*stored, *_configured_accounts(config)])
        known = {DEFAULT_NAMESPACE, *config.namespaces, *stored_namespaces(self._state)}
        self.namespaces.intersection_update(known)
        self.namespaces.update(known)

    def _log_changes(self, kind: str, before: set[str], after: set[str]) -> None:
        for name in sorted(after - before):
            self._log.info(f"{kind} added", name=name)
        for name in sorted(before - after):
            self._log.info(f"{kind} deleted", name=name)


def _configured_accounts(config: Config) -> list[Account]:
    return [
        Account(
            user.name,
            user.password_hash,
            user.grants(),
            None if user.tags is None else frozenset(user.tags),
        )
        for user in config.users
    ]

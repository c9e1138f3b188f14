"""What can be wrong with a data directory; each message is a sentence for the user."""

from __future__ import annotations


class StorageError(Exception):
    """The data directory cannot be used."""


class DirectoryInUse(StorageError):
    """Another process has the data directory open."""


class NewerStore(StorageError):
    """The store was written by a newer version."""


class Unstorable(StorageError):
    """Something in a batch cannot be written, whatever the state of the disk."""

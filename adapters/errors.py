"""Errors of the protocol adapters: ours and the peer's are different types."""

from __future__ import annotations


class LocalProtocolError(Exception):
    """Our own side asked the connection for something its state does not allow: a bug here."""


class RemoteProtocolError(Exception):
    """The peer sent what its protocol forbids; the message is fit to be shown to the peer."""

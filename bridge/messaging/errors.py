"""The one family of errors of the bridge, in SQS and SNS words.

Each mapping and each API has one table from these types to its own wire replies. Messages are lower
case, show the value and say what was allowed; they are fit to be shown to the client.
"""

from __future__ import annotations


class MessagingError(Exception):
    """Anything that the bridge refuses or cannot do."""


class QueueDoesNotExist(MessagingError):
    """No queue of that name in the namespace."""


class QueueNameExists(MessagingError):
    """The queue exists with other settings."""


class TopicDoesNotExist(MessagingError):
    """No topic of that name in the namespace."""


class TopicNameExists(MessagingError):
    """The topic exists with another type or other attributes."""


class SubscriptionDoesNotExist(MessagingError):
    """No subscription of that id."""


class InvalidParameter(MessagingError):
    """A value is outside of what is allowed."""


class InvalidAddress(MessagingError):
    """A destination, subject or pattern cannot be mapped to a queue or topic."""


class MessageTooLong(MessagingError):
    """The message is over a size limit."""


class OverLimit(MessagingError):
    """A named bound would be passed: queues, subscriptions, messages in flight."""


class QueueFull(OverLimit):
    """The queue's length limit refuses further messages."""


class ReceiptHandleInvalid(MessagingError):
    """The receipt handle was not made by this store."""


class ReceiptHandleOfAnotherQueue(ReceiptHandleInvalid):
    """The receipt handle is one of this store's, and its message in another queue."""


class ReceiptHandleExpired(ReceiptHandleInvalid):
    """The visibility timeout of a first-in-first-out message has ended, and its handle with it."""


class AccessDenied(MessagingError):
    """The user may not do this."""


class AuthenticationFailed(MessagingError):
    """The credentials are not those of a user."""


class ResourceLocked(MessagingError):
    """The queue is exclusive to another connection or consumer."""


class QueueElsewhere(ResourceLocked):
    """The queue is in the memory of another node, at which alone it can be used."""


class StoreUnavailable(MessagingError):
    """The store did not take the unit of work; nothing of it was confirmed."""


class StateConflict(StoreUnavailable):
    """Another node changed the same entries first; whoever asked may look again and decide."""


class UnsupportedOperation(MessagingError):
    """Understood, and not offered here; the loss table has a row for it."""

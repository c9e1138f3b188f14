"""The names of a message's standard properties, and the type that each carries.

They are the common ground of AMQP's basic properties, MQTT 5's PUBLISH properties and the headers
that STOMP brokers share; each mapping has one table from its own names to these. What is not here
is an application header. Priority, expiry and delay are fields of `Message`, since the store acts
on them.
"""

from __future__ import annotations

from typing import Final

CONTENT_TYPE: Final = "content-type"  # str
CONTENT_ENCODING: Final = "content-encoding"  # str
CORRELATION_ID: Final = "correlation-id"  # str, or bytes where it is not UTF-8
REPLY_TO: Final = "reply-to"  # str: an address in the publisher's own syntax
MESSAGE_ID: Final = "message-id"  # str: the application's own, not the store's
TIMESTAMP: Final = "timestamp"  # int: epoch seconds, the application's own
TYPE: Final = "type"  # str
USER_ID: Final = "user-id"  # str
APP_ID: Final = "app-id"  # str
PERSISTENT: Final = "persistent"  # bool
PAYLOAD_IS_TEXT: Final = "payload-is-text"  # bool: the body is UTF-8 text

STANDARD: Final = frozenset(
    {
        CONTENT_TYPE,
        CONTENT_ENCODING,
        CORRELATION_ID,
        REPLY_TO,
        MESSAGE_ID,
        TIMESTAMP,
        TYPE,
        USER_ID,
        APP_ID,
        PERSISTENT,
        PAYLOAD_IS_TEXT,
    }
)

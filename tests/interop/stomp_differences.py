"""What Landbridge's STOMP does otherwise than RabbitMQ's or ActiveMQ's, on purpose, and why.

Reasons that begin with "sometimes" are of races at the peer, which go one way or the other.
"""

from __future__ import annotations

from typing import Final

RABBITMQ: Final = "rabbitmq"
ACTIVEMQ: Final = "activemq"

_SPECIFICATION = "the specification forbids it, and says that the client is to be told"
_DESTINATIONS = (
    "a destination of no known kind is refused as by RabbitMQ, not taken as a queue's name"
)
_NOT_THERE = "what cannot be routed is refused, never dropped silently"
_UNESCAPED = "1.0 has no escapes: headers pass as they are"
_LENIENT = "blanks around numbers and versions are taken"

_TABLE: Final[tuple[tuple[str, str, tuple[str, ...]], ...]] = (
    ("loopback without users lets everybody in", RABBITMQ, ("wrong_password",)),
    (_LENIENT, RABBITMQ, ("odd_version['1.1, 1.2']", "heart_beat['5000, 5000']", "heart_beat['']")),
    (_LENIENT, ACTIVEMQ, ("odd_version['1.1, 1.2']", "heart_beat['5000, 5000']", "heart_beat['']")),
    ("-1 is no number of milliseconds", RABBITMQ, ("heart_beat['-1,0']",)),
    ("-1 is no number of milliseconds", ACTIVEMQ, ("heart_beat['-1,0']",)),
    ("ActiveMQ says nothing, and closes later", ACTIVEMQ, ("before_connect['DISCONNECT']",)),
    (
        "sometimes RabbitMQ closes before it has confirmed: here DISCONNECT waits for all receipts",
        RABBITMQ,
        ("frames_in_one_write_with_connect", "sends_before_disconnect_are_answered"),
    ),
    (
        "a receipt says that the message is stored, so it comes with the commit, as with RabbitMQ",
        ACTIVEMQ,
        ("sends_in_a_transaction_with_receipts",),
    ),
    ("an ERROR names the receipt of its frame", RABBITMQ, ("an_error_names_its_receipt",)),
    (
        "RabbitMQ answers first and finds the mistake later",
        RABBITMQ,
        ("acking_twice", "acking_what_a_cumulative_ack_took", "acking_in_mode_auto"),
    ),
    (
        "UNSUBSCRIBE gives back what is unsettled, and late ACKs are no mistakes, as with ActiveMQ",
        RABBITMQ,
        ("acking_after_unsubscribe", "unsubscribe_gives_back"),
    ),
    (
        _SPECIFICATION,
        RABBITMQ,
        (
            "acking_in_1_1_without_subscription",
            "beginning_twice",
            "subscribing_without_id['1.1']",
            "subscribing_without_id['1.2']",
            "header_value['1.1'-'a\\\\rb']",
            "a_header_line[':noname']",
        ),
    ),
    (
        _SPECIFICATION,
        ACTIVEMQ,
        (
            "a_subscription_id_twice",
            "a_wrong_ack_mode",
            "content_length['-1'-b'abc']",
            "content_length['2'-b'abc']",
            "header_value['1.1'-'a\\\\rb']",
            "header_value['1.1'-'a\\\\tb']",
            "header_value['1.1'-'a\\\\']",
            "header_value['1.2'-'a\\\\tb']",
            "header_value['1.2'-'a\\\\']",
            "a_header_line['nocolon']",
            "durable_without_id",
        ),
    ),
    ("NACK is taken in 1.0 as well, as with RabbitMQ", ACTIVEMQ, ("nack_in_1_0",)),
    (
        "NACK returns a message to its queue, as with RabbitMQ; ActiveMQ dead-letters it",
        ACTIVEMQ,
        ("nack_and_again", "nack_in_mode_client"),
    ),
    ("the header of the other peer is known here as well", ACTIVEMQ, ("a_prefetch_of_one",)),
    (
        "the header of the other peer is known here as well",
        RABBITMQ,
        ("activemqs_prefetch_of_one",),
    ),
    (
        "the idioms of the other peer are known here as well",
        RABBITMQ,
        (
            "unsubscribing_by_destination['1.0']",
            "durable_as_in_activemq",
            "an_expired_message",
            "wildcards['w.>']",
            "wildcards['>']",
            "destination['/temp-queue/t']",
            "destination['/temp-topic/t']",
            "a_reply_through_a_temporary_queue",
            "a_reply_through_a_temporary_topic",
            "a_header['message-id:mine']",
        ),
    ),
    (
        "the idioms of the other peer are known here as well",
        ACTIVEMQ,
        (
            "durable_as_in_rabbitmq",
            "an_exclusive_queue",
            "an_expiration_that_has_passed",
            "wildcards['w.#']",
            "wildcards['#']",
            "wildcards['#.b']",
            "wildcards['w.#.d']",
            "a_reply_without_a_subscription",
            "destinations_are_shown",
        ),
    ),
    (
        "a temporary queue shows the name that its client gave",
        RABBITMQ,
        ("a_reply_without_a_subscription",),
    ),
    ("selectors are refused, not ignored", RABBITMQ, ("selectors",)),
    ("selectors are not offered", ACTIVEMQ, ("selectors",)),
    ("browsers are refused, not taken for consumers", RABBITMQ, ("a_browser",)),
    ("browsers are not offered", ACTIVEMQ, ("a_browser",)),
    (
        _UNESCAPED,
        ACTIVEMQ,
        tuple(f"header_value['1.0'-'a\\\\{end}']" for end in ("nb", "cb", "\\\\b")),
    ),
    (
        _UNESCAPED,
        RABBITMQ,
        (
            "header_value['1.0'-'a\\\\tb']",
            "header_value['1.0'-'a\\\\']",
            "header_value['1.0'-'a:b']",
            "header_value['1.0'-' a ']",
        ),
    ),
    (
        "ActiveMQ has headers of JMS instead",
        ACTIVEMQ,
        (
            "an_escaped_header_name",
            "headers_of_a_plain_message",
            "headers_that_are_kept",
            "a_header['redelivered:true']",
            "a_header['transformation:jms-map-json']",
        ),
    ),
    (
        "any version may send carriage returns, as with RabbitMQ",
        ACTIVEMQ,
        ("carriage_returns['1.1']",),
    ),
    ("ActiveMQ takes no carriage return there", ACTIVEMQ, ("ends_of_line_between_frames",)),
    (
        "the head of a frame has a bound",
        RABBITMQ,
        ("headers_without_end", "bytes_of_another_protocol"),
    ),
    (
        "the head of a frame has a bound",
        ACTIVEMQ,
        ("headers_without_end", "bytes_of_another_protocol"),
    ),
    (
        _DESTINATIONS,
        ACTIVEMQ,
        tuple(
            f"destination['{each}']"
            for each in (
                "/foo/bar",
                "/queue",
                "/topic",
                "/queue/a/b",
                "queue/a",
                "/QUEUE/a",
                "/exchange/nowhere/k",
                "/exchange/",
                "/exchange//k",
                "/exchange/a/b/c",
                "/amq/queue/nowhere",
                "/amq/queue/",
                "/temp-queue/",
                "/reply-queue/nowhere",
                "/reply-queue/",
                "/topic/a.b/c",
                "/topic/a/b",
            )
        ),
    ),
    (_NOT_THERE, RABBITMQ, ("destination['/amq/queue/nowhere']",)),
    (
        "a reply to a client that is gone is nobody's mistake, as with RabbitMQ",
        ACTIVEMQ,
        ("a_reply_to_a_client_that_is_gone",),
    ),
    (
        "headers that have no meaning are kept as they are",
        RABBITMQ,
        (
            "a_header['persistent:false']",
            "a_header['persistent:maybe']",
            "a_header['timestamp:now']",
        ),
    ),
    (
        "headers that have no meaning are kept as they are",
        ACTIVEMQ,
        (
            "a_header['persistent:false']",
            "a_header['persistent:maybe']",
            "a_header['timestamp:now']",
        ),
    ),
    (
        "a value that cannot be obeyed is refused",
        RABBITMQ,
        ("a_header['priority:-1']", "a_header['expires:soon']"),
    ),
    (
        "a value that cannot be obeyed is refused",
        ACTIVEMQ,
        ("a_header['priority:-1']", "a_header['expiration:soon']"),
    ),
    ("who was let in unchecked has no name to defend", RABBITMQ, ("a_header['user-id:somebody']",)),
    ("client-id names durable subscriptions, nothing else", ACTIVEMQ, ("a_client_id_twice",)),
)

DIFFERENCES: Final[dict[tuple[str, str], str]] = {
    (name, peer): reason for reason, peer, names in _TABLE for name in names
}

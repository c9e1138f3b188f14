"""STOMP's rows of the loss table."""

from __future__ import annotations

from typing import Final

from mappings.losses import (
    AT_LEAST_ONCE,
    BEST_EFFORT_ORDER,
    IN_S3,
    ONE_AFTER_THE_OTHER,
    Emulated,
    Rows,
)

_ROWS: Final = Rows("stomp")
_GATEWAY: Final = "tests/mappings/stomp/test_gateway.py::"
_PUBLISHING: Final = "tests/mappings/stomp/test_publishing.py::"
_SETTLING: Final = "tests/mappings/stomp/test_settling.py::"
_COMMITS: Final = "tests/mappings/stomp/test_transactions.py::"
_SUBSCRIPTIONS: Final = "tests/mappings/stomp/test_subscriptions.py::"
_IDIOMS: Final = "tests/mappings/stomp/test_idioms.py::"
_MESSAGES: Final = "tests/mappings/stomp/test_messages.py::"
_SERVER: Final = "tests/adapters/stomp/test_server.py::"
_TRANSACTIONS: Final = "tests/adapters/stomp/test_transactions.py::"

LOSSES: Final = (
    _ROWS.kept(
        "versions 1.0, 1.1 and 1.2, negotiated",
        f"{_SERVER}test_the_highest_common_version_is_spoken",
    ),
    _ROWS.kept("heart-beats in both directions", f"{_SERVER}test_heart_beats_are_answered_in_kind"),
    _ROWS.kept("login and passcode", f"{_GATEWAY}test_users_are_checked"),
    _ROWS.kept("host as a namespace", f"{_GATEWAY}test_namespaces"),
    _ROWS.kept("user-id is checked", f"{_PUBLISHING}test_nobody_claims_to_be_another_user"),
    _ROWS.kept(
        "permissions of users, refused in RabbitMQ's words",
        "tests/mappings/stomp/test_permissions.py::test_what_is_not_permitted_is_refused",
        key="users.permissions",
    ),
    _ROWS.kept(
        "receipts, once the frame's effect is stored",
        f"{_PUBLISHING}test_a_send_makes_its_queue_and_is_answered_when_stored",
    ),
    _ROWS.kept(
        "receipts in the order of their frames",
        f"{_PUBLISHING}test_receipts_come_in_the_order_of_the_frames",
    ),
    _ROWS.kept("/queue/ and /amq/queue/ destinations", f"{_PUBLISHING}test_bare_names_are_queues"),
    _ROWS.kept(
        "/topic/ destinations with *, # and >",
        f"{_SUBSCRIPTIONS}test_topic_subscribers_get_copies_and_leave_nothing_behind",
    ),
    _ROWS.kept("/exchange/ destinations", f"{_SUBSCRIPTIONS}test_exchanges"),
    _ROWS.kept(
        "/temp-queue/ and replies to it",
        f"{_SUBSCRIPTIONS}test_a_reply_finds_the_temporary_queue_of_another_connection",
    ),
    _ROWS.kept(
        "exclusive queues of others are refused",
        "tests/scenarios/test_exclusive_queues.py::test_stomp_subscribers_are_refused",
    ),
    _ROWS.emulated(
        "replies to a client that is gone",
        "taken and dropped, as RabbitMQ does",
        "a temporary queue ends with its connection",
        f"{_SUBSCRIPTIONS}test_a_reply_finds_the_temporary_queue_of_another_connection",
    ),
    _ROWS.kept(
        "durable topic subscriptions by durable and id",
        f"{_SUBSCRIPTIONS}test_a_durable_subscription_of_rabbitmq_collects",
    ),
    _ROWS.kept(
        "durable topic subscriptions by client-id and activemq.subscriptionName",
        f"{_SUBSCRIPTIONS}test_a_durable_subscription_of_activemq_collects",
    ),
    _ROWS.lost(
        "SUBSCRIBE without id in 1.1 and 1.2",
        "refused, as the specification and ActiveMQ have it: clients without ids speak 1.0",
        f"{_SERVER}test_mistakes_are_named",
    ),
    _ROWS.kept("ack:auto, client and client-individual", f"{_SERVER}test_cumulative_acks"),
    _ROWS.kept("NACK returns to the queue", f"{_SETTLING}test_nack_returns_a_message"),
    _ROWS.kept("NACK in 1.0, as RabbitMQ takes it", f"{_SERVER}test_nack_is_taken_in_1_0_as_well"),
    _ROWS.kept(
        "NACK with requeue:false dead-letters",
        f"{_SETTLING}test_nack_without_requeue_dead_letters",
    ),
    _ROWS.kept(
        "a return limit dead-letters",
        f"{_SETTLING}test_too_many_returns_dead_letter",
        Emulated("counted in the state table", "a node hears of another one's within a second"),
    ),
    _ROWS.kept(
        "prefetch by prefetch-count and activemq.prefetchSize",
        f"{_SETTLING}test_prefetch_bounds_what_is_unsettled",
    ),
    _ROWS.kept(
        "what is unsettled is delivered again",
        f"{_SUBSCRIPTIONS}test_a_lost_connection_releases_and_does_not_send_again",
        AT_LEAST_ONCE,
    ),
    _ROWS.kept(
        "order of each queue",
        "tests/interop/test_stomp_py.py::test_acks",
        BEST_EFFORT_ORDER,
    ),
    _ROWS.kept(
        "transactions over SEND, ACK and NACK",
        f"{_COMMITS}test_a_transaction_is_one_unit_at_its_commit",
        ONE_AFTER_THE_OTHER,
    ),
    _ROWS.emulated(
        "receipts inside a transaction",
        "sent with the commit, as RabbitMQ does for SEND",
        "none for what was aborted",
        f"{_COMMITS}test_a_transaction_is_one_unit_at_its_commit",
    ),
    _ROWS.kept(
        "bodies of any bytes",
        "tests/adapters/stomp/test_codec.py::test_content_length_lets_a_body_hold_nul",
    ),
    _ROWS.kept(
        "bodies over 1 MiB",
        "tests/interop/test_stomp_bytes.py::test_a_message_of_sixteen_megabytes_and_one_byte_more",
        IN_S3,
    ),
    _ROWS.kept(
        "application headers of any name and value",
        f"{_MESSAGES}test_headers_survive",
    ),
    _ROWS.emulated(
        "headers of STOMP 1.0 that are not UTF-8",
        "read as Latin-1, which the cloud and other clients see as text",
        "sent as UTF-8; 1.1 and 1.2 forbid them, and they are refused there",
        "tests/adapters/stomp/test_codec.py"
        "::test_headers_of_old_clients_that_are_not_utf_8_are_latin_1",
    ),
    _ROWS.emulated(
        "application headers named as one of the MESSAGE frame's own",
        "kept for the other protocols, not shown to STOMP subscribers",
        "subscription, destination, message-id, redelivered, ack, content-length",
        f"{_MESSAGES}test_the_frames_own_headers_are_not_forged",
    ),
    _ROWS.emulated(
        "message-id on SEND",
        "shown as amqp-message-id; MESSAGE has the broker's",
        "one value",
        f"{_MESSAGES}test_the_applications_message_id_is_kept_under_its_amqp_name",
    ),
    _ROWS.emulated(
        "line feeds and colons in headers for STOMP 1.0 subscribers",
        "escaped as in 1.1, since 1.0 cannot carry them",
        "NUL becomes U+FFFD in every version",
        f"{_MESSAGES}test_old_clients_cannot_be_sent_forged_headers",
    ),
    _ROWS.emulated(
        "headers that are no text, of messages from other protocols",
        "numbers, times and booleans as text, tables as JSON, bytes as UTF-8 or base64",
        "subscribers see the text",
        f"{_MESSAGES}test_values_of_other_protocols_become_text",
    ),
    _ROWS.kept(
        "expires and expiration",
        f"{_MESSAGES}test_expiry_in_both_conventions",
        Emulated(
            "one node at a time sweeps the queue",
            "late by a tenth of the time, 1 s at least and 60 s at most",
        ),
    ),
    _ROWS.kept(
        "priority",
        f"{_MESSAGES}test_priority",
        Emulated("up to four bands, each a queue in SQS", "fixed when the queue is made"),
    ),
    _ROWS.kept(
        "x-message-ttl, x-expires, x-max-*, x-dead-letter-* and x-queue-type on SEND and SUBSCRIBE",
        f"{_PUBLISHING}test_queues_are_made_as_their_first_send_asks",
        Emulated("by one node at a time, by SQS's counts", "seconds late, and approximate"),
    ),
    _ROWS.kept(
        "exclusive:true on SUBSCRIBE to /queue/",
        f"{_IDIOMS}test_an_exclusive_queue_is_for_one_subscriber_and_goes_with_it",
    ),
    _ROWS.emulated(
        "persistent:false",
        "stored like everything else",
        "the header is shown to subscribers",
        f"{_MESSAGES}test_headers_survive",
    ),
    _ROWS.lost(
        "selectors",
        "the header selector is refused",
        f"{_GATEWAY}test_mistakes_end_the_connection_in_words",
    ),
    _ROWS.lost(
        "queue browsers (browser:true)",
        "refused: a subscription would take what a browser only shows",
        f"{_GATEWAY}test_mistakes_end_the_connection_in_words",
    ),
    _ROWS.kept(
        "ActiveMQ's delay (AMQ_SCHEDULED_DELAY)",
        f"{_IDIOMS}test_a_scheduled_message_waits",
        Emulated("SQS's delay, begun anew where it is longer than 15 minutes", "within seconds"),
    ),
    _ROWS.lost(
        "ActiveMQ's repeated schedules (AMQ_SCHEDULED_PERIOD, _REPEAT, _CRON)",
        "a SEND that has one which is not 0 is refused",
        f"{_GATEWAY}test_mistakes_end_the_connection_in_words",
    ),
    _ROWS.emulated(
        "/temp-topic/ and replies to it",
        "subjects $temp-topic.SESSION.NAME of the topic tree, which others see as /topic/",
        "a subscriber to all of the topic tree (#) sees them, too, but for MQTT's",
        f"{_IDIOMS}test_a_reply_finds_the_temporary_topic_of_another_connection",
    ),
    _ROWS.lost(
        "/dsub/ destinations",
        "the destination is refused",
        f"{_GATEWAY}test_mistakes_end_the_connection_in_words",
    ),
    _ROWS.lost(
        "no-local, exclusive and retroactive subscriptions of ActiveMQ",
        "the header is refused where it is true",
        f"{_GATEWAY}test_mistakes_end_the_connection_in_words",
    ),
    _ROWS.lost(
        "streams (x-queue-type:stream, x-stream-offset, x-stream-filter)", "the header is refused"
    ),
    _ROWS.lost(
        "composite destinations (/queue/a,/queue/b) and destination options (?consumer.x=y)",
        "taken as part of a name, or refused, as RabbitMQ does",
    ),
    _ROWS.lost(
        "wildcards in /queue/ subscriptions", "* and > are taken as they are in queue names"
    ),
    _ROWS.lost("message groups (JMSXGroupID)", "the header is carried and has no effect"),
)

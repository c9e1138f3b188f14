"""AMQP's rows of the loss table."""

from __future__ import annotations

from typing import Final

from mappings.losses import (
    AT_LEAST_ONCE,
    BEST_EFFORT_ORDER,
    IN_S3,
    ONE_AFTER_THE_OTHER,
    Emulated,
    Loss,
    Rows,
)

_ROWS: Final = Rows("amqp")
_GATEWAY: Final = "tests/mappings/amqp091/test_gateway.py::"
_PUBLISHING: Final = "tests/mappings/amqp091/test_publishing.py::"
_SETTLING: Final = "tests/mappings/amqp091/test_settling.py::"
_MANAGEMENT: Final = "tests/interop/test_management_changes.py::"
_DEFINITIONS: Final = "tests/scenarios/test_management_definitions.py::"
_PROVISIONING: Final = "tests/interop/test_management_provisioning.py::"
_TOPOLOGY: Final = "tests/mappings/amqp091/test_topology.py::"
_MESSAGES: Final = "tests/mappings/amqp091/test_messages.py::"
_CONSUMING: Final = "tests/mappings/amqp091/test_consuming.py::"
_WATCH: Final = "tests/mappings/amqp091/test_watch.py::"
_SERVER: Final = "tests/adapters/amqp091/test_server.py::"
_CHANNEL: Final = "tests/adapters/amqp091/test_channel.py::"
_OUTCOMES: Final = "tests/interop/test_amqp_outcomes.py::test_outcomes_are_those_of_rabbitmq"

LOSSES: Final = (
    _ROWS.kept("protocol header, other versions named", f"{_SERVER}test_handshake"),
    _ROWS.kept(
        "AMQP 0-9, as RabbitMQ takes it: like 0-9-1",
        f"{_SERVER}test_the_header_of_0_9_is_taken_as_that_of_0_9_1",
    ),
    _ROWS.lost(
        "AMQP 0-8",
        "its methods have other fields; it is answered with the header of 0-9-1",
        f"{_SERVER}test_another_protocol_is_told_which_one_is_spoken",
    ),
    _ROWS.lost(
        "routing keys that are not UTF-8",
        "the specification has them as UTF-8, and so has the cloud: refused with FRAME_ERROR, as"
        " RabbitMQ refuses such names",
        "tests/adapters/amqp091/test_publishing.py::test_malformed_contents_close_the_connection",
    ),
    _ROWS.kept("PLAIN, AMQPLAIN and EXTERNAL", f"{_GATEWAY}test_other_mechanisms"),
    _ROWS.kept("virtual hosts as namespaces", f"{_GATEWAY}test_virtual_hosts_are_namespaces"),
    _ROWS.kept(
        "configure, write and read permissions",
        f"{_TOPOLOGY}test_what_is_not_permitted_is_refused",
        key="users.permissions",
    ),
    _ROWS.kept("channel-max and frame-max", f"{_SERVER}test_negotiation_is_held_to"),
    _ROWS.kept("heartbeats", f"{_SERVER}test_two_missed_heartbeats_end_the_connection"),
    _ROWS.kept("errors in RabbitMQ's words", f"{_GATEWAY}test_a_mistake_costs_its_channel_only"),
    _ROWS.kept(
        "basic.get",
        _OUTCOMES,
        Emulated("SQS is asked for up to a second", "so long an empty queue takes to answer"),
    ),
    _ROWS.kept("direct, fanout and topic exchanges", f"{_TOPOLOGY}test_topics_and_bindings"),
    _ROWS.kept("headers exchanges with every x-match", _OUTCOMES),
    _ROWS.kept("exchange-to-exchange bindings, alternate exchanges", _OUTCOMES),
    _ROWS.kept("x-delayed-message", f"{_TOPOLOGY}test_delayed_exchanges"),
    _ROWS.kept("exclusive and server-named queues", f"{_TOPOLOGY}test_exclusive_queues"),
    _ROWS.kept(
        "queues that are neither durable nor exclusive",
        f"{_TOPOLOGY}test_transient_queues_stay_out_of_the_catalogue",
        Emulated("kept in SQS, where all nodes have them", "they stay when the brokers stop"),
    ),
    _ROWS.kept(
        "auto-delete queues and exchanges",
        f"{_TOPOLOGY}test_auto_delete_queues",
        Emulated(
            "in memory at one node",
            "consumers at other nodes are refused with 405, and its messages are not counted there",
        ),
    ),
    _ROWS.kept(
        "consumer counts, queue.delete with if-unused",
        _OUTCOMES,
        Emulated("by the consumers of the node that is asked", "those of other nodes do not count"),
    ),
    _ROWS.kept(
        "exclusive and reply queues, for publishers at other nodes",
        "tests/scenarios/test_topics_on_aws.py::test_replies_find_their_queue_at_another_node",
        Emulated(
            "through the inbox queue of their node",
            "SQS's latency; lost with the node, or where it is cut off for five minutes",
        ),
    ),
    _ROWS.kept(
        "x-message-ttl, and expiration of messages that nobody receives",
        f"{_TOPOLOGY}test_settings_of_a_queue",
        Emulated(
            "one node at a time sweeps the queue",
            "late by a tenth of the time, 1 s at least and 60 s at most; not behind 100 messages"
            " that are not due, nor in queues with SQS's own redrive policy",
        ),
        key="queues.message_ttl_ms",
    ),
    _ROWS.kept(
        "x-max-length and x-overflow",
        f"{_TOPOLOGY}test_settings_of_a_queue",
        Emulated(
            "by SQS's counts and what each node sends",
            "over by what is sent in a few seconds and by other nodes; bytes are counted in"
            " messages of the mean size",
        ),
        key="queues.length_max",
    ),
    _ROWS.kept(
        "x-expires",
        f"{_TOPOLOGY}test_settings_of_a_queue",
        Emulated(
            "notes in the state store tell of each node's use", "late by a quarter of the time"
        ),
    ),
    _ROWS.kept("dead letters", f"{_TOPOLOGY}test_settings_of_a_queue", ONE_AFTER_THE_OTHER),
    _ROWS.kept(
        "x-death and x-first-death headers",
        f"{_SETTLING}test_nack_with_and_without_requeue",
        ONE_AFTER_THE_OTHER,
    ),
    _ROWS.emulated(
        "reject without a dead-letter exchange",
        "goes to the namespace's default dead-letter queue",
        "RabbitMQ drops the message",
        f"{_SETTLING}test_rejected_messages_without_a_target_are_not_lost",
    ),
    Loss(
        "amqp",
        "x-max-priority",
        Emulated("sixteen bands", "priorities above 15 are one"),
        Emulated(
            "up to four bands, each a queue in SQS",
            "fixed when the queue is made; who waits gets what comes to a lower one once"
            " the higher ones have been silent for 50 ms; FIFO, pinned and found queues have one",
        ),
        "tests/bridge/backends/aws/test_bands.py::test_the_higher_comes_first_to_a_consumer",
        "queues.priority_max",
    ),
    _ROWS.kept(
        "x-single-active-consumer and exclusive consumers",
        f"{_CONSUMING}test_exclusive_consumers",
        Emulated(
            "a lease for each such queue",
            "within 15 s after a node has died; an exclusive consumer is answered once all nodes"
            " have seen it, and who finds one at another node is refused after half a second",
        ),
        key="queues.single_active_consumer",
    ),
    _ROWS.kept(
        "consumer priorities",
        f"{_CONSUMING}test_consumer_priorities",
        Emulated("among the consumers of one node", "nodes take equal parts"),
    ),
    _ROWS.kept(
        "x-delivery-limit and x-delivery-count",
        f"{_SETTLING}test_delivery_limits",
        Emulated("counted in the state table", "a node hears of another one's within a second"),
    ),
    _ROWS.emulated(
        "x-queue-type quorum",
        "a durable queue that counts deliveries",
        "no replicas when embedded",
        f"{_SETTLING}test_delivery_limits",
    ),
    _ROWS.lost(
        "streams",
        "queues delete what was consumed",
        f"{_TOPOLOGY}test_streams_are_refused_clearly",
    ),
    _ROWS.kept("mandatory, with basic.return", f"{_PUBLISHING}test_unroutable_messages"),
    _ROWS.kept(
        "publisher confirms, after the store has the message",
        f"{_PUBLISHING}test_a_chunk_is_one_unit_of_work_and_one_confirm",
    ),
    _ROWS.kept(
        "expiration and priority of messages",
        f"{_PUBLISHING}test_expiration_and_priority_reach_the_store",
    ),
    _ROWS.kept("user-id is checked", f"{_PUBLISHING}test_user_ids_are_the_client_s_own"),
    _ROWS.kept("CC and BCC", f"{_PUBLISHING}test_copies_by_cc_and_bcc"),
    _ROWS.kept("direct reply-to", f"{_CONSUMING}test_direct_replies"),
    _ROWS.kept(
        "headers of every type, as they came",
        f"{_MESSAGES}test_octets_go_out_as_they_came",
    ),
    _ROWS.emulated(
        "properties of other protocols longer than 255 bytes",
        "cut to what a short string holds",
        "other clients see them whole",
        f"{_MESSAGES}test_what_other_protocols_allow_is_made_to_fit",
    ),
    _ROWS.kept(
        "bodies over 1 MiB",
        "tests/interop/test_amqp_outcomes.py::test_outcomes_are_those_of_rabbitmq",
        IN_S3,
    ),
    _ROWS.kept(
        "transactions over publishes and acknowledgements",
        f"{_SETTLING}test_transactions",
        ONE_AFTER_THE_OTHER,
    ),
    _ROWS.kept(
        "prefetch per consumer and per channel",
        f"{_CONSUMING}test_the_window_of_a_channel_grows_and_shrinks",
    ),
    _ROWS.emulated(
        "prefetch 0, without limit",
        "prefetch_max of the limits",
        "10,000 unacknowledged messages",
        f"{_CONSUMING}test_no_prefetch_is_the_longest_one",
    ),
    _ROWS.kept(
        "order, and requeued messages in their place",
        f"{_CONSUMING}test_a_lost_connection_gives_everything_back_in_place",
        BEST_EFFORT_ORDER,
    ),
    _ROWS.kept(
        "acknowledged messages do not come back",
        f"{_CHANNEL}test_acks_settle_what_they_name",
        AT_LEAST_ONCE,
    ),
    _ROWS.kept("cancel by the server", f"{_CONSUMING}test_cancelling"),
    _ROWS.kept(
        "connection.blocked and unblocked",
        f"{_WATCH}test_publishers_hear_of_a_store_that_takes_nothing",
    ),
    _ROWS.kept(
        "messages that stay unacknowledged for any time",
        f"{_WATCH}test_a_message_held_for_longer_than_the_store_can_costs_its_channel",
        Emulated("the channel is closed with PRECONDITION_FAILED", "after 11 hours"),
    ),
    _ROWS.kept(
        "consumer timeout, as an option",
        f"{_WATCH}test_a_delivery_that_is_not_acknowledged_in_time_costs_its_channel",
        key="limits.consumer_timeout_seconds",
    ),
    _ROWS.kept("basic.recover with requeue", f"{_SETTLING}test_recover"),
    _ROWS.lost("basic.recover without requeue", "RabbitMQ does not offer it either", _OUTCOMES),
    _ROWS.lost("immediate", "RabbitMQ does not offer it either", _OUTCOMES),
    _ROWS.lost("no-local", "ignored, as RabbitMQ ignores it", _OUTCOMES),
    _ROWS.kept(
        "management API: declare, bind, publish, get, purge, delete, close connections",
        f"{_MANAGEMENT}test_answers_are_those_of_rabbitmq",
        Emulated("as embedded", "connections are those of the node that is asked"),
    ),
    _ROWS.emulated(
        "management API: messages of one get",
        "the answer ends there, and the next one goes on",
        "50,000 messages or 64 MiB",
        "tests/bridge/admin/management/test_messages.py::test_an_answer_has_bounds",
    ),
    _ROWS.kept(
        "management API: users, permissions, topic permissions, virtual hosts",
        f"{_PROVISIONING}test_answers_are_those_of_rabbitmq",
    ),
    _ROWS.lost(
        "management API: tracing, and other default queue types than classic",
        "refused with 400",
        "tests/bridge/admin/management/test_vhosts.py::test_what_is_not_offered_is_refused",
    ),
    _ROWS.kept(
        "management API: upload definitions without policies and parameters",
        f"{_DEFINITIONS}test_what_is_uploaded_is_there_and_may_come_again",
    ),
    _ROWS.lost(
        "management API: change policies, limits, and what the configuration file has",
        "refused with 405, which says where they are set; what is there already may be put",
        "tests/scenarios/test_management_access.py::test_what_the_configuration_owns_is_refused",
    ),
)

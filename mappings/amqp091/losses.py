"""AMQP's rows of the loss table."""

from __future__ import annotations

from typing import Final

from mappings.losses import KEPT, Emulated, Fate, Loss, Lost

_GATEWAY: Final = "tests/mappings/amqp091/test_gateway.py::"
_TOPOLOGY: Final = "tests/mappings/amqp091/test_topology.py::"
_MESSAGES: Final = "tests/mappings/amqp091/test_messages.py::"
_WATCH: Final = "tests/mappings/amqp091/test_watch.py::"
_SERVER: Final = "tests/adapters/amqp091/test_server.py::"
_CHANNEL: Final = "tests/adapters/amqp091/test_channel.py::"
_OUTCOMES: Final = "tests/interop/test_amqp_outcomes.py::test_outcomes_are_those_of_rabbitmq"


def _kept(feature: str, test: str, aws: Fate = KEPT, key: str | None = None) -> Loss:
    return Loss("amqp", feature, KEPT, aws, test, key)


def _emulated(feature: str, how: str, bound: str, test: str | None = None) -> Loss:
    fate = Emulated(how, bound)
    return Loss("amqp", feature, fate, fate, test)


def _lost(feature: str, why: str, test: str | None = None) -> Loss:
    return Loss("amqp", feature, Lost(why), Lost(why), test)


_AT_LEAST_ONCE: Final = Emulated(
    "standard queues deliver at least once", "duplicates are marked redelivered"
)
_ONE_AFTER_THE_OTHER: Final = Emulated(
    "sends first, then deletes", "a crash between them delivers a settled message again"
)
_BEST_EFFORT_ORDER: Final = Emulated(
    "standard queues keep order at best effort", "fifo and strict queues keep it"
)

LOSSES: Final = (
    _kept("protocol header, other versions named", f"{_SERVER}test_handshake"),
    _kept("PLAIN, AMQPLAIN and EXTERNAL", f"{_GATEWAY}test_other_mechanisms"),
    _kept("virtual hosts as namespaces", f"{_GATEWAY}test_virtual_hosts_are_namespaces"),
    _kept(
        "configure, write and read permissions",
        f"{_TOPOLOGY}test_what_is_not_permitted_is_refused",
        key="users.permissions",
    ),
    _kept("channel-max and frame-max", f"{_SERVER}test_negotiation_is_held_to"),
    _kept("heartbeats", f"{_SERVER}test_two_missed_heartbeats_end_the_connection"),
    _kept("errors in RabbitMQ's words", f"{_GATEWAY}test_a_mistake_costs_its_channel_only"),
    _kept("direct, fanout and topic exchanges", f"{_TOPOLOGY}test_topics_and_bindings"),
    _kept("headers exchanges with every x-match", _OUTCOMES),
    _kept("exchange-to-exchange bindings, alternate exchanges", _OUTCOMES),
    _kept("x-delayed-message", f"{_TOPOLOGY}test_delayed_exchanges"),
    _kept("exclusive and server-named queues", f"{_TOPOLOGY}test_exclusive_queues"),
    _kept("auto-delete queues and exchanges", f"{_TOPOLOGY}test_auto_delete_queues"),
    _kept(
        "x-message-ttl, x-expires, x-max-length, x-overflow, dead letters",
        f"{_TOPOLOGY}test_settings_of_a_queue",
        Emulated("by Landbridge's own duties", "within seconds of the moment"),
    ),
    _kept(
        "x-death and x-first-death headers",
        f"{_GATEWAY}test_nack_with_and_without_requeue",
        _ONE_AFTER_THE_OTHER,
    ),
    _emulated(
        "reject without a dead-letter exchange",
        "goes to the namespace's default dead-letter queue",
        "RabbitMQ drops the message",
        f"{_GATEWAY}test_rejected_messages_without_a_target_are_not_lost",
    ),
    _emulated("x-max-priority", "sixteen bands", "priorities above 15 are one"),
    _kept(
        "x-single-active-consumer, consumer priorities, exclusive consumers",
        f"{_GATEWAY}test_exclusive_consumers",
    ),
    _kept("x-delivery-limit and x-delivery-count", f"{_GATEWAY}test_delivery_limits"),
    _emulated(
        "x-queue-type quorum", "a durable queue that counts deliveries", "no replicas when embedded"
    ),
    _lost(
        "streams",
        "queues delete what was consumed",
        f"{_TOPOLOGY}test_streams_are_refused_clearly",
    ),
    _kept("mandatory, with basic.return", f"{_GATEWAY}test_unroutable_messages"),
    _kept(
        "publisher confirms, after the store has the message",
        f"{_GATEWAY}test_a_chunk_is_one_unit_of_work_and_one_confirm",
    ),
    _kept(
        "expiration and priority of messages",
        f"{_GATEWAY}test_expiration_and_priority_reach_the_store",
    ),
    _kept("user-id is checked", f"{_GATEWAY}test_user_ids_are_the_client_s_own"),
    _kept("CC and BCC", f"{_GATEWAY}test_copies_by_cc_and_bcc"),
    _kept("direct reply-to", f"{_GATEWAY}test_direct_replies"),
    _kept(
        "headers of every type, as they came",
        f"{_MESSAGES}test_octets_go_out_as_they_came",
    ),
    _emulated(
        "properties of other protocols longer than 255 bytes",
        "cut to what a short string holds",
        "other clients see them whole",
        f"{_MESSAGES}test_what_other_protocols_allow_is_made_to_fit",
    ),
    _kept(
        "transactions over publishes and acknowledgements",
        f"{_GATEWAY}test_transactions",
        _ONE_AFTER_THE_OTHER,
    ),
    _kept(
        "prefetch per consumer and per channel",
        f"{_GATEWAY}test_a_prefetch_for_the_channel",
    ),
    _emulated(
        "prefetch 0, without limit",
        "prefetch_max of the limits",
        "10,000 unacknowledged messages",
    ),
    _kept(
        "order, and requeued messages in their place",
        f"{_GATEWAY}test_a_lost_connection_gives_everything_back_in_place",
        _BEST_EFFORT_ORDER,
    ),
    _kept(
        "acknowledged messages do not come back",
        f"{_CHANNEL}test_acks_settle_what_they_name",
        _AT_LEAST_ONCE,
    ),
    _kept("cancel by the server", f"{_GATEWAY}test_cancelling"),
    _kept(
        "connection.blocked and unblocked",
        f"{_WATCH}test_publishers_hear_of_a_store_that_takes_nothing",
    ),
    _kept(
        "consumer timeout, as an option",
        f"{_WATCH}test_a_delivery_that_is_not_acknowledged_in_time_costs_its_channel",
        key="limits.consumer_timeout_seconds",
    ),
    _kept("basic.recover with requeue", f"{_GATEWAY}test_recover"),
    _lost("basic.recover without requeue", "RabbitMQ does not offer it either"),
    _lost("immediate", "RabbitMQ does not offer it either"),
    _lost("no-local", "ignored, as RabbitMQ ignores it"),
)

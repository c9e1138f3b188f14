"""MQTT's rows of the loss table."""

from __future__ import annotations

from typing import Final

from mappings.losses import IN_S3, Emulated, Loss, Rows

_ROWS: Final = Rows("mqtt")
_GATEWAY: Final = "tests/mappings/mqtt/test_gateway.py::"
_PUBLISHING: Final = "tests/mappings/mqtt/test_publishing.py::"
_RETAINED: Final = "tests/mappings/mqtt/test_retained.py::"
_SESSIONS: Final = "tests/mappings/mqtt/test_sessions.py::"
_SHARED: Final = "tests/mappings/mqtt/test_shared.py::"
_WILLS: Final = "tests/mappings/mqtt/test_wills.py::"
_KILL: Final = "tests/interop/test_mqtt_kill.py::"
_MOSQUITTO: Final = "tests/interop/test_mqtt_mosquitto.py::"

_AT_LEAST_ONCE: Final = Emulated(
    "standard queues deliver at least once",
    "duplicates come as new publishes with the same user properties",
)
_IN_STEPS: Final = Emulated(
    "packet id first, then the message, then the answer",
    "a crash between the steps, or a lost answer of SQS, can deliver once more",
)
_BEST_EFFORT: Final = Emulated(
    "standard queues keep the order as well as SQS does",
    "strict with a FIFO queue by configuration",
)
_OF_THE_NODE: Final = Emulated("figures of the node that the client is at", "no sums over nodes")
_BY_ANOTHER_NODE: Final = Emulated(
    "by the node of the session, and by another one when that has died", "up to 15 s late then"
)

LOSSES: Final = (
    _ROWS.kept(
        "versions 3.1, 3.1.1 and 5.0 at one port",
        f"{_PUBLISHING}test_a_publish_reaches_its_subscriber",
    ),
    _ROWS.kept("user name and password", f"{_GATEWAY}test_users_are_checked"),
    _ROWS.lost(
        "enhanced authentication (AUTH)",
        "refused in CONNACK with 0x8C",
        f"{_GATEWAY}test_enhanced_authentication_is_refused",
    ),
    _ROWS.kept(
        "QoS 0 to connections",
        f"{_PUBLISHING}test_a_publish_reaches_its_subscriber",
        Emulated("between nodes through the inbox queue of each", "SQS's latency"),
    ),
    Loss(
        "mqtt",
        "QoS 0 to sessions that are away",
        Emulated(
            "not stored, as with Mosquitto's defaults",
            "publishes of other protocols that say they need not be kept are stored",
        ),
        Emulated("stored", "not stored where it is published at the node that the session was at"),
        f"{_SESSIONS}test_messages_wait_for_a_session",
    ),
    _ROWS.kept(
        "QoS 1: PUBACK when the store has it, in publish order",
        f"{_PUBLISHING}test_pubacks_come_in_the_order_of_the_publishes",
        _AT_LEAST_ONCE,
    ),
    _ROWS.kept(
        "QoS 2 exactly once towards the broker, over reconnects and restarts",
        f"{_KILL}test_the_broker_is_killed_while_it_receives",
        _IN_STEPS,
    ),
    _ROWS.kept(
        "QoS 2 exactly once towards subscribers, over reconnects and restarts",
        f"{_KILL}test_the_broker_is_killed_while_it_sends",
        _IN_STEPS,
    ),
    _ROWS.kept(
        "order of each topic and QoS",
        "tests/interop/test_mqtt_paho.py::test_many_messages_in_order",
        _BEST_EFFORT,
    ),
    _ROWS.kept(
        "Receive Maximum in both directions",
        f"{_PUBLISHING}test_receive_maximum_of_the_client_is_kept",
    ),
    _ROWS.kept(
        "Maximum Packet Size in both directions",
        f"{_PUBLISHING}test_maximum_packet_size_of_the_client_is_kept",
    ),
    _ROWS.kept(
        "payloads over 1 MiB",
        "tests/interop/test_mqtt_paho.py::test_two_megabytes",
        IN_S3,
    ),
    _ROWS.kept("topic aliases", "tests/adapters/mqtt/test_sending.py::test_topic_aliases"),
    _ROWS.kept(
        "overlapping subscriptions: once, highest QoS, all identifiers",
        f"{_PUBLISHING}test_overlapping_filters_deliver_once",
    ),
    _ROWS.kept("no-local", f"{_PUBLISHING}test_no_local"),
    _ROWS.kept(
        "retain-as-published", f"{_RETAINED}test_live_messages_lose_the_flag_unless_asked_for"
    ),
    _ROWS.kept("retain handling", f"{_RETAINED}test_retain_handling"),
    _ROWS.kept(
        "retained messages",
        f"{_RETAINED}test_a_new_subscriber_gets_what_is_retained",
        Emulated("each node follows what the others retain", "within a second"),
    ),
    _ROWS.emulated(
        "retained messages from other protocols",
        "MQTT publishes alone are retained",
        "the newest for each topic",
    ),
    _ROWS.kept(
        "persistent sessions: subscriptions, messages, packet ids",
        f"{_SESSIONS}test_messages_wait_for_a_session",
    ),
    _ROWS.kept(
        "session expiry",
        f"{_SESSIONS}test_a_session_expires_after_a_crash",
        _BY_ANOTHER_NODE,
    ),
    _ROWS.kept(
        "take-over of a session",
        f"{_SESSIONS}test_a_session_is_taken_over",
        Emulated(
            "between nodes by a lease for each session",
            "CONNACK waits for the other node, and 15 s where that has died",
        ),
    ),
    _ROWS.kept(
        "messages that stay unacknowledged for any time",
        f"{_SESSIONS}test_a_message_held_for_longer_than_the_store_can_ends_the_connection",
        Emulated("DISCONNECT with 0x98", "after 11 hours"),
    ),
    _ROWS.kept(
        "DUP and the same packet id when a session is resumed",
        f"{_SESSIONS}test_what_is_unacknowledged_comes_again_under_its_id",
        Emulated("packet ids of QoS 1 as long as the node lives", "others after that"),
    ),
    _ROWS.emulated(
        "packet ids of QoS 1 after a restart of the broker",
        "the messages come again under new ids",
        "QoS 2 keeps them",
    ),
    _ROWS.kept("shared subscriptions", f"{_SHARED}test_members_take_turns"),
    _ROWS.kept(
        "a leaving member's messages go to another",
        f"{_SHARED}test_what_a_member_leaves_goes_to_another",
    ),
    _ROWS.kept("wills with delay", f"{_WILLS}test_a_delayed_will_waits", _BY_ANOTHER_NODE),
    _ROWS.kept(
        "wills of sessions that outlive the broker",
        f"{_WILLS}test_the_will_of_a_stored_session_survives_a_crash",
        _BY_ANOTHER_NODE,
    ),
    _ROWS.emulated(
        "wills of clean sessions when the broker is killed",
        "published when the connection ends, by whatever but the end of the broker",
        "stored for sessions with an expiry only",
    ),
    _ROWS.kept("message expiry, counted down", f"{_RETAINED}test_retained_messages_expire"),
    _ROWS.kept(
        "user properties in order and repeated, response topic, correlation data, content type",
        f"{_PUBLISHING}test_properties_come_through_in_their_order",
    ),
    _ROWS.emulated(
        "user properties for other protocols",
        "headers of the same names",
        "the last of repeated ones",
        f"{_GATEWAY}test_a_queue_bound_to_the_topic_tree_gets_publishes",
    ),
    _ROWS.kept(
        "assigned client ids, server keep-alive, session expiry in CONNACK",
        f"{_GATEWAY}test_what_is_limited_is_said_in_connack",
    ),
    _ROWS.lost("request-response information", "CONNACK has none, as it may"),
    _ROWS.lost("server references", "clients are not sent to other servers"),
    _ROWS.kept(
        "what a user may not publish or subscribe to is refused with 0x87",
        f"{_GATEWAY}test_what_is_not_allowed_is_refused_in_mqtt_5",
    ),
    _ROWS.emulated(
        "refused publishes in 3.1 and 3.1.1",
        "acknowledged and dropped, as Mosquitto does, or disconnected by configuration",
        "those versions cannot refuse a publish",
        f"{_GATEWAY}test_what_is_not_allowed_in_3_1_1",
    ),
    _ROWS.emulated(
        "topic filters of many levels",
        "refused in SUBACK",
        "256 levels; topics to publish to have no bound",
        f"{_GATEWAY}test_filters_may_not_be_too_deep",
    ),
    _ROWS.kept("topics of every length and character", f"{_PUBLISHING}test_topics_of_every_kind"),
    _ROWS.kept(
        "Mosquitto as a bridge, in both directions",
        f"{_MOSQUITTO}test_a_bridge_in_both_directions",
    ),
    _ROWS.kept("$SYS figures", f"{_GATEWAY}test_figures_come_at_once_and_again", _OF_THE_NODE),
    _ROWS.emulated(
        "$SYS with QoS",
        "always QoS 0, and only while somebody is subscribed",
        "every 10 seconds what has changed",
        f"{_GATEWAY}test_figures_come_at_once_and_again",
    ),
    _ROWS.kept(
        "slow subscribers: QoS 1 and 2 wait in the store, QoS 0 is dropped and counted",
        f"{_GATEWAY}test_a_client_that_does_not_read",
    ),
    _ROWS.kept("WebSocket", "tests/interop/test_mqtt_paho.py::test_every_qos"),
    _ROWS.kept("TLS", f"{_MOSQUITTO}test_tls"),
)

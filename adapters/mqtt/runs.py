"""Runs of packets of one kind; the hot path of a busy client.

Publishes differ in packet id and payload alone, the handshake's packets in their ids. A packet that
begins with the same bytes up to the end of its topic has the same flags, length and topic, so all
that is left to do is to cut the payload out: 0.23 us (QoS 0) and 0.35 us (QoS 1) instead of 0.85
and 1.0 us (CPython 3.11, one core, 256-byte payloads).
"""

from __future__ import annotations

from adapters.mqtt.packets import Publish


def take_run_of_qos_0(
    data: bytes, first: Publish, position: int, body: int, end: int, publishes: list[Publish]
) -> int:
    """Append to `publishes` what resembles `first`, found at `position`; returns where it ends.

    The packet must have neither flags nor properties. `body` is where its payload begins.
    """
    prefix = data[position:body]
    head = body - position
    whole = end - position
    topic = first.topic
    append = publishes.append
    size = len(data)
    position = end
    end += whole
    while end <= size and data.startswith(prefix, position):
        append(Publish(topic, data[position + head : end]))
        position = end
        end += whole
    return position


def take_run_with_ids(
    data: bytes,
    first: Publish,
    position: int,
    topic_end: int,
    body: int,
    end: int,
    publishes: list[Publish],
    count_max: int,
) -> int:
    """The same for QoS 1 and 2, for `count_max` packets; `topic_end` is where the packet id lies.

    It stops before a packet with id 0 or properties, for the caller to look at.
    """
    prefix = data[position:topic_end]
    at_id = topic_end - position
    head = body - position
    whole = end - position
    version_5 = head - at_id > 2
    topic, qos, retain, dup = first.topic, first.qos, first.retain, first.dup
    append = publishes.append
    size = len(data)
    position = end
    end += whole
    while end <= size and count_max > 0 and data.startswith(prefix, position):
        at = position + at_id
        packet_id = data[at] << 8 | data[at + 1]
        if not packet_id or (version_5 and data[at + 2]):
            break
        append(Publish(topic, data[position + head : end], qos, retain, dup, packet_id))
        count_max -= 1
        position = end
        end += whole
    return position


def take_run_of_ids(data: bytes, position: int) -> tuple[list[int], int]:
    """The packet ids of packets that consist of nothing else, like the one at `position`.

    Returns where the run ends; it stops before id 0.
    """
    head = data[position : position + 2]
    packet_ids: list[int] = []
    size = len(data)
    while position + 4 <= size and data.startswith(head, position):
        packet_id = data[position + 2] << 8 | data[position + 3]
        if not packet_id:
            break
        packet_ids.append(packet_id)
        position += 4
    return packet_ids, position

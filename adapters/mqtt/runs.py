"""Runs of packets of one kind; the hot path of a busy client.

Publishes differ in packet id and payload alone, acknowledgements in their ids. A packet that begins
with the same bytes up to the end of its topic has the same flags, length and topic, so all that is
left to do is to cut the payload out, which `struct` does: 25 bytecodes for a publish of QoS 1 that
goes on with a run, and 4 for an acknowledgement, where other packets take about 200 (CPython 3.11).
"""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache
from struct import Struct
from typing import Final

from adapters.mqtt.packets import Publish

REMEMBERED_LAYOUTS_MAX: Final = 1_024
"""Sizes of publishes in runs that are remembered, by all connections together."""
_IDS_SIZE: Final = 256
"""Bytes of a run of packet ids that are looked at at a time."""
_LITTLE_ENDIAN: Final = sys.byteorder == "little"


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


class Run:
    """Publishes of QoS 1 or 2 that have no properties and differ in packet id and payload alone,
    like the one that is given. `prefix` is what they begin with, up to the end of the topic; `size`
    is that of a whole packet.
    """

    __slots__ = ("_dup", "_layout", "_no_properties", "_retain", "_topic", "prefix", "qos", "size")

    def __init__(self, prefix: bytes, publish: Publish, *, version_5: bool) -> None:
        self.prefix = prefix
        self.qos = publish.qos
        self._topic = publish.topic
        self._retain = publish.retain
        self._dup = publish.dup
        # MQTT 5, 3.3.2.3.1: a property length of zero stands behind the packet id.
        self._no_properties = b"\0" if version_5 else b""
        self._layout = _layout(len(prefix), len(self._no_properties), len(publish.payload))
        self.size = self._layout.size

    def take(self, data: bytes, position: int, publishes: list[Publish], count_max: int) -> int:
        """Append those at `position` to `publishes`, `count_max` at most; returns where they end.

        It stops before a packet with id 0 or properties, for the caller to look at.
        """
        size, prefix, no_properties = self.size, self.prefix, self._no_properties
        topic, qos, retain, dup = self._topic, self.qos, self._retain, self._dup
        count = min((len(data) - position) // size, count_max)
        if count < 1:
            return position
        append = publishes.append
        packets = memoryview(data)[position : position + count * size]
        for found, packet_id, properties, payload in self._layout.iter_unpack(packets):
            if found != prefix or properties != no_properties or not packet_id:
                break
            append(Publish(topic, payload, qos, retain, dup, packet_id))
            position += size
        return position

    def only(self, data: bytes) -> Publish | None:
        """The same for a chunk that begins with `prefix` and is as long as one packet."""
        _, packet_id, properties, payload = self._layout.unpack(data)
        if properties != self._no_properties or not packet_id:
            return None
        return Publish(self._topic, payload, self.qos, self._retain, self._dup, packet_id)


@lru_cache(REMEMBERED_LAYOUTS_MAX)
def _layout(prefix_size: int, properties_size: int, payload_size: int) -> Struct:
    """How the packets of a run are divided: beginning, packet id, property length, payload."""
    return Struct(f">{prefix_size}sH{properties_size}s{payload_size}s")


def take_run_of_ids(data: bytes, position: int) -> tuple[list[int], int]:
    """The packet ids of packets that consist of nothing else, like the one at `position`.

    Returns where the run ends; it stops before id 0.
    """
    head = data[position : position + 2]
    if not data.startswith(head, position + 4):
        packet_id = data[position + 2] << 8 | data[position + 3]
        return ([packet_id], position + 4) if packet_id else ([], position)
    packet_ids: list[int] = []
    head_word = int.from_bytes(head, "big")
    size = len(data)
    while True:
        # Some at a time: what follows the run may be long, and is not looked at again and again.
        words = array("H", data[position : position + min((size - position) & ~3, _IDS_SIZE)])
        if _LITTLE_ENDIAN:
            words.byteswap()
        heads, found = words[::2], words[1::2]
        count = len(found)
        if heads.count(head_word) < count or 0 in found:
            alike = map(head_word.__eq__, heads)
            count = next(
                at for at, each in enumerate(zip(alike, found, strict=True)) if not all(each)
            )
        packet_ids += found[:count]
        position += 4 * count
        if count < _IDS_SIZE // 4:
            return packet_ids, position

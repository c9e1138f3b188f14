"""A queue of the embedded store: its lanes, its receivers and who gets what. On the hot path.

Taking is one loop over entries in memory; the settings that make it slower (expiry, redrive,
first-in-first-out) are looked at once per batch. Whoever takes receives a list.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from bridge.backends.embedded.entry import GONE, LANE_BITS, NEW, Entry
from bridge.backends.embedded.handles import ticket_from_entry
from bridge.backends.embedded.lane import Lane
from bridge.backends.embedded.tenants import Tenants
from bridge.messaging.model import Overflow

if TYPE_CHECKING:
    from bridge.messaging.limits import Limits
    from bridge.messaging.model import Message, QueueName, QueueSettings

BANDS_MAX = 16
"""Priority bands of one queue; a queue's lanes are numbered queue id * BANDS_MAX + band."""
NOISY_BAND = BANDS_MAX - 1
"""Where noisy tenants wait; the last one to be asked, unless the queue has so many priorities."""
RECEIVES_MAX = 2**62
"""More than any message sees."""
DELIVERY_BATCH_MAX = 512
"""Deliveries handed to one receiver before the next one has its turn."""


def queue_id_of(entry_id: int) -> int:
    """The number of the queue that an entry belongs to."""
    return (entry_id >> LANE_BITS) // BANDS_MAX


class Receiver(Protocol):
    """Who waits for deliveries: a pushed consumer or a pull that waits."""

    credit: int
    priority: int
    pulls: bool

    @property
    def paused(self) -> bool: ...

    @property
    def gone(self) -> bool:
        """True once nobody is there to take what is handed."""
        ...

    def hand(self, entries: list[Entry]) -> None:
        """Take over entries that are already marked as held."""
        ...

    def end(self) -> None:
        """Nothing more will come. A pull that waits has waited long enough."""
        ...


class Keeper(Protocol):
    """What a queue asks of the engine while entries are taken."""

    def taken(self, unwritten: int) -> None:
        """So many of the entries taken have not been handed to the writer yet."""
        ...

    def expired(self, entry: Entry) -> None:
        """The entry's time to live is over; it has left its lane."""
        ...

    def redriven(self, entry: Entry) -> bool:
        """The entry was received too often and has left its lane; False if it has nowhere to go."""
        ...

    def refill(self, queue: EmbeddedQueue, lane: Lane) -> None:
        """Read more of the lane's tail."""
        ...


class EmbeddedQueue:
    """See `bridge.messaging.ports.Queue`."""

    def __init__(
        self, name: QueueName, settings: QueueSettings, queue_id: int, limits: Limits
    ) -> None:
        self.name = name
        self.id = queue_id
        self.settings = settings
        self.transient = False
        self.created_at = 0
        self.modified_at = 0
        self.deleted = False
        self.unsaved = False
        """Created, and not durable yet."""
        self.receivers: list[Receiver] = []
        self.visible = 0
        self.held: dict[int, Entry] = {}
        """By id, those that a receiver has."""
        self.spilled = False
        """The queue is transient, and part of it has been written all the same."""
        self.received: dict[str, Entry] = {}
        """By ticket, those that were received under a visibility timeout."""
        self.delayed: dict[int, Entry] = {}
        self.delayed_on_disk = 0
        self.next_expiry: int | None = None
        """Epoch ms at which the head is looked through for expired messages."""
        self.bytes = 0
        """Of the visible messages; kept only while the queue is limited in bytes."""
        self.used_at = 0
        """Epoch ms at which the queue was last declared, consumed or pulled from."""
        self.load_waiters: list[asyncio.Future[None]] = []
        """Pulls that found the head empty while the tail is being read."""
        self._limits = limits
        self._bands: dict[int, Lane] = {}
        self.usual_lane: Lane | None = None
        """For messages without a priority, once there was one."""
        self._order: list[Lane] = []
        self._turn = 0
        self.tenants: Tenants | None = None
        """Of a standard queue, once it was sent a message with a group."""
        self.particular = False
        """Sending and settling have to look at more than the order."""
        self.weighed = False
        self.apply(settings)

    def apply(self, settings: QueueSettings) -> None:
        """Take over other settings; messages that wait keep their place."""
        self.settings = settings
        self.usual_lane = None
        self.particular = (
            settings.fifo
            or settings.length_max is not None
            or settings.bytes_max is not None
            or settings.message_ttl_ms is not None
            or settings.delay_seconds > 0
            or self.tenants is not None
        )
        self.weighed = settings.bytes_max is not None
        self._put_in_order()

    @property
    def consumer_count(self) -> int:
        return sum(not receiver.pulls for receiver in self.receivers)

    # -- lanes

    def lane_of(self, priority: int | None) -> Lane:
        """The lane for a priority; made when it is first used."""
        settings = self.settings
        band = settings.priority_default if priority is None else priority
        band = min(band, settings.priority_max, BANDS_MAX - 1)
        lane = self._bands.get(band)
        if lane is None:
            lane = self._add_lane(band)
        if priority is None:
            self.usual_lane = lane
        return lane

    def _add_lane(self, band: int) -> Lane:
        lane = self._bands[band] = Lane(self.id * BANDS_MAX + band)
        self._put_in_order()
        return lane

    def _put_in_order(self) -> None:
        numbers = sorted(self._bands, reverse=True)
        if numbers and numbers[0] == NOISY_BAND and self.settings.priority_max < NOISY_BAND:
            numbers.append(numbers.pop(0))
        self._order = [self._bands[number] for number in numbers]

    def lane_of_tenant(self, message: Message, group_id: str) -> Lane:
        """The lane for a message with a group: one of its own while its tenant is noisy."""
        if self.settings.priority_max:
            return self.lane_of(message.priority)
        if self.tenants is None:
            self.tenants = Tenants(self._limits.fair_tenants_max)
            self.particular = True
        if not self.tenants.sent(group_id, self.visible + len(self.held)):
            return self.lane_of(message.priority)
        lane = self._bands.get(NOISY_BAND)
        return lane if lane is not None else self._add_lane(NOISY_BAND)

    def lane_of_entry(self, entry_id: int) -> Lane:
        """The lane that an id belongs to."""
        band = (entry_id >> LANE_BITS) % BANDS_MAX
        lane = self._bands.get(band)
        return lane if lane is not None else self._add_lane(band)

    @property
    def lanes(self) -> list[Lane]:
        """Highest band first."""
        return self._order

    def id_range(self) -> tuple[int, int]:
        """First and last id that entries of this queue can have."""
        first = self.id * BANDS_MAX
        return first << LANE_BITS, ((first + BANDS_MAX) << LANE_BITS) - 1

    def offer(self, lane: Lane, entry: Entry) -> bool:
        """Put a new entry that is visible behind all others of its lane, in memory; False if it
        belongs to the tail.
        """
        ready, limits = lane.ready, self._limits
        if (
            lane.tail_count
            or lane.loading
            or len(ready) >= limits.queue_head_messages_max
            or lane.head_bytes >= limits.queue_head_bytes_max
        ):
            return False
        ready.append(entry)
        lane.head_bytes += len(entry.message.body)
        return True

    def append(self, lane: Lane, entry: Entry) -> None:
        """Put an entry behind all others of its lane, in memory, whether there is room or not."""
        lane.append(entry)

    def put_back(self, entry: Entry) -> None:
        """Give a returned entry its place again."""
        self.lane_of_entry(entry.id).put_back(entry)

    def settled(self, entry: Entry) -> None:
        """A held entry has left the queue or was put back."""
        if self.tenants is not None and entry.message.group_id is not None:
            band = (entry.id >> LANE_BITS) % BANDS_MAX
            self.tenants.settled(entry.message.group_id, behind=band == NOISY_BAND)

    def note_received(self, entry: Entry) -> None:
        """Find the entry again by its receipt handles."""
        entry.ticket = entry.ticket or ticket_from_entry(entry)
        self.received[entry.ticket] = entry

    def recover_held(self, entry: Entry) -> None:
        """An entry was in flight when the store was closed, and still is."""

    # -- length

    def refuses(self, message: Message) -> bool:
        """True if the queue is full and refuses what is published to it."""
        settings = self.settings
        if settings.overflow is not Overflow.REJECT_PUBLISH:
            return False
        length_max, bytes_max = settings.length_max, settings.bytes_max
        return (length_max is not None and self.visible >= length_max) or (
            bytes_max is not None and self.bytes + len(message.body) > bytes_max
        )

    def over_length(self) -> bool:
        """True if the oldest message has to go."""
        length_max, bytes_max = self.settings.length_max, self.settings.bytes_max
        return (length_max is not None and self.visible > length_max) or (
            bytes_max is not None and self.bytes > bytes_max and self.visible > 0
        )

    def waiting(self) -> list[Entry]:
        """All entries in memory that wait."""
        return [entry for lane in self._order for entry in lane.in_memory()]

    def forget(self) -> None:
        """Forget every entry that waits, in memory and on disk."""
        self.visible = 0
        self.bytes = 0
        self.delayed.clear()
        self.delayed_on_disk = 0
        if self.tenants is not None:
            self.tenants.clear()
        for lane in self._order:
            lane.clear()

    def pop_oldest(self, keeper: Keeper) -> Entry | None:
        """Take the oldest entry of the lowest band out of its lane, if it is in memory."""
        for lane in reversed(self._order):
            while (entry := lane.pop()) is not None:
                if entry.status == GONE or entry.held:
                    continue
                if entry.blocked:
                    lane.put_back(entry)
                    return None
                return entry
            if lane.tail_count:
                keeper.refill(self, lane)
                return None
        return None

    def end_waits(self, error: Exception | None) -> None:
        """Wake the pulls that wait for the tail, with the error that kept it from being read."""
        waiters, self.load_waiters = self.load_waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    @property
    def loading(self) -> bool:
        """True while some of the tail is being read back."""
        return any(lane.loading for lane in self._order)

    # -- taking

    def take(self, count: int, now_ms: int, keeper: Keeper) -> list[Entry]:
        """Take up to `count` visible entries, in order, and mark them as held and received."""
        taken: list[Entry] = []
        if self.tenants is not None and self._order and self.tenants.turn_of_noisy():
            lane = self._order[-1]
            self._take_from(lane, 1, now_ms, keeper, taken)
            if lane.tail_count and lane.hungry(self._limits):
                keeper.refill(self, lane)
        for lane in self._order:
            self._take_from(lane, count - len(taken), now_ms, keeper, taken)
            if lane.tail_count and lane.hungry(self._limits):
                keeper.refill(self, lane)
            if len(taken) == count or (lane.tail_count and self.tenants is not None):
                # Of quiet tenants more is on its way from the disk: noisy ones do not pass it.
                break
        self.hold(taken, keeper)
        return taken

    def hold(self, taken: list[Entry], keeper: Keeper) -> None:
        """Count entries that have left their lane, marked as held there, as received."""
        unwritten = 0
        held = self.held
        for entry in taken:
            held[entry.id] = entry
            entry.receive_count += 1
            if entry.status == NEW:
                unwritten += 1
        self.visible -= len(taken)
        if self.weighed:
            self.bytes -= sum(len(entry.message.body) for entry in taken)
        if unwritten:
            keeper.taken(unwritten)

    def idle(self, now_ms: int) -> bool:
        """True if nobody has used the queue for as long as its settings allow."""
        if self.receivers:
            self.used_at = now_ms
        expiry = self.settings.idle_expiry_ms
        return expiry is not None and now_ms - self.used_at >= expiry

    def _take_from(
        self, lane: Lane, count: int, now_ms: int, keeper: Keeper, taken: list[Entry]
    ) -> None:
        if lane.blocked:
            # Turns come often until the commit: it is not taken out and put back in each.
            return
        kept_since, receive_count_max = self.bounds(now_ms)
        end = len(taken) + count
        while entries := lane.take(end - len(taken)):
            for index, entry in enumerate(entries):
                if entry.status == GONE or entry.held:
                    continue
                if entry.blocked:
                    for each in entries[index:]:
                        lane.put_back(each)
                    return
                if entry.message.sent_at <= kept_since or (
                    entry.expires_at is not None and entry.expires_at <= now_ms
                ):
                    keeper.expired(entry)
                elif entry.receive_count < receive_count_max or not keeper.redriven(entry):
                    # At once: it may stand in the lane a second time, not far behind.
                    entry.held = True
                    taken.append(entry)

    def bounds(self, now_ms: int) -> tuple[int, int]:
        """The retention period has ended for what was sent until the one (epoch ms); what was
        received as often as the other moves to the dead-letter queue.
        """
        retention, redrive = self.settings.retention_seconds, self.settings.redrive
        return (
            -1 if retention is None else now_ms - retention * 1000,
            RECEIVES_MAX if redrive is None else redrive.receive_count_max,
        )

    def dispatch(self, now_ms: int, keeper: Keeper) -> list[tuple[Receiver, list[Entry]]]:
        """Share what is visible among the receivers that want it, in equal parts by turns."""
        handed: list[tuple[Receiver, list[Entry]]] = []
        while self.visible > 0:
            eligible = self._eligible()
            if not eligible:
                break
            share = min(-(-self.visible // len(eligible)), DELIVERY_BATCH_MAX)
            progress = False
            for receiver in eligible:
                entries = self.take(min(share, receiver.credit), now_ms, keeper)
                if not entries:
                    break
                receiver.credit = 0 if receiver.pulls else receiver.credit - len(entries)
                handed.append((receiver, entries))
                progress = True
            self._turn += 1
            if not progress:
                break
        return handed

    def _eligible(self) -> list[Receiver]:
        receivers = self.receivers
        if self.settings.single_active_consumer:
            receivers = [each for each in receivers if not each.pulls][:1]
        eligible = [each for each in receivers if each.credit > 0 and not each.paused]
        if len(eligible) > 1:
            highest = max(each.priority for each in eligible)
            eligible = [each for each in eligible if each.priority == highest]
            start = self._turn % len(eligible)
            eligible = eligible[start:] + eligible[:start]
        return eligible

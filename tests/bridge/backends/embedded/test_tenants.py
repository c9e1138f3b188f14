"""Fair queues: messages of quiet tenants are handed out before those of noisy ones (SQS)."""

from __future__ import annotations

from itertools import count

import msgspec

from bridge.backends.embedded.tenants import NOISY_MESSAGES_MIN, NOISY_SHARE, Tenants
from bridge.messaging.limits import Limits
from bridge.messaging.ports import Queue, Store
from tests.bridge.backends.embedded.conftest import Reopen
from tests.support.stores import delete, drain, found, make_queue, message, send

SHORT = Limits(queue_head_messages_max=8, queue_refill_messages=4)
_numbers = count(1)


async def flood(store: Store, queue: Queue, tenant: str, count: int) -> list[str]:
    """Send so many messages of one tenant; returns their bodies."""
    bodies = [f"{tenant}-{next(_numbers)}" for _ in range(count)]
    await send(store, queue, *(message(body, group_id=tenant) for body in bodies))
    return bodies


async def test_quiet_tenants_come_first(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    noisy = await flood(store, queue, "noisy", 200)
    quiet = await flood(store, queue, "quiet", 3)
    other = message("of nobody")
    await send(store, queue, other)
    first = await store.receive(queue, count=NOISY_MESSAGES_MIN, wait_seconds=0)
    assert [each.message.body.decode() for each in first] == noisy[:NOISY_MESSAGES_MIN]
    then = await store.receive(queue, count=4, wait_seconds=0)
    assert [each.message.body.decode() for each in then] == [*quiet, "of nobody"]
    await delete(store, *first, *then)
    assert await drain(store, queue) == noisy[NOISY_MESSAGES_MIN:]


async def test_quiet_tenants_pass_a_backlog_on_disk(reopen: Reopen) -> None:
    store = (await reopen(limits=SHORT)).store
    queue = await make_queue(store)
    noisy = await flood(store, queue, "noisy", 300)
    quiet = await flood(store, queue, "quiet", 20)
    bodies = await drain(store, queue)
    assert sorted(bodies) == sorted(noisy + quiet)
    assert [body for body in bodies if body in set(quiet)] == quiet
    assert bodies.index(quiet[-1]) < 2 * NOISY_MESSAGES_MIN


async def test_noisy_tenants_do_not_wait_for_ever(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    await flood(store, queue, "noisy", NOISY_MESSAGES_MIN + 1)
    received = []
    for number in range(NOISY_MESSAGES_MIN + 2 * NOISY_SHARE):
        # There is always somebody who has sent one message only.
        await flood(store, queue, f"quiet-{number}", 1)
        taken = await store.receive(queue, count=1, wait_seconds=0)
        received += [each.message.group_id for each in taken]
        await delete(store, *taken)
    assert received.count("noisy") == NOISY_MESSAGES_MIN + 1


async def test_many_tenants_with_much_are_all_quiet(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    sent = []
    for _ in range(2 * NOISY_MESSAGES_MIN):
        for tenant in range(2 * NOISY_SHARE):
            sent += await flood(store, queue, f"t{tenant}", 1)
    assert await drain(store, queue) == sent


async def test_a_tenant_is_quiet_again_when_all_is_settled(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    await flood(store, queue, "one", 100)
    await drain(store, queue)
    one, two = await flood(store, queue, "one", 2), await flood(store, queue, "two", 2)
    assert await drain(store, queue) == one + two
    await flood(store, queue, "one", 100)
    await store.purge_queue(queue)
    one, two = await flood(store, queue, "one", 2), await flood(store, queue, "two", 2)
    assert await drain(store, queue) == one + two


async def test_noisy_tenants_stay_behind_after_a_restart(reopen: Reopen) -> None:
    store = (await reopen()).store
    noisy = await flood(store, await make_queue(store), "noisy", 100)
    store = (await reopen()).store
    queue = found(store)
    quiet = await flood(store, queue, "quiet", 2)
    bodies = await drain(store, queue)
    assert sorted(bodies) == sorted(noisy + quiet)
    assert bodies.index(quiet[1]) < 2 * NOISY_MESSAGES_MIN


async def test_priorities_go_before_fairness(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store, priority_max=20)
    noisy = await flood(store, queue, "noisy", 100)
    await send(store, queue, message("urgent", priority=15))
    assert await drain(store, queue) == ["urgent", *noisy]


async def test_other_settings_leave_it_fair(reopen: Reopen) -> None:
    store = (await reopen()).store
    queue = await make_queue(store)
    await flood(store, queue, "noisy", 50)
    await store.change_queue(queue, msgspec.structs.replace(queue.settings, tags={"a": ""}))
    quiet = await flood(store, queue, "quiet", 1)
    assert (await drain(store, queue)).index(quiet[0]) < NOISY_MESSAGES_MIN + NOISY_SHARE


def test_the_number_of_tenants_is_bounded() -> None:
    tenants = Tenants(3)
    for tenant in ("a", "b", "c", "d"):
        assert not tenants.sent(tenant, 1)
    assert len(tenants) == 3
    for tenant in ("b", "c", "d"):
        for _ in range(NOISY_MESSAGES_MIN):
            tenants.sent(tenant, NOISY_MESSAGES_MIN)
    # Noisy ones are remembered: a newcomer is not, and counts as quiet.
    assert not tenants.sent("e", NOISY_MESSAGES_MIN)
    assert tenants.sent("d", NOISY_MESSAGES_MIN)
    tenants.settled("e", behind=False)
    assert len(tenants) == 3

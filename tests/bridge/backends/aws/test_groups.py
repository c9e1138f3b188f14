"""Groups of messages that wait: none overtakes another one of its group."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.backends.aws.groups import Groups
from bridge.backends.aws.sending import Outgoing
from bridge.backends.aws.wire import SendEntry
from bridge.messaging.model import UnitOfWork
from tests.support.stores import message


def item(group: str, body: str, *, size: int = 1, ready: bool = True) -> Outgoing:
    entry = SendEntry(body, message_group_id=group)
    made = Outgoing(UnitOfWork(), 0, message(body), entry, size, 0.0)
    made.ready = ready
    return made


def bodies(batch: list[Outgoing]) -> list[str]:
    return [each.entry.message_body for each in batch]


def test_what_waits_behind_a_batch_does_not_count_as_free() -> None:
    groups = Groups()
    groups.add(item("a", "1", size=5))
    batch = groups.take(10, 100)
    for number in range(20):
        groups.add(item("a", str(number), size=5))
    assert (groups.free_count, groups.free_size) == (0, 0)
    assert groups.take(10, 100) == []
    groups.landed(batch)
    assert (groups.free_count, groups.free_size) == (20, 100)


def test_what_came_first_is_first() -> None:
    groups = Groups()
    for body in ("a1", "b1", "a2", "b2", "c1"):
        groups.add(item(body[0], body))
    batch = groups.take(3, 100)
    assert bodies(batch) == ["a1", "b1", "a2"]
    groups.add(item("a", "a3"))
    assert bodies(groups.take(3, 100)) == ["c1"]
    groups.landed(batch)
    assert bodies(groups.take(3, 100)) == ["b2", "a3"]


def test_a_batch_has_the_size_that_is_allowed_and_no_more() -> None:
    groups = Groups()
    for body in ("a1", "a2", "a3"):
        groups.add(item("a", body, size=50))
    groups.add(item("b", "b1", size=101))
    first = groups.take(10, 100)
    assert bodies(first) == ["a1", "a2"]
    assert bodies(groups.take(10, 100)) == ["b1"]
    groups.landed(first)
    assert bodies(groups.take(10, 100)) == ["a3"]


def test_what_does_not_fit_any_more_is_next() -> None:
    groups = Groups()
    groups.add(item("a", "a1", size=60))
    groups.add(item("b", "b1", size=60))
    assert bodies(groups.take(10, 100)) == ["a1"]
    assert (groups.free_count, groups.free_size) == (1, 60)
    assert bodies(groups.take(10, 100)) == ["b1"]


def test_what_is_given_up_holds_up_nothing() -> None:
    groups = Groups()
    first, second = item("a", "1", ready=False), item("a", "2", ready=False)
    for each in (first, second, item("a", "3")):
        groups.add(each)
    assert groups.take(10, 100) == []
    groups.remove(first)
    assert groups.take(10, 100) == []
    groups.remove(second)
    assert bodies(groups.take(10, 100)) == ["3"]


def test_all_can_be_taken_at_once() -> None:
    groups = Groups()
    for each in (item("a", "1", ready=False), item("a", "2"), item("b", "3")):
        groups.add(each)
    assert bodies(groups.take_all()) == ["1", "2", "3"]
    assert (groups.free_count, groups.take(10, 100)) == (0, [])


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.booleans()),
        st.tuples(st.sampled_from(["take", "land", "ready", "remove"]), st.integers(0, 9)),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_group_leaves_in_order_with_one_batch_at_a_time(steps: list[tuple[Any, ...]]) -> None:
    groups = Groups()
    order: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    left: dict[str, list[str]] = {"a": [], "b": [], "c": []}
    preparing: list[Outgoing] = []
    flying: list[list[Outgoing]] = []

    def take() -> bool:
        batch = groups.take(3, 100)
        for each in batch:
            group = each.entry.message_group_id or ""
            assert each.ready
            assert not any(group == e.entry.message_group_id for b in flying for e in b)
            left[group].append(each.entry.message_body)
        if batch:
            flying.append(batch)
        return bool(batch)

    for number, (step, *given_) in enumerate(steps):
        if step == "add":
            group, ready = given_
            made = item(group, str(number), ready=ready)
            order[group].append(str(number))
            groups.add(made)
            if not ready:
                preparing.append(made)
        elif step == "take":
            free = groups.free_count > 0
            assert take() == free
        elif step == "land" and flying:
            groups.landed(flying.pop(given_[0] % len(flying)))
        elif preparing and step in {"ready", "remove"}:
            made = preparing.pop(given_[0] % len(preparing))
            made.ready = True
            if step == "ready":
                groups.became_ready(made)
            else:
                order[made.entry.message_group_id or ""].remove(made.entry.message_body)
                groups.remove(made)
    for made in preparing:
        made.ready = True
        groups.became_ready(made)
    while flying or groups.free_count:
        take()
        groups.landed(flying.pop())
    assert left == order
    assert (groups.free_count, groups.free_size) == (0, 0)

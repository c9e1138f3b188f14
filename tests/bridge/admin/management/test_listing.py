"""Pages, columns, sorting and filters as RabbitMQ's API has them."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.admin.management.listing import PAGE_SIZE_MAX, BadRequest, Query, listed, shaped

ITEMS = [
    {"name": "Orders", "n": 2, "d": {"rate": 1.0}},
    {"name": "bills", "n": 10},
    {"name": "orders.eu", "n": 1, "d": {"rate": 3.0}},
]


def names(query: str) -> list[str]:
    found: Any = listed(ITEMS, Query(query))
    return [item["name"] for item in (found if isinstance(found, list) else found["items"])]


def test_without_parameters_all_of_it_is_listed() -> None:
    assert listed(ITEMS, Query("")) == ITEMS


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("sort=n", ["orders.eu", "Orders", "bills"]),
        ("sort=n&sort_reverse=true", ["bills", "Orders", "orders.eu"]),
        ("sort=d.rate", ["bills", "Orders", "orders.eu"]),
        ("page=1&name=ORD", ["Orders", "orders.eu"]),
        ("page=1&name=^ord&use_regex=true", ["Orders", "orders.eu"]),
        ("page=1&name=^ord&use_regex=false", []),
        ("page=2&page_size=2", ["orders.eu"]),
        ("name=nothing", ["Orders", "bills", "orders.eu"]),
    ],
)
def test_sorting_filters_and_pages(query: str, expected: list[str]) -> None:
    assert names(query) == expected


def test_a_page_says_where_it_is() -> None:
    page = listed(ITEMS, Query("page=1&page_size=1&name=ord&columns=name"))
    assert page == {
        "total_count": 3,
        "item_count": 1,
        "filtered_count": 2,
        "page": 1,
        "page_size": 1,
        "page_count": 2,
        "items": [{"name": "Orders"}],
    }


def test_an_empty_list_has_one_page() -> None:
    page = listed([], Query("page=1"))
    assert isinstance(page, dict)
    assert (page["page_count"], page["page_size"], page["items"]) == (1, 100, [])


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("page=0", "invalid_pagination_parameters"),
        ("page=x", "invalid_pagination_parameters"),
        ("page=1&page_size=0", "invalid_pagination_parameters"),
        (f"page=1&page_size={PAGE_SIZE_MAX + 1}", "invalid_pagination_parameters"),
        ("page=2", "page_out_of_range"),
        ("page=1&name=(&use_regex=true", "bad_request"),
        ("&".join(f"a{number}=" for number in range(101)), "bad_request"),
    ],
)
def test_parameters_that_mean_nothing_are_refused(query: str, error: str) -> None:
    with pytest.raises(BadRequest) as refused:
        listed(ITEMS, Query(query))
    assert refused.value.error == error


def test_columns_reach_into_objects() -> None:
    assert shaped(ITEMS[0], Query("columns=name,d.rate,absent")) == {
        "name": "Orders",
        "d": {"rate": 1.0},
    }
    assert shaped(ITEMS[1], Query("columns=n,d.rate,name.x")) == {"n": 10, "name": {"x": None}}

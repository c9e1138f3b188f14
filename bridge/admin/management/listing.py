"""Lists as RabbitMQ's API gives them: columns, sorting, filters by name, pages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any, Final
from urllib.parse import parse_qs

from bridge.admin.management.sources import Json
from bridge.messaging.expressions import Expression, PatternInvalid

PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 500


class BadRequest(Exception):
    """Answered 400."""

    def __init__(self, error: str, reason: str) -> None:
        super().__init__(reason)
        self.error = error
        self.reason = reason


class Query:
    """The parameters of a request."""

    def __init__(self, text: str) -> None:
        try:
            self._values = parse_qs(text, keep_blank_values=True, max_num_fields=100)
        except ValueError as error:
            raise BadRequest("bad_request", str(error)) from None

    def one(self, name: str) -> str | None:
        values = self._values.get(name)
        return None if values is None else values[-1]

    def flag(self, name: str) -> bool:
        return (self.one(name) or "").lower() == "true"

    @property
    def columns(self) -> list[list[str]]:
        """Paths of the columns asked for; none means all."""
        wanted = self._values.get("columns", [])
        return [name.split(".") for text in wanted for name in text.split(",") if name]

    @property
    def sorting(self) -> list[list[str]]:
        return [name.split(".") for name in self._values.get("sort", []) if name]


def shaped(item: Json, query: Query) -> Json:
    """One object with the columns asked for."""
    columns = query.columns
    return _with_columns(item, columns) if columns else item


def listed(items: Sequence[Json], query: Query) -> list[Json] | Json:
    """A list, or a page of it where one is asked for. Raises `BadRequest`."""
    page = _page_of(query)
    if page is None:
        return _shown(_sorted(items, query), query)
    number, size = page
    filtered = _filtered(items, query)
    pages = max(1, -(-len(filtered) // size))
    if number > pages:
        raise BadRequest(
            "page_out_of_range",
            f"Page out of range, page: {number}, page size: {size}, len: {len(filtered)}",
        )
    part = _sorted(filtered, query)[(number - 1) * size : number * size]
    return {
        "total_count": len(items),
        "item_count": len(part),
        "filtered_count": len(filtered),
        "page": number,
        "page_size": size,
        "page_count": pages,
        "items": _shown(part, query),
    }


def _page_of(query: Query) -> tuple[int, int] | None:
    page, size = query.one("page"), query.one("page_size")
    if page is None:
        return None
    number = _number(page)
    count = PAGE_SIZE_DEFAULT if size is None else _number(size)
    if number is None or count is None or number < 1 or not 1 <= count <= PAGE_SIZE_MAX:
        raise BadRequest(
            "invalid_pagination_parameters",
            f"Invalid pagination parameters: page number {page}, page size {size or 'undefined'}",
        )
    return number, count


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 10 else None


def _filtered(items: Sequence[Json], query: Query) -> Sequence[Json]:
    name = query.one("name")
    if not name:
        return items
    if not query.flag("use_regex"):
        wanted = name.lower()
        return [item for item in items if wanted in str(item.get("name", "")).lower()]
    try:
        expression = Expression(f"(?i){name}")
    except PatternInvalid as error:
        raise BadRequest("bad_request", f"name {error}") from None
    return [item for item in items if expression.matches(str(item.get("name", "")))]


def _sorted(items: Sequence[Json], query: Query) -> Sequence[Json]:
    """Sorted as asked for; as they come otherwise, which is by namespace and name."""
    columns = query.sorting
    if not columns:
        return items
    return sorted(
        items,
        key=lambda item: [_sort_key(_value(item, path)) for path in columns],
        reverse=query.flag("sort_reverse"),
    )


def _sort_key(value: Any) -> tuple[int, float, str]:
    """Numbers before text, and what is not there before both."""
    if value is None:
        return (0, 0, "")
    if isinstance(value, int | float):
        return (1, value, "")
    return (2, 0, str(value))


def _value(item: Any, path: Sequence[str]) -> Any:
    return reduce(
        lambda inside, name: inside.get(name) if isinstance(inside, dict) else None, path, item
    )


def _shown(items: Sequence[Json], query: Query) -> list[Json]:
    columns = query.columns
    return [_with_columns(item, columns) for item in items] if columns else list(items)


def _with_columns(item: Json, columns: Sequence[Sequence[str]]) -> Json:
    chosen: Json = {}
    for path in columns:
        value = _value(item, path)
        if value is None and path[0] not in item:
            continue
        inside = chosen
        for name in path[:-1]:
            inside = inside.setdefault(name, {})
            if not isinstance(inside, dict):
                break
        else:
            inside[path[-1]] = value
    return chosen

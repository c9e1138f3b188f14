"""The `routes` of the file as compiled rules, with the places of their mistakes."""

from __future__ import annotations

from bridge.config.mistakes import Mistake
from bridge.config.schema import Config, Route
from bridge.messaging.limits import Limits
from bridge.routing.rules import NO_RULES, Rule, Rules, RulesInvalid, compile_rules


def compile_routes(config: Config, limits: Limits) -> tuple[Rules, list[Mistake]]:
    """The rules, or what is wrong with them (without places)."""
    rules = [_rule(route, number) for number, route in enumerate(config.routes, start=1)]
    if not rules:
        return NO_RULES, []
    try:
        return compile_rules(rules, limits), []
    except RulesInvalid as invalid:
        found = [Mistake("", ("routes", *each.path), str(each)) for each in invalid.mistakes]
        return NO_RULES, found


def _rule(route: Route, number: int) -> Rule:
    return Rule(
        name=route.name or f"route {number}",
        source=route.source,
        targets=tuple(route.to),
        filter=route.filter,
        filter_scope=route.filter_scope,
        set_attributes=route.set.attributes,
    )

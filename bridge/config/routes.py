"""The `routes` of the file as compiled rules, or what is wrong with them."""

from __future__ import annotations

from bridge.config.mistakes import Finding
from bridge.config.schema import Config, Route
from bridge.messaging.limits import Limits
from bridge.routing.rules import NO_RULES, Rule, RuleInvalid, Rules, RulesInvalid, compile_rules


def compile_routes(config: Config, limits: Limits) -> tuple[Rules, list[Finding]]:
    """The rules, or what is wrong with them."""
    rules = [_rule(route, number) for number, route in enumerate(config.routes, start=1)]
    if not rules:
        return NO_RULES, []
    try:
        return compile_rules(rules, limits), []
    except RulesInvalid as invalid:
        return NO_RULES, [_finding(mistake) for mistake in invalid.mistakes]


def _finding(mistake: RuleInvalid) -> Finding:
    path = ("routes", *mistake.path)
    _, index, key, *_ = path
    values = (("routes", index, "filter_scope"),) if key == "filter" else ()
    # AWS's words for a filter policy say in a second line where that is in its JSON.
    return Finding(path, str(mistake).partition("\n")[0], values)


def _rule(route: Route, number: int) -> Rule:
    return Rule(
        name=route.name or f"route {number}",
        source=route.source,
        targets=tuple(route.to),
        filter=route.filter,
        filter_scope=route.filter_scope,
        set_attributes=route.set.attributes,
    )

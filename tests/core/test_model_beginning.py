"""Who may begin, in small: approvals, one place in the budget and the kill switch, with pauses between all moves.

With all rules no case begins wrongly; without any single one, some does.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.core.breadth import way_to_bad

END, VALID, SOON = 5, 3, 1
"""Ticks: how long the clock runs, an approval holds, and how old a judgement may be at the first change."""


class Case(NamedTuple):
    """`new`, `judged` in memory, `allowed` and `intended` in the ledger, `sent`."""

    at: str = "new"
    plan: int = 0
    judged: int = 0


class World(NamedTuple):
    """The first case asks for an approval, the other two act by themselves, and there is one place for them."""

    now: int = 0
    resource: int = 0
    """What the first one's resource is like; somebody may change it once."""
    yes: tuple[int, int, bool] | None = None
    """An approval: of which plan, until when, by somebody else than who asked."""
    used: int = 0
    stopped: bool = False
    cases: tuple[Case, ...] = (Case(), Case(), Case())
    bad: bool = False


RULES = (
    "an approval is of one plan",
    "an approval runs out",
    "who asked cannot approve",
    "the budget is counted again where the place is taken",
    "what was judged a while ago is judged again before the first change",
    "the resource is compared with the plan before the first change",
    "the gate looks at the kill switch before each call",
)


def moves_under(rules: frozenset[str]) -> Callable[[World], Iterator[tuple[str, World]]]:
    of_one_plan, runs_out, not_alone, counted_again, judged_again, compared, gate = (r in rules for r in RULES)

    def approved(w: World) -> bool:
        return w.yes is not None and (w.yes[0] == w.resource or not of_one_plan) and (w.yes[1] > w.now or not runs_out)

    def moves(w: World) -> Iterator[tuple[str, World]]:
        if w.now < END:
            yield "tick", w._replace(now=w.now + 1)
        if w.resource == 0:
            yield "somebody changes the resource", w._replace(resource=1)
        if not w.stopped:
            yield "the kill switch", w._replace(stopped=True)
        if w.yes is None:
            yield "a yes", w._replace(yes=(w.resource, w.now + VALID, True))
            if not not_alone:
                yield "a yes by who asked", w._replace(yes=(w.resource, w.now + VALID, False))
        for number, case in enumerate(w.cases):
            for name, after, changes in steps(w, case, asks=number == 0):
                cases = (*w.cases[:number], after, *w.cases[number + 1 :])
                cases = (cases[0], *sorted(cases[1:]))  # two that differ in nothing but their place
                yield f"{number} {name}", w._replace(cases=cases, **changes)

    def steps(w: World, case: Case, asks: bool) -> Iterator[tuple[str, Case, dict[str, Any]]]:
        may = approved(w) if asks else w.used < 1
        if case.at == "new" and may and not w.stopped:
            yield "is judged", Case("judged", w.resource if asks else 0, w.now), {}
        if case.at == "judged":
            if asks or w.used < 1 or not counted_again:
                yield "is allowed", case._replace(at="allowed"), {"used": w.used + (not asks)}
            else:
                yield "finds the place gone", Case(), {}
        if case.at == "allowed":
            if judged_again and w.now - case.judged > SOON:
                again = (not asks or (approved(w) and case.plan == w.resource)) and not w.stopped
                yield "is judged again", case._replace(judged=w.now) if again else Case("halted"), {}
            elif compared and asks and case.plan != w.resource:
                yield "finds another resource", Case("halted"), {}
            else:
                yield "is intended", case._replace(at="intended"), {"bad": asks and not rightly(w, case)}
        if case.at == "intended" and (not w.stopped or not gate):
            yield "sends", case._replace(at="sent"), {"bad": w.bad or w.stopped}

    def rightly(w: World, case: Case) -> bool:
        """Somebody else approved exactly this, of what is there, and not too long ago."""
        given = w.yes is not None and w.yes[0] == case.plan and w.yes[2] and w.now <= w.yes[1] + SOON
        return given and case.plan == w.resource

    return moves


def wrongly_begun(w: World) -> bool:
    return w.bad or w.used > 1


def test_no_interleaving_begins_wrongly() -> None:
    assert way_to_bad(World(), moves_under(frozenset(RULES)), wrongly_begun) is None


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_needed(rule: str) -> None:
    assert way_to_bad(World(), moves_under(frozenset(RULES) - {rule}), wrongly_begun)

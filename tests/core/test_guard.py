"""The guards: zero is zero, empty is nothing, an error is a no."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine import guard
from quarantine.action import Group, Refusal
from quarantine.case import Consent
from quarantine.config import Breaker, Budget, Guards, Mode, Storm, Waves
from quarantine.errors import GuardFailed
from quarantine.guard import GUARDS, PROTECTED_TAG, Facts, Hold, Judgement, Member, Refuse, Run, Tallies, judge
from quarantine.model import Sighting, Standing
from quarantine.plan import Nature, Plan
from quarantine.playbook import Approval
from tests.core.builders import NOW, finding, plan, playbook, resource, step

PLAN = plan()
NODE = resource("node-1")


def members(*groups: Group) -> tuple[Member, ...]:
    """Of the resource, and of something else that the plan would change."""
    return tuple(Member(item, group) for item, group in zip((PLAN.resource, NODE), groups, strict=False))


WEB, POOL = Group(key="shop/web", size=3, healthy=3), Group(key="pool", size=3, healthy=2)
ONE_WAY = plan(step(nature=Nature.ONE_WAY))


def facts(**parts: Any) -> Facts:
    """Everything is fine, and the mode is auto."""
    usual: dict[str, Any] = {
        "now": NOW,
        "playbook": playbook(),
        "mode": Mode.AUTO,
        "finding": finding(),
        "requested_by": None,
        "requested_digest": "",
        "consent": None,
        "second_person": True,
        "identity": {"local": "local"},
        "pinned": frozenset({"local"}),
        "tags": {},
        "protected": (),
        "fresh_within": timedelta(minutes=60),
        "killed": None,
        "limits": Guards(),
        "tallies": Tallies(),
    }
    return Facts(**{**usual, **parts})


def consent(of: Plan = PLAN, by: str = "local:ann", **parts: Any) -> Consent:
    return Consent(**{"by": by, "digest": of.digest, "expires_at": NOW + timedelta(minutes=30), **parts})


def stopped(judgement: Judgement, by: str) -> Hold | Refuse:
    assert judgement.guard == by, (judgement.guard, judgement.stopped)
    assert isinstance(judgement.stopped, (Hold, Refuse))
    return judgement.stopped


def test_when_everything_is_fine_every_guard_says_so_in_a_sentence() -> None:
    judgement = judge(PLAN, facts())
    assert judgement.stopped is None
    assert len(judgement.allowed) == len(GUARDS)


@pytest.mark.parametrize(("ago", "confirmed"), [(0, True), (29, True), (31, False), (-29, True), (-31, False)])
def test_a_word_of_the_source_counts_for_a_moment_whoever_has_the_wrong_time(ago: int, confirmed: bool) -> None:
    """Another worker has written it down, perhaps with a clock that is ahead."""
    said_at = NOW - timedelta(seconds=ago)
    told = facts(sighting=Sighting(reader="aws:guardduty", standing=Standing.ACTIVE, at=said_at))
    assert told.confirmed is confirmed
    assert told.as_of == (said_at if confirmed and ago > 0 else NOW), "nothing counts as read later than now"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"pinned": frozenset()}, "account_pin"),
    ({"identity": {}}, "account_pin"),
    ({"identity": {"local": "another"}}, "account_pin"),
    ({"protected": ("fake:machine/web-* in *",)}, "protected_set"),
    ({"protected": ("*",)}, "protected_set"),
    ({"finding": finding(sample=True)}, "sample"),
    ({"finding": finding(active=False)}, "sample"),
    ({"users": ("c-1",)}, "in_use"),
]
STANDS: list[tuple[dict[str, Any], str]] = [
    ({"killed": "all, by ann"}, "kill_switch"),
    ({"mode": Mode.OBSERVE}, "mode"),
    ({"playbook": playbook(anchor_before_act=True)}, "anchor"),
    ({"playbook": playbook(anchor_before_act=True), "witnessed": False}, "anchor"),
]
WAITS: list[tuple[dict[str, Any], str]] = [
    ({"mode": Mode.ASK}, "mode"),
    ({"playbook": playbook(approval=Approval.REQUIRED)}, "approval"),
    ({"tags": {PROTECTED_TAG: ""}}, "protected_set"),
    ({"finding": finding(seen_at=NOW - timedelta(minutes=61))}, "freshness"),
    ({"finding": finding(seen_at=NOW + timedelta(minutes=6))}, "freshness"),
    ({"limits": Guards(budget=Budget(per_account_10m=0))}, "budget"),
    ({"limits": Guards(budget=Budget(per_account_24h=0))}, "budget"),
    ({"limits": Guards(budget=Budget(global_24h=0))}, "budget"),
    ({"tallies": Tallies(spent=3, spent_lately=3)}, "budget"),
    ({"tallies": Tallies(spent=10)}, "budget"),
    ({"tallies": Tallies(spent_everywhere=20)}, "budget"),
    ({"tallies": Tallies(storm=21)}, "storm"),
    ({"tallies": Tallies(storm=1), "limits": Guards(storm=Storm(cases=0))}, "storm"),
    ({"tallies": Tallies(runs=(Run(failed=True),) * 2)}, "breaker"),
    ({"tallies": Tallies(runs=(Run(), Run(false_positive=True)))}, "breaker"),
    ({"limits": Guards(breaker=Breaker(failures=0))}, "breaker"),
    ({"tallies": Tallies(contained=2)}, "repeats"),
    ({"limits": Guards(same_resource_24h=0)}, "repeats"),
    ({"groups": members(Group(key="shop/web", size=3, healthy=1))}, "group"),
    (
        {
            "groups": members(Group(key="shop/web", size=39, healthy=30)),
            "tallies": Tallies(spent_in_group={"shop/web": 1}),
        },
        "group",
    ),
    ({"groups": members(WEB, Group(key="pool", size=3, healthy=1))}, "group"),
    ({"groups": members(WEB, POOL), "tallies": Tallies(spent_in_group={"pool": 1})}, "group"),
    ({"scheduled": True, "tallies": Tallies(wave=(NOW - timedelta(minutes=4),))}, "wave"),
    ({"scheduled": True, "tallies": Tallies(wave=(NOW - timedelta(minutes=4),) * 3)}, "wave"),
    ({"scheduled": True, "tallies": Tallies(wave=(NOW - timedelta(minutes=4),) * 13)}, "wave"),
]


@pytest.mark.parametrize(("parts", "by"), REFUSED)
def test_what_must_never_act_is_refused_and_no_approval_helps(parts: dict[str, Any], by: str) -> None:
    assert isinstance(stopped(judge(PLAN, facts(**parts)), by), Refuse)
    assert isinstance(stopped(judge(PLAN, facts(**parts, consent=consent())), by), Refuse)


@pytest.mark.parametrize(("parts", "by"), STANDS)
def test_what_no_approval_passes(parts: dict[str, Any], by: str) -> None:
    hold = stopped(judge(PLAN, facts(**parts)), by)
    assert isinstance(hold, Hold)
    assert not hold.passable
    stopped(judge(PLAN, facts(**parts, consent=consent())), by)


@pytest.mark.parametrize(("parts", "by"), WAITS)
def test_what_waits_for_a_person_goes_on_when_one_has_said_yes(parts: dict[str, Any], by: str) -> None:
    hold = stopped(judge(PLAN, facts(**parts)), by)
    assert isinstance(hold, Hold)
    assert hold.passable
    assert judge(PLAN, facts(**parts, consent=consent())).stopped is None


@pytest.mark.parametrize(
    "given_consent",
    [
        consent(digest="0" * 64),
        consent(expires_at=NOW),
        consent(expires_at=NOW - timedelta(seconds=1)),
    ],
    ids=["for another plan", "just over", "over"],
)
def test_an_approval_that_does_not_count_asks_again(given_consent: Consent) -> None:
    hold = stopped(judge(PLAN, facts(mode=Mode.ASK, consent=given_consent)), "consent")
    assert isinstance(hold, Hold)
    assert hold.asks


def test_who_asked_cannot_approve() -> None:
    alone = facts(requested_by="local:ann", consent=consent(ONE_WAY), playbook=playbook(approval=Approval.REQUIRED))
    stopped(judge(ONE_WAY, alone), "consent")
    assert judge(ONE_WAY, replace(alone, consent=consent(ONE_WAY, by="local:bob"))).stopped is None
    assert judge(ONE_WAY, replace(alone, second_person=False)).stopped is None


def test_what_cannot_be_undone_asks_in_every_mode() -> None:
    for mode in (Mode.ASK, Mode.AUTO):
        hold = judge(ONE_WAY, facts(mode=mode)).stopped
        assert isinstance(hold, Hold)
        assert hold.asks


def test_by_hand_a_reversible_plan_needs_no_second_yes_and_no_budget() -> None:
    by_hand = facts(mode=Mode.ASK, requested_by="local:ann", limits=Guards(budget=Budget(per_account_10m=0)))
    assert judge(PLAN, by_hand).stopped is None


def test_a_saved_plan_acts_as_saved_or_asks() -> None:
    by_hand = facts(mode=Mode.ASK, requested_by="local:ann", requested_digest=PLAN.digest)
    assert judge(PLAN, by_hand).stopped is None
    stopped(judge(PLAN, replace(by_hand, requested_digest="0" * 64)), "mode")


def test_what_an_action_refuses_is_told_with_what_would_work() -> None:
    refused = plan(step(refusal=Refusal(reason="it shares its node's network", alternatives=("delete it",))))
    hold = stopped(judge(refused, facts()), "refusals")
    assert "shares its node" in hold.sentence
    assert "delete it" in hold.sentence


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "cloud-quarantine"])
def test_control_planes_and_ourselves_are_protected_without_any_setting(namespace: str) -> None:
    pod = resource("dns", kind="kubernetes:pod", scope=f"local/{namespace}")
    stopped(judge(plan(step(resource=pod)), facts()), "protected_set")


def test_every_step_is_looked_at_not_only_the_first() -> None:
    other = plan(step(0), step(1, resource=resource("elsewhere", scope="foreign")))
    stopped(judge(other, facts()), "account_pin")
    stopped(judge(other, facts(identity={"local": "local", "foreign": "foreign"})), "account_pin")
    stopped(judge(other, facts(pinned=frozenset({"local", "foreign"}))), "account_pin")


@pytest.mark.parametrize("number", range(len(GUARDS)), ids=[item.__name__ for item in GUARDS])
def test_a_guard_that_raises_is_a_no(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(plan: Plan, facts: Facts) -> Any:
        raise ZeroDivisionError("a defect")

    broken.__name__ = GUARDS[number].__name__
    monkeypatch.setattr(guard, "GUARDS", (*GUARDS[:number], broken, *GUARDS[number + 1 :]))
    with pytest.raises(GuardFailed, match=broken.__name__):
        judge(PLAN, facts())


def test_a_refusal_counts_before_a_hold_and_a_firm_hold_before_one_that_can_be_passed() -> None:
    everything = {"mode": Mode.ASK, "killed": "all", "pinned": frozenset()}
    stopped(judge(PLAN, facts(**everything)), "account_pin")
    del everything["pinned"]
    stopped(judge(PLAN, facts(**everything)), "kill_switch")


@given(bad=st.lists(st.sampled_from([*REFUSED, *STANDS, *WAITS]), min_size=1, max_size=4))
def test_no_combination_of_bad_facts_is_allowed(bad: list[tuple[dict[str, Any], str]]) -> None:
    parts: dict[str, Any] = {}
    for item, _ in bad:
        parts |= item
    assert judge(PLAN, facts(**parts)).stopped is not None


@pytest.mark.parametrize(
    "parts",
    [
        {"tallies": Tallies(storm=20)},
        {"tallies": Tallies(runs=(Run(failed=True), *(Run(),) * 4))},
        {"tallies": Tallies(contained=1)},
        {"tallies": Tallies(spent=9, spent_everywhere=19)},
        {"groups": members(Group(key="shop/web", size=3, healthy=2))},
        {
            "groups": members(Group(key="shop/web", size=40, healthy=30)),
            "tallies": Tallies(spent_in_group={"shop/web": 1}),
        },
        {"groups": members(WEB, POOL), "tallies": Tallies(spent_in_group={"another": 5})},
        {"scheduled": True, "tallies": Tallies(wave=(NOW - timedelta(minutes=5),))},
        {"scheduled": True, "tallies": Tallies(wave=(NOW - timedelta(minutes=4),) * 2)},
        {"scheduled": False, "tallies": Tallies(wave=(NOW - timedelta(minutes=4),))},
    ],
    ids=str,
)
def test_what_is_just_within_a_limit_goes_on(parts: dict[str, Any]) -> None:
    assert judge(PLAN, facts(**parts)).stopped is None


def test_waves_end_where_their_sizes_say() -> None:
    """1, then 2, then 5, and 5 again: whoever comes after the 1st, 3rd, 8th and 13th waits."""
    minute = timedelta(minutes=1)
    waits = [
        done
        for done in range(20)
        if judge(PLAN, facts(scheduled=True, tallies=Tallies(wave=(NOW - minute,) * done))).stopped is not None
    ]
    assert waits == [1, 3, 8, 13, 18]


def test_a_wave_says_until_when_it_must_hold() -> None:
    hold = stopped(judge(PLAN, facts(scheduled=True, tallies=Tallies(wave=(NOW,)))), "wave")
    assert isinstance(hold, Hold)
    assert hold.until == NOW + Waves().bake


def test_what_destroys_evidence_asks_unless_some_was_taken() -> None:
    by_hand = facts(requested_by="local:ann", second_person=False, playbook=playbook(approval=Approval.REQUIRED))
    assert "no evidence" in stopped(judge(ONE_WAY, by_hand), "evidence").sentence
    capture = step(action="fake:machine-capture", nature=Nature.CAPTURE)
    careful = plan(capture, *(item.model_copy(update={"index": 1}) for item in ONE_WAY.steps))
    assert judge(careful, by_hand).stopped is None


@given(
    spent=st.integers(0, 30),
    earlier=st.integers(0, 30),
    limits=st.tuples(st.integers(0, 5), st.integers(0, 12), st.integers(0, 25)),
)
def test_the_budget_never_lets_one_more_through_than_is_set(
    spent: int, earlier: int, limits: tuple[int, int, int]
) -> None:
    budget = Budget(per_account_10m=limits[0], per_account_24h=limits[1], global_24h=limits[2])
    tallies = Tallies(spent=spent + earlier, spent_lately=spent, spent_everywhere=spent + earlier)
    made = facts(limits=Guards(budget=budget), tallies=tallies)
    allowed = judge(PLAN, made).stopped is None
    assert allowed == (spent < limits[0] and spent + earlier < limits[1] and spent + earlier < limits[2])

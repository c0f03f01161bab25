"""The laws of the difference, of the three-way merge and of `between`, on states with nested, keyed values."""

from typing import Annotated, Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, JsonValue

from quarantine.state import (
    GONE,
    Absence,
    Fact,
    Proof,
    Role,
    State,
    Token,
    between,
    difference,
    reached,
    shortfall,
    three_way,
)

Tree = dict[str, JsonValue]


class Sample(State):
    labels: Tree = Field(default_factory=dict)
    power: JsonValue = None
    proof: Annotated[str, Proof] = ""
    fact: Annotated[str, Fact] = ""
    token: Annotated[str, Token] = ""


KEYS = ("a", "b", "c")
scalars = st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "x", "y"]) | st.just(0.5)
values = st.recursive(
    scalars | st.lists(scalars, max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
    max_leaves=5,
)
trees = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)
words = st.sampled_from(["", "x", "y"])
states = st.builds(Sample, labels=trees, power=values, proof=words, fact=words, token=words)


def leaves(value: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every value that is not a filled mapping, by its path; a slow, separate way to say what a state holds."""
    if not isinstance(value, dict) or not value:
        return {path: value}
    return {at: leaf for key, item in value.items() for at, leaf in leaves(item, (*path, key)).items()}


def same(one: Any, other: Any) -> bool:
    """Equal as JSON: in Python True equals 1."""
    return repr(one) == repr(other) if not isinstance(one, dict) else leaves_repr(one) == leaves_repr(other)


def leaves_repr(value: Any) -> Any:
    return {path: repr(leaf) for path, leaf in leaves(value).items()} if isinstance(value, dict) else repr(value)


# -- difference, reached ---------------------------------------------------------------------------------------------


@given(states)
def test_a_state_does_not_differ_from_itself(state: Sample) -> None:
    assert difference(state, state) == ()


def test_what_keeps_a_state_from_its_target_is_said() -> None:
    now = Sample(labels={"a": "x"}, proof="kube-router on node-1 is not ready")
    assert shortfall(now, Sample(labels={"a": "y"}, power="off")) == "labels.a, power"
    assert shortfall(now, Sample(labels={"a": "x"})) == (
        "what must hold besides (proof: kube-router on node-1 is not ready)"
    )
    assert shortfall(GONE, now) == "resource"


@given(states, states)
def test_a_target_is_reached_exactly_when_nothing_managed_differs(now: Sample, target: Sample) -> None:
    assert reached(now, target, proven=False) == (difference(now, target) == ())
    assert (difference(now, target) == ()) == same(now.part(), target.part())


@given(states, words, words)
def test_with_proof_the_proofs_must_be_there_too(state: Sample, shown: str, wanted: str) -> None:
    now, target = state.model_copy(update={"proof": shown}), state.model_copy(update={"proof": wanted})
    assert reached(now, target) == (shown == wanted)
    assert reached(now, target, proven=False)


@given(states, words, words)
def test_facts_and_tokens_are_never_compared(state: Sample, fact: str, token: str) -> None:
    other = state.model_copy(update={"fact": fact, "token": token})
    assert reached(other, state)
    assert difference(other, state) == ()
    assert between(state, state, other)


@given(states, states)
def test_the_difference_says_all_and_nothing_more(before: Sample, after: Sample) -> None:
    """Written over `before`, the differences give `after`."""
    written: dict[str, Any] = before.model_copy(deep=True).part()
    for item in difference(before, after):
        spot: Any = written
        for key in item.path[:-1]:
            spot = spot[key]
        assert item.absent_before == (item.path[-1] not in spot)
        if not item.absent_before:
            assert same(spot[item.path[-1]], item.before)
        if item.absent_after:
            del spot[item.path[-1]]
        else:
            spot[item.path[-1]] = item.after
    assert same(written, after.part())


@given(states, states)
def test_the_difference_survives_json(before: Sample, after: Sample) -> None:
    for item in difference(before, after):
        assert type(item).model_validate_json(item.model_dump_json()) == item


def test_a_key_with_null_is_not_an_absent_key() -> None:
    (found,) = difference(Sample(labels={"a": None}), Sample(labels={}))
    assert (found.path, found.absent_before, found.absent_after) == (("labels", "a"), False, True)


def test_an_empty_mapping_is_not_an_absent_one() -> None:
    (found,) = difference(Sample(labels={}), Sample(labels={"a": {}}))
    assert (found.path, found.after, found.absent_before) == (("labels", "a"), {}, True)


def test_true_is_not_one_and_false_is_not_zero() -> None:
    """JSON tells them apart, and so does a provider."""
    assert not reached(Sample(power=True), Sample(power=1))
    assert difference(Sample(power=False), Sample(power=0)) != ()
    assert not between(Sample(power=1), Sample(power="x"), Sample(power=True))
    merged, kept = three_way(Sample(power="x"), Sample(power=1), Sample(power=True))
    assert merged.power is True
    assert kept


def test_gone_is_a_value_that_is_compared() -> None:
    there = Sample()
    assert reached(GONE, GONE)
    assert not reached(there, GONE)
    assert not reached(GONE, there)
    assert difference(GONE, GONE) == ()
    (found,) = difference(there, GONE)
    assert (found.path, found.before, found.after) == (("resource",), "present", "gone")
    (back,) = difference(GONE, there)
    assert (back.before, back.after) == ("gone", "present")
    assert Absence("gone") is GONE


def test_the_parts_are_the_whole() -> None:
    state = Sample(labels={"a": 1}, proof="p", fact="f", token="t")
    parts = [state.part(role) for role in Role]
    assert {key: value for part in parts for key, value in part.items()} == state.stored()
    assert [sorted(part) for part in parts] == [["labels", "power"], ["proof"], ["fact"], ["token"]]


# -- the three-way merge ---------------------------------------------------------------------------------------------


@given(states, states)
def test_what_nobody_else_touched_goes_back_exactly(before: Sample, target: Sample) -> None:
    """Absent keys become absent again, and nothing is reported."""
    merged, kept = three_way(before, target, target)
    assert same(merged.part(), before.part())
    assert kept == ()


@given(states, states)
def test_what_was_given_back_already_stays_given_back(before: Sample, target: Sample) -> None:
    merged, kept = three_way(before, target, before)
    assert same(merged.part(), before.part())
    assert kept == ()


@given(states, states, states)
def test_a_second_release_changes_nothing_more(before: Sample, target: Sample, now: Sample) -> None:
    merged, kept = three_way(before, target, now)
    again, kept_again = three_way(before, target, merged)
    assert same(again.part(), merged.part())
    assert kept_again == kept


@given(states, states, states)
def test_every_value_goes_back_or_is_somebody_elses(before: Sample, target: Sample, now: Sample) -> None:
    """Value by value: what shows the target goes back, all else stays as it is now; nothing is made up."""
    merged, _ = three_way(before, target, now)
    there = leaves(merged.part())
    known = [leaves(before.part()), leaves(now.part())]
    for path, value in there.items():
        if value != {}:
            assert any(path in item and same(item[path], value) for item in known), path


@given(states, states, states)
def test_what_stays_is_reported_exactly(before: Sample, target: Sample, now: Sample) -> None:
    merged, kept = three_way(before, target, now)
    assert kept == difference(before, merged)


@given(states, states, states)
def test_proofs_facts_and_tokens_are_those_of_now(before: Sample, target: Sample, now: Sample) -> None:
    merged, _ = three_way(before, target, now)
    assert (merged.proof, merged.fact, merged.token) == (now.proof, now.fact, now.token)


@given(states, states, st.sampled_from(("k1", "k2")), values)
def test_a_key_that_somebody_added_stays_and_is_reported(
    before: Sample, target: Sample, key: str, value: JsonValue
) -> None:
    now = target.model_copy(update={"labels": {**target.labels, key: value}})
    merged, kept = three_way(before, target, now)
    assert same(merged.labels, {**before.labels, key: value})
    assert [item.path for item in kept] == [("labels", key)]
    assert kept[0].absent_before


@given(states, states)
def test_a_key_that_somebody_removed_stays_removed(before: Sample, target: Sample) -> None:
    before = before.model_copy(update={"labels": {**before.labels, "k": "old"}})
    target = target.model_copy(update={"labels": {**target.labels, "k": "ours"}})
    now = target.model_copy(update={"labels": {key: item for key, item in target.labels.items() if key != "k"}})
    merged, kept = three_way(before, target, now)
    assert "k" not in merged.labels
    assert [(item.path, item.absent_after) for item in kept] == [(("labels", "k"), True)]


def test_one_key_stays_while_its_neighbours_go_back() -> None:
    before = Sample(labels={"a": 1, "b": 2, "gone": 3}, power="on")
    target = Sample(labels={"a": 0, "b": 0, "ours": 9}, power="off")
    now = Sample(labels={"a": 0, "b": 7, "ours": 9}, power="off")
    merged, kept = three_way(before, target, now)
    assert merged.labels == {"a": 1, "b": 7, "gone": 3}
    assert merged.power == "on"
    assert [(item.path, item.before, item.after) for item in kept] == [(("labels", "b"), 2, 7)]


def test_a_new_thing_that_somebody_changed_stays_whole() -> None:
    """Half a rule would be another rule, or none."""
    before, target = Sample(labels={}), Sample(labels={"rule": {"port": 22, "from": "us"}})
    merged, kept = three_way(before, target, Sample(labels={"rule": {"port": 443, "from": "us"}}))
    assert merged.labels == {"rule": {"port": 443, "from": "us"}}
    assert [item.path for item in kept] == [("labels", "rule")]


# -- between ---------------------------------------------------------------------------------------------------------


@given(states, states)
def test_both_ends_are_between(before: Sample, target: Sample) -> None:
    assert between(before, target, before)
    assert between(before, target, target)


@given(states, states, st.data())
def test_a_half_applied_state_is_between(before: Sample, target: Sample, data: st.DataObject) -> None:
    keys = {*before.labels, *target.labels}
    done = {key for key in sorted(keys) if data.draw(st.booleans(), label=key)}
    labels = {
        key: side.labels[key] for key in keys for side in [target if key in done else before] if key in side.labels
    }
    assert between(before, target, Sample(labels=labels, power=data.draw(st.sampled_from([before, target])).power))


@given(states, states, values)
def test_a_value_of_neither_is_not_between(before: Sample, target: Sample, value: JsonValue) -> None:
    now = target.model_copy(update={"power": value})
    strange = not any(same(value, side.power) for side in (before, target))
    if strange and not isinstance(value, dict):
        assert not between(before, target, now)


@given(states, states)
def test_a_key_of_neither_is_not_between(before: Sample, target: Sample) -> None:
    now = target.model_copy(update={"labels": {**target.labels, "k": 1}})
    assert not between(before, target, now)


@given(states, states, states)
def test_a_state_between_is_released_to_before(before: Sample, target: Sample, now: Sample) -> None:
    """However far we came: if only we were here, a release gives back exactly what was."""
    if between(before, target, now):
        merged, kept = three_way(before, target, now)
        assert same(merged.part(), before.part())
        assert kept == ()

"""The arithmetic of adapters: whatever they were, whatever somebody did, whether or not the machine runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.action import reached, three_way
from quarantine.errors import Unsupported
from quarantine_vmware.calls import Connection
from quarantine_vmware.nics import OFF, ON, Adapter, Network, edits, loosens, ways
from quarantine_vmware.vm_disconnect_nics import VmDisconnectNics

flags = st.builds(Connection, st.booleans(), st.booleans(), st.booleans())
cards = st.dictionaries(st.sampled_from(["4000", "4001", "4002", "40"]), flags, min_size=1)
DISCONNECT = VmDisconnectNics()


def seen(state: dict[str, Connection], power: str) -> Network:
    return Network(
        ways={name: True for key, card in state.items() for name in ways(key, card, power)},
        adapters={key: Adapter(label=f"Network adapter {key}") for key in state},
        power=power,
        machine="vm-1",
    )


def applied(state: dict[str, Connection], changes: dict[str, Connection]) -> dict[str, Connection]:
    """What a vCenter does with them."""
    result = dict(state)
    for key, change in changes.items():
        now = result[key].connected if change.connected is None else change.connected
        result[key] = Connection(now, change.at_start, change.by_guest)
    return result


@given(cards, st.sampled_from([ON, OFF]))
def test_whatever_it_was_it_is_cut_and_given_back(before: dict[str, Connection], power: str) -> None:
    if power == OFF:
        before = {key: Connection(False, card.at_start, card.by_guest) for key, card in before.items()}
    first = seen(before, power)
    target = DISCONNECT.contained(first)
    cut = applied(before, edits(first, target))
    assert reached(seen(cut, power), target)
    assert not any((card.connected, card.at_start, card.by_guest) != (False, False, False) for card in cut.values())
    assert edits(seen(cut, power), target) == {}, "nothing is left to do"
    assert not loosens(first, target)

    merged, kept = three_way(first, target, seen(cut, power))
    assert kept == ()
    assert applied(cut, edits(seen(cut, power), merged)) == before


@given(cards, cards)
def test_what_others_do_meanwhile_is_drift_and_is_kept_at_release(
    before: dict[str, Connection], meddled: dict[str, Connection]
) -> None:
    first, now = seen(before, ON), seen({**before, **meddled}, ON)
    target = DISCONNECT.contained(first)
    assert reached(now, target) == (not now.ways), "any way that is open is drift"
    merged, _ = three_way(first, target, now)
    assert merged.ways.keys() == first.ways.keys() | now.ways.keys()
    assert seen(applied({**before, **meddled}, edits(now, merged)), ON).ways == merged.ways


@given(cards)
def test_power_alone_is_never_drift(before: dict[str, Connection]) -> None:
    target = DISCONNECT.contained(seen(before, ON))
    cut = applied(before, edits(seen(before, ON), target))
    for power in (ON, OFF, "suspended"):
        assert reached(seen(cut, power), target)


@given(cards)
def test_a_suspended_machine_is_never_connected(before: dict[str, Connection]) -> None:
    first = seen(before, ON)
    cut = seen(applied(before, edits(first, DISCONNECT.contained(first))), "suspended")
    if first.ways:
        with pytest.raises(Unsupported, match="suspended"):
            edits(cut, first)
    else:
        assert edits(cut, first) == {}


@given(cards, st.sampled_from([ON, OFF]))
def test_half_of_the_way_is_ours(before: dict[str, Connection], power: str) -> None:
    """The one task may have happened or not; nothing else is taken for our work."""
    first = seen(before, power)
    cut = seen(applied(before, edits(first, DISCONNECT.contained(first))), power)
    assert DISCONNECT.ours(first, first) and DISCONNECT.ours(first, cut)
    other = first.model_copy(update={"ways": {**first.ways, "4009/connected": True}})
    assert not DISCONNECT.ours(first, other)

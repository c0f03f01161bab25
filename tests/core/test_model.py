"""The protocol in small: every interleaving of two workers, a person, the clock, and requests that are on their way.

Leases, fencing and the undo. A worker may be paused between any two moves, for as long as it likes. With all rules no
bad state can be reached; without any single one, some can: so each of them is needed, and these tests see it missing.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.core.breadth import way_to_bad

END, LEASE, LIFE, WAIT = 7, 2, 2, 3
"""Ticks: how long the clock runs, a lease holds, a signature lives, and an undo waits: longer than that."""


class Hand(NamedTuple):
    """One worker: `free`; `has` the case; is `ready` to call, by an intent; has `signed` the request, `checked`
    the lease after that, `sent` it and got its answer."""

    at: str = "free"
    epoch: int = 0
    doing: str = ""
    signed: int = 0


class World(NamedTuple):
    now: int = 0
    owner: int | None = None
    epoch: int = 0
    until: int = 0
    in_doubt: int | None = None
    """When it was last found that a request of somebody else may be on its way."""
    intent: str = "contain"
    asked_back: bool = False
    closed: bool = False
    isolated: bool = False
    told: bool = False
    """A late effect was recorded: a person looks."""
    hands: tuple[Hand, Hand] = (Hand(), Hand())
    flying: tuple[str, int] | None = None
    """A request whose sender has died: what it does, and when it was signed."""


FENCE = "events are appended under the newest epoch only"
CHECK = "the lease is checked after the request is signed"
DRAIN = "an undo waits for requests that may still arrive, longer than a signature lives"
DOUBT = "also a request of a worker that was seen to be dead may still arrive"
TELL = "an effect that a fenced worker saw is told to a person"
RULES = frozenset({FENCE, CHECK, DRAIN, DOUBT})


def moves_under(rules: frozenset[str], mortal: bool = True) -> Callable[[World], Iterator[tuple[str, World]]]:
    """What can happen next. With `mortal`, workers die."""

    def moves(w: World) -> Iterator[tuple[str, World]]:
        if w.now < END:
            yield "tick", w._replace(now=w.now + 1)
        if w.isolated and not w.asked_back and w.intent == "contain":
            yield "a person asks for it back", w._replace(asked_back=True)
        if w.flying is not None and w.now - w.flying[1] <= LIFE:
            yield "it arrives", w._replace(flying=None, isolated=w.flying[0] == "contain")
        for who in (0, 1):
            hand = w.hands[who]
            if mortal and hand.at in ("checked", "sent"):
                yield from deaths(w, who, hand)
            for name, after, changes in works(w, who, hand):
                yield f"{who} {name}", alike(put(w, who, after)._replace(**changes))

    def put(w: World, who: int, hand: Hand) -> World:
        return w._replace(hands=(hand, w.hands[1]) if who == 0 else (w.hands[0], hand))

    def deaths(w: World, who: int, hand: Hand) -> Iterator[tuple[str, World]]:
        flying = (hand.doing, hand.signed) if hand.at == "checked" else w.flying
        dead = put(w, who, Hand())._replace(flying=flying)
        yield f"{who} dies", dead
        if w.owner == who:
            in_doubt = w.now if DOUBT in rules else w.in_doubt
            yield f"{who} dies and is seen to be dead", dead._replace(owner=None, in_doubt=in_doubt)

    def works(w: World, who: int, hand: Hand) -> Iterator[tuple[str, Hand, dict[str, Any]]]:
        heard_of = (hand.epoch == w.epoch and not w.closed) or FENCE not in rules
        if hand.at == "free" and not w.closed and w.epoch < 3 and (w.owner is None or w.until < w.now):
            in_doubt = w.in_doubt if w.owner is None else w.now
            lease = {"owner": who, "epoch": w.epoch + 1, "until": w.now + LEASE, "in_doubt": in_doubt}
            yield "takes it", Hand("has", w.epoch + 1), lease
        if hand.at == "has" and heard_of and not w.closed:
            drained = w.in_doubt is None or w.now >= w.in_doubt + WAIT or DRAIN not in rules
            if w.asked_back and w.intent == "contain" and drained:
                yield "intends to undo", hand, {"intent": "undo"}
            if w.isolated == (w.intent == "undo"):
                yield "is ready", Hand("ready", hand.epoch, w.intent), {}
            elif w.intent == "undo":
                yield "closes", Hand(), {"closed": True, "owner": None}
        if hand.at == "ready":
            yield "signs", hand._replace(at="signed", signed=w.now), {}
        if hand.at == "signed":
            passes = (hand.epoch == w.epoch and w.now <= w.until) or CHECK not in rules
            yield "checks", hand._replace(at="checked") if passes else Hand(), {}
        if hand.at == "checked":
            in_time = w.now - hand.signed <= LIFE
            yield (
                "sends",
                hand._replace(at="sent") if in_time else Hand(),
                ({"isolated": hand.doing == "contain"} if in_time else {}),
            )
        if hand.at == "sent":
            yield (
                "records",
                Hand("has", hand.epoch) if heard_of else Hand(),
                ({} if heard_of else {"told": w.told or TELL in rules}),
            )

    return moves


def alike(w: World) -> World:
    """The workers have no names: of two states that differ in who is who, one is enough."""
    one, other = w.hands
    if one <= other:
        return w
    return w._replace(hands=(other, one), owner=None if w.owner is None else 1 - w.owner)


def isolated_silently(w: World) -> bool:
    """Its case is closed, it is isolated, and nobody knows or is about to tell."""
    return w.closed and w.isolated and not w.told and all(hand.at != "sent" for hand in w.hands)


def test_no_interleaving_isolates_silently() -> None:
    assert way_to_bad(World(), moves_under(RULES), isolated_silently) is None


@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_is_needed(rule: str) -> None:
    assert way_to_bad(World(), moves_under(RULES - {rule}), isolated_silently)


def test_a_connection_that_signs_after_the_check_needs_whoever_wakes_to_tell() -> None:
    """The gate stands before the SDK, which may sign later. A worker that is paused between the two and wakes tells;
    only one that is paused there for longer than a lease and a signature, and dies right after, is not heard."""
    rules = RULES - {CHECK} | {TELL}
    assert way_to_bad(World(), moves_under(rules, mortal=False), isolated_silently) is None
    assert way_to_bad(World(), moves_under(rules - {TELL}, mortal=False), isolated_silently)
    way = way_to_bad(World(), moves_under(rules), isolated_silently)
    assert way is not None and any("dies" in move for move in way)

"""Every planted defect is found by the tests that say so: all in `make soak`, three at random in `make test`."""

import random

import pytest

from tests.conftest import Tell
from tests.mutants.mutant import ROOT, Mutant, Stale, load

MUTANTS = load()
SAMPLE = 3


def test_every_mutant_still_fits_the_tree() -> None:
    """Its lines stand exactly once in its file, what it makes is Python and something else, its tests are there."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        text = (ROOT / mutant.file).read_text()
        changed = mutant.changed(text)
        compile(changed, mutant.file, "exec")
        assert changed != text, mutant.name
        assert mutant.caught_by, mutant.name
        for test in mutant.caught_by:
            file, _, name = test.partition("::")
            assert f"def {name.partition('[')[0]}(" in (ROOT / file).read_text(), f"{mutant.name}: {test} is not there"


def test_a_mutant_that_fits_nowhere_or_twice_is_said() -> None:
    mutant = MUTANTS[0].model_copy(update={"find": "if it:\n    stop\n", "put": "go\n"})
    assert mutant.changed("    if it:\n        stop\n\nelse\n") == "    go\n\nelse\n"
    for text in ("if that:\n    stop\n", "if it:\n    stop\n" * 2, "if it:\nstop\n", "x = 1 if it:\n    stop\n", ""):
        with pytest.raises(Stale, match=mutant.name):
            mutant.changed(text)


def test_a_defect_that_no_test_finds_is_said() -> None:
    """The runner itself: a change of words alone escapes, and so does one whose test is skipped or not there."""
    test = "tests/core/test_signature.py::test_our_own_signature_is_the_one_of_the_vector"
    harmless = Mutant(
        name="harmless",
        breaks="nothing",
        file="quarantine/signature.py",
        find='raise NotAuthentic("unknown source")\n',
        put='raise NotAuthentic("a source that nobody knows")\n',
        caught_by=(test,),
    )
    assert harmless.escaped() == [f"{test}: passed"]


def test_three_mutants_at_random_are_caught(seed: int, tell: Tell) -> None:
    for mutant in random.Random(seed).sample(MUTANTS, SAMPLE):
        _assert_caught(mutant, tell)


@pytest.mark.soak
@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_mutant_is_caught(mutant: Mutant, tell: Tell) -> None:
    _assert_caught(mutant, tell)


def _assert_caught(mutant: Mutant, tell: Tell) -> None:
    escaped = mutant.escaped()
    tell(f"mutant {mutant.name}: {'ESCAPED' if escaped else 'caught'} by {len(mutant.caught_by)} tests")
    assert not escaped, f"{mutant.name} escapes ({mutant.breaks}): {'; '.join(escaped)}"

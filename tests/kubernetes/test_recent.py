from itertools import count

from quarantine_kubernetes.recent import FORGOTTEN, MOST, Recent


def test_an_answer_counts_for_its_seconds_and_is_then_asked_for_anew() -> None:
    now = [0.0]
    recent, answers = Recent(lambda: now[0]), count()
    assert [recent.get(("key",), 2, lambda: next(answers)) for _ in range(2)] == [0, 0]
    now[0] = 2
    assert recent.get(("key",), 2, lambda: next(answers)) == 1
    assert recent.get(("key",), 0, lambda: next(answers)) == 2


def test_old_answers_do_not_pile_up() -> None:
    now = [0.0]
    recent = Recent(lambda: now[0])
    for number in range(MOST * 10):
        recent.get((str(number),), 1, lambda: number)  # noqa: B023  it is asked at once
        now[0] += FORGOTTEN / 8
    assert len(recent._kept) <= MOST
    assert recent.get((str(MOST * 10 - 1),), 60, lambda: -1) == MOST * 10 - 1, "what is young stays"

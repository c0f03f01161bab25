import threading

from quarantine.worker import Bell
from tests.testbed.poll import until


def resting(bell: Bell, count: int) -> list[threading.Thread]:
    """So many threads that rest for up to a minute."""
    rung = bell.rung
    threads = [threading.Thread(target=bell.rest, args=(rung, 60), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    until(lambda: len(bell._changed._waiters) == count)  # type: ignore[attr-defined]
    return threads


def at_work(threads: list[threading.Thread]) -> int:
    return sum(not thread.is_alive() for thread in threads)


def test_each_call_brings_one_who_rests() -> None:
    bell = Bell()
    threads = resting(bell, 3)
    bell.ring()
    until(lambda: at_work(threads) == 1)
    bell.ring()
    until(lambda: at_work(threads) == 2)
    assert at_work(threads) == 2
    bell.ring_for_all()
    until(lambda: at_work(threads) == 3)


def test_a_call_before_the_rest_is_not_missed() -> None:
    bell = Bell()
    rung = bell.rung
    bell.ring()
    thread = threading.Thread(target=bell.rest, args=(rung, 60), daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()

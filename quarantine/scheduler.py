"""The clock: wakes polls and scheduled runs. The only import of apscheduler.

Jobs are in memory only and made anew from the configuration; a row `(source, slot)` lets one of N replicas win.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from quarantine.config import Schedule
from quarantine.errors import QuarantineError
from quarantine.sources import Poller
from quarantine.store.sql import Store

log = logging.getLogger(__name__)


class Scheduler:
    """Runs every schedule of the configuration until it is stopped."""

    def __init__(self, schedules: dict[str, Schedule], poller: Poller, store: Store, wake: Callable[[], None]) -> None:
        from apscheduler.schedulers.background import BackgroundScheduler

        self._poller = poller
        self._store = store
        self._wake = wake
        self._stopping = threading.Event()
        # A late poll still counts (grace), several missed ones are one (coalesce), and none overlaps itself.
        defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600}
        self._jobs = BackgroundScheduler(timezone=UTC, job_defaults=defaults)
        for name, schedule in schedules.items():
            self._jobs.add_job(
                self._tick, trigger(schedule), args=(name, schedule), id=name, next_run_time=_first(schedule)
            )

    def start(self) -> None:
        self._jobs.start()

    def stop(self) -> None:
        self._stopping.set()
        self._jobs.shutdown(wait=True)

    def _tick(self, name: str, schedule: Schedule) -> None:
        slot = _slot(schedule, datetime.now(UTC))
        try:
            if self._store.take_slot(name, slot):
                self._poller.run(name, schedule, self._stopping.is_set)
        except QuarantineError as error:
            log.warning("poll_failed", extra={"schedule": name, "why": str(error)})
        except Exception:
            log.exception("poll_failed", extra={"schedule": name})
        self._wake()


def trigger(schedule: Schedule) -> Any:
    """When a schedule runs. Raises ValueError for a cron line that is none."""
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    if schedule.cron is not None:
        return CronTrigger.from_crontab(schedule.cron, timezone=UTC)
    assert schedule.every is not None  # noqa: S101 - the model guarantees one of the two
    return IntervalTrigger(seconds=int(schedule.every.total_seconds()), timezone=UTC)


def _first(schedule: Schedule) -> datetime | None:
    """An interval starts at once; a cron line at its first time."""
    return (
        datetime.now(UTC)
        if schedule.every is not None
        else trigger(schedule).get_next_fire_time(None, datetime.now(UTC))
    )


def _slot(schedule: Schedule, now: datetime) -> datetime:
    """The same for all replicas that tick for one time."""
    if schedule.every is None:
        return now.replace(second=0, microsecond=0)
    width = schedule.every.total_seconds()
    return datetime.fromtimestamp(now.timestamp() // width * width, UTC)

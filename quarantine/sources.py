"""Polls: ask a provider for findings, and hand them to the intake. What runs by the clock comes through here."""

import logging
from collections.abc import Callable
from datetime import datetime

from quarantine.action import Poll
from quarantine.config import Schedule
from quarantine.intake import Fate, Intake, Result
from quarantine.playbook import Shelf
from quarantine.registry import Registry
from quarantine.store.sql import Store

log = logging.getLogger(__name__)


class Poller:
    """Runs one scheduled poll at a time."""

    def __init__(
        self, store: Store, registry: Registry, shelf: Shelf, intake: Intake, clock: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._registry = registry
        self._shelf = shelf
        self._intake = intake
        self._clock = clock

    def run(self, name: str, schedule: Schedule, stopping: Callable[[], bool] = lambda: False) -> list[Result]:
        """Ask, and link every finding. The cursor moves only when all findings are durable. Raises ProviderError.

        A poll that gives its findings in parts is asked for the next one until there is none, or `stopping`.
        """
        poll = self._registry.polls[schedule.poll]
        results = self._ask(name, schedule, poll)
        while poll.unfinished(self._store.cursor(name)) and not stopping():
            results += self._ask(name, schedule, poll)
        return results

    def _ask(self, name: str, schedule: Schedule, poll: Poll) -> list[Result]:
        provider = self._registry.provider(schedule.poll.partition(":")[0])
        playbook = self._shelf.find(schedule.playbook) if schedule.playbook else None
        cloud = provider.connect(schedule.scope).belonging_to(self._store.installation())
        asked = self._clock()
        findings, cursor = poll.run(cloud, schedule.scope, asked, self._store.cursor(name))
        came = {"source": name, "reader": poll.name, "read_at": asked}
        own_word = (finding.model_copy(update=came) for finding in findings)
        results = [self._intake.link(finding, f"schedule:{name}", playbook) for finding in own_word]
        self._store.move_cursor(name, cursor, self._clock())
        opened = sum(result.fate is Fate.LINKED for result in results)
        log.info("polled", extra={"schedule": name, "findings": len(results), "opened": opened})
        return results

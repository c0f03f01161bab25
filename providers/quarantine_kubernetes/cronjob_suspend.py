"""Suspends a CronJob: it starts no more Jobs. What runs already goes on."""

from typing import ClassVar

from quarantine.action import Caveat
from quarantine_kubernetes import objects
from quarantine_kubernetes.suspension import Suspend, Suspension


class CronjobSuspend(Suspend):
    """kubernetes.io, CronJob, Schedule suspension: it "does not apply to already started executions"."""

    name: ClassVar[str] = "kubernetes:cronjob-suspend"
    resource: ClassVar[str] = objects.CRON_JOB

    def caveats(self, before: Suspension) -> tuple[Caveat, ...]:
        texts = {"by-hand": "A Job that somebody makes from it by hand still runs."}
        if before.active:
            texts["running-jobs"] = f"{', '.join(before.active)} go on: suspend them with suspend-job."
        if before.catches_up:
            texts["catches-up"] = (
                "It has no startingDeadlineSeconds: after the release a run that it missed starts at once."
            )
        if before.owner or before.keeper:
            texts["kept-elsewhere"] = (
                f"{before.keeper or before.owner} may put the setting back: suspend it at its root."
            )
        return tuple(Caveat(id=name, text=text) for name, text in texts.items())

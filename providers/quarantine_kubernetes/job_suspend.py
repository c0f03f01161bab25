"""Suspends a Job: its pods end, and no more are started. A release lets it start over."""

from typing import ClassVar

from quarantine.action import Caveat, Refusal
from quarantine_kubernetes import objects
from quarantine_kubernetes.suspension import Suspend, Suspension


class JobSuspend(Suspend):
    """The setting is given back exactly; the pods are not. The controller deletes them, SIGTERM first (kubernetes.io,
    Jobs, Suspending a Job), so a playbook takes evidence before and asks a person.
    """

    name: ClassVar[str] = "kubernetes:job-suspend"
    resource: ClassVar[str] = objects.JOB

    def refusal(self, before: Suspension) -> Refusal | None:
        if before.finished:
            reason = f"the Job has ended ({before.finished}): nothing of it runs"
            return Refusal(reason=reason, alternatives=("take evidence of its pods with kubernetes:pod-capture",))
        return None

    def caveats(self, before: Suspension) -> tuple[Caveat, ...]:
        texts = {
            "pods-end": f"Its {before.running} running pods are deleted, and their memory and files are lost.",
            "starts-over": "After the release it starts new pods from the same image; what the old ones had begun, and"
            " the time limit of the Job, begin again.",
        }
        if before.owner:
            texts["next-run"] = f"{before.owner} starts the next one: suspend it too."
        if before.keeper:
            texts["kept-elsewhere"] = f"{before.keeper} may put the setting back: suspend it at its root."
        return tuple(Caveat(id=name, text=text) for name, text in texts.items())

"""Who keeps what owns a pod as it is written down somewhere else. Marks are where its author put them: on a Deployment
or a CronJob, and not on what these make."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Denied, Gone
from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.gitops import keeper_of
from quarantine_kubernetes.objects import CRON_JOB, JOB, KINDS, WORKLOADS
from quarantine_kubernetes.relations import controller_of

OWNERS: Final = (*WORKLOADS.values(), KINDS[JOB], KINDS[CRON_JOB])
PERMISSIONS: Final = tuple(kind.permission("get") for kind in OWNERS)
SECONDS: Final = 60.0
"""Pods of one owner are not asked about one by one."""
UNREAD: Final = "Perhaps somebody, whose marks we may not read,"


def keeper_above(cloud: KubernetesCloud, resource: Resource, pod: Mapping[str, Any]) -> str:
    """`Argo CD application shop`, of the pod or of the next owner that has a mark; empty if nobody keeps them.

    A right that is missing here holds no containment up: what is isolated is the pod.
    """
    own, owner = keeper_of(pod), controller_of(pod, resource)
    if own or owner is None:
        return own
    return cloud.recent.get(("keeper", str(owner.uid)), SECONDS, lambda: _climb(cloud, owner))


def _climb(cloud: KubernetesCloud, owner: Resource | None) -> str:
    while owner is not None:
        try:
            found = objects.get(cloud, owner)
        except Gone:
            return ""
        except Denied:
            return UNREAD
        if keeper := keeper_of(found):
            return keeper
        owner = controller_of(found, owner)
    return ""

"""From a pod to what runs it, and from what runs pods to those pods."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from quarantine.action import Relation
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.binding import key_of
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.label_query import label_query
from quarantine_kubernetes.objects import (
    CLUSTER_ROLE_BINDING,
    CRON_JOB,
    JOB,
    KINDS,
    NODE,
    POD,
    ROLE_BINDING,
    WORKLOAD,
    WORKLOADS,
)

_READ_PODS: Final = KINDS[POD].permission("get")
_LIST_PODS: Final = KINDS[POD].permission("list")


def owner(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The uppermost owner that we know: the Deployment, not the ReplicaSet that it has made. None for a lone pod."""
    found = controller_of(objects.get(cloud, resource), resource)
    while found is not None and found.kind == WORKLOAD:
        try:
            above = controller_of(objects.get(cloud, found), found)
        except Gone:
            return  # the garbage collector is about to delete the pod, or has let go of it
        if above is None or above.kind != WORKLOAD:
            yield found
            return
        found = above


def job(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The Job that runs the pod."""
    found = controller_of(objects.get(cloud, resource), resource)
    if found is not None and found.kind == JOB:
        yield found


def cron_job(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The CronJob that has made the Job that runs the pod."""
    for found in job(cloud, resource):
        try:
            above = controller_of(objects.get(cloud, found), found)
        except Gone:
            return
        if above is not None and above.kind == CRON_JOB:
            yield above


def node(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The node that the pod is on; none while it waits for one, or when that node has gone."""
    name = objects.get(cloud, resource)["spec"].get("nodeName")
    if not name:
        return
    found = Resource(kind=NODE, id=name, scope=resource.account)
    try:
        metadata = objects.get(cloud, found)["metadata"]
    except Gone:
        return
    yield found.model_copy(update={"uid": metadata["uid"]})


def role_bindings(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The place of the pod's service account in each RoleBinding, of any namespace, that names it."""
    yield from _bindings(cloud, resource, ROLE_BINDING, "get /apis/rbac.authorization.k8s.io/v1/rolebindings")


def cluster_role_bindings(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The same in each ClusterRoleBinding. Groups that it is in, such as system:serviceaccounts, are not followed."""
    yield from _bindings(cloud, resource, CLUSTER_ROLE_BINDING, f"get {KINDS[CLUSTER_ROLE_BINDING].collection}")


def _bindings(cloud: KubernetesCloud, resource: Resource, kind: str, call: str) -> Iterator[Resource]:
    account = objects.get(cloud, resource)["spec"].get("serviceAccountName") or "default"
    subject = f"ServiceAccount/{resource.area}/{account}"
    for found in cloud.read(KINDS[kind].permission("list"), call)["items"]:
        if subject not in map(key_of, found.get("subjects") or []):
            continue
        metadata = found["metadata"]
        space = f"/{metadata['namespace']}" if "namespace" in metadata else ""
        place = Resource(kind=kind, id=f"{metadata['name']}/{subject}", scope=f"{resource.account}{space}")
        yield place.model_copy(update={"uid": objects.uid_of(found, place)})


def pods(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The pods that a workload or a Job selects."""
    wanted = label_query(objects.get(cloud, resource))
    for pod in objects.beside(cloud, resource, KINDS[POD], labelSelector=wanted):
        metadata = pod["metadata"]
        yield Resource(kind=POD, id=metadata["name"], scope=resource.scope, uid=metadata["uid"])


def controller_of(found: Mapping[str, Any], resource: Resource) -> Resource | None:
    """Its controller, if that is of a kind that runs pods and that we know."""
    for item in found["metadata"].get("ownerReferences") or []:
        if item.get("controller"):
            above = objects.referred(item, resource.scope)
            return above if above is not None and above.kind in (WORKLOAD, JOB, CRON_JOB) else None
    return None


_READ_OWNERS: Final = (_READ_PODS, *(kind.permission("get") for kind in WORKLOADS.values()))
_READ_JOBS: Final = KINDS[JOB].permission("get")
RELATIONS: Final = {
    "owner": Relation(POD, WORKLOAD, _READ_OWNERS, owner),
    "job": Relation(POD, JOB, (_READ_PODS,), job),
    "cronjob": Relation(POD, CRON_JOB, (_READ_PODS, _READ_JOBS), cron_job),
    "role-bindings": Relation(POD, ROLE_BINDING, (_READ_PODS, KINDS[ROLE_BINDING].permission("list")), role_bindings),
    "cluster-role-bindings": Relation(
        POD, CLUSTER_ROLE_BINDING, (_READ_PODS, KINDS[CLUSTER_ROLE_BINDING].permission("list")), cluster_role_bindings
    ),
    "node": Relation(POD, NODE, (_READ_PODS, KINDS[NODE].permission("get")), node),
    "pods": Relation(WORKLOAD, POD, (*_READ_OWNERS[1:], _LIST_PODS), pods),
    "job-pods": Relation(JOB, POD, (_READ_JOBS, _LIST_PODS), pods),
}

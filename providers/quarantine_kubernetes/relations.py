"""From a pod to what runs it and to its credentials, and from what runs pods to those pods."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from quarantine.action import Relation
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.binding import key_of
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.label_query import label_query
from quarantine_kubernetes.listing import gather
from quarantine_kubernetes.objects import (
    CLUSTER_ROLE_BINDING,
    CRON_JOB,
    JOB,
    KINDS,
    NODE,
    POD,
    ROLE_BINDING,
    SERVICE_ACCOUNT,
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


def service_account(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The account whose token the pod has; none if it has gone meanwhile."""
    account = _account_of(cloud, resource)
    try:
        metadata = objects.get(cloud, account)["metadata"]
    except Gone:
        return
    yield account.model_copy(update={"uid": metadata["uid"]})


def role_bindings(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The place of the pod's service account in each RoleBinding, of any namespace, that names it."""
    yield from _bindings(cloud, _account_of(cloud, resource), ROLE_BINDING)


def cluster_role_bindings(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The same in each ClusterRoleBinding."""
    yield from _bindings(cloud, _account_of(cloud, resource), CLUSTER_ROLE_BINDING)


def account_role_bindings(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The place of a service account in each RoleBinding, of any namespace, that names it."""
    objects.get(cloud, resource)  # bindings know the name alone, and would name another one after it
    yield from _bindings(cloud, resource, ROLE_BINDING)


def account_cluster_role_bindings(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The same in each ClusterRoleBinding."""
    objects.get(cloud, resource)
    yield from _bindings(cloud, resource, CLUSTER_ROLE_BINDING)


def _account_of(cloud: KubernetesCloud, resource: Resource) -> Resource:
    name = objects.get(cloud, resource)["spec"].get("serviceAccountName") or "default"
    return Resource(kind=SERVICE_ACCOUNT, id=name, scope=resource.scope)


def _bindings(cloud: KubernetesCloud, account: Resource, kind: str) -> Iterator[Resource]:
    """By both of its names (kubernetes.io, RBAC, Referring to subjects). Groups that it is in, such as
    system:serviceaccounts, are not followed: everybody else in them would lose the same."""
    subjects = {
        f"ServiceAccount/{account.area}/{account.id}",
        f"User/system:serviceaccount:{account.area}:{account.id}",
    }

    def places(found: Mapping[str, Any]) -> list[Resource]:
        metadata = found["metadata"]
        space = f"/{metadata['namespace']}" if "namespace" in metadata else ""
        named = dict.fromkeys(key_of(subject) for subject in found.get("subjects") or [])
        where = f"{account.account}{space}"
        return [Resource(kind=kind, id=f"{metadata['name']}/{key}", scope=where) for key in named if key in subjects]

    def judge(found: Mapping[str, Any]) -> list[Resource]:
        return [place.model_copy(update={"uid": objects.uid_of(found, place)}) for place in places(found)]

    for each in gather(cloud, KINDS[kind], "", judge):
        yield from each


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
_READ_ACCOUNTS: Final = KINDS[SERVICE_ACCOUNT].permission("get")
_READ_JOBS: Final = KINDS[JOB].permission("get")
RELATIONS: Final = {
    "owner": Relation(POD, WORKLOAD, _READ_OWNERS, owner),
    "job": Relation(POD, JOB, (_READ_PODS,), job),
    "cronjob": Relation(POD, CRON_JOB, (_READ_PODS, _READ_JOBS), cron_job),
    "role-bindings": Relation(POD, ROLE_BINDING, (_READ_PODS, KINDS[ROLE_BINDING].permission("list")), role_bindings),
    "cluster-role-bindings": Relation(
        POD, CLUSTER_ROLE_BINDING, (_READ_PODS, KINDS[CLUSTER_ROLE_BINDING].permission("list")), cluster_role_bindings
    ),
    "service-account": Relation(POD, SERVICE_ACCOUNT, (_READ_PODS, _READ_ACCOUNTS), service_account),
    "account-role-bindings": Relation(
        SERVICE_ACCOUNT,
        ROLE_BINDING,
        (_READ_ACCOUNTS, KINDS[ROLE_BINDING].permission("list")),
        account_role_bindings,
    ),
    "account-cluster-role-bindings": Relation(
        SERVICE_ACCOUNT,
        CLUSTER_ROLE_BINDING,
        (_READ_ACCOUNTS, KINDS[CLUSTER_ROLE_BINDING].permission("list")),
        account_cluster_role_bindings,
    ),
    "node": Relation(POD, NODE, (_READ_PODS, KINDS[NODE].permission("get")), node),
    "pods": Relation(WORKLOAD, POD, (*_READ_OWNERS[1:], _LIST_PODS), pods),
    "job-pods": Relation(JOB, POD, (_READ_JOBS, _LIST_PODS), pods),
}

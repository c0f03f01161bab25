"""From a pod to what runs it, and from what runs pods to those pods."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from quarantine.action import Relation
from quarantine.errors import Gone
from quarantine.model import Resource
from quarantine_kubernetes import objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.objects import CRON_JOB, JOB, KINDS, NODE, POD, WORKLOAD, WORKLOADS

_READ_PODS: Final = KINDS[POD].permission("get")
_LIST_PODS: Final = KINDS[POD].permission("list")
_API_GROUPS: Final = {word: f"{kind.group}/v1" if kind.group else "v1" for word, kind in WORKLOADS.items()}


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


def pods(cloud: KubernetesCloud, resource: Resource) -> Iterator[Resource]:
    """The pods that a workload or a Job selects."""
    found = cloud.read(
        _LIST_PODS,
        f"get {KINDS[POD].collection}",
        namespace=resource.area,
        query={"labelSelector": selector(objects.get(cloud, resource))},
    )
    for pod in found["items"]:
        metadata = pod["metadata"]
        yield Resource(kind=POD, id=metadata["name"], scope=resource.scope, uid=metadata["uid"])


def selector(found: Mapping[str, Any]) -> str:
    """Which pods are its own, as a query says it (Kubernetes, Labels and Selectors). No such object selects all."""
    wanted = found["spec"].get("selector") or {}
    if "matchLabels" not in wanted and "matchExpressions" not in wanted:
        wanted = {"matchLabels": wanted}  # a ReplicationController has only this form
    parts = [f"{key}={value}" for key, value in (wanted.get("matchLabels") or {}).items()]
    for item in wanted.get("matchExpressions") or []:
        key, values = item["key"], ",".join(item.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[item["operator"]]
        )
    if not parts:
        raise Gone(f"{found['metadata']['name']} selects nothing by which its pods could be found")
    return ",".join(parts)


def controller_of(found: Mapping[str, Any], resource: Resource) -> Resource | None:
    """Its controller, if that is of a kind that we know."""
    for item in found["metadata"].get("ownerReferences") or []:
        if not item.get("controller"):
            continue
        word = item["kind"].lower()
        if item["apiVersion"] == _API_GROUPS.get(word):
            kind, name = WORKLOAD, f"{word}/{item['name']}"
        elif item["apiVersion"] == "batch/v1" and word in ("job", "cronjob"):
            kind, name = f"kubernetes:{word}", item["name"]
        else:
            return None
        return Resource(kind=kind, id=name, scope=resource.scope, uid=item["uid"])
    return None


_READ_OWNERS: Final = (_READ_PODS, *(kind.permission("get") for kind in WORKLOADS.values()))
_READ_JOBS: Final = KINDS[JOB].permission("get")
RELATIONS: Final = {
    "owner": Relation(POD, WORKLOAD, _READ_OWNERS, owner),
    "job": Relation(POD, JOB, (_READ_PODS,), job),
    "cronjob": Relation(POD, CRON_JOB, (_READ_PODS, _READ_JOBS), cron_job),
    "node": Relation(POD, NODE, (_READ_PODS, KINDS[NODE].permission("get")), node),
    "pods": Relation(WORKLOAD, POD, (*_READ_OWNERS[1:], _LIST_PODS), pods),
    "job-pods": Relation(JOB, POD, (_READ_JOBS, _LIST_PODS), pods),
}

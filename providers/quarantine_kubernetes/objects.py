"""Where the objects of each kind of resource are at the API server; how one is read, and how one is changed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from quarantine.action import Receipt
from quarantine.errors import Gone, Unsupported
from quarantine.model import Resource
from quarantine_kubernetes.cloud import MERGE, KubernetesCloud


@dataclass(frozen=True)
class Kind:
    """Objects of one kind, as paths and permissions name them."""

    plural: str
    group: str = ""
    namespaced: bool = True

    @property
    def collection(self) -> str:
        root = f"/apis/{self.group}/v1" if self.group else "/api/v1"
        return f"{root}/namespaces/{{namespace}}/{self.plural}" if self.namespaced else f"{root}/{self.plural}"

    @property
    def path(self) -> str:
        return f"{self.collection}/{{name}}"

    def permission(self, verb: str, part: str = "") -> str:
        """`patch deployments/scale.apps`"""
        resource = f"{self.plural}/{part}" if part else self.plural
        return f"{verb} {resource}.{self.group}" if self.group else f"{verb} {resource}"


WORKLOAD: Final = "kubernetes:workload"
"""What keeps pods running. Its id says what it is, as for kubectl: `deployment/web`."""
WORKLOADS: Final = {
    "deployment": Kind("deployments", "apps"),
    "statefulset": Kind("statefulsets", "apps"),
    "replicaset": Kind("replicasets", "apps"),
    "daemonset": Kind("daemonsets", "apps"),
    "replicationcontroller": Kind("replicationcontrollers"),
}
POD: Final = "kubernetes:pod"
NODE: Final = "kubernetes:node"
JOB: Final = "kubernetes:job"
CRON_JOB: Final = "kubernetes:cronjob"
KINDS: Final = {
    POD: Kind("pods"),
    NODE: Kind("nodes", namespaced=False),
    JOB: Kind("jobs", "batch"),
    CRON_JOB: Kind("cronjobs", "batch"),
}


def located(resource: Resource) -> tuple[Kind, str]:
    """Its kind, and its name there. Raises Unsupported for an id or a scope that no such object can have."""
    kind, name = KINDS.get(resource.kind), resource.id
    if resource.kind == WORKLOAD:
        word, _, name = resource.id.partition("/")
        kind = WORKLOADS.get(word)
        if kind is None or not name:
            known = " or ".join(f"{word}/NAME" for word in WORKLOADS)
            raise Unsupported(f"{resource.id!r} is no workload: name it {known}")
    if kind is None:
        raise Unsupported(f"{resource.kind} is not known here. Known: {', '.join((*KINDS, WORKLOAD))}")
    if kind.namespaced and not resource.area:
        raise Unsupported(f"{resource}: {kind.plural} are in namespaces, so the scope is {resource.account}/NAMESPACE")
    if resource.area and not kind.namespaced:
        raise Unsupported(f"{resource}: {kind.plural} are in no namespace, so the scope is {resource.account}")
    return kind, name


def get(cloud: KubernetesCloud, resource: Resource) -> dict[str, Any]:
    """The object, as raw JSON. Raises Gone, also when another one has its name now."""
    kind, name = located(resource)
    found: dict[str, Any] = cloud.read(kind.permission("get"), f"get {kind.path}", namespace=resource.area, name=name)
    uid = found["metadata"]["uid"]
    if resource.uid not in (None, uid):
        what = resource.kind.partition(":")[2]
        raise Gone(f"{resource}: another {what} has this name now, with uid {uid}; {resource.uid} was meant")
    return found


def patch(
    cloud: KubernetesCloud, resource: Resource, seen: tuple[str, str], change: Mapping[str, Any], part: str = ""
) -> Receipt:
    """Merge a change into the very object that was `seen`, as (uid, resourceVersion). Raises Conflict if it is not.

    So nobody's change is overwritten, and a patch of a worker that was frozen, which arrives when all is over, is
    refused. Whoever writes often costs us a look and a try more.
    """
    kind, name = located(resource)
    uid, version = seen
    body = {**change, "metadata": {**change.get("metadata", {}), "uid": uid, "resourceVersion": version}}
    call = f"patch {kind.path}/{part}" if part else f"patch {kind.path}"
    where = {"namespace": resource.area, "name": name}
    return cloud.change(kind.permission("patch", part), call, **where, content_type=MERGE, body=body)

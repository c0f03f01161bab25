"""Where the objects of each kind of resource are at the API server; how one is read, and how one is changed."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from quarantine.action import Receipt
from quarantine.errors import Conflict, Gone, ProviderError, Unsupported
from quarantine.model import Resource
from quarantine_kubernetes.cloud import MANAGER, MERGE, KubernetesCloud
from quarantine_kubernetes.field_manager import last_writers
from quarantine_kubernetes.selector import items, mapping


@dataclass(frozen=True)
class Kind:
    """Objects of one kind, as paths and permissions name them."""

    plural: str
    group: str = ""
    namespaced: bool = True
    version: str = "v1"
    accept: str | None = None
    """What the API server is asked to answer with, where that is not the whole object."""

    @property
    def collection(self) -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        return f"{root}/namespaces/{{namespace}}/{self.plural}" if self.namespaced else f"{root}/{self.plural}"

    @property
    def everywhere(self) -> str:
        """The objects of all namespaces."""
        return self.collection.replace("/namespaces/{namespace}", "")

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
ROLE_BINDING: Final = "kubernetes:rolebinding"
CLUSTER_ROLE_BINDING: Final = "kubernetes:clusterrolebinding"
SERVICE_ACCOUNT: Final = "kubernetes:serviceaccount"
SECRET: Final = "kubernetes:secret"  # noqa: S105
SERVICE: Final = "kubernetes:service"
IMAGE: Final = "kubernetes:image"
"""No object: its id is the name that pods have for it, and it is blocked in the whole cluster."""
CONFIG_MAP: Final = "kubernetes:configmap"
IMAGE_POLICY: Final = "kubernetes:image-policy"
IMAGE_POLICY_BINDING: Final = "kubernetes:image-policy-binding"
ADMISSION: Final = "admissionregistration.k8s.io"
RBAC: Final = "rbac.authorization.k8s.io"
KINDS: Final = {
    POD: Kind("pods"),
    SERVICE: Kind("services"),
    SERVICE_ACCOUNT: Kind("serviceaccounts"),
    # Never the values: a list of Secrets would carry them through our memory, and a patch answers with them.
    SECRET: Kind("secrets", accept="application/json;g=meta.k8s.io;v=v1;as=PartialObjectMetadata"),
    NODE: Kind("nodes", namespaced=False),
    JOB: Kind("jobs", "batch"),
    CRON_JOB: Kind("cronjobs", "batch"),
    ROLE_BINDING: Kind("rolebindings", RBAC),
    CLUSTER_ROLE_BINDING: Kind("clusterrolebindings", RBAC, namespaced=False),
    CONFIG_MAP: Kind("configmaps"),
    IMAGE_POLICY: Kind("validatingadmissionpolicies", ADMISSION, namespaced=False),
    IMAGE_POLICY_BINDING: Kind("validatingadmissionpolicybindings", ADMISSION, namespaced=False),
}


_WORDS: Final = {(kind.group, word): (WORKLOAD, f"{word}/") for word, kind in WORKLOADS.items()} | {
    (kind.group, name.partition(":")[2]): (name, "") for name, kind in KINDS.items()
}


def referred(reference: Mapping[str, Any], scope: str) -> Resource | None:
    """What an ownerReference or an ObjectReference in `scope` names; None for what we know no such kind of."""
    group, _, version = reference.get("apiVersion", "").rpartition("/")
    kind, prefix = _WORDS.get((group, reference["kind"].lower()), ("", ""))
    if not kind or not version:
        return None
    account, _, area = scope.partition("/")
    namespaced = kind == WORKLOAD or KINDS[kind].namespaced
    if namespaced and not area:
        return None
    where = scope if namespaced else account
    return Resource(kind=kind, id=f"{prefix}{reference['name']}", scope=where, uid=reference.get("uid") or None)


def located(resource: Resource) -> tuple[Kind, str]:
    """Its kind, and its name there. Raises Unsupported for an id or a scope that no such object can have."""
    kind, name = KINDS.get(resource.kind), resource.id
    if resource.kind == WORKLOAD:
        word, _, name = resource.id.partition("/")
        kind = WORKLOADS.get(word)
        if kind is None or not name:
            known = " or ".join(f"{word}/NAME" for word in WORKLOADS)
            raise Unsupported(f"{resource.id!r} is no workload: name it {known}")
    if resource.kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING):
        name = resource.id.partition("/")[0]
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
    where = {"namespace": resource.area, "name": name, "accept": kind.accept}
    found: dict[str, Any] = cloud.read(kind.permission("get"), f"get {kind.path}", **where)
    uid = uid_of(found, resource)
    if resource.uid not in (None, uid):
        what = resource.kind.partition(":")[2]
        raise Gone(f"{resource}: another {what} has this name now, with uid {uid}; {resource.uid} was meant")
    return found


def is_ready(found: Mapping[str, Any]) -> bool:
    """Does its kubelet say that this pod or node is? What is being deleted is not any more."""
    conditions = [mapping(item) for item in items(mapping(found.get("status")).get("conditions"))]
    ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
    return ready and "deletionTimestamp" not in found["metadata"]


def uid_of(found: Mapping[str, Any], resource: Resource) -> str:
    """With the subject, where only one of a role binding is meant: each can be held by a case of its own."""
    subject = resource.id.partition("/")[2] if resource.kind in (ROLE_BINDING, CLUSTER_ROLE_BINDING) else ""
    uid: str = found["metadata"]["uid"]
    return f"{uid}/{subject}" if subject else uid


def beside(cloud: KubernetesCloud, resource: Resource, kind: Kind, **query: str) -> list[dict[str, Any]]:
    """All objects of a kind in the namespace of a resource; none where the cluster does not know the kind."""
    where = {"namespace": resource.area, "query": query, "accept": kind.accept and f"{kind.accept}List"}
    try:
        found = cloud.read(kind.permission("list"), f"get {kind.collection}", **where)
    except Gone:
        return []
    return list(found["items"] or [])  # a list of metadata alone that is empty has `items: null`


def patch(
    cloud: KubernetesCloud, resource: Resource, seen: tuple[str, str], change: Mapping[str, Any], part: str = ""
) -> Receipt:
    """Merge a change into the very object that was `seen`, as (uid, resourceVersion). Raises Conflict if it is not.

    So nobody's change is overwritten, and a patch of a worker that was frozen, which arrives when all is over, is
    refused. Whoever writes often costs us a look and a try more. A conflict says who that is.
    """
    kind, name = located(resource)
    uid, version = seen
    body = {**change, "metadata": {**change.get("metadata", {}), "uid": uid, "resourceVersion": version}}
    call = f"patch {kind.path}/{part}" if part else f"patch {kind.path}"
    where = {"namespace": resource.area, "name": name, "accept": kind.accept}
    with naming_writers(cloud, kind.permission("get"), f"get {kind.path}", **where):
        return cloud.change(kind.permission("patch", part), call, **where, content_type=MERGE, body=body)


@contextmanager
def naming_writers(cloud: KubernetesCloud, permission: str, call: str, **where: Any) -> Iterator[None]:
    """A conflict about the object that `call` reads says who wrote it last, which the API server does not."""
    try:
        yield
    except Conflict as error:
        try:
            found = cloud.read(permission, call, **where)
        except ProviderError:
            raise error from None  # who it was is not worth another failure
        names = " and ".join(last_writers(found, MANAGER)) or "that it does not name"
        raise Conflict(f"{error}; last written by the field manager {names}") from error

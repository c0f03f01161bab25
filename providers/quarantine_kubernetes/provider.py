"""Kubernetes as a provider: the clusters of the configuration, and who we are there."""

import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quarantine.action import (
    Action,
    Capture,
    Check,
    Grouping,
    Identity,
    Leftover,
    Needs,
    Parser,
    Poll,
    Provider,
    Relation,
    Reread,
    Verdict,
)
from quarantine.errors import Denied, ProviderError, Unreachable
from quarantine.model import Resource
from quarantine_kubernetes import image_gate, node_pool, objects, pod_group, probe, rbac
from quarantine_kubernetes.alerts import alertmanager, audit, kubescape
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.clusterrolebinding_revoke import ClusterrolebindingRevoke
from quarantine_kubernetes.cronjob_suspend import CronjobSuspend
from quarantine_kubernetes.feeds import FEED_REREADS, FEEDS
from quarantine_kubernetes.findings import falco
from quarantine_kubernetes.image_block import ImageBlock
from quarantine_kubernetes.image_policy_remove import ImagePolicyRemove
from quarantine_kubernetes.job_suspend import JobSuspend
from quarantine_kubernetes.leftovers import LEFTOVERS
from quarantine_kubernetes.node_cordon import NodeCordon
from quarantine_kubernetes.pod_capture import PodCapture
from quarantine_kubernetes.pod_delete import PodDelete
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.pod_logs_capture import PodLogsCapture
from quarantine_kubernetes.polls import POLLS, REREADS
from quarantine_kubernetes.relations import RELATIONS
from quarantine_kubernetes.rolebinding_revoke import RolebindingRevoke
from quarantine_kubernetes.service_unexpose import ServiceUnexpose
from quarantine_kubernetes.serviceaccount_token_disable import ServiceaccountTokenDisable
from quarantine_kubernetes.session import from_kubeconfig, in_cluster
from quarantine_kubernetes.workload_scale_to_zero import WorkloadScaleToZero

WHO_AM_I: Final = "post /apis/authentication.k8s.io/v1/selfsubjectreviews"
KNOWN_FOR: Final = 10.0
"""Seconds for which a cluster's word on who we are counts: a storm of alerts would ask it the same a thousand times."""
MAY_I: Final = "post /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class Cluster(BaseModel):
    """How one cluster is reached. Without anything: as `kubectl` would."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kubeconfig: Path | None = None
    """The file with the connection settings; without it $KUBECONFIG, then ~/.kube/config."""
    context: str | None = None
    """The context in that file; without it the current one."""
    in_cluster: bool = False
    """Connect as the service account of the pod that this program runs in."""
    uid: str | None = None
    """The uid of the cluster's kube-system namespace. With it, no other cluster is ever touched under this name."""
    agents: tuple[str, ...] = ("kube-system", "calico-system")
    """The namespaces in which the network plug-in's agents run. Elsewhere nobody is believed to be one."""
    enforced_by: str | None = None
    """The plug-in that enforces network policies without an agent that can be seen on each node, such as k3s. It is
    believed, not checked."""
    probe: bool = False
    """Try to connect to isolated pods, by TCP to the ports that they declare, from the pod that this program runs in:
    one that still answers is not isolated. Wants `in_cluster`: elsewhere an address may be nobody's, or another's."""
    expected_subjects: tuple[str, ...] = ()
    """Who is meant to be an administrator or to have rights worth taking: `User/alice`, `Group/platform`,
    `ServiceAccount/argocd/controller`. The control plane, its nodes and the accounts of kube-system always are."""
    exempt_namespaces: tuple[str, ...] = ("kube-system",)
    """The namespaces whose pods are meant to reach their node and to have rights."""
    public_services: tuple[str, ...] = ()
    """`NAMESPACE/NAME` of the Services that are meant to be open to the world."""
    always_admitted: tuple[str, ...] = ("kube-system",)
    """The namespaces in which a blocked image still starts, besides cloud-quarantine: what the cluster cannot do
    without must never be kept from starting."""

    @model_validator(mode="after")
    def _probe_from_within(self) -> Self:
        if self.probe and not self.in_cluster:
            raise ValueError("probe wants in_cluster: true, as it is from our own pod that others are tried")
        return self


class KubernetesSettings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    clusters: dict[str, Cluster] = Field(default_factory=dict)
    """The clusters by the name that findings and scopes have for them."""

    @model_validator(mode="after")
    def _one_name_for_each(self) -> Self:
        """Under two names one pod would be two, and budgets would count twice."""
        names: dict[tuple[object, ...], str] = {}
        for name, cluster in self.clusters.items():
            way = (cluster.kubeconfig, cluster.context, cluster.in_cluster)
            for same in (way, ("uid", cluster.uid)) if cluster.uid else (way,):
                if same in names:
                    raise ValueError(f"clusters '{names[same]}' and '{name}' are one cluster: keep one of the names")
                names[same] = name
        return self


class Kubernetes(Provider):
    """A scope is `cluster/namespace`, or `cluster` for what is in no namespace."""

    name: ClassVar[str] = "kubernetes"
    settings: ClassVar[type[BaseModel]] = KubernetesSettings
    actions: ClassVar[tuple[type[Action[Any, Any]], ...]] = (
        ClusterrolebindingRevoke,
        CronjobSuspend,
        ImageBlock,
        ImagePolicyRemove,
        JobSuspend,
        NodeCordon,
        PodDelete,
        PodIsolate,
        RolebindingRevoke,
        ServiceUnexpose,
        ServiceaccountTokenDisable,
        WorkloadScaleToZero,
    )
    captures: ClassVar[tuple[type[Capture[Any]], ...]] = (PodCapture, PodLogsCapture)
    parsers: ClassVar[Mapping[str, Parser]] = {
        "kubernetes:falco": falco,
        "kubernetes:alertmanager": alertmanager,
        "kubernetes:audit": audit,
        "kubernetes:kubescape": kubescape,
    }
    polls: ClassVar[tuple[Poll, ...]] = (*POLLS, *FEEDS)
    rereads: ClassVar[Mapping[str, Reread]] = {**REREADS, **FEED_REREADS}
    relations: ClassVar[Mapping[str, Relation]] = RELATIONS
    leftovers: ClassVar[tuple[Leftover, ...]] = LEFTOVERS
    groups: ClassVar[Mapping[str, Grouping]] = {
        objects.POD: Grouping(pod_group.PERMISSIONS, pod_group.pod_group),
        objects.NODE: Grouping(node_pool.PERMISSIONS, node_pool.node_pool),
    }

    def __init__(self, settings: KubernetesSettings) -> None:
        self._clusters = settings.clusters
        self._clouds: dict[str, KubernetesCloud] = {}
        self._known: dict[str, tuple[float, Identity]] = {}

    def scopes(self) -> tuple[str, ...]:
        return tuple(self._clusters)

    def connect(self, scope: str) -> KubernetesCloud:
        """One connection per cluster, for all of its namespaces and all threads."""
        name = scope.partition("/")[0]
        cluster = self._clusters.get(name)
        if cluster is None:
            raise Unreachable(f"cluster {name!r} is not configured: add it to `clusters` of provider 'kubernetes'")
        if name not in self._clouds:
            session = in_cluster() if cluster.in_cluster else from_kubeconfig(cluster.kubeconfig, cluster.context)
            cloud = KubernetesCloud(name, session)
            cloud.agents, cloud.enforced_by = cluster.agents, cluster.enforced_by
            cloud.expected_subjects, cloud.public_services = cluster.expected_subjects, cluster.public_services
            cloud.exempt_namespaces = cluster.exempt_namespaces
            cloud.probe = probe.connect if cluster.probe else None
            cloud.always_admitted = cluster.always_admitted
            self._clouds[name] = cloud
        return self._clouds[name]

    def identity(self, cloud: KubernetesCloud) -> Identity:
        """The account is the cluster's name if it is the pinned cluster, or if there is no pin."""
        asked, known = self._known.get(cloud.cluster, (0.0, None))
        if known is not None and time.monotonic() - asked < KNOWN_FOR:
            return known
        pin, asked = self._clusters[cloud.cluster].uid, time.monotonic()
        uid = _uid(cloud) if pin else None
        account = cloud.cluster if uid == pin else f"unknown cluster {uid}"
        known = Identity(account=account, principal=_principal(cloud))
        if uid == pin:
            self._known[cloud.cluster] = asked, known
        return known

    def resolve(self, cloud: KubernetesCloud, resource: Resource) -> tuple[Resource, Mapping[str, str]]:
        if resource.kind == objects.IMAGE:
            return image_gate.resolve(resource), {}
        found = objects.get(cloud, resource)
        uid = objects.uid_of(found, resource)
        return resource.model_copy(update={"uid": uid}), found["metadata"].get("labels") or {}

    def permissions_document(self, needs: Needs) -> str:
        """Roles and bindings."""
        clusters = self._clusters.values() or (Cluster(),)
        agents = dict.fromkeys(namespace for cluster in clusters for namespace in cluster.agents)
        return rbac.document(needs, pinned=any(cluster.uid for cluster in clusters), agents=agents)

    def doctor(self) -> Iterable[Check]:
        names: dict[str, str] = {}
        for name in self._clusters:
            try:
                yield from self._examine(name)
                yield from self._known_already(name, names)
            except ProviderError as error:
                yield Check(subject=f"cluster {name}", verdict=Verdict.FAIL, message=str(error))
            except (LookupError, TypeError, AttributeError) as error:
                message = f"what answers there is not a Kubernetes API server ({error!r})"
                yield Check(subject=f"cluster {name}", verdict=Verdict.FAIL, message=message)

    def _known_already(self, name: str, names: dict[str, str]) -> Iterator[Check]:
        """Contexts with other names may lead to one cluster. Who may not read its uid has been told so."""
        try:
            uid = _uid(self.connect(name))
        except Denied:
            return
        if uid in names:
            yield Check(
                subject=f"cluster {name}: same",
                verdict=Verdict.FAIL,
                message=f"this is cluster {names[uid]!r} too: its pods have two names, and budgets count twice",
                fix="keep one of the names in the configuration",
            )
        names.setdefault(uid, name)

    def _examine(self, name: str) -> Iterator[Check]:
        cloud = self.connect(name)
        version = cloud.read("get version", "get /version")["gitVersion"]
        message = f"Kubernetes {version}, connected as {_principal(cloud)}"
        yield Check(subject=f"cluster {name}", verdict=Verdict.OK, message=message)
        yield self._pinned(name, cloud)
        if cloud.probe is not None:
            yield probe.examine(f"cluster {name}: probe", cloud, cloud.probe)
        steps = (*self.actions, *self.captures)
        grouped = (permission for grouping in self.groups.values() for permission in grouping.permissions)
        needed = dict.fromkeys(grouped, "the guard of groups")
        needed |= {permission: step.name for step in steps for permission in step().permissions()}
        for permission, step in needed.items():
            if not _may(cloud, permission):
                yield Check(
                    subject=f"cluster {name}: {permission}",
                    verdict=Verdict.WARN,
                    message=f"not granted in all namespaces; {step} needs it",
                    fix=f"kubectl auth can-i {permission} --namespace NAMESPACE, for each that playbooks may act in",
                )

    def _pinned(self, name: str, cloud: KubernetesCloud) -> Check:
        subject, pin = f"cluster {name}: pin", self._clusters[name].uid
        try:
            uid = _uid(cloud)
        except Denied as error:
            verdict = Verdict.FAIL if pin else Verdict.WARN
            return Check(subject=subject, verdict=verdict, message=str(error), fix="grant: get namespaces/kube-system")
        if pin is None:
            message = "no pin: whatever cluster the kubeconfig points to is acted on"
            return Check(subject=subject, verdict=Verdict.WARN, message=message, fix=f"set its uid: {uid}")
        if pin != uid:
            message = f"this is cluster {uid}, and the configuration pins {pin}: nothing is done here"
            return Check(
                subject=subject, verdict=Verdict.FAIL, message=message, fix="correct kubeconfig, context or uid"
            )
        return Check(subject=subject, verdict=Verdict.OK, message=f"it is cluster {uid}")


def _uid(cloud: KubernetesCloud) -> str:
    namespace = cloud.read("get namespaces", "get /api/v1/namespaces/{name}", name="kube-system")
    return str(namespace["metadata"]["uid"])


def _principal(cloud: KubernetesCloud) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    review = cloud.read("create selfsubjectreviews.authentication.k8s.io", WHO_AM_I, body=body)
    return str(review["status"]["userInfo"]["username"])


def _may(cloud: KubernetesCloud, permission: str) -> bool:
    verb, _, kind = permission.partition(" ")
    asked: dict[str, dict[str, str]]
    if kind.startswith("/"):
        asked = {"nonResourceAttributes": {"verb": verb, "path": kind}}
    else:
        kind, _, group = kind.partition(".")
        resource, _, subresource = kind.partition("/")
        what = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        asked = {"resourceAttributes": what}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": asked}
    review = cloud.read("create selfsubjectaccessreviews.authorization.k8s.io", MAY_I, body=body)
    return bool(review["status"]["allowed"])

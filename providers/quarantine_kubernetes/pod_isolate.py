"""Cuts one pod off the network with a deny-all NetworkPolicy of its own, and leaves it running."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from quarantine.action import Absence, Action, Caveat, Refusal, State
from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine_kubernetes.cloud import MERGE, KubernetesCloud
from quarantine_kubernetes.isolation import (
    ISOLATED,
    PodIsolation,
    Policy,
    deny_all_policy,
    installation_of,
    isolated_labels,
    open_by,
    policy_name,
    standing,
)
from quarantine_kubernetes.limits import caveats, refusal
from quarantine_kubernetes.pod import POD, get_pod, owner_of

POLICIES: Final = "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
POLICY: Final = f"{POLICIES}/{{name}}"
KIND: Final = "networkpolicies.networking.k8s.io"


class PodIsolate(Action[KubernetesCloud, PodIsolation]):
    """All labels go, so that Services, owners and policies that select by them let go of the pod.

    What was written is never missing from a later read: a get without a resourceVersion is "most recent" (Kubernetes
    API Concepts). Only the policies of others are at first read from the API server's cache; see `_policies`.
    """

    name: ClassVar[str] = "kubernetes:pod-isolate"
    resource: ClassVar[str] = "kubernetes:pod"
    state: ClassVar[type[State]] = PodIsolation

    keep_labels: tuple[str, ...] = ()
    """Keys of labels that stay on the pod."""

    def permissions(self) -> tuple[str, ...]:
        return ("get pods", "patch pods", *(f"{verb} {KIND}" for verb in ("get", "list", "create", "update", "delete")))

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> PodIsolation:
        pod = get_pod(cloud, resource)
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        labels = metadata.get("labels") or {}
        policy = self._own_policy(cloud, resource, uid)
        stands = standing(policy, uid) if policy else None
        policies = self._policies(cloud, resource, latest=ISOLATED in labels)
        others = [item for item in policies if item["metadata"]["name"] != policy_name(uid) or stands is Policy.FOREIGN]
        return PodIsolation(
            labels=labels,
            policy=stands,
            open_by=open_by(others, isolated_labels(labels, uid, self.keep_labels)),
            uid=uid,
            phase=(pod.get("status") or {}).get("phase", ""),
            host_network=pod["spec"].get("hostNetwork") or False,
            static="kubernetes.io/config.mirror" in (metadata.get("annotations") or {}),
            owner=owner_of(pod),
            node=pod["spec"].get("nodeName") or "",
            policy_of=installation_of(policy) if policy else None,
            policy_uid=policy["metadata"]["uid"] if policy else None,
            version=metadata["resourceVersion"],
        )

    def _own_policy(self, cloud: KubernetesCloud, resource: Resource, uid: str) -> Mapping[str, Any] | None:
        try:
            found = cloud.read(f"get {KIND}", f"get {POLICY}", namespace=resource.area, name=policy_name(uid))
        except Gone:
            return None
        return dict(found)

    def _policies(self, cloud: KubernetesCloud, resource: Resource, latest: bool) -> list[Mapping[str, Any]]:
        """The latest list waits, some 95 ms, until the API server's cache has caught up with all writes of the cluster
        (KEP-2340, "Consistent reads from cache"). A pod in quarantine is judged by that one. To plan and to begin, the
        cache as it is will do: what it misses is seen when the quarantine is verified.
        """
        query = {} if latest else {"resourceVersion": "0"}
        found = cloud.read(f"list {KIND}", f"get {POLICIES}", namespace=resource.area, query=query)
        return list(found["items"])

    def contained(self, before: PodIsolation) -> PodIsolation:
        labels = isolated_labels(before.labels, before.uid, self.keep_labels)
        return before.model_copy(update={"labels": labels, "policy": Policy.QUARANTINE, "open_by": ()})

    def apply(
        self, cloud: KubernetesCloud, resource: Resource, now: PodIsolation, target: PodIsolation | Absence
    ) -> None:
        """The policy stands before the pod gets the label that it selects, and goes after the label has gone."""
        if isinstance(target, Absence):
            raise TypeError("isolating a pod never removes it")
        if target.policy is Policy.QUARANTINE and now.policy is not Policy.QUARANTINE:
            self._put_policy(cloud, resource, now)
        if now.labels != target.labels:
            self._put_labels(cloud, resource, now, target)
        if target.policy is None and now.policy is not None:
            self._delete_policy(cloud, resource, now)

    def _put_policy(self, cloud: KubernetesCloud, resource: Resource, now: PodIsolation) -> None:
        policy = deny_all_policy(now.uid, cloud.mark)
        if now.policy is not None:
            self._must_be_ours(cloud, now)
            policy["metadata"]["uid"] = now.policy_uid
            where = {"namespace": resource.area, "name": policy_name(now.uid)}
            try:
                cloud.change(f"update {KIND}", f"put {POLICY}", **where, body=policy)
            except Gone as error:  # the policy, not the pod
                raise Conflict(str(error)) from error
            return
        try:
            cloud.change(f"create {KIND}", f"post {POLICIES}", namespace=resource.area, body=policy)
        except Conflict:
            # It is there already if something on the way sent it twice. Is it what we want?
            if self.observe(cloud, resource).policy is not Policy.QUARANTINE:
                raise

    def _put_labels(self, cloud: KubernetesCloud, resource: Resource, now: PodIsolation, target: PodIsolation) -> None:
        """One patch, of this very pod: with another uid the API server refuses it."""
        gone: dict[str, str | None] = {key: None for key in now.labels if key not in target.labels}
        metadata = {"uid": now.uid, "labels": gone | target.labels}
        if ISOLATED not in target.labels:
            # A release overwrites nobody's change. A containment does not wait for whoever is writing.
            metadata["resourceVersion"] = now.version
        where = {"namespace": resource.area, "name": resource.id}
        cloud.change("patch pods", f"patch {POD}", **where, content_type=MERGE, body={"metadata": metadata})

    def _delete_policy(self, cloud: KubernetesCloud, resource: Resource, now: PodIsolation) -> None:
        self._must_be_ours(cloud, now)
        where = {"namespace": resource.area, "name": policy_name(now.uid)}
        try:
            cloud.change(f"delete {KIND}", f"delete {POLICY}", **where, body={"preconditions": {"uid": now.policy_uid}})
        except Gone:
            return  # already gone is what was wanted

    def _must_be_ours(self, cloud: KubernetesCloud, now: PodIsolation) -> None:
        if now.policy_of != cloud.mark.installation:
            made_by = f"installation {now.policy_of!r}" if now.policy_of else "somebody else"
            raise Conflict(f"network policy {policy_name(now.uid)!r} was made by {made_by}: ask there, or delete it")

    def refusal(self, before: PodIsolation) -> Refusal | None:
        return refusal(before)

    def caveats(self, before: PodIsolation) -> tuple[Caveat, ...]:
        return caveats(before.owner, (key for key in self.keep_labels if key in before.labels))

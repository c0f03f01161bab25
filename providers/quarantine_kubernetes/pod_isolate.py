"""Cuts one pod off the network with a deny-all NetworkPolicy of its own, and leaves it running."""

from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_kubernetes import pod_policy
from quarantine_kubernetes.cloud import MERGE, KubernetesCloud
from quarantine_kubernetes.isolation import ISOLATED, PodIsolation, Policy, installation_of, isolated_labels, open_by
from quarantine_kubernetes.limits import caveats, refusal
from quarantine_kubernetes.pod import POD, get_pod, is_static, owner_of


class PodIsolate(Action[KubernetesCloud, PodIsolation]):
    """All labels go, so that Services, owners and policies that select by them let go of the pod.

    What was written is never missing from a later read: a get without a resourceVersion is "most recent" (Kubernetes
    API Concepts). Only the policies of others are at first read from the API server's cache; see `pod_policy.others`.
    """

    name: ClassVar[str] = "kubernetes:pod-isolate"
    resource: ClassVar[str] = "kubernetes:pod"
    state: ClassVar[type[State]] = PodIsolation

    keep_labels: tuple[str, ...] = ()
    """Keys of labels that stay on the pod."""

    def permissions(self) -> tuple[str, ...]:
        return ("get pods", "patch pods", *pod_policy.PERMISSIONS)

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> PodIsolation:
        pod = get_pod(cloud, resource)
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        labels = metadata.get("labels") or {}
        policy, stands = pod_policy.own(cloud, resource, uid)
        others = pod_policy.others(cloud, resource, uid, stands, latest=ISOLATED in labels)
        return PodIsolation(
            labels=labels,
            policy=stands,
            open_by=open_by(others, isolated_labels(labels, uid, self.keep_labels)),
            uid=uid,
            phase=(pod.get("status") or {}).get("phase", ""),
            host_network=pod["spec"].get("hostNetwork") or False,
            static=is_static(pod),
            owner=owner_of(pod),
            node=pod["spec"].get("nodeName") or "",
            policy_of=installation_of(policy) if policy else None,
            policy_uid=policy["metadata"]["uid"] if policy else None,
            version=metadata["resourceVersion"],
        )

    def contained(self, before: PodIsolation) -> PodIsolation:
        labels = isolated_labels(before.labels, before.uid, self.keep_labels)
        return before.model_copy(update={"labels": labels, "policy": Policy.QUARANTINE, "open_by": ()})

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: PodIsolation, target: Any) -> None:
        """The policy stands before the pod gets the label that it selects, and goes after the label has gone."""
        if target.policy is Policy.QUARANTINE and now.policy is not Policy.QUARANTINE:
            pod_policy.put(cloud, resource, now)
        if now.labels != target.labels:
            gone: dict[str, str | None] = {key: None for key in now.labels if key not in target.labels}
            # One patch, of this very pod as it was seen: it overwrites nobody's change, and one of a worker that was
            # frozen, which arrives when all is over, is refused. Whoever writes often costs us a look and a try more.
            metadata = {"uid": now.uid, "resourceVersion": now.version, "labels": gone | target.labels}
            where = {"namespace": resource.area, "name": resource.id}
            cloud.change("patch pods", f"patch {POD}", **where, content_type=MERGE, body={"metadata": metadata})
        if target.policy is None and now.policy is not None:
            pod_policy.delete(cloud, resource, now)

    def refusal(self, before: PodIsolation) -> Refusal | None:
        return refusal(before)

    def caveats(self, before: PodIsolation) -> tuple[Caveat, ...]:
        return caveats(before.owner, (key for key in self.keep_labels if key in before.labels))

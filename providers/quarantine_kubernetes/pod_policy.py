"""The network policies around one pod: ours, how it comes and goes, and those of others."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.isolation import PodIsolation, Policy, deny_all_policy, policy_name, standing

POLICIES: Final = "/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
POLICY: Final = f"{POLICIES}/{{name}}"
KIND: Final = "networkpolicies.networking.k8s.io"
PERMISSIONS: Final = tuple(f"{verb} {KIND}" for verb in ("get", "list", "create", "update", "delete"))


def own(cloud: KubernetesCloud, resource: Resource, uid: str) -> tuple[Mapping[str, Any] | None, Policy | None]:
    """What stands under the name of our policy for a pod, and whose and what it is."""
    try:
        found = cloud.read(f"get {KIND}", f"get {POLICY}", namespace=resource.area, name=policy_name(uid))
    except Gone:
        return None, None
    return dict(found), standing(found, uid)


def others(
    cloud: KubernetesCloud, resource: Resource, uid: str, own: Policy | None, latest: bool
) -> list[Mapping[str, Any]]:
    """All policies of the namespace but ours.

    The latest list waits, some 95 ms, until the API server's cache has caught up with all writes of the cluster
    (KEP-2340, "Consistent reads from cache"). A pod in quarantine is judged by that one. To plan and to begin, the
    cache as it is will do: what it misses is seen when the quarantine is verified.
    """
    query = {} if latest else {"resourceVersion": "0"}
    found = cloud.read(f"list {KIND}", f"get {POLICIES}", namespace=resource.area, query=query)
    return [item for item in found["items"] if item["metadata"]["name"] != policy_name(uid) or own is Policy.FOREIGN]


def put(cloud: KubernetesCloud, resource: Resource, now: PodIsolation) -> None:
    """Our policy as it must be, made or made good. Raises Conflict where another has taken its name."""
    policy = deny_all_policy(now.uid, cloud.mark)
    if now.policy is not None:
        _must_be_ours(cloud, now)
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
        if own(cloud, resource, now.uid)[1] is not Policy.QUARANTINE:
            raise


def delete(cloud: KubernetesCloud, resource: Resource, now: PodIsolation) -> None:
    """Our policy goes, and no other that may have its name by now."""
    _must_be_ours(cloud, now)
    where = {"namespace": resource.area, "name": policy_name(now.uid)}
    try:
        cloud.change(f"delete {KIND}", f"delete {POLICY}", **where, body={"preconditions": {"uid": now.policy_uid}})
    except Gone:
        return  # already gone is what was wanted


def _must_be_ours(cloud: KubernetesCloud, now: PodIsolation) -> None:
    if now.policy_of != cloud.mark.installation:
        made_by = f"installation {now.policy_of!r}" if now.policy_of else "somebody else"
        raise Conflict(f"network policy {policy_name(now.uid)!r} was made by {made_by}: ask there, or delete it")

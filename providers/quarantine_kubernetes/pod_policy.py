"""The policies around one pod: ours, how they come and go, and those of others."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.action import Mark
from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.isolation import Origin, PodIsolation, exempt_of, policy_object, standing
from quarantine_kubernetes.means import Means, kinds_of
from quarantine_kubernetes.objects import naming_writers
from quarantine_kubernetes.plain_policy import PLAIN_POLICY
from quarantine_kubernetes.policy_kind import PolicyKind, Target

VERBS: Final = ("get", "create", "update", "delete")
"""What is done to a policy of ours in its life."""
_KINDS: Final = kinds_of(tuple(Means))


def own(cloud: KubernetesCloud, kind: PolicyKind, namespace: str, uid: str) -> Mapping[str, Any] | None:
    """What stands under the name of our policy for a pod."""
    where = {"namespace": namespace, "name": kind.object_name(uid)}
    try:
        return dict(cloud.read(f"get {kind.resource}", f"get {kind.object}", **where))
    except Gone:
        return None


def listed(cloud: KubernetesCloud, namespace: str, latest: bool) -> list[Mapping[str, Any]]:
    """All network policies of the namespace.

    The latest list waits, some 95 ms, until the API server's cache has caught up with all writes of the cluster
    (KEP-2340, "Consistent reads from cache"). A pod in quarantine is judged by that one. To plan and to begin, the
    cache as it is will do: what it misses is seen when the quarantine is verified.
    """
    query = {} if latest else {"resourceVersion": "0"}
    kind = PLAIN_POLICY
    found = cloud.read(f"list {kind.resource}", f"get {kind.collection}", namespace=namespace, query=query)
    return list(found["items"])


def put_wanted(cloud: KubernetesCloud, resource: Resource, now: PodIsolation, wanted: Mapping[str, str]) -> None:
    """Those of our policies that do not stand as they must."""
    for kind in _KINDS:
        if wanted.get(kind.name) not in (None, now.policies.get(kind.name)):
            _put(cloud, resource, kind, now, wanted[kind.name])


def delete_others(cloud: KubernetesCloud, resource: Resource, now: PodIsolation, wanted: Mapping[str, str]) -> None:
    """Those that are there and must not be."""
    for kind in _KINDS:
        if kind.name in now.policies and kind.name not in wanted:
            _delete(cloud, resource, kind, now)


def _put(cloud: KubernetesCloud, resource: Resource, kind: PolicyKind, now: PodIsolation, stands: str) -> None:
    """Our policy as it must stand, made or made good. Raises Conflict where another has taken its name."""
    target, exempt = Target(resource.area, resource.id, now.uid), exempt_of(stands)
    if exempt is None:
        raise Conflict(f"{kind.kind} {kind.object_name(now.uid)!r} was {stands} before us: that cannot be given back")
    policy = policy_object(kind, target, exempt, cloud.mark)
    origin = now.origins.get(kind.name)
    if origin is not None:
        _must_be_ours(cloud.mark, kind, now.uid, origin)
        policy["metadata"] |= {"uid": origin.uid, "resourceVersion": origin.version}
        where = {"namespace": resource.area, "name": kind.object_name(now.uid)}
        try:
            with naming_writers(cloud, f"get {kind.resource}", f"get {kind.object}", **where):
                cloud.change(f"update {kind.resource}", f"put {kind.object}", **where, body=policy)
        except Gone as error:  # the policy, not the pod
            raise Conflict(str(error)) from error
        return
    try:
        cloud.change(f"create {kind.resource}", f"post {kind.collection}", namespace=resource.area, body=policy)
    except Conflict:
        # It is there already if something on the way sent it twice. Is it what we want?
        found = own(cloud, kind, resource.area, now.uid)
        if found is None or standing(found, kind, target) != stands:
            raise
    except Gone as error:  # the API, not the pod
        raise Conflict(f"the cluster does not serve {kind.group} any more: {error}") from error


def _delete(cloud: KubernetesCloud, resource: Resource, kind: PolicyKind, now: PodIsolation) -> None:
    """Our policy goes, and no other that may have its name by now."""
    origin = now.origins[kind.name]
    _must_be_ours(cloud.mark, kind, now.uid, origin)
    where = {"namespace": resource.area, "name": kind.object_name(now.uid)}
    body = {"preconditions": {"uid": origin.uid}}
    try:
        cloud.change(f"delete {kind.resource}", f"delete {kind.object}", **where, body=body)
    except Gone:
        return  # already gone is what was wanted


def _must_be_ours(mark: Mark, kind: PolicyKind, uid: str, origin: Origin) -> None:
    if origin.installation != mark.installation:
        made_by = f"installation {origin.installation!r}" if origin.installation else "somebody else"
        raise Conflict(f"{kind.kind} {kind.object_name(uid)!r} was made by {made_by}: ask there, or delete it")

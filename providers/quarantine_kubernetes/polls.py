"""Findings that we ask for: administrators nobody expects, pods that reach their node, Services that are open to the
world, service accounts whose mounted token is worth taking. Only lists, in pages; no Secret is read.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any, Final

from pydantic import JsonValue

from quarantine.action import Poll, Reread
from quarantine.model import Finding, Resource, Severity, Standing
from quarantine_kubernetes import objects, posture
from quarantine_kubernetes.binding import is_of_the_cluster, key_of
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.listing import gather
from quarantine_kubernetes.objects import KINDS, Kind
from quarantine_kubernetes.powers import EVERYTHING, powers

ROLES: Final = Kind("roles", objects.RBAC)
CLUSTER_ROLES: Final = Kind("clusterroles", objects.RBAC, namespaced=False)
LONGEST_UID: Final = 256
MOST_NAMED: Final = 20
"""So many pods are named in a finding about their service account; it counts them all."""

Look = Callable[[KubernetesCloud, str, datetime, str], list[Finding]]
"""(cloud, scope, now, name): with a name, of the one object that has it."""


def cluster_admins(cloud: KubernetesCloud, scope: str, now: datetime, name: str = "") -> list[Finding]:
    """Each subject that a ClusterRoleBinding gives everything to, by whatever role, and that nobody expects. The
    subject counts, and not the binding's name: anybody may call one `system:`."""
    mighty = {role for role, given in _roles(cloud, CLUSTER_ROLES).items() if given == (EVERYTHING,)}
    account = scope.partition("/")[0]

    def judge(found: Mapping[str, Any]) -> list[Finding]:
        subjects = found.get("subjects") or [] if ("", found["roleRef"]["name"]) in mighty else []
        keys = dict.fromkeys(map(key_of, subjects))
        unexpected = [key for key in keys if not is_of_the_cluster(key) and key not in cloud.expected_subjects]
        return [_admin(found, key, account, now) for key in unexpected]

    kind = KINDS[objects.CLUSTER_ROLE_BINDING]
    return [item for items in gather(cloud, kind, "", judge, **_named(name)) for item in items]


def _admin(found: Mapping[str, Any], key: str, account: str, now: datetime) -> Finding:
    """About that subject's place in the binding; about the whole binding where no resource can have a name so long."""
    binding, uid, role = found["metadata"]["name"], found["metadata"]["uid"], found["roleRef"]["name"]
    single = len(f"{uid}/{key}") <= LONGEST_UID
    return Finding(
        source=CLUSTER_ADMINS.name,
        id=f"cluster-admin:{uid}:{key}"[:1024],
        title=f"{key} may do everything, by ClusterRoleBinding {binding} to {role}"[:4096],
        type="cluster-admin-binding",
        severity=Severity.HIGH,
        resource=Resource(
            kind=objects.CLUSTER_ROLE_BINDING,
            id=f"{binding}/{key}" if single else binding,
            scope=account,
            uid=f"{uid}/{key}" if single else uid,
        ),
        seen_at=now,
        record={"role": role, "subject": key[:4096]},
    )


def privileged_pods(cloud: KubernetesCloud, scope: str, now: datetime, name: str = "") -> list[Finding]:
    """Medium, so that no alert's playbook cuts them: agents of the network, storage and logs are made like this, and a
    pod on its node's network cannot be isolated. A schedule with `playbook: isolate-pod` makes cases of them."""

    def judge(found: Mapping[str, Any]) -> Finding | None:
        metadata = found["metadata"]
        ways = () if metadata["namespace"] in cloud.exempt_namespaces else posture.ways_to_the_node(found)
        if not ways:
            return None
        resource = _placed(objects.POD, found, scope)
        return Finding(
            source=PRIVILEGED_PODS.name,
            id=f"privileged-pod:{metadata['uid']}",
            title=f"Pod {metadata['name']} can reach its node: {', '.join(ways)}"[:4096],
            type="privileged-pod",
            severity=Severity.MEDIUM,
            resource=resource,
            seen_at=now,
            record={"ways": list[JsonValue](ways), "node": found["spec"].get("nodeName")},
        )

    return gather(cloud, KINDS[objects.POD], _area(scope), judge, **_named(name))


def open_services(cloud: KubernetesCloud, scope: str, now: datetime, name: str = "") -> list[Finding]:
    """Load balancers that let everybody in, but for those that the configuration names as public."""

    def judge(found: Mapping[str, Any]) -> Finding | None:
        metadata = found["metadata"]
        families = posture.open_families(found)
        if not families or f"{metadata['namespace']}/{metadata['name']}" in cloud.public_services:
            return None
        ports = [f"{port.get('protocol', 'TCP')} {port['port']}" for port in found["spec"].get("ports") or []]
        return Finding(
            source=OPEN_SERVICES.name,
            id=f"open-service:{metadata['uid']}:{'+'.join(families)}",
            title=f"Service {metadata['name']} lets the world in to {', '.join(ports)} ({', '.join(families)})"[:4096],
            type="open-service",
            severity=Severity.HIGH,
            resource=_placed(objects.SERVICE, found, scope),
            seen_at=now,
            record={
                "source_ranges": found["spec"].get("loadBalancerSourceRanges"),
                "addresses": (found.get("status") or {}).get("loadBalancer") or {},
                "ports": list[JsonValue](ports),
            },
        )

    return gather(cloud, KINDS[objects.SERVICE], _area(scope), judge, **_named(name))


def account_rights(cloud: KubernetesCloud, scope: str, now: datetime, name: str = "") -> list[Finding]:
    """Service accounts whose token a pod has mounted, and which can take over more by it. Roles and bindings of all
    namespaces count, whatever the scope. High where the rights are the whole cluster's."""

    def judge(found: Mapping[str, Any]) -> tuple[str, str, str] | None:
        area = found["metadata"]["namespace"]
        account = found["spec"].get("serviceAccountName") or "default"
        unexpected = area not in cloud.exempt_namespaces and posture.has_token(found)
        unexpected = unexpected and f"ServiceAccount/{area}/{account}" not in cloud.expected_subjects
        return (area, account, found["metadata"]["name"]) if unexpected else None

    chosen = {"fieldSelector": f"spec.serviceAccountName={name}"} if name else {}
    pods: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for area, account, pod in gather(cloud, KINDS[objects.POD], _area(scope), judge, **chosen):
        pods[area, account].append(pod)
    given = _given(cloud) if pods else {}
    found = []
    for (area, account), names in sorted(pods.items()):
        rights = sorted({right for key in _keys(area, account) for right in given.get(key, ())})
        if rights:
            place = Resource(kind=objects.SERVICE_ACCOUNT, id=account, scope=f"{scope.partition('/')[0]}/{area}")
            found.append(_account(place, rights, sorted(names), now))
    return found


def _account(place: Resource, rights: list[tuple[str, str, str]], pods: list[str], now: datetime) -> Finding:
    able = sorted({f"{power} in {where or 'all namespaces'}" for where, power, _ in rights})
    return Finding(
        source=ACCOUNT_RIGHTS.name,
        id=f"account-rights:{place.area}/{place.id}:{'+'.join(able)}"[:1024],
        title=f"Pods have the token of service account {place.id}, which can {', '.join(able)}"[:4096],
        type="mounted-token-with-rights",
        severity=Severity.MEDIUM if all(where for where, _, _ in rights) else Severity.HIGH,
        resource=place,
        seen_at=now,
        record={
            "pods": list[JsonValue](pods[:MOST_NAMED]),
            "pods_in_all": len(pods),
            "bindings": list[JsonValue](sorted({binding for _, _, binding in rights})),
        },
    )


def _keys(area: str, account: str) -> tuple[str, ...]:
    """What its rights can be bound to (kubernetes.io, RBAC, Referring to subjects)."""
    user = f"User/system:serviceaccount:{area}:{account}"
    groups = ("serviceaccounts", f"serviceaccounts:{area}", "authenticated")
    return (f"ServiceAccount/{area}/{account}", user, *(f"Group/system:{group}" for group in groups))


def _given(cloud: KubernetesCloud) -> dict[str, set[tuple[str, str, str]]]:
    """By subject: the namespace or nothing, the power, and the binding that gives it."""
    roles = _roles(cloud, CLUSTER_ROLES) | _roles(cloud, ROLES)
    given: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)

    def note(found: Mapping[str, Any]) -> None:
        metadata, role = found["metadata"], found["roleRef"]
        where = metadata.get("namespace", "")
        able = roles.get((where if role["kind"] == "Role" else "", role["name"]), ())
        for subject in (found.get("subjects") or []) if able else ():
            binding = f"{where}/{metadata['name']}" if where else metadata["name"]
            given[key_of(subject)].update((where, power, binding) for power in able)

    for kind in (objects.ROLE_BINDING, objects.CLUSTER_ROLE_BINDING):
        gather(cloud, KINDS[kind], "", note)
    return given


def _roles(cloud: KubernetesCloud, kind: Kind) -> dict[tuple[str, str], tuple[str, ...]]:
    """Those that give a power, by namespace and name."""

    def judge(found: Mapping[str, Any]) -> tuple[tuple[str, str], tuple[str, ...]] | None:
        able = powers(found)
        return ((found["metadata"].get("namespace", ""), found["metadata"]["name"]), able) if able else None

    return dict(gather(cloud, kind, "", judge))


def _area(scope: str) -> str:
    return scope.partition("/")[2]


def _named(name: str) -> dict[str, str]:
    return {"fieldSelector": f"metadata.name={name}"} if name else {}


def _placed(kind: str, found: Mapping[str, Any], scope: str) -> Resource:
    metadata = found["metadata"]
    place = f"{scope.partition('/')[0]}/{metadata['namespace']}"
    return Resource(kind=kind, id=metadata["name"], scope=place, uid=metadata["uid"])


def _run(look: Look, cloud: KubernetesCloud, scope: str, now: datetime, cursor: str | None) -> Any:
    return look(cloud, scope, now, ""), cursor


def _poll(name: str, look: Look, *kinds: Kind) -> Poll:
    return Poll(name, tuple(kind.permission("list") for kind in kinds), partial(_run, look))


CLUSTER_ADMINS: Final = _poll(
    "kubernetes:cluster-admins", cluster_admins, CLUSTER_ROLES, KINDS[objects.CLUSTER_ROLE_BINDING]
)
PRIVILEGED_PODS: Final = _poll("kubernetes:privileged-pods", privileged_pods, KINDS[objects.POD])
OPEN_SERVICES: Final = _poll("kubernetes:open-services", open_services, KINDS[objects.SERVICE])
ACCOUNT_RIGHTS: Final = _poll(
    "kubernetes:account-rights",
    account_rights,
    KINDS[objects.POD],
    CLUSTER_ROLES,
    ROLES,
    KINDS[objects.ROLE_BINDING],
    KINDS[objects.CLUSTER_ROLE_BINDING],
)
POLLS: Final = (CLUSTER_ADMINS, PRIVILEGED_PODS, OPEN_SERVICES, ACCOUNT_RIGHTS)


def _ask(look: Look, cloud: KubernetesCloud, finding: Finding, now: datetime) -> Standing:
    """The condition itself, by the judgement of the poll."""
    resource = finding.resource
    name = resource.id.partition("/")[0]
    found = [item.resource for item in look(cloud, resource.scope, now, name) if item.resource.id == resource.id]
    if not found:
        return Standing.RESOLVED
    another = not _same(found, resource.uid)
    return Standing.UNKNOWN if another else Standing.ACTIVE


def _same(found: Iterable[Resource], uid: str | None) -> bool:
    return any(uid is None or item.uid in (None, uid) for item in found)


def _probe(kind: Kind, cloud: KubernetesCloud) -> object:
    return cloud.read(kind.permission("list"), f"get {kind.everywhere}", query={"limit": 1})


def _reread(poll: Poll, look: Look, kind: str) -> Reread:
    probe = partial(_probe, KINDS[kind])
    return Reread(poll.permissions, lambda finding: finding.resource.scope, partial(_ask, look), probe)


REREADS: Final[Mapping[str, Reread]] = {
    CLUSTER_ADMINS.name: _reread(CLUSTER_ADMINS, cluster_admins, objects.CLUSTER_ROLE_BINDING),
    PRIVILEGED_PODS.name: _reread(PRIVILEGED_PODS, privileged_pods, objects.POD),
    OPEN_SERVICES.name: _reread(OPEN_SERVICES, open_services, objects.SERVICE),
    ACCOUNT_RIGHTS.name: _reread(ACCOUNT_RIGHTS, account_rights, objects.POD),
}

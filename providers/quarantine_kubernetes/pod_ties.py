"""What a pod is tied to: its owners, its events, the policies around it, the Services that lead to it, its node."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.model import Resource
from quarantine_kubernetes import keeper, objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.dossier import Dossier
from quarantine_kubernetes.objects import KINDS, NODE, SERVICE, Kind
from quarantine_kubernetes.peers import leads
from quarantine_kubernetes.pod import owner_of
from quarantine_kubernetes.relations import controller_of

_EVENTS: Final = Kind("events")
_POLICIES: Final = Kind("networkpolicies", "networking.k8s.io")
PERMISSIONS: Final = (
    *keeper.PERMISSIONS,
    _EVENTS.permission("list"),
    _POLICIES.permission("list"),
    KINDS[SERVICE].permission("list"),
    KINDS[NODE].permission("get"),
)


def take_ties(
    dossier: Dossier, cloud: KubernetesCloud, resource: Resource, pod: Mapping[str, Any], events: int
) -> None:
    _take_owners(dossier, cloud, resource, pod)
    query = {"fieldSelector": f"involvedObject.uid={pod['metadata']['uid']}", "limit": events}
    dossier.ask("events.json", lambda: _list(cloud, resource, _EVENTS, query))
    dossier.ask("networkpolicies.json", lambda: _list(cloud, resource, _POLICIES))
    dossier.ask("services.json", lambda: _leading_to(_list(cloud, resource, KINDS[SERVICE]), pod))
    if pod["spec"].get("nodeName"):
        node = Resource(kind=NODE, id=pod["spec"]["nodeName"], scope=resource.account)
        dossier.ask("node.json", lambda: objects.get(cloud, node))


def _take_owners(dossier: Dossier, cloud: KubernetesCloud, resource: Resource, pod: Mapping[str, Any]) -> None:
    """ReplicaSet and Deployment, Job and CronJob: each one's controller, up to one that has none or is not known."""
    below: Mapping[str, Any] | None = pod
    while below is not None:
        above = controller_of(below, resource)
        if above is None:
            if owner_of(below):
                dossier.lacks(f"owners/{owner_of(below).lower()}.json", "it is of no kind that is read")
            return
        below = _owner(dossier, cloud, above)


def _owner(dossier: Dossier, cloud: KubernetesCloud, owner: Resource) -> Mapping[str, Any] | None:
    kind, name = objects.located(owner)
    found: Mapping[str, Any] | None = dossier.ask(
        f"owners/{kind.plural.removesuffix('s')}/{name}.json", lambda: objects.get(cloud, owner)
    )
    return found


def _list(
    cloud: KubernetesCloud, resource: Resource, kind: Kind, query: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = cloud.read(
        kind.permission("list"), f"get {kind.collection}", namespace=resource.area, query=query
    )
    return found


def _leading_to(services: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, Any]:
    labels = pod["metadata"].get("labels") or {}
    return {**services, "items": [each for each in services["items"] if leads(each, labels)]}

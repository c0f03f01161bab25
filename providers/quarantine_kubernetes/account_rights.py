"""What a pod's service account may do: the bindings that give it rights, by its name or by a group, and their roles."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from quarantine.model import Resource
from quarantine_kubernetes.binding import key_of
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.dossier import Dossier
from quarantine_kubernetes.objects import CLUSTER_ROLE_BINDING, KINDS, RBAC, ROLE_BINDING, SERVICE_ACCOUNT, Kind

_ROLES: Final = {"Role": Kind("roles", RBAC), "ClusterRole": Kind("clusterroles", RBAC, namespaced=False)}
_BINDINGS: Final = KINDS[ROLE_BINDING]
_CLUSTER_BINDINGS: Final = KINDS[CLUSTER_ROLE_BINDING]
PERMISSIONS: Final = (
    KINDS[SERVICE_ACCOUNT].permission("get"),
    _BINDINGS.permission("list"),
    _CLUSTER_BINDINGS.permission("list"),
    *(role.permission("get") for role in _ROLES.values()),
)


def take_rights(dossier: Dossier, cloud: KubernetesCloud, resource: Resource, pod: Mapping[str, Any]) -> None:
    """Bindings of all namespaces; of the pod's own alone where we may not see the others."""
    account = pod["spec"].get("serviceAccountName") or "default"
    dossier.ask("serviceaccount.json", lambda: _get(cloud, KINDS[SERVICE_ACCOUNT], resource.area, account))
    wanted = _subjects(resource.area, account)
    everywhere = f"get /apis/{RBAC}/{_BINDINGS.version}/{_BINDINGS.plural}"
    own = f"get {_BINDINGS.collection}"
    wide = f"get {_CLUSTER_BINDINGS.collection}"
    found = [
        dossier.ask("rolebindings.json", _reading(cloud, _BINDINGS, everywhere, wanted))
        or dossier.ask("rolebindings-of-its-namespace.json", _reading(cloud, _BINDINGS, own, wanted, resource.area)),
        dossier.ask("clusterrolebindings.json", _reading(cloud, _CLUSTER_BINDINGS, wide, wanted)),
    ]
    roles = {_role(binding) for each in found if each for binding in each["items"]}
    for kind, namespace, name in sorted(roles):
        place = f"{namespace}/{name}" if namespace else name
        read = _reading_role(cloud, kind, namespace, name)
        dossier.ask(f"{_ROLES[kind].plural}/{place}.json", read)


def _reading(
    cloud: KubernetesCloud, kind: Kind, call: str, wanted: frozenset[str], namespace: str = ""
) -> Callable[[], dict[str, Any]]:
    def read() -> dict[str, Any]:
        listed: dict[str, Any] = cloud.read(kind.permission("list"), call, namespace=namespace)
        return {**listed, "items": [each for each in listed["items"] if wanted & set(_keys(each))]}

    return read


def _reading_role(cloud: KubernetesCloud, kind: str, namespace: str, name: str) -> Callable[[], dict[str, Any]]:
    return lambda: _get(cloud, _ROLES[kind], namespace, name)


def _get(cloud: KubernetesCloud, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = cloud.read(kind.permission("get"), f"get {kind.path}", namespace=namespace, name=name)
    return found


def _keys(binding: Mapping[str, Any]) -> list[str]:
    return [key_of(subject) for subject in binding.get("subjects") or []]


def _role(binding: Mapping[str, Any]) -> tuple[str, str, str]:
    """Kind, namespace and name. A RoleBinding may name a ClusterRole too."""
    role = binding["roleRef"]
    return role["kind"], binding["metadata"]["namespace"] if role["kind"] == "Role" else "", role["name"]


def _subjects(namespace: str, account: str) -> frozenset[str]:
    """By which names rights can be given to it (kubernetes.io, "Using RBAC Authorization", Referring to subjects)."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    user = f"User/system:serviceaccount:{namespace}:{account}"
    return frozenset({f"ServiceAccount/{namespace}/{account}", user, *(f"Group/{group}" for group in groups)})

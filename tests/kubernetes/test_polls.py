"""A planted cluster: what is wrong in it is found, and nothing else."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from quarantine.action import Poll
from quarantine.errors import Denied, Transient
from quarantine.model import Finding, Resource, Severity, Standing
from quarantine_kubernetes import objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.listing import ATTEMPTS, gather
from quarantine_kubernetes.polls import (
    ACCOUNT_RIGHTS,
    CLUSTER_ADMINS,
    OPEN_SERVICES,
    POLLS,
    PRIVILEGED_PODS,
    REREADS,
)
from quarantine_kubernetes.posture import has_token, open_families, ways_to_the_node
from quarantine_kubernetes.powers import EVERYTHING, powers
from quarantine_kubernetes.session import Session
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import RBAC, granted_everywhere
from tests.testbed.controlplane import SERVICE, ControlPlane

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def found(poll: Poll, cloud: KubernetesCloud, scope: str = CLUSTER) -> list[Finding]:
    findings, cursor = poll.run(cloud, scope, NOW, None)
    assert cursor is None
    return findings


def standing(poll: Poll, cloud: KubernetesCloud, finding: Finding) -> Standing:
    return REREADS[poll.name].ask(cloud, finding, NOW)


def user(name: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name}


def group(name: str) -> dict[str, str]:
    return {**user(name), "kind": "Group"}


def account(namespace: Namespace, name: str) -> dict[str, str]:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace.name}


def bind(namespace: Namespace, name: str, role: str, *subjects: dict[str, str]) -> str:
    """A ClusterRoleBinding, named after the namespace besides, so that tests do not meet."""
    full = f"{name}-{namespace.name}"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    body = {"metadata": {"name": full}, "roleRef": reference, "subjects": list(subjects)}
    namespace.api.create(f"{RBAC}/clusterrolebindings", body)
    return full


def grant_within(namespace: Namespace, name: str, rule: dict[str, list[str]]) -> None:
    """A Role of that name, for the service account of that name."""
    base = f"{RBAC}/namespaces/{namespace.name}"
    namespace.api.create(f"{base}/roles", {"metadata": {"name": name}, "rules": [rule]})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    body = {"metadata": {"name": name}, "roleRef": reference, "subjects": [account(namespace, name)]}
    namespace.api.create(f"{base}/rolebindings", body)


def test_only_administrators_that_nobody_expects_are_found(namespace: Namespace, cloud: KubernetesCloud) -> None:
    cloud.expected_subjects = ("Group/platform",)
    before = {finding.id for finding in found(CLUSTER_ADMINS, cloud)}
    twin = f"twin-{namespace.name}"
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    namespace.api.create(f"{RBAC}/clusterroles", {"metadata": {"name": twin}, "rules": [rule]})
    mixed = bind(namespace, "mixed", "cluster-admin", user("alice"), group("platform"), group("system:masters"))
    sly = bind(namespace, "system:sly", "cluster-admin", group("system:authenticated"))
    by_twin = bind(namespace, "by-twin", twin, account(namespace, "ci"))
    long = bind(namespace, "long", "cluster-admin", user("x" * 400))
    bind(namespace, "viewers", "view", user("bob"))
    fresh = [finding for finding in found(CLUSTER_ADMINS, cloud) if finding.id not in before]
    assert {finding.resource.id for finding in fresh} == {
        f"{mixed}/User/alice",
        f"{sly}/Group/system:authenticated",
        f"{by_twin}/ServiceAccount/{namespace.name}/ci",
        long,
    }
    assert {finding.type for finding in fresh} == {"cluster-admin-binding"}
    alice = next(finding for finding in fresh if "alice" in finding.resource.id)
    assert objects.uid_of(objects.get(cloud, alice.resource), alice.resource) == alice.resource.uid
    assert standing(CLUSTER_ADMINS, cloud, alice) is Standing.ACTIVE
    namespace.api.patch(f"{RBAC}/clusterrolebindings/{mixed}", {"subjects": [group("platform")]})
    assert standing(CLUSTER_ADMINS, cloud, alice) is Standing.RESOLVED
    for name in (mixed, sly, by_twin, long, f"viewers-{namespace.name}"):
        namespace.api.delete(f"{RBAC}/clusterrolebindings/{name}")
    namespace.api.delete(f"{RBAC}/clusterroles/{twin}")


def test_only_pods_that_reach_their_node_are_found(namespace: Namespace, cloud: KubernetesCloud) -> None:
    namespace.pod("plain")
    network = namespace.pod("network", hostNetwork=True)
    namespace.pod("path", volumes=[{"name": "run", "hostPath": {"path": "/var/run"}}])
    namespace.pod("memory", hostIPC=True)
    done = namespace.pod("done", hostPID=True)
    namespace.api.patch_status(namespace.pod_path(done.id), {"phase": "Succeeded"})
    fresh = [it for it in found(PRIVILEGED_PODS, cloud) if it.resource.area == namespace.name]
    assert {finding.resource.id: finding.record["ways"] for finding in fresh} == {
        "network": ["hostNetwork"],
        "path": ["hostPath /var/run"],
        "memory": ["hostIPC"],
    }
    assert {finding.severity for finding in fresh} == {Severity.MEDIUM}
    assert found(PRIVILEGED_PODS, cloud, f"{CLUSTER}/{namespace.name}") == fresh
    assert not [it for it in found(PRIVILEGED_PODS, cloud) if it.resource.area == "kube-system"]
    first = next(finding for finding in fresh if finding.resource == network)
    assert standing(PRIVILEGED_PODS, cloud, first) is Standing.ACTIVE
    namespace.api.delete(namespace.pod_path("network"))
    assert standing(PRIVILEGED_PODS, cloud, first) is Standing.RESOLVED
    namespace.pod("network", hostNetwork=True)
    assert standing(PRIVILEGED_PODS, cloud, first) is Standing.UNKNOWN, "another pod has its name now"
    cloud.exempt_namespaces = (namespace.name,)
    assert not found(PRIVILEGED_PODS, cloud, f"{CLUSTER}/{namespace.name}")


def test_only_services_that_are_open_to_the_world_are_found(namespace: Namespace, cloud: KubernetesCloud) -> None:
    def service(name: str, **spec: object) -> None:
        body = {"metadata": {"name": name}, "spec": {"type": "LoadBalancer", "ports": [{"port": 443}], **spec}}
        namespace.api.create(f"/api/v1/namespaces/{namespace.name}/services", body)

    service("open")
    service("any", loadBalancerSourceRanges=["0.0.0.0/0"])
    service("office", loadBalancerSourceRanges=["198.51.100.0/24"])
    service("cluster", type="ClusterIP")
    service("meant")
    cloud.public_services = (f"{namespace.name}/meant",)
    fresh = [it for it in found(OPEN_SERVICES, cloud) if it.resource.area == namespace.name]
    assert {finding.resource.id for finding in fresh} == {"open", "any"}
    (first,) = (finding for finding in fresh if finding.resource.id == "open")
    assert standing(OPEN_SERVICES, cloud, first) is Standing.ACTIVE
    path = f"/api/v1/namespaces/{namespace.name}/services/open"
    namespace.api.patch(path, {"spec": {"loadBalancerSourceRanges": ["198.51.100.0/24"]}})
    assert standing(OPEN_SERVICES, cloud, first) is Standing.RESOLVED


def test_only_accounts_with_a_mounted_token_and_rights_are_found(namespace: Namespace, cloud: KubernetesCloud) -> None:
    scope = f"{CLUSTER}/{namespace.name}"
    for name in ("admin", "editor", "viewer", "unmounted", "meant"):
        namespace.api.create(f"/api/v1/namespaces/{namespace.name}/serviceaccounts", {"metadata": {"name": name}})
        mounted = name != "unmounted"
        namespace.pod(f"{name}-1", serviceAccountName=name, automountServiceAccountToken=mounted)
    everything = [account(namespace, name) for name in ("admin", "unmounted", "meant")]
    admins = bind(namespace, "admins", "cluster-admin", *everything)
    grant_within(namespace, "editor", {"apiGroups": [""], "resources": ["pods"], "verbs": ["create", "get"]})
    grant_within(namespace, "viewer", {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]})
    cloud.expected_subjects = (f"ServiceAccount/{namespace.name}/meant",)
    fresh = {finding.resource.id: finding for finding in found(ACCOUNT_RIGHTS, cloud, scope)}
    severities = {name: finding.severity for name, finding in fresh.items()}
    assert severities == {"admin": Severity.HIGH, "editor": Severity.MEDIUM}
    assert fresh["admin"].record == {"pods": ["admin-1"], "pods_in_all": 1, "bindings": [admins]}
    assert f"create pods in {namespace.name}" in fresh["editor"].title
    assert {it.id for it in found(ACCOUNT_RIGHTS, cloud) if it.resource.scope == scope} == {
        finding.id for finding in fresh.values()
    }
    assert standing(ACCOUNT_RIGHTS, cloud, fresh["admin"]) is Standing.ACTIVE
    namespace.api.delete(f"{RBAC}/clusterrolebindings/{admins}")
    assert standing(ACCOUNT_RIGHTS, cloud, fresh["admin"]) is Standing.RESOLVED


@pytest.mark.parametrize("part", ["initContainers", "containers", "ephemeralContainers"])
def test_a_privileged_container_of_any_sort_reaches_the_node(part: str) -> None:
    """Pure: the API server of the test bed admits none."""
    container = {"name": "agent", "securityContext": {"privileged": True}}
    assert ways_to_the_node({"spec": {part: [container]}}) == ("privileged container agent",)
    assert ways_to_the_node({"spec": {part: [{"name": "agent"}]}}) == ()


@pytest.mark.parametrize("poll", POLLS, ids=lambda poll: poll.name)
def test_each_needs_exactly_what_it_declares(
    poll: Poll, control_plane: ControlPlane, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    namespace.pod("web-1", automountServiceAccountToken=True)
    with granted_everywhere(control_plane, SERVICE, poll.permissions):
        found(poll, cloud_of(SERVICE))
        REREADS[poll.name].probe(cloud_of(SERVICE))
    for missing in poll.permissions:
        rest = [permission for permission in poll.permissions if permission != missing]
        with granted_everywhere(control_plane, SERVICE, rest), pytest.raises(Denied):
            found(poll, cloud_of(SERVICE))


class Pages:
    """An API server with so many pods, that forgets a list in the middle so many times."""

    def __init__(self, pods: int, forgets: int = 0) -> None:
        self.calls: list[str] = []
        self._pods = pods
        self._forgets = forgets

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        assert (method, body) == ("GET", None)
        self.calls.append(path)
        query = parse_qs(urlsplit(path).query)
        start, limit = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
        if start and self._forgets:
            self._forgets -= 1
            return answer(410, {"kind": "Status", "reason": "Expired", "message": "too old"})
        end = min(start + limit, self._pods)
        metadata = {"continue": str(end)} if end < self._pods else {}
        items = [{"metadata": {"name": f"web-{number}"}} for number in range(start, end)]
        return answer(200, {"metadata": metadata, "items": items})


def answer(status: int, body: dict[str, Any]) -> Any:
    headers = {"Content-Type": "application/json"}
    return SimpleNamespace(status=status, reason="", headers=headers, data=json.dumps(body).encode())


def names(pages: Pages) -> list[str]:
    cloud = KubernetesCloud(CLUSTER, cast(Session, pages))
    return gather(cloud, objects.KINDS[objects.POD], "", lambda pod: str(pod["metadata"]["name"]))


def test_a_thousand_pods_are_four_calls_and_each_is_seen_once() -> None:
    pages = Pages(1000)
    assert names(pages) == [f"web-{number}" for number in range(1000)]
    assert len(pages.calls) == 4
    assert {urlsplit(path).path for path in pages.calls} == {"/api/v1/pods"}


def test_a_list_that_the_server_has_forgotten_starts_anew() -> None:
    assert names(Pages(600, forgets=2)) == [f"web-{number}" for number in range(600)]


def test_one_that_it_always_forgets_is_given_up() -> None:
    pages = Pages(600, forgets=99)
    with pytest.raises(Transient, match="410"):
        names(pages)
    assert len(pages.calls) == 2 * ATTEMPTS


@pytest.mark.parametrize(
    ("ranges", "families", "addresses", "open_ones"),
    [
        ([], ["IPv4"], [], ("IPv4",)),
        (["0.0.0.0/1", "128.0.0.0/1"], ["IPv4"], [], ("IPv4",)),
        (["198.51.100.0/24"], ["IPv4", "IPv6"], [], ("IPv6",)),
        (["198.51.100.0/24", "::/0"], ["IPv4", "IPv6"], [], ("IPv6",)),
        (["198.51.100.0/24", "2001:db8::/32"], ["IPv4", "IPv6"], [], ()),
        ([], ["IPv4"], [{"ip": "10.0.0.7"}], ()),
        ([], ["IPv4"], [{"ip": "10.0.0.7"}, {"ip": "8.8.8.8"}], ("IPv4",)),
        ([], ["IPv4"], [{"hostname": "lb.example.com"}], ("IPv4",)),
    ],
)
def test_what_open_means(ranges: Any, families: Any, addresses: Any, open_ones: Any) -> None:
    spec = {"type": "LoadBalancer", "loadBalancerSourceRanges": ranges, "ipFamilies": families}
    service = {"metadata": {}, "spec": spec, "status": {"loadBalancer": {"ingress": addresses}}}
    assert open_families(service) == open_ones


@pytest.mark.parametrize(("said", "open_ones"), [("198.51.100.0/24, ", ()), ("nonsense", ("IPv4",)), ("", ("IPv4",))])
def test_the_annotation_counts_where_the_field_says_nothing(said: str, open_ones: Any) -> None:
    annotations = {"service.beta.kubernetes.io/load-balancer-source-ranges": said}
    assert open_families({"metadata": {"annotations": annotations}, "spec": {"type": "LoadBalancer"}}) == open_ones


@pytest.mark.parametrize(
    ("verbs", "group", "resources", "named", "able"),
    [
        (["*"], "*", ["*"], [], (EVERYTHING,)),
        (["create"], "batch", ["cronjobs"], [], ("create pods",)),
        (["get"], "", ["secrets"], [], ("read secrets",)),
        (["get"], "", ["secrets"], ["one"], ()),
        (["bind"], "rbac.authorization.k8s.io", ["clusterroles"], ["cluster-admin"], ("bind or escalate roles",)),
        (["impersonate"], "", ["*"], [], ("act as others",)),
        (["*"], "", ["configmaps"], [], ()),
        (["create"], "example.com", ["pods"], [], ()),
    ],
)
def test_what_a_role_can_do(verbs: Any, group: str, resources: Any, named: Any, able: Any) -> None:
    rule = {"verbs": verbs, "apiGroups": [group], "resources": resources, "resourceNames": named}
    assert powers({"rules": [rule]}) == able
    assert powers({"rules": None}) == ()


def test_a_token_for_somebody_else_is_none_for_the_api_server() -> None:
    def pod(**token: str) -> dict[str, Any]:
        sources = [{"serviceAccountToken": {"path": "token", **token}}]
        return {"spec": {"volumes": [{"name": "t", "projected": {"sources": sources}}]}}

    assert has_token(pod())
    assert has_token(pod(audience="https://kubernetes.default.svc"))
    assert not has_token(pod(audience="sts.amazonaws.com"))
    assert not has_token({**pod(), "status": {"phase": "Failed"}})
    assert ways_to_the_node(pod()) == ()


def test_a_re_read_is_asked_for_where_the_resource_is() -> None:
    resource = Resource(kind="kubernetes:pod", id="web-1", scope="prod/shop")
    finding = Finding(source="x", id="1", resource=resource, seen_at=NOW)
    assert {reread.scope(finding) for reread in REREADS.values()} == {"prod/shop"}

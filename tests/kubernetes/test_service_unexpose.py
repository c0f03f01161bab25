from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import State, reached, three_way
from quarantine.model import Resource
from quarantine.testing.contract import ReversibleContract, Setting, Stranger
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.exposure import UNEXPOSED, Exposure, Means, read_exposure
from quarantine_kubernetes.service_unexpose import ServiceUnexpose
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import grant
from tests.kubernetes.workloads import make, node_of
from tests.testbed.controlplane import SERVICE
from tests.testbed.poll import until

SPEC: dict[str, Any] = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "protocol": "TCP"}]}
ADDRESS = {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}


def service(namespace: Namespace, **spec: Any) -> Resource:
    """With a pod behind it, and an address from the cloud."""
    namespace.pod("web-1", nodeName=node_of(namespace))
    make(namespace, "services", "web", {**SPEC, **spec})
    namespace.api.patch_status(path(namespace), ADDRESS)
    rest(namespace)
    return Resource(kind="kubernetes:service", id="web", scope=f"{CLUSTER}/{namespace.name}")


def path(namespace: Namespace) -> str:
    return f"/api/v1/namespaces/{namespace.name}/services/web"


def rest(namespace: Namespace) -> None:
    """Until the controller has given it the endpoints that its selector selects."""

    wanted = namespace.api.get(path(namespace))["spec"]["selector"] == {"app": "web"}
    until(lambda: leads_somewhere(namespace, "web") is wanted)


class TestServiceUnexpose(ReversibleContract):
    """As a user who has exactly the declared permissions."""

    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        grant(namespace, SERVICE, ServiceUnexpose().permissions())
        return closing(namespace, cloud_of(SERVICE), service(namespace))

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        return lambda: change(namespace, {"selector": {"tier": "front"}})


class TestSourceRanges(ReversibleContract):
    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        action = ServiceUnexpose(means=Means.SOURCE_RANGES)
        grant(namespace, SERVICE, action.permissions())
        return Setting(action, cloud_of(SERVICE), service(namespace, loadBalancerSourceRanges=["198.51.100.0/24"]))

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        return lambda: change(namespace, {"loadBalancerSourceRanges": ["0.0.0.0/0"]})


def closing(namespace: Namespace, cloud: KubernetesCloud, resource: Resource) -> Setting:
    return Setting(ServiceUnexpose(), cloud, resource, settle=lambda: rest(namespace))


def change(namespace: Namespace, spec: dict[str, Any]) -> None:
    namespace.api.patch(path(namespace), {"spec": spec})


def seen(setting: Setting) -> Exposure:
    state = setting.observe()
    assert isinstance(state, Exposure)
    return state


def contain(setting: Setting) -> Exposure:
    before = seen(setting)
    setting.apply(setting.target(before))
    return before


def release(setting: Setting, before: Exposure) -> None:
    target = setting.target(before)
    assert isinstance(target, State)
    merged, _ = three_way(before, target, seen(setting))
    setting.apply(merged)


@pytest.mark.parametrize("means", list(Means))
def test_the_address_stays_and_a_release_gives_everything_back_byte_for_byte(
    means: Means, namespace: Namespace, cloud: KubernetesCloud
) -> None:
    resource = service(namespace, externalTrafficPolicy="Local")
    setting = Setting(ServiceUnexpose(means=means), cloud, resource)
    image = namespace.api.get(path(namespace))
    before = contain(setting)
    held = namespace.api.get(path(namespace))
    assert held["status"] == ADDRESS | {"loadBalancer": held["status"]["loadBalancer"]}
    assert held["status"]["loadBalancer"]["ingress"][0]["ip"] == "203.0.113.7"
    assert held["spec"]["type"] == "LoadBalancer"
    assert [port["nodePort"] for port in held["spec"]["ports"]] == list(before.node_ports)
    release(setting, before)
    after = namespace.api.get(path(namespace))
    for item in (image, after):
        for counted in ("resourceVersion", "managedFields"):
            item["metadata"].pop(counted)
    assert after == image


def test_it_is_not_contained_while_it_leads_to_a_pod(namespace: Namespace, cloud: KubernetesCloud) -> None:
    resource = service(namespace)
    setting = closing(namespace, cloud, resource)
    before = contain(setting)
    assert reached(seen(setting), setting.target(before))
    found = namespace.api.get(path(namespace))
    label = found["spec"]["selector"][UNEXPOSED]
    namespace.pod("sly", {"app": "web", UNEXPOSED: label}, nodeName=node_of(namespace))
    until(lambda: seen(setting).endpoints == 1)
    assert not reached(seen(setting), setting.target(before))


def test_without_any_selector_it_would_go_on(namespace: Namespace) -> None:
    """Why the selector is narrowed and not taken away: nobody takes the endpoints away then."""
    service(namespace)
    change(namespace, {"selector": None})
    namespace.api.delete(namespace.pod_path("web-1"))
    namespace.pod(
        "web-2", nodeName=node_of(namespace)
    )  # the controller has had its turn when another Service has this one
    make(namespace, "services", "other", {**SPEC, "type": "ClusterIP"})
    until(lambda: leads_somewhere(namespace, "other"))
    assert leads_somewhere(namespace, "web")


def leads_somewhere(namespace: Namespace, name: str) -> bool:
    base = f"/apis/discovery.k8s.io/v1/namespaces/{namespace.name}/endpointslices"
    slices = namespace.api.items(f"{base}?labelSelector=kubernetes.io%2Fservice-name%3D{name}")
    return any(item.get("endpoints") for item in slices)


def test_a_label_that_somebody_adds_to_the_selector_stays(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(ServiceUnexpose(), cloud, service(namespace))
    before = contain(setting)
    change(namespace, {"selector": {"tier": "front"}})
    release(setting, before)
    assert namespace.api.get(path(namespace))["spec"]["selector"] == {"app": "web", "tier": "front"}


def test_no_range_at_all_becomes_none_again(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(ServiceUnexpose(means=Means.SOURCE_RANGES), cloud, service(namespace))
    before = contain(setting)
    assert namespace.api.get(path(namespace))["spec"]["loadBalancerSourceRanges"] == ["192.0.2.1/32"]
    release(setting, before)
    assert "loadBalancerSourceRanges" not in namespace.api.get(path(namespace))["spec"]


def test_each_family_is_closed() -> None:
    found = exposed({"type": "LoadBalancer", "ipFamilies": ["IPv6", "IPv4"]})
    target = ServiceUnexpose(means=Means.SOURCE_RANGES).contained(found)
    assert target.source_ranges == ("2001:db8::1/128", "192.0.2.1/32")


def exposed(
    spec: dict[str, Any], slices: tuple[dict[str, Any], ...] = (), ingresses: tuple[dict[str, Any], ...] = ()
) -> Exposure:
    found = {"metadata": {"name": "web", "uid": "u", "resourceVersion": "1"}, "spec": spec}
    return read_exposure(found, slices, ingresses)


MIRRORED = {"metadata": {"name": "web-m", "labels": {"endpointslice.kubernetes.io/managed-by": "other"}}}


@pytest.mark.parametrize(
    ("spec", "slices", "means", "why"),
    [
        ({"type": "ExternalName"}, (), Means.SELECTOR, "outside of the cluster"),
        ({"type": "NodePort", "selector": {"app": "web"}}, (), Means.SOURCE_RANGES, "has no load balancer"),
        ({"type": "ClusterIP"}, (), Means.SELECTOR, "do not come from its selector: somebody"),
        ({"selector": {"app": "web"}}, (MIRRORED,), Means.SELECTOR, "EndpointSlice web-m"),
        ({"type": "LoadBalancer"}, (), Means.SOURCE_RANGES, None),
        ({"selector": {"app": "web"}}, (), Means.SELECTOR, None),
    ],
)
def test_what_cannot_close_it_is_refused(spec: Any, slices: Any, means: Means, why: str | None) -> None:
    refusal = ServiceUnexpose(means=means).refusal(exposed(spec, slices))
    assert (refusal.reason if refusal else None) == why or (refusal is not None and why and why in refusal.reason)


def test_it_says_what_else_leads_there() -> None:
    backend = {"service": {"name": "web", "port": {"number": 80}}}
    ingress = {"metadata": {"name": "shop"}, "spec": {"rules": [{"http": {"paths": [{"backend": backend}]}}]}}
    fallback = {"metadata": {"name": "all"}, "spec": {"defaultBackend": backend}}
    other = {"metadata": {"name": "other"}, "spec": {"rules": [{}]}}
    spec = {"type": "LoadBalancer", "selector": {"app": "web"}, "ports": [{"port": 80, "nodePort": 30080}]}
    state = exposed(spec, (), (ingress, fallback, other))
    assert state.ingresses == ("all", "shop")
    said = {caveat.id: caveat.text for caveat in ServiceUnexpose(means=Means.SOURCE_RANGES).caveats(state)}
    assert "30080" in said["node-ports"]
    assert "still lets the world in" in said["ingresses"]
    said = {caveat.id: caveat.text for caveat in ServiceUnexpose().caveats(state)}
    assert "node-ports" not in said
    assert "answers with an error" in said["ingresses"]

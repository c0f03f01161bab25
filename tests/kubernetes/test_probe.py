"""What is tried of a pod in quarantine, and what follows from it. With real packets: acceptance/test_packets.py."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from quarantine.action import Check, Verdict, reached
from quarantine.case import Case, Reason, Status
from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.contract import Setting
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.cloud import KubernetesCloud, Probe
from quarantine_kubernetes.exemption import Peer
from quarantine_kubernetes.isolation import PodIsolation
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.probe import MOST, SAMPLED, answering, connect, open_to_us
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from quarantine_kubernetes.recent import Recent
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.testbed.controlplane import ADMIN, ControlPlane
from tests.testbed.enforcer import Enforcer
from tests.testbed.kubeapi import pod_path
from tests.testbed.network import Host
from tests.testbed.poll import until
from tests.testbed.space import Space

MEANS = "network-policy"


class Wire:
    """Remembers who was tried."""

    def __init__(self, *open_ends: tuple[str, int]) -> None:
        self.open_ends = set(open_ends)
        self.tried: list[tuple[str, int]] = []

    def __call__(self, address: str, port: int) -> str | None:
        self.tried.append((address, port))
        return "10.9.0.1" if (address, port) in self.open_ends else None


def pod(name: str, *ports: tuple[int, str], address: str = "10.1.0.5", node: str = "node-1") -> dict[str, Any]:
    containers = [{"ports": [{"containerPort": port, "protocol": protocol} for port, protocol in ports]}]
    status = {"phase": "Running", "podIPs": [{"ip": address}, {"ip": "fd00::5"}]}
    metadata = {"name": name, "namespace": "shop", "uid": f"uid-of-{name}"}
    return {"metadata": metadata, "spec": {"containers": containers, "nodeName": node}, "status": status}


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_connection_is_made_or_it_is_not(listener: int) -> None:
    assert connect("127.0.0.1", listener) == "127.0.0.1"
    with socket.create_server(("127.0.0.1", 0)) as other:
        gone = int(other.getsockname()[1])
    assert connect("127.0.0.1", gone) is None


def test_every_declared_tcp_port_of_every_address_is_tried_and_no_other() -> None:
    wire = Wire(("fd00::5", 80))
    found = open_to_us(wire, Recent(), pod("web", (80, "TCP"), (443, "TCP"), (53, "UDP")), MEANS)
    assert found == ("a connection from 10.9.0.1 to its address fd00::5, port 80, still gets through",)
    assert set(wire.tried) == {(address, port) for address in ("10.1.0.5", "fd00::5") for port in (80, 443)}
    many = Wire()
    open_to_us(many, Recent(), pod("many", *((port, "TCP") for port in range(1, 100))), MEANS)
    assert len(many.tried) == MOST
    none = Wire()
    assert open_to_us(none, Recent(), pod("none"), MEANS) == ()
    assert none.tried == []


def test_one_closed_pod_of_a_node_is_enough_for_a_while_and_an_open_one_never_is() -> None:
    now = 0.0
    recent, wire = Recent(lambda: now), Wire()
    assert open_to_us(wire, recent, pod("silent"), MEANS) == (), "which is no example"
    assert open_to_us(wire, recent, pod("web", (80, "TCP")), MEANS) == ()
    assert len(wire.tried) == 2
    wire.open_ends = {("10.1.0.6", 80)}
    other = pod("other", (80, "TCP"), address="10.1.0.6")
    assert open_to_us(wire, recent, other, MEANS) == ()
    assert len(wire.tried) == 2, "the other one was not tried"
    assert open_to_us(wire, recent, other, "cilium") != (), "another means"
    assert open_to_us(wire, recent, {**other, "spec": {**other["spec"], "nodeName": "node-2"}}, MEANS) != ()
    now = SAMPLED
    assert open_to_us(wire, recent, other, MEANS) != ()
    assert open_to_us(wire, recent, pod("web", (80, "TCP")), MEANS) == (), "that one is open says nothing of this one"
    wire.open_ends = set()
    now = 2 * SAMPLED
    assert open_to_us(wire, recent, other, MEANS) == ()


def test_whether_anybody_answers_us_is_known_and_we_are_nobody() -> None:
    pods = [pod("udp", (53, "UDP")), pod("web", (80, "TCP")), pod("ours", (8443, "TCP"), address="10.9.0.1")]
    assert answering(Wire(), pods) == ""
    assert answering(Wire(("10.9.0.1", 8443)), pods) == "", "we answer ourselves"
    assert answering(Wire(("fd00::5", 80)), pods) == "shop/web"
    agent = pod("agent", (80, "TCP"))
    agent["spec"]["hostNetwork"] = True
    assert answering(Wire(("fd00::5", 80)), [agent]) == "", "that it answers says nothing of pods"
    many = Wire()
    assert answering(many, [pod(f"pod-{number}", (80, "TCP")) for number in range(1000)]) == ""
    assert len(many.tried) == 20


def test_it_wants_to_be_in_the_cluster() -> None:
    with pytest.raises(ValidationError, match="in_cluster: true"):
        Cluster(kubeconfig=Path("config"), probe=True)
    assert Cluster(in_cluster=True, probe=True).probe
    assert not Cluster().probe, "off unless asked for"


# --- on the real API server ----------------------------------------------------------------------------------------

PORTS = [{"name": "main", "image": "example.test/main:1", "ports": [{"containerPort": 80}]}]


def tried(namespace: Namespace, cloud: KubernetesCloud, action: PodIsolate) -> tuple[Setting, Wire, Any]:
    """A pod before and after its isolation, where whatever it listens on stays open."""
    resource = namespace.pod("web-1", containers=PORTS)
    setting = Setting(action, cloud, resource)
    wire = Wire((namespace.api.get(namespace.pod_path("web-1"))["status"]["podIP"], 80))
    cloud.probe = wire
    before = setting.observe()
    assert isinstance(before, PodIsolation)
    assert (wire.tried, before.unenforced) == ([], ()), "nothing is tried before the cut"
    target = setting.target(before)
    setting.apply(target)
    return setting, wire, target


def test_a_pod_that_still_answers_is_not_verified(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting, wire, target = tried(namespace, cloud, PodIsolate())
    now = setting.observe()
    assert isinstance(now, PodIsolation)
    assert "port 80, still gets through" in now.unenforced[0]
    assert not reached(now, target)
    assert reached(now, target, proven=False), "all that stands in the API is as it must be"
    wire.open_ends = set()
    assert reached(setting.observe(), target)


def test_one_that_lets_a_named_peer_in_is_not_tried(namespace: Namespace, cloud: KubernetesCloud) -> None:
    peer = Peer(namespaces={"team": "forensics"}, pods={"app": "lab"})
    setting, wire, target = tried(namespace, cloud, PodIsolate(level="quarantine", peer=peer))
    assert reached(setting.observe(), target)
    assert wire.tried == []


def test_only_a_cluster_that_says_so_is_tried(control_plane: ControlPlane) -> None:
    plain = Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))
    probing = plain.model_copy(update={"probe": True})  # as if we were within
    kubernetes = Kubernetes(KubernetesSettings().model_copy(update={"clusters": {"plain": plain, "probing": probing}}))
    assert kubernetes.connect("plain").probe is None
    assert kubernetes.connect("probing").probe is connect


def test_the_doctor_says_whether_anybody_answers(namespace: Namespace, control_plane: ControlPlane) -> None:
    namespace.pod("web-1", containers=PORTS)
    end = (namespace.api.get(namespace.pod_path("web-1"))["status"]["podIP"], 80)
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))

    def said(probe: Probe | None) -> Check | None:
        kubernetes.connect(CLUSTER).probe = probe
        return {check.subject: check for check in kubernetes.doctor()}.get(f"cluster {CLUSTER}: probe")

    assert said(None) is None
    answered, silent = said(Wire(end)), said(Wire())
    assert answered is not None
    assert (answered.verdict, answered.message) == (Verdict.OK, f"{namespace.name}/web-1 answers us")
    assert silent is not None
    assert silent.verdict is Verdict.WARN
    assert "finds nothing out" in silent.message


# --- with real packets ---------------------------------------------------------------------------------------------


def test_an_agent_that_says_it_is_ready_and_does_nothing_is_found_out(
    control_plane: ControlPlane, space: Space, enforcer: Enforcer, tmp_path: Path
) -> None:
    """Ours tries from a pod beside it. What is tried is what the product tries, in that pod's network."""
    within = space.node.host(space.create("quarantine", {"app": "quarantine"}))
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))
    cloud = kubernetes.connect(CLUSTER)
    cloud.probe = lambda address, port: within.inside(lambda: connect(address, port))
    closing: list[Host] = []
    there = Installation(
        tmp_path,
        kubernetes,
        [shipped() / "kubernetes" / "isolate-pod.yaml"],
        passing=lambda _: [until(lambda: not within.reaches(each.v4)) for each in closing],  # noqa: B023
    )

    def isolated(name: str) -> tuple[Case, Host]:
        made = space.create(name, {"app": "web"}, containers=PORTS)
        host = space.node.host(made)
        assert within.reaches(host.v4)
        resource = Resource(
            kind="kubernetes:pod", id=name, scope=f"{CLUSTER}/{space.name}", uid=made["metadata"]["uid"]
        )
        return there.open(resource, "isolate-pod"), host

    case, web = isolated("web-1")
    closing.append(web)
    case = there.settle(case)
    assert case.status is Status.CONTAINED, case.sentence
    assert not within.reaches(web.v4)

    closing.clear()
    enforcer.stop()
    (agent,) = control_plane.items("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dkube-router")
    control_plane.patch_status(pod_path(agent), {"conditions": [{"type": "Ready", "status": "True"}]})
    cloud.recent.forget()
    case, web = isolated("web-2")
    case = there.settle(case)
    assert (case.status, case.reason) == (Status.NEEDS_HUMAN, Reason.UNVERIFIED)
    assert f"a connection from {within.v4} to its address {web.v4}, port 80, still gets through" in str(case.sentence)
    assert "verified" not in there.types(case)
    assert within.reaches(web.v4), "and so it is"

    enforcer.start()
    until(lambda: not within.reaches(web.v4))
    there.desk.retry(case.id, "local:ann")
    assert there.settle(case).status is Status.CONTAINED

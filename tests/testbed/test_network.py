"""Pods on wires, and the enforcer between them: what every test about packets takes for granted."""

from pathlib import Path
from typing import Any

import pytest

from tests.testbed.controlplane import ControlPlane
from tests.testbed.enforcer import Enforcer
from tests.testbed.kubeapi import Object
from tests.testbed.network import BOTH, PORTS, PodNetwork, families
from tests.testbed.node import Node
from tests.testbed.poll import until
from tests.testbed.space import Space

# The wires


def test_pods_and_the_node_reach_each_other_in_both_families(pod_network: PodNetwork) -> None:
    one, two = pod_network.attach("10.1.0.1", "fd00:1::1"), pod_network.attach("10.1.0.2", "fd00:1::2")
    for port in PORTS:
        assert families(one, two, port) == families(two, one, port) == families(pod_network.node, one, port) == BOTH
    assert families(one, pod_network.node) == BOTH
    pod_network.detach(two)
    assert families(one, two) == set()
    pod_network.detach(one)


def test_the_machine_s_own_network_is_left_alone() -> None:
    def of_the_machine() -> tuple[object, ...]:
        devices = Path("/proc/net/dev").read_text().splitlines()
        return (
            {line.partition(":")[0] for line in devices},
            Path("/proc/net/route").read_text(),
            Path("/proc/net/ip_tables_names").exists() and Path("/proc/net/ip_tables_names").read_text(),
            Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        )

    before = of_the_machine()
    with PodNetwork() as network:
        network.attach("10.1.0.1", "fd00:1::1")
        assert of_the_machine() == before
    assert of_the_machine() == before


def test_what_the_machine_lacks_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "iptables-restore, ip6tables-restore not installed: make testbed" in str(PodNetwork().missing())


# The node


def test_the_pods_of_a_replica_set_run_and_a_deleted_one_is_replaced(space: Space, node: Node) -> None:
    first, second = space.replica_set("shop", 2)
    assert families(node.host(first), node.host(second)) == BOTH

    gone = node.host(first)
    space.api.delete(f"{space.pods}/{first['metadata']['name']}", grace=None)

    def others() -> list[Object]:
        known = (first["metadata"]["uid"], second["metadata"]["uid"])
        return [pod for pod in space.api.items(space.pods) if pod["metadata"]["uid"] not in known]

    (third,) = until(others)
    until(lambda: families(node.host(second), gone) == set())
    assert families(node.host(second), node.host(third)) == BOTH


def test_of_a_daemon_set_it_runs_the_pod_that_is_meant_for_it(
    space: Space, node: Node, control_plane: ControlPlane
) -> None:
    control_plane.create("/api/v1/nodes", {"metadata": {"name": "another"}})
    labels = {"app": "agent"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "main", "image": "x"}], "tolerations": [{"operator": "Exists"}]},
    }
    body = {"metadata": {"name": "agent"}, "spec": {"selector": {"matchLabels": labels}, "template": template}}
    space.api.create(f"/apis/apps/v1/namespaces/{space.name}/daemonsets", body)

    def ready() -> list[Object]:
        return [pod for pod in space.api.items(space.pods) if pod["status"].get("podIP")]

    try:
        until(lambda: len(space.api.items(space.pods)) == 2)
        (pod,) = until(ready)
        terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert terms["nodeSelectorTerms"][0]["matchFields"][0]["values"] == [node.name] == [pod["spec"]["nodeName"]]
        assert [each["spec"].get("nodeName") for each in space.api.items(space.pods)].count(None) == 1
    finally:
        control_plane.delete("/api/v1/nodes/another")


def test_a_pod_on_its_node_s_network_is_there(space: Space, node: Node, enforcer: Enforcer) -> None:
    web = space.host("web")
    agent = node.host(space.create("agent", {}, hostNetwork=True))
    space.policy("deny-all", policyTypes=["Ingress", "Egress"])
    until(lambda: families(web, agent) == set())
    assert families(agent, web) == BOTH, "the node reaches its pods, whatever policies say"


# The enforcer


def test_a_policy_flips_a_probe_in_its_direction_and_its_end_flips_it_back(space: Space, enforcer: Enforcer) -> None:
    web, other = space.host("web", app="web"), space.host("other", app="other")
    assert families(other, web) == families(web, other) == BOTH
    space.policy("canary", podSelector={"matchLabels": {"app": "web"}}, policyTypes=["Ingress"])
    until(lambda: families(other, web) == set())
    assert families(web, other) == BOTH
    space.delete_policy("canary")
    until(lambda: families(other, web) == BOTH)


def test_a_policy_alone_stops_nothing(space: Space, enforcer: Enforcer) -> None:
    web, other = space.host("web"), space.host("other")
    enforcer.stop()
    space.policy("deny-all", policyTypes=["Ingress", "Egress"])
    assert families(other, web) == BOTH
    enforcer.start()
    assert families(other, web) == set(), "what is there is enforced when it has started"
    enforcer.stop()
    space.delete_policy("deny-all")
    assert families(other, web) == set(), "its last rules stay when it is gone"


def test_what_was_let_in_once_stays_until_its_pod_is_gone(space: Space, enforcer: Enforcer) -> None:
    web, other = space.host("web"), space.host("other")
    connections = [other.connect(web.v4), other.connect(web.v6), web.connect(other.v4)]
    space.policy("deny-all", policyTypes=["Ingress", "Egress"])
    until(lambda: families(other, web) == families(web, other) == set())
    assert all(connection.answers() for connection in connections)
    space.api.delete(f"/api/v1/namespaces/{space.name}/pods/web", grace=None)
    for connection in connections:
        until(lambda connection=connection: not connection.answers(0.2))  # type: ignore[misc]
        connection.close()


TO_WEB = {"podSelector": {"matchLabels": {"app": "web"}}}
FROM_FRIEND = {"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}


@pytest.mark.parametrize(
    ("spec", "friend", "stranger"),
    [
        ({"ingress": [FROM_FRIEND]}, {80, 81, 443, 8080}, set()),
        ({"ingress": [{**FROM_FRIEND, "ports": [{"port": 81}]}]}, {81}, set()),
        ({"ingress": [{**FROM_FRIEND, "ports": [{"port": 81, "endPort": 500}]}]}, {81, 443}, set()),
        ({"ingress": [{"ports": [{"port": "https"}]}]}, {443}, {443}),
        ({"ingress": [{"ports": [{"port": "https", "protocol": "UDP"}]}]}, set(), set()),
        ({"ingress": [FROM_FRIEND, {"ports": [{"port": 80}]}]}, {80, 81, 443, 8080}, {80}),
        ({"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"name": "elsewhere"}}}]}]}, set(), set()),
        ({"ingress": [{"from": [{"namespaceSelector": {}, **FROM_FRIEND["from"][0]}]}]}, set(PORTS), set()),
        ({"ingress": [], "egress": [{}]}, set(), set()),
        ({"egress": [{}], "policyTypes": ["Egress"]}, set(PORTS), set(PORTS)),
        ({"ingress": [{"from": [{"podSelector": {"matchExpressions": [
            {"key": "app", "operator": "NotIn", "values": ["friend"]}]}}]}]}, set(), set(PORTS)),
    ],
)  # fmt: skip
def test_it_knows_what_a_rule_means(
    space: Space, enforcer: Enforcer, spec: dict[str, Any], friend: set[int], stranger: set[int]
) -> None:
    ports = [{"name": "https", "containerPort": 443}]
    containers = [{"name": "main", "image": "example.test/main:1", "ports": ports}]
    node = space.node
    web = node.host(space.create("web", {"app": "web"}, containers=containers))
    one, two = space.host("one", app="friend"), space.host("two", app="stranger")
    space.policy("rule", **TO_WEB, **spec)

    def let_in() -> tuple[set[int], set[int]]:
        return (
            {port for port in PORTS if families(one, web, port)},
            {port for port in PORTS if families(two, web, port)},
        )

    until(lambda: let_in() == (friend, stranger))
    assert all(families(who, web, port) in (BOTH, set()) for who in (one, two) for port in PORTS)


def test_a_block_of_addresses_has_exceptions(space: Space, enforcer: Enforcer) -> None:
    web, one, two = space.host("web", app="web"), space.host("one"), space.host("two")
    block = {"cidr": "10.244.0.0/16", "except": [f"{one.v4}/32"]}
    space.policy("rule", **TO_WEB, ingress=[{"from": [{"ipBlock": block}]}])
    until(lambda: families(one, web) == set())
    assert families(two, web) == {4}, "a block of one family lets in nobody of the other"


def test_a_name_of_a_port_is_looked_up_at_each_pod_that_is_spoken_to(space: Space, enforcer: Enforcer) -> None:
    def container(number: int) -> list[dict[str, Any]]:
        ports = [{"name": "api", "containerPort": number}]
        return [{"name": "main", "image": "example.test/main:1", "ports": ports}]

    web = space.host("web", app="web")
    one = space.node.host(space.create("one", {}, containers=container(81)))
    two = space.node.host(space.create("two", {}, containers=container(443)))
    space.policy("rule", **TO_WEB, policyTypes=["Egress"], egress=[{"ports": [{"port": "api"}]}])
    until(lambda: families(web, one) == set())
    assert [{port for port in PORTS if families(web, other, port)} for other in (one, two)] == [{81}, {443}]

"""Packets pass where two that only calculate say so: the product's evaluator, and cyclonus.

Random policies in two namespaces, and then real TCP connections: each port of each pod from each other pod, by IPv4 and
by IPv6. The three share no code. A difference is a defect of one of them.
"""

import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from quarantine_kubernetes.connection import Connection, ContainerPort, Endpoint, passes
from tests.conftest import Tell
from tests.testbed.controlplane import ControlPlane
from tests.testbed.enforcer import Enforcer
from tests.testbed.network import PORTS, Host
from tests.testbed.node import Node
from tests.testbed.oracle import Oracle, asked
from tests.testbed.space import Space

LABELS = {"app": ["a", "b"], "tier": ["a", "b"]}


@dataclass
class Pod:
    """A pod as those see it who calculate, and where it is on the network."""

    host: Host
    space: Space
    labels: dict[str, str]
    https: int
    """The port that it has this name for."""

    def end(self, address: str) -> Endpoint:
        return Endpoint(
            namespace=self.space.name,
            namespace_labels={"name": self.space.name, "kubernetes.io/metadata.name": self.space.name},
            labels=self.labels,
            addresses=(address,),
            ports=(ContainerPort(number=self.https, name="https"),),
        )


class World:
    def __init__(self, node: Node, spaces: tuple[Space, Space], enforcer: Enforcer, oracle: Oracle) -> None:
        one, two = self._spaces = spaces
        self._node = node
        self._enforcer = enforcer
        self._oracle = oracle
        self._pods = [
            self._pod(one, {}, 443),
            self._pod(one, {"app": "a"}, 81),
            self._pod(one, {"app": "b", "tier": "a"}, 443),
            self._pod(two, {"app": "a"}, 443),
            self._pod(two, {"tier": "b"}, 81),
        ]

    def compare(self, draw: random.Random) -> Counter[bool]:
        """Under some policies; how many connections there were that passed, and how many that did not."""
        drawn = random_policies(draw, list(self._spaces), [pod.host for pod in self._pods])
        for number, (space, spec) in enumerate(drawn):
            space.policy(f"random-{number}", **spec)
        policies = [policy for space in self._spaces for policy in space.api.items(space.policies)]
        self._enforcer.stop()
        self._enforcer.start()  # what is there is enforced from here on
        ways = list(self._ways())
        said = self._oracle.ask(policies, [asked(connection) for _, connection in ways]).verdicts
        judged: Counter[bool] = Counter()
        for (host, connection), verdict in zip(ways, said, strict=True):
            seen = host.reaches(connection.destination.addresses[0], connection.port)
            assert (seen, seen) == (passes(policies, connection), all(verdict)), (drawn, connection)
            judged[seen] += 1
        for number, (space, _) in enumerate(drawn):
            space.delete_policy(f"random-{number}")
        return judged

    def _ways(self) -> Iterator[tuple[Host, Connection]]:
        for source in self._pods:
            for destination in self._pods:
                if source is destination:
                    continue
                for here, there in zip(source.host.addresses, destination.host.addresses, strict=True):
                    ends = source.end(here), destination.end(there)
                    for port in PORTS:
                        yield source.host, Connection(source=ends[0], destination=ends[1], port=port)

    def _pod(self, space: Space, labels: dict[str, str], https: int) -> Pod:
        ports = [{"name": "https", "containerPort": https}]
        containers = [{"name": "main", "image": "example.test/main:1", "ports": ports}]
        made = space.create(f"pod-{uuid.uuid4().hex[:8]}", labels, containers=containers)
        return Pod(self._node.host(made), space, labels, https)


def random_policies(draw: random.Random, spaces: list[Space], hosts: list[Host]) -> list[tuple[Space, dict[str, Any]]]:
    def selector(keys: dict[str, list[str]]) -> dict[str, Any]:
        key = draw.choice(list(keys))
        kind = draw.choice(["everything", "label", "label", "expression"])
        if kind == "everything":
            return {}
        if kind == "label":
            return {"matchLabels": {key: draw.choice(keys[key])}}
        operator = draw.choice(["In", "NotIn", "Exists", "DoesNotExist"])
        values = {"values": draw.sample(keys[key], 1)} if operator in ("In", "NotIn") else {}
        return {"matchExpressions": [{"key": key, "operator": operator, **values}]}

    def peer() -> dict[str, Any]:
        kind = draw.choice(["pods", "spaces", "both", "block"])
        if kind == "block":
            return {"ipBlock": block()}
        found = {}
        if kind != "spaces":
            found["podSelector"] = selector(LABELS)
        if kind != "pods":
            found["namespaceSelector"] = selector({"name": [each.name for each in spaces]})
        return found

    def block() -> dict[str, Any]:
        host = draw.choice(hosts)
        cidr, one = draw.choice([("10.244.0.0/16", f"{host.v4}/32"), ("fd00:10:244::/112", f"{host.v6}/128")])
        return draw.choice([{"cidr": cidr}, {"cidr": one}, {"cidr": cidr, "except": [one]}])

    def port() -> dict[str, Any]:
        some: list[dict[str, Any]] = [
            {"port": 80}, {"port": 81, "endPort": 443}, {"port": "https"}, {"protocol": "TCP"}, {"protocol": "UDP"}
        ]  # fmt: skip
        return draw.choice(some)

    def rule(who: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if draw.random() < 0.8:
            found[who] = [peer() for _ in range(draw.randrange(1, 3))]
        if draw.random() < 0.5:
            found["ports"] = [port() for _ in range(draw.randrange(1, 3))]
        return found

    def policy() -> dict[str, Any]:
        spec: dict[str, Any] = {"podSelector": selector(LABELS)}
        if types := draw.choice([[], ["Ingress"], ["Egress"], ["Ingress", "Egress"]]):
            spec["policyTypes"] = types
        for direction, who in (("ingress", "from"), ("egress", "to")):
            if draw.random() < 0.6:
                spec[direction] = [rule(who) for _ in range(draw.randrange(1, 3))]
        return spec

    return [(draw.choice(spaces), policy()) for _ in range(draw.randrange(1, 4))]


@pytest.fixture
def world(control_plane: ControlPlane, node: Node, enforcer: Enforcer, oracle: Oracle) -> Iterator[World]:
    with ExitStack() as stack:
        spaces = stack.enter_context(Space(control_plane, node)), stack.enter_context(Space(control_plane, node))
        yield World(node, spaces, enforcer, oracle)


def test_packets_pass_where_the_evaluator_and_cyclonus_say_so(world: World, seed: int) -> None:
    draw = random.Random(seed)
    judged = sum((world.compare(draw) for _ in range(12)), Counter())
    assert min(judged[True], judged[False]) > 100, judged


@pytest.mark.soak
def test_packets_pass_where_they_say_so_under_five_hundred_sets_of_policies(
    world: World, seed: int, tell: Tell
) -> None:
    draw = random.Random(seed)
    judged = sum((world.compare(draw) for _ in range(500)), Counter())
    tell(f"500 sets of policies: {judged[True]} connections passed, {judged[False]} did not, as both had said")

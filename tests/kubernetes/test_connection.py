"""Single connections, judged by us and by cyclonus, for random clusters full of the cases that are easily got wrong."""

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from quarantine_kubernetes.connection import PROTOCOLS, Connection, ContainerPort, Endpoint, lets, passes
from quarantine_kubernetes.network_policy import Direction
from tests.testbed.oracle import Oracle, asked

KEYS, VALUES = ("app", "tier"), ("a", "b")
SPACES = {"shop": {"name": "shop"}, "bank": {"name": "bank", "tier": "a"}, "bare": {}}
PORTS = (
    ContainerPort(number=80, name="http"),
    ContainerPort(number=53, protocol="UDP", name="dns"),
    ContainerPort(number=53, protocol="TCP", name="dns"),
    ContainerPort(number=8080, name="http"),  # two ports of one name, as two containers may have
    ContainerPort(number=81),
)
ADDRESSES = ("10.1.0.5", "10.1.7.5", "10.2.0.5", "192.0.2.9", "fd00::5", "fd00:1::5", "2001:db8::9")
BLOCKS: tuple[dict[str, Any], ...] = (
    {"cidr": "0.0.0.0/0"},
    {"cidr": "::/0"},
    {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]},
    {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.5/32"]},
    {"cidr": "10.1.0.0/16", "except": ["10.1.7.0/24"]},
    {"cidr": "10.1.0.5/32"},
    {"cidr": "10.1.0.7/16"},  # bits beyond the prefix: the API server lets them pass
    {"cidr": "fd00::/16", "except": ["fd00:1::/32"]},
    {"cidr": "2001:db8::/32"},
)

value = st.sampled_from((*VALUES, ""))
labels = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, value))
requirement = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from((*KEYS, "name")),
        st.sampled_from(("In", "NotIn")),
        st.lists(st.sampled_from((*VALUES, "shop", "")), min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from((*KEYS, "name")),
        st.sampled_from(("Exists", "DoesNotExist")),
    ),
)
selector = st.one_of(
    st.just({}),
    st.fixed_dictionaries({}, optional={"matchLabels": labels, "matchExpressions": st.lists(requirement, max_size=2)}),
)
peer = st.one_of(
    st.fixed_dictionaries({"podSelector": selector}),
    st.fixed_dictionaries({"namespaceSelector": selector}, optional={"podSelector": selector}),
    st.sampled_from(BLOCKS).map(lambda block: {"ipBlock": block}),
)
protocol: st.SearchStrategy[dict[str, Any]] = st.sampled_from(({}, *({"protocol": name} for name in PROTOCOLS)))
port = st.builds(
    lambda one, other: one | other,
    protocol,
    st.sampled_from(
        (
            {},
            {"port": 80},
            {"port": 53},
            {"port": "http"},
            {"port": "dns"},
            {"port": "nobodys"},
            {"port": 79, "endPort": 81},
            {"port": 80, "endPort": 80},
            {"port": 1, "endPort": 65535},
        )
    ),
)


def rules(side: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({}, optional={side: st.lists(peer, max_size=3), "ports": st.lists(port, max_size=2)}),
        max_size=2,
    )


policy = st.builds(
    lambda number, space, spec: {"metadata": {"name": f"p{number}", "namespace": space}, "spec": spec},
    st.integers(0, 10**6),
    st.sampled_from(("shop", "shop", "bank")),
    st.fixed_dictionaries(
        {"podSelector": selector},
        optional={
            "policyTypes": st.sampled_from(([], ["Ingress", "Egress"], ["Egress"], ["Ingress", "Egress"])),
            "ingress": rules("from"),
            "egress": rules("to"),
        },
    ),
)
pod = st.builds(
    lambda space, found, address, ports: Endpoint(
        namespace=space, namespace_labels=SPACES[space], labels=found, addresses=(address,), ports=ports
    ),
    st.sampled_from(("shop", "shop", *SPACES)),
    labels,
    st.sampled_from(ADDRESSES),
    st.sampled_from((PORTS, PORTS[:2], ())),
)
outside = st.sampled_from(ADDRESSES).map(lambda address: Endpoint(addresses=(address,)))
endpoint = st.one_of(pod, pod, outside)
connection = st.builds(
    lambda source, destination, way: Connection(source=source, destination=destination, protocol=way[0], port=way[1]),
    endpoint,
    endpoint,
    st.sampled_from((("TCP", 80), ("TCP", 81), ("TCP", 8080), ("TCP", 53), ("UDP", 53), ("SCTP", 80), ("UDP", 80))),
)
questions = st.tuples(st.lists(policy, min_size=1, max_size=5), st.lists(connection, min_size=8, max_size=16))


def agree(oracle: Oracle, examples: int) -> Counter[str]:
    """Raises with the smallest cluster on which we differ. Returns how many verdicts there were of which kind."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(questions)
    def compare(question: tuple[list[Mapping[str, Any]], list[Connection]]) -> None:
        policies, connections = question
        said = oracle.ask(policies, [asked(one) for one in connections])
        for one, verdict, raw in zip(connections, said.verdicts, said.raw, strict=True):
            ours = lets(policies, one, Direction.INGRESS), lets(policies, one, Direction.EGRESS)
            assert ours == verdict, one
            assert passes(policies, one) == all(ours)
            seen.update(f"{way}:{'open' if ours[way == Direction.EGRESS] else 'shut'}" for way in Direction)
            if raw != verdict:
                seen["cyclonus differs"] += 1
                assert "NotIn" in str(policies) or "''}" in str(policies) or "''," in str(policies)
        seen["sets"] += 1

    compare()
    return seen


def test_we_agree_with_cyclonus(oracle: Oracle) -> None:
    seen = agree(oracle, 300)
    assert seen["sets"] >= 300
    for kind in ("ingress:open", "ingress:shut", "egress:open", "egress:shut"):
        assert seen[kind] > 200, seen  # what is almost never shut, or almost always, would tell nothing
    assert seen["cyclonus differs"], "the two known differences are not even met: the sets are too tame"


@pytest.mark.soak
def test_we_agree_with_cyclonus_on_ten_thousand_clusters(oracle: Oracle) -> None:
    seen = agree(oracle, 10_000)
    assert seen["sets"] >= 10_000
    sys.stdout.write(f"{dict(seen)}\n")  # `make soak` shows it


# --- by example ----------------------------------------------------------------------------------------------------


WEB = Endpoint(
    namespace="shop",
    namespace_labels=SPACES["shop"],
    labels={"app": "a"},
    addresses=("10.1.0.5", "fd00::5"),
    ports=PORTS,
)
CLIENT = Endpoint(namespace="bank", namespace_labels=SPACES["bank"], labels={"app": "b"}, addresses=("10.2.0.5",))
WORLD = Endpoint(addresses=("192.0.2.9",))


def allowed(spec: dict[str, Any], source: Endpoint = CLIENT, port: int = 80, protocol: str = "TCP") -> bool:
    made = {"metadata": {"name": "p", "namespace": "shop"}, "spec": {"podSelector": {}, **spec}}
    return passes([made], Connection(source=source, destination=WEB, port=port, protocol=protocol))


def test_without_a_policy_everything_passes() -> None:
    assert passes([], Connection(source=WORLD, destination=WEB, port=1))


def test_a_policy_of_another_namespace_has_no_say() -> None:
    deny = {"metadata": {"name": "p", "namespace": "elsewhere"}, "spec": {"podSelector": {}}}
    assert passes([deny], Connection(source=WORLD, destination=WEB, port=1))


@pytest.mark.parametrize(
    ("port", "protocol", "name", "expected"),
    [
        (80, "TCP", "http", True),
        (8080, "TCP", "http", True),
        (81, "TCP", "http", False),
        (80, "UDP", "http", False),
        (53, "TCP", "dns", True),
        (53, "UDP", "dns", False),  # the rule says TCP, as it says nothing
    ],
)
def test_a_named_port_is_what_the_destination_calls_so(port: int, protocol: str, name: str, expected: bool) -> None:
    assert allowed({"ingress": [{"ports": [{"port": name}]}]}, port=port, protocol=protocol) is expected


@pytest.mark.parametrize(("port", "expected"), [(78, False), (79, True), (81, True), (82, False)])
def test_both_ends_of_a_range_belong_to_it(port: int, expected: bool) -> None:
    assert allowed({"ingress": [{"ports": [{"port": 79, "endPort": 81}]}]}, port=port) is expected


def test_a_pod_selector_alone_means_the_namespace_of_the_policy() -> None:
    assert not allowed({"ingress": [{"from": [{"podSelector": {}}]}]})
    assert allowed({"ingress": [{"from": [{"podSelector": {}, "namespaceSelector": {}}]}]})


def test_no_selector_of_pods_selects_what_is_outside() -> None:
    assert not allowed({"ingress": [{"from": [{"namespaceSelector": {}}]}]}, source=WORLD)
    assert allowed({"ingress": [{"from": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]}, source=WORLD)


def test_any_address_of_a_pod_may_be_the_one_that_is_let_through() -> None:
    both = CLIENT.model_copy(update={"addresses": ("10.2.0.5", "fd00:2::5")})
    assert allowed({"ingress": [{"from": [{"ipBlock": {"cidr": "fd00:2::/32"}}]}]}, source=both)


@pytest.mark.parametrize(
    "rule",
    [
        "odd",
        {"from": {}, "via": []},
        {"from": "odd"},
        {"from": [{"podSelector": {"matchFields": []}}]},
        {"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]},
        {"from": [{"ipBlock": {"cidr": None}}]},
        {"ports": [{"port": 1.5}]},
        {"ports": [{"port": "http", "endPort": 90}]},
        {"ports": [{"port": 81}, {"protocol": "QUIC"}]},
    ],
)
def test_what_it_does_not_know_lets_through(rule: Any) -> None:
    assert allowed({"ingress": [rule]})


def test_a_known_set_that_the_random_ones_would_rarely_hit_is_judged_alike(oracle: Oracle) -> None:
    """Two policies that select the same pods by the same selector: an implementation that merges them must add up."""
    picked = {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress"]}
    policies = [
        {"metadata": {"name": "one", "namespace": "shop"}, "spec": {**picked, "ingress": []}},
        {"metadata": {"name": "two", "namespace": "shop"}, "spec": {**picked, "ingress": [{"ports": [{"port": 80}]}]}},
    ]
    ways = [Connection(source=CLIENT, destination=WEB, port=number) for number in (80, 81)]
    assert oracle.ask(policies, [asked(way) for way in ways]).verdicts == [(True, True), (False, True)]
    assert [passes(policies, way) for way in ways] == [True, False]

"""The evaluator against a brute force that enumerates concrete connections and never asks about rules."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarantine_kubernetes.network_policy import Direction, Isolation, isolation
from quarantine_kubernetes.selector import selects

KEYS, VALUES = ("app", "tier"), ("a", "b")

# --- the brute force: sets of label assignments, and a small world of peers and ports ------------------------------

WORLD = [
    {key: value for key, value in zip(KEYS, values, strict=True) if value is not None}
    for values in product((None, *VALUES), repeat=len(KEYS))
]


def matching(selector: dict[str, Any]) -> list[dict[str, str]]:
    """Every label assignment of the world that a selector selects, by striking out those that it does not."""
    left = list(WORLD)
    for key, value in (selector.get("matchLabels") or {}).items():
        left = [labels for labels in left if labels.get(key, "") == value]
    for expression in selector.get("matchExpressions") or []:
        key = expression["key"]
        match expression["operator"]:
            case "Exists":
                left = [labels for labels in left if labels.get(key, "") != ""]
            case "DoesNotExist":
                left = [labels for labels in left if labels.get(key, "") == ""]
            case "In":
                left = [labels for labels in left if any(labels.get(key, "") == v for v in expression["values"])]
            case "NotIn":
                left = [labels for labels in left if all(labels.get(key, "") != v for v in expression["values"])]
    return left


def connections() -> Iterator[tuple[dict[str, Any], str, int]]:
    peers: list[dict[str, Any]] = [{"pod": pod, "namespace": space} for pod in WORLD for space in (None, *WORLD)]
    peers += [{"address": address} for address in ("10.0.0.9", "192.0.2.1")]
    yield from product(peers, ("TCP", "UDP"), (53, 80, 443))


def passes(rule: dict[str, Any], side: str, peer: dict[str, Any], protocol: str, port: int) -> bool:
    ports = rule.get("ports")
    if ports and not any(
        (item.get("protocol", "TCP") == protocol)
        and ("port" not in item or item["port"] <= port <= item.get("endPort", item["port"]))
        for item in ports
    ):
        return False
    return not rule.get(side) or any(is_peer(item, peer) for item in rule[side])


def is_peer(item: dict[str, Any], peer: dict[str, Any]) -> bool:
    if "ipBlock" in item:
        return bool(peer.get("address", "").startswith(item["ipBlock"]["cidr"].partition(".")[0] + "."))
    if "address" in peer:
        return False
    if peer["pod"] not in matching(item.get("podSelector", {})):
        return False
    if "namespaceSelector" not in item:
        return bool(peer["namespace"] is None)  # the pod's own namespace
    return peer["namespace"] is not None and peer["namespace"] in matching(item["namespaceSelector"])


def by_brute_force(
    policies: list[dict[str, Any]], labels: dict[str, str], direction: Direction
) -> tuple[bool, set[str]]:
    side = "from" if direction is Direction.INGRESS else "to"
    selected, opened = False, set()
    for policy in policies:
        spec = policy["spec"]
        if labels not in matching(spec.get("podSelector") or {}):
            continue
        types = spec.get("policyTypes")
        if direction is Direction.EGRESS and not (("Egress" in types) if types else spec.get("egress")):
            continue
        if direction is Direction.INGRESS and types and "Ingress" not in types:
            continue
        selected = True
        if any(passes(rule, side, *way) for way in connections() for rule in spec.get(direction) or []):
            opened.add(policy["metadata"]["name"])
    return selected, opened


# --- random policies; peers always have a witness in the world, so that an opening is one on both sides -------------

requirement = st.one_of(
    st.builds(
        lambda key, operator, values: {"key": key, "operator": operator, "values": values},
        st.sampled_from(KEYS),
        st.sampled_from(("In", "NotIn")),
        st.lists(st.sampled_from(VALUES), min_size=1, max_size=2),
    ),
    st.builds(
        lambda key, operator: {"key": key, "operator": operator},
        st.sampled_from(KEYS),
        st.sampled_from(("Exists", "DoesNotExist")),
    ),
)
selector = st.fixed_dictionaries(
    {},
    optional={
        "matchLabels": st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=2),
        "matchExpressions": st.lists(requirement, max_size=2),
    },
)
witnessed = selector.filter(matching)
peer = st.one_of(
    st.fixed_dictionaries({"podSelector": witnessed}),
    st.fixed_dictionaries({"namespaceSelector": witnessed}, optional={"podSelector": witnessed}),
    st.builds(lambda cidr: {"ipBlock": {"cidr": cidr}}, st.sampled_from(("10.0.0.0/8", "192.0.2.0/24"))),
)
port = st.sampled_from(
    [
        {},
        {"protocol": "UDP", "port": 53},
        {"port": 443},
        {"protocol": "TCP", "port": 80, "endPort": 90},
        {"protocol": "UDP"},
    ]
)


def rules(side: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({}, optional={side: st.lists(peer, max_size=2), "ports": st.lists(port, max_size=2)}),
        max_size=2,
    )


policy = st.fixed_dictionaries(
    {},
    optional={
        "podSelector": selector,
        "policyTypes": st.sampled_from([[], ["Ingress"], ["Egress"], ["Ingress", "Egress"]]),
        "ingress": rules("from"),
        "egress": rules("to"),
    },
)
policies = st.lists(policy, max_size=4).map(
    lambda specs: [{"metadata": {"name": f"p{number}"}, "spec": spec} for number, spec in enumerate(specs)]
)


@given(policies, st.sampled_from(WORLD))
@settings(max_examples=300, deadline=None)
def test_an_opening_is_reported_exactly_when_a_concrete_connection_is_allowed(
    policies: list[dict[str, Any]], labels: dict[str, str]
) -> None:
    found = isolation(policies, labels)
    for direction in Direction:
        selected, opened = by_brute_force(policies, labels, direction)
        assert found[direction].selected == selected
        assert {opening.policy for opening in found[direction].openings} == opened


@given(selector, st.sampled_from(WORLD))
def test_a_selector_selects_what_striking_out_leaves(selector: dict[str, Any], labels: dict[str, str]) -> None:
    assert selects(selector, labels) == (labels in matching(selector))


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "podSelector",
                    "policyTypes",
                    "ingress",
                    "egress",
                    "from",
                    "to",
                    "ports",
                    "port",
                    "matchLabels",
                    "matchExpressions",
                    "key",
                    "operator",
                    "values",
                    "namespaceSelector",
                    "ipBlock",
                    "except",
                    "spec",
                    "other",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(json)
def test_a_policy_of_any_shape_is_judged(spec: Any) -> None:
    found = isolation([{"metadata": {"name": "odd"}, "spec": spec}], {"app": "a"})
    if not isinstance(spec, dict) or "other" in spec:
        assert all(found[direction].openings for direction in Direction)


# --- by example ----------------------------------------------------------------------------------------------------


def one(spec: dict[str, Any], labels: dict[str, str] | None = None) -> dict[Direction, Isolation]:
    return isolation([{"metadata": {"name": "p"}, "spec": spec}], labels or {})


def sentences(spec: dict[str, Any], labels: dict[str, str] | None = None) -> list[str]:
    return [str(opening) for side in one(spec, labels).values() for opening in side.openings]


def test_the_plan_can_name_what_still_is_open() -> None:
    dns = {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}}],
        "ports": [{"protocol": "UDP", "port": 53}],
    }
    assert sentences({"podSelector": {}, "policyTypes": ["Egress"], "egress": [dns]}) == [
        "policy 'p' allows egress to pods with k8s-app=kube-dns in every namespace on UDP/53"
    ]


def test_an_empty_rule_allows_everything() -> None:
    assert sentences({"podSelector": {}, "ingress": [{}]}) == ["policy 'p' allows ingress from anywhere on any port"]


def test_addresses_ranges_and_expressions_are_put_in_words() -> None:
    rule = {
        "from": [
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["db", "web"]}]}},
        ],
        "ports": [{"port": 80, "endPort": 90}, {"protocol": "SCTP"}, {"port": "http"}],
    }
    (sentence,) = sentences({"ingress": [rule]})
    assert sentence == (
        "policy 'p' allows ingress from 10.0.0.0/8 except 10.1.0.0/16 or pods with tier NotIn (db,web) of the"
        " namespace on TCP/80-90, SCTP/any port, TCP/http"
    )


def test_without_policy_types_egress_stays_out_of_it() -> None:
    found = one({"podSelector": {}})
    assert found[Direction.INGRESS].selected
    assert not found[Direction.EGRESS].selected


def test_without_policy_types_egress_rules_bring_egress_in() -> None:
    assert one({"podSelector": {}, "egress": [{}]})[Direction.EGRESS].openings


def test_rules_of_a_direction_that_the_policy_types_leave_out_mean_nothing() -> None:
    assert not sentences({"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{}]})


def test_a_negative_selector_begins_to_match_when_labels_go() -> None:
    spec = {
        "podSelector": {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]},
        "ingress": [{}],
    }
    assert not sentences(spec, {"app": "web"})
    assert sentences(spec, {})


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {"podSelector": {"matchFields": []}},
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "Gt", "values": ["1"]}]}},
        {"podSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": []}]}},
        {"podSelector": {"matchLabels": {"app": "no"}, "matchExpressions": [{"key": "app", "operator": "Gt"}]}},
        {"podSelector": {}, "policyTypes": ["Ingress", "Sideways"]},
        {"podSelector": {}, "appliesTo": "everything"},
    ],
)
def test_what_it_does_not_know_counts_as_open_in_both_directions(spec: Any) -> None:
    found = isolation([{"metadata": {"name": "odd"}, "spec": spec}], {"app": "web"})
    assert all(found[direction].openings for direction in Direction)

"""A pod that is reported isolated is isolated: the program on a real API server, and real packets between the pods.

An alert of Falco comes in by webhook; the shipped playbook acts with exactly its permissions; what then passes between
network namespaces is measured, and nothing is believed.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quarantine.case import Case, Outcome, Reason, Status
from quarantine.cli import hand
from tests.acceptance import trail
from tests.acceptance.product import Product, falco
from tests.testbed.controlplane import SERVICE, ControlPlane
from tests.testbed.enforcer import Enforcer
from tests.testbed.kubeapi import Object, pod_path
from tests.testbed.network import BOTH, Host, families
from tests.testbed.poll import until
from tests.testbed.space import Space

ANN, BOB = "local:ann", "local:bob"
MANY = 1000
GUARDS = {
    "mode": "auto",
    "budget": {"per_account_10m": MANY, "per_account_24h": MANY, "global_24h": MANY},
    "storm": {"cases": MANY},
    "breaker": {"of_last": 100, "failures": 100},
}


@pytest.fixture(scope="module")
def product(
    control_plane: ControlPlane, kubeconfig: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """One installation for all tests here, which looks every second and puts drift right once.

    At the end, its ledger and the audit log of the API server must agree on every change that it made.
    """
    providers = {"kubernetes": {"clusters": {"testbed": {"kubeconfig": str(kubeconfig())}}}}
    watch = {"every": "1s", "on_drift": "reapply"}
    begin = datetime.now(UTC)
    folder = tmp_path_factory.mktemp("installation")
    with Product(folder, {"providers": providers, "guards": GUARDS, "watch": watch}) as running:
        yield running
        running.assert_whole()
        trail.assert_agree(lambda: control_plane.audit(SERVICE), running.ledger(), begin)


@pytest.fixture
def alert(product: Product, space: Space) -> Callable[[Object], str]:
    """Sends Falco's alert about a pod; the id of the case that it opens."""

    def send(pod: Object) -> str:
        metadata = pod["metadata"]
        before = {case.id for case in product.cases()}
        answer = product.send_with_token(falco(metadata["name"], space.name, metadata["uid"]), "falco")
        assert answer.status == 202
        opened: set[str] = until(lambda: {case.id for case in product.cases()} - before)
        (case,) = opened
        return case

    return send


def changes(control_plane: ControlPlane, space: Space) -> list[str]:
    """What our user has changed in the namespace, by the audit log of the API server."""
    seen = trail.mutations(control_plane.audit(SERVICE))
    return [str(each) for each in seen if each.name.startswith(f"{space.name}/")]


def closed(one: Host, *others: Host) -> bool:
    """Not one new connection works, from or to any other, by either family."""
    return all(families(one, other) == families(other, one) == set() for other in others)


def opened(one: Host, *others: Host) -> bool:
    return all(families(one, other) == families(other, one) == BOTH for other in others)


def isolated(product: Product, case: str) -> Case:
    return product.wait(case, Status.CONTAINED)


def told(product: Product, case: str) -> str:
    return product.say("case", "show", case)


# --- what is promised ----------------------------------------------------------------------------------------------


def test_an_isolated_pod_is_cut_off_in_both_directions_and_given_back_exactly(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str]
) -> None:
    labels = {"app": "web", "tier": "front"}
    pod, sibling = space.create("web-1", labels), space.create("web-2", labels)
    web, other, client = space.node.host(pod), space.node.host(sibling), space.host("client")
    space.service("web")
    until(lambda: space.endpoints("web") == {web.v4, other.v4})
    assert opened(web, other, client)
    before = space.pod("web-1")

    case = alert(pod)
    isolated(product, case)
    until(lambda: closed(web, other, client))
    assert opened(other, client), "the sibling goes on serving"
    until(lambda: space.endpoints("web") == {other.v4})

    product.say("case", "release", case, "--no-wait")
    assert product.wait(case, Status.CLOSED).outcome is Outcome.RELEASED
    until(lambda: opened(web, other, client))
    until(lambda: space.endpoints("web") == {web.v4, other.v4})
    after = space.pod("web-1")
    assert after["spec"] == before["spec"]
    for metadata in (before["metadata"], after["metadata"]):
        del metadata["resourceVersion"], metadata["managedFields"]
    assert after["metadata"] == before["metadata"]
    assert space.policy_names() == []


def test_its_replica_set_replaces_it_as_the_plan_says_and_the_new_one_serves(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str]
) -> None:
    pod, sibling = space.replica_set("web", 2)
    web, other, client = space.node.host(pod), space.node.host(sibling), space.host("client")
    case = alert(pod)
    isolated(product, case)
    said = " ".join(told(product, case).split())
    assert "ReplicaSet/web lets go of the pod and starts another one from the same image" in said

    until(lambda: space.ready("web") == 2)
    pods = {each["metadata"]["uid"]: each for each in space.api.items(f"{space.pods}?labelSelector=app%3Dweb")}
    assert pod["metadata"]["uid"] not in pods
    (replacement,) = [each for uid, each in pods.items() if uid != sibling["metadata"]["uid"]]
    until(lambda: closed(web, other, client, space.node.host(replacement)))
    assert opened(space.node.host(replacement), other, client)
    assert "ownerReferences" not in space.pod(pod["metadata"]["name"])["metadata"], "nobody owns it any more"


# --- what naive isolation gets wrong -------------------------------------------------------------------------------


def test_where_another_policy_would_keep_it_open_it_is_refused_and_never_a_success(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str], control_plane: ControlPlane
) -> None:
    pod, client = space.create("web-1", {"app": "web"}), space.host("client", app="client")
    web = space.node.host(pod)
    space.policy("allow-all", policyTypes=["Ingress", "Egress"], ingress=[{}], egress=[{}])

    case = alert(pod)
    until(lambda: product.store.load(case).sentence)
    assert product.store.load(case).status is Status.PROPOSED
    sentence = str(product.store.load(case).sentence)
    assert "allow-all" in sentence and "delete the pod" in sentence
    product.run("case", "approve", case, "--yes")
    assert "intended" not in product.types(case), "not even a person's yes makes it work"
    assert changes(control_plane, space) == []

    # Was it right? What every other tool does: a deny-all policy, and the label that it selects.
    space.policy("deny-all", podSelector={"matchLabels": {"isolated": "yes"}}, policyTypes=["Ingress", "Egress"])
    space.api.patch(pod_path(pod), {"metadata": {"labels": {"app": None, "isolated": "yes"}}})
    canary = space.host("canary", app="canary")
    space.delete_policy("allow-all")
    until(lambda: closed(web, client))
    assert opened(canary, client)
    space.policy("allow-all", policyTypes=["Ingress", "Egress"], ingress=[{}], egress=[{}])
    until(lambda: opened(web, client))


def test_a_connection_that_was_open_goes_on_as_the_case_says_until_a_person_has_the_pod_deleted(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str]
) -> None:
    pod, client = space.create("web-1", {"app": "web"}), space.host("client")
    web = space.node.host(pod)
    connections = [client.connect(web.v4), client.connect(web.v6), web.connect(client.v4)]

    case = alert(pod)
    resource = isolated(product, case).resource
    until(lambda: closed(web, client))
    said = " ".join(told(product, case).split())
    assert "Connections that are open already may go on" in said
    assert all(connection.answers() for connection in connections)

    office = product.office
    playbook = office.shelf.find("delete-pod")
    plan = office.planner.draft(playbook, resource).plan
    office.desk.escalate(case, ANN, playbook, plan.digest)
    until(lambda: "escalation_asked" in product.types(case), seconds=20)
    assert all(connection.answers() for connection in connections), "not before another person has agreed"
    office.desk.approve(case, BOB, plan.digest)
    assert product.wait(case, Status.CLOSED).outcome is Outcome.ONE_WAY_DONE
    assert not space.api.exists(pod_path(pod))
    for connection in connections:
        until(lambda connection=connection: not connection.answers(0.2))  # type: ignore[misc]
        connection.close()


def test_where_nobody_enforces_it_is_not_reported_isolated(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str]
) -> None:
    pod, client = space.create("web-1", {"app": "web"}), space.host("client")
    web = space.node.host(pod)
    enforcer.stop()
    case = alert(pod)
    halted = product.wait(case, Status.NEEDS_HUMAN)
    assert halted.reason is Reason.UNVERIFIED
    assert "kube-system/kube-router" in str(halted.sentence) and "is not ready" in str(halted.sentence)
    assert space.policy_names(), "what could be done was done"
    assert opened(web, client), "and it is open"

    enforcer.start()
    until(lambda: closed(web, client))

    def is_verified() -> bool:
        """How the agent is may be known for two seconds already."""
        product.say("case", "retry", case, "--no-wait")
        return product.wait(case, Status.CONTAINED, Status.NEEDS_HUMAN).status is Status.CONTAINED

    until(is_verified, seconds=60)
    isolated(product, case)


def test_a_pod_on_its_node_s_network_is_refused_with_what_would_work(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str], control_plane: ControlPlane
) -> None:
    agent, client = space.create("agent", {}, hostNetwork=True), space.host("client")
    host = space.node.host(agent)
    case = alert(agent)
    until(lambda: product.store.load(case).sentence)
    sentence = str(product.store.load(case).sentence)
    assert "hostNetwork" in sentence and "cordon node node-1" in sentence
    assert product.store.load(case).status is Status.PROPOSED
    assert changes(control_plane, space) == []

    space.policy("deny-all", policyTypes=["Ingress", "Egress"])
    until(lambda: families(client, host) == set())
    assert families(host, client) == BOTH, "no policy would have closed it"


def test_another_pod_under_the_same_name_is_left_alone(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str], control_plane: ControlPlane
) -> None:
    old, client = space.create("web-1", {"app": "web"}), space.host("client")
    space.node.host(old)
    space.api.delete(pod_path(old))
    new = space.node.host(space.create("web-1", {"app": "web"}))

    case = alert(old)
    assert product.wait(case, Status.CLOSED).outcome is Outcome.TARGET_GONE
    assert changes(control_plane, space) == []
    assert space.labels("web-1") == {"app": "web"}
    assert opened(new, client)


def test_one_that_takes_the_name_while_a_person_thinks_is_left_alone(
    product: Product, space: Space, enforcer: Enforcer, control_plane: ControlPlane
) -> None:
    old, client = space.create("web-1", {"app": "web"}), space.host("client")
    space.node.host(old)
    office = product.office
    asked = hand.request(office, "delete-pod", ("kubernetes:pod", "web-1"), f"testbed/{space.name}", None, ANN)
    case = office.store.open(hand.opened(office, asked), ANN, office.clock()).id
    product.wait(case, Status.AWAITING_APPROVAL)

    space.api.delete(pod_path(old))
    new = space.create("web-1", {"app": "web"})
    connection = client.connect(space.node.host(new).v4)
    office.desk.approve(case, BOB)
    assert product.wait(case, Status.CLOSED).outcome is Outcome.TARGET_GONE
    assert changes(control_plane, space) == []
    assert space.pod("web-1")["metadata"]["uid"] == new["metadata"]["uid"]
    assert connection.answers()
    connection.close()


# --- while it holds ------------------------------------------------------------------------------------------------


def test_our_policy_deleted_by_somebody_is_put_back_once_and_then_a_person_is_called(
    product: Product, space: Space, enforcer: Enforcer, alert: Callable[[Object], str]
) -> None:
    pod, client = space.create("web-1", {"app": "web"}), space.host("client")
    web = space.node.host(pod)
    case = alert(pod)
    isolated(product, case)
    until(lambda: closed(web, client))
    (name,) = space.policy_names()

    space.delete_policy(name)
    until(lambda: "drifted" in product.types(case), seconds=20)
    isolated(product, case)
    assert space.policy_names() == [name]
    until(lambda: closed(web, client))

    space.delete_policy(name)
    halted = product.wait(case, Status.NEEDS_HUMAN)
    assert halted.reason is Reason.DRIFTED
    assert product.types(case).count("drifted") == 2
    assert space.policy_names() == [], "it is not put back again by itself"
    until(lambda: opened(web, client))
    product.say("case", "retry", case, "--no-wait")
    isolated(product, case)
    until(lambda: closed(web, client))

"""kill -9 of the server between any two calls to a real API server: whoever goes on comes to the same end.

The proxy holds a chosen call, before or after its effect; the server is killed while it waits; a new one starts on the
same files. The API server's audit log says that no change was made twice, and the ledger agrees with it call by call.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

import pytest

from quarantine.case import Case, Status
from quarantine.cli import hand
from quarantine.model import Resource
from quarantine.playbook import shipped
from tests.acceptance import trail
from tests.acceptance.conftest import Cluster
from tests.acceptance.product import Product
from tests.conftest import Tell
from tests.kubernetes import test_crash
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.images import Images
from tests.testbed.call import Call
from tests.testbed.controlplane import SERVICE
from tests.testbed.fault import Held
from tests.testbed.poll import until
from tests.testbed.proxy import FaultProxy

PLAYBOOKS = sorted(path.stem for path in (shipped() / "kubernetes").glob("*.yaml"))
ANN = "local:ann"
READS = ("get", "list", "watch", "create selfsubject")


@dataclass
class Target:
    """A fresh resource for one life."""

    resource: Resource
    raw: Callable[[], object]
    """Everything that the playbook may touch, without what changes with each write."""
    meanwhile: Callable[[], object]
    """What kubelets and controllers do in the time."""


def pod(namespace: Namespace, name: str, _: str) -> Target:
    made = namespace.pod(name, {"app": "web", "tier": "front"})
    path = namespace.pod_path(name)

    def raw() -> list[object]:
        there = [test_crash.lasting(namespace.api.get(path))] if namespace.api.exists(path) else []
        return [*there, *namespace.policy_names()]

    return Target(made, raw, lambda: namespace.api.play_kubelet(namespace.name))


def image(namespace: Namespace, name: str, installation: str) -> Target:
    """Each life makes the policy of the installation; what it leaves of it is empty."""
    images = Images(namespace.api, installation)
    images.clear()
    images.make_home()
    blocked = Resource(kind="kubernetes:image", id=f"registry.example.com/{name}:1", scope=CLUSTER)
    return Target(blocked, images.entries, lambda: None)


def image_policy(namespace: Namespace, _: str, installation: str) -> Target:
    images = Images(namespace.api, installation)
    images.clear()
    policy = Resource(kind="kubernetes:image-policy", id=images.name, scope=CLUSTER, uid=images.make_empty())
    return Target(policy, images.there, lambda: None)


def of_objects(made_by: type[test_crash.OfObjects]) -> "Make":
    """As in the crash tests, which have objects for each of these playbooks."""

    def target(namespace: Namespace, name: str, _: str) -> Target:
        maker, written = made_by(), test_crash.Written(namespace)
        resource = maker.make(namespace, written, name)
        return Target(resource, written.raw, lambda: maker.rests(namespace, resource))

    return target


def all_of(kind: type[test_crash.OfObjects]) -> Iterator[type[test_crash.OfObjects]]:
    for each in kind.__subclasses__():
        yield each
        yield from all_of(each)


Make = Callable[[Namespace, str, str], Target]
"""(where, a name that nothing has yet, the id of the installation) -> a target"""
OF_OBJECTS = {each.playbook.stem: each for each in all_of(test_crash.OfObjects)}
TARGETS: dict[str, Make] = {
    "block-image": image,
    "delete-pod": pod,
    "isolate-pod": pod,
    "quarantine-pod": pod,
    "remove-image-policy": image_policy,
    **{name: of_objects(each) for name, each in OF_OBJECTS.items()},
}
"""By playbook. One without is found by a test."""


@dataclass(frozen=True)
class Place:
    """Where to die: at the so-manieth call, or at the first one of a name; before or after it has its effect."""

    call: int | str
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.call}"


@dataclass
class Life:
    """What there was to see of one life."""

    calls: dict[str, list[str]]
    """The calls of each part, `containing` and `releasing`, in order."""
    changes: list[str]
    """Those that had an effect, by the audit log."""
    outcome: str
    given_back: bool


class Killer:
    """One installation, in which life after life begins and is carried to its end."""

    def __init__(self, cluster: Cluster, product: Product) -> None:
        self._cluster = cluster
        self._product = product
        self.kills = 0

    def life(self, playbook: str, containing: Place | None = None, releasing: Place | None = None) -> Life:
        begin = datetime.now(UTC)
        namespace = Namespace(self._cluster.namespace, self._cluster.api)
        installation = self._product.store.installation()
        target = TARGETS[playbook](namespace, f"web-{uuid.uuid4().hex[:8]}", installation)
        self._meanwhile = target.meanwhile
        before = target.raw()
        ended, calls = self._part(containing, lambda: self._open(playbook, target))
        case, parts = ended.id, {"containing": calls}
        if ended.status is Status.CONTAINED:
            ended, parts["releasing"] = self._part(releasing, lambda: self._product.office.desk.release(case, ANN))
        assert ended.status is Status.CLOSED, f"{ended.status} {ended.reason} {ended.sentence}"
        self._product.assert_whole()
        trail.assert_agree(self._audit, {case: self._product.events(case)}, begin)
        changes = [each.permission for each in trail.mutations(self._audit(), begin) if each.effective]
        return Life(parts, changes, str(ended.outcome), target.raw() == before)

    def _open(self, playbook: str, target: Target) -> Case:
        """As `quarantine run --apply` does it; the provider is asked nothing yet."""
        office, resource = self._product.office, target.resource
        asked = hand.request(office, playbook, (resource.kind, resource.id), resource.scope, resource.uid, ANN)
        return office.store.open(hand.opened(office, asked), asked.by, office.clock())

    def _audit(self) -> list[dict[str, Any]]:
        return self._cluster.api.audit(SERVICE)

    def _part(self, place: Place | None, begin: Callable[[], Case]) -> tuple[Case, list[str]]:
        """From `begin` until the case rests; the server dies at this place, if there is such a one."""
        proxy = self._cluster.proxy
        proxy.forget()
        held = _trap(proxy, place) if place else None
        begun = begin()

        def rests(now: Case) -> bool:
            return now.status in (Status.CONTAINED, Status.CLOSED) and now.status is not begun.status

        if held is not None:
            self._await(begun.id, lambda now: held.reached.is_set() or rests(now))
            if held.reached.is_set():
                self._product.kill()
                held.abandon()
                self.kills += 1
                self._product.start()
        ended = self._await(begun.id, rests)
        proxy.clear()
        return ended, [call.operation or call.path for call in proxy.recorded()]

    def _await(self, case: str, enough: Callable[[Case], bool]) -> Case:
        def there() -> Case | None:
            self._meanwhile()
            now = self._product.store.load(case)
            if now.status is Status.AWAITING_APPROVAL:
                now = self._product.office.desk.approve(case, ANN)
            assert now.status is not Status.NEEDS_HUMAN, f"{now.reason} {now.sentence}"
            return now if enough(now) else None

        found = until(there, seconds=60)
        assert found is not None
        return found


def _trap(proxy: FaultProxy, place: Place) -> Held:
    seen = 0

    def here(call: Call) -> bool:
        nonlocal seen
        seen += 1
        return seen == place.call

    hold = proxy.hold_answer if place.after else proxy.hold
    return hold(place.call if isinstance(place.call, str) else here)


@pytest.fixture
def make_killer(cluster: Cluster, on_kubernetes: Callable[..., Product]) -> Callable[..., Killer]:
    limits = {"per_account_10m": 1000, "per_account_24h": 1000, "global_24h": 1000}
    guards: dict[str, Any] = {"mode": "auto", "budget": limits, "storm": {"cases": 1000}}
    settings: dict[str, Any] = {"guards": guards, "approvals": {"second_person": False}}
    return lambda enforced_by=None: Killer(cluster, on_kubernetes(enforced_by, **settings))


def test_every_playbook_has_something_to_act_on() -> None:
    assert set(PLAYBOOKS) <= set(TARGETS)


def test_killed_around_each_change_of_isolating_a_pod_and_of_giving_it_back(
    make_killer: Callable[..., Killer],
) -> None:
    killer = make_killer()
    policy = "networkpolicies.networking.k8s.io"
    for containing, releasing in (
        (Place("create networkpolicies"), Place("patch pods")),
        (Place("create networkpolicies", after=True), Place("patch pods", after=True)),
        (Place("patch pods"), Place("delete networkpolicies")),
        (Place("patch pods", after=True), Place("delete networkpolicies", after=True)),
    ):
        life = killer.life("isolate-pod", containing, releasing)
        where = f"{containing}, and {releasing}"
        assert life.changes == [f"create {policy}", "patch pods", "patch pods", f"delete {policy}"], where
        assert (life.outcome, life.given_back) == ("released", True), where
    assert killer.kills == 8


@pytest.mark.soak
@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_killed_between_every_two_calls(make_killer: Callable[..., Killer], playbook: str, tell: Tell) -> None:
    killer = make_killer(OF_OBJECTS[playbook].enforced_by if playbook in OF_OBJECTS else None)
    unharmed = killer.life(playbook)
    for number, calls in enumerate(zip_longest(*unharmed.calls.values(), fillvalue="get"), 1):
        # After one that only reads is before the next one.
        writes = not all(call.startswith(READS) for call in calls)
        for place in (Place(number), Place(number, after=True))[: 1 + writes]:
            harmed = killer.life(playbook, place, place)
            same = (harmed.changes, harmed.outcome, harmed.given_back)
            assert same == (unharmed.changes, unharmed.outcome, unharmed.given_back), str(place)
    tell(f"{playbook}: {killer.kills} kills at {sum(map(len, unharmed.calls.values()))} calls")

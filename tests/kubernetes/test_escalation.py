"""More is done to an isolated pod, on the real API server: one isolation on top of another one, and its end."""

import json
from pathlib import Path

import pytest

from quarantine.case import Case, Outcome, Reason, Status
from quarantine.playbook import shipped
from quarantine.testing.crash import Lives, Scene
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.isolation import EXCEPT
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.core.test_escalation import life
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.test_crash import LABELS, lasting
from tests.testbed.controlplane import ADMIN, ControlPlane
from tests.testbed.kubeapi import Object

ANN, BOB = "local:ann", "local:bob"
PEER = {"kubernetes.io/metadata.name": "forensics"}
"""Of quarantine-pod: the namespace that may connect."""


@pytest.fixture
def kubernetes(control_plane: ControlPlane) -> Kubernetes:
    return Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))


@pytest.fixture
def there(tmp_path: Path, kubernetes: Kubernetes, namespace: Namespace) -> Installation:
    names = ("isolate-pod", "quarantine-pod", "delete-pod")
    books = [shipped() / "kubernetes" / f"{name}.yaml" for name in names]
    return Installation(tmp_path, kubernetes, books, passing=lambda _: namespace.api.play_kubelet(namespace.name))


def isolated(there: Installation, namespace: Namespace, playbook: str = "isolate-pod") -> Case:
    case = there.settle(there.open(namespace.pod("web-1", LABELS), playbook))
    assert case.status is Status.CONTAINED, case.sentence
    return case


def escalate(there: Installation, case: Case, playbook: str) -> Case:
    there.desk.escalate(case.id, ANN, there.shelf.find(playbook))
    return there.settle(case)


def let_in(namespace: Namespace) -> list[object]:
    """Whom the one policy lets connect to the pod."""
    (policy,) = namespace.api.items(namespace.policies)
    return [
        peer["namespaceSelector"]["matchLabels"] for rule in policy["spec"].get("ingress", []) for peer in rule["from"]
    ]


@pytest.mark.parametrize("first", ["isolate-pod", "quarantine-pod"])
def test_the_other_level_is_taken_at_once_and_a_release_gives_back_what_was_before_both(
    there: Installation, namespace: Namespace, first: str
) -> None:
    """In between the pod is never open; and the second before-image is the first isolation, which is no mystery."""
    peers = {"isolate-pod": [], "quarantine-pod": [PEER]}
    second = next(name for name in peers if name != first)
    case = isolated(there, namespace, first)
    raw: list[Object] = namespace.api.items(namespace.policies)
    assert let_in(namespace) == peers[first]
    case = escalate(there, case, second)
    assert (case.status, case.playbooks) == (Status.CONTAINED, (first, second)), case.sentence
    assert let_in(namespace) == peers[second]
    assert namespace.api.items(namespace.policies)[0]["metadata"]["uid"] == raw[0]["metadata"]["uid"], "never away"
    assert namespace.labels("web-1").keys() == {"cloud-quarantine.dev/isolated"}
    there.desk.release(case.id, ANN)
    closed = there.settle(case)
    assert closed.outcome is Outcome.RELEASED, (closed.reason, closed.sentence)
    assert (namespace.labels("web-1"), namespace.policy_names()) == (LABELS, [])


def test_drift_of_the_level_that_holds_now_is_seen_and_put_right(there: Installation, namespace: Namespace) -> None:
    case = escalate(there, isolated(there, namespace), "quarantine-pod")
    (name,) = namespace.policy_names()
    namespace.api.patch(f"{namespace.policies}/{name}", {"spec": {"ingress": None}})
    there.clock.turn(there.settings.watch.every)
    assert there.settle(case).reason is Reason.DRIFTED
    there.desk.retry(case.id, ANN)
    assert there.settle(case).status is Status.CONTAINED
    assert let_in(namespace) == [PEER]


@pytest.mark.parametrize("said", [json.dumps({"peer": {"cidr": "10.0.0.0/8"}}), "{", json.dumps({"peer": 7}), None])
def test_what_a_policy_says_of_itself_is_not_believed_against_what_it_does(
    there: Installation, namespace: Namespace, said: str | None
) -> None:
    case = escalate(there, isolated(there, namespace), "quarantine-pod")
    (name,) = namespace.policy_names()
    namespace.api.patch(f"{namespace.policies}/{name}", {"metadata": {"annotations": {EXCEPT: said}}})
    there.clock.turn(there.settings.watch.every)
    assert there.settle(case).reason is Reason.DRIFTED


def test_on_top_of_what_somebody_has_altered_nothing_is_built(there: Installation, namespace: Namespace) -> None:
    """It could not be given back."""
    case = isolated(there, namespace)
    (name,) = namespace.policy_names()
    namespace.api.patch(f"{namespace.policies}/{name}", {"spec": {"egress": [{}]}})
    case = escalate(there, case, "quarantine-pod")
    assert case.playbooks == ("isolate-pod",)
    assert namespace.api.items(namespace.policies)[0]["spec"]["egress"] == [{}], "that is for drift to find"


def test_a_pod_that_is_deleted_in_the_end_closes_the_case_as_done(there: Installation, namespace: Namespace) -> None:
    case = escalate(there, isolated(there, namespace), "delete-pod")
    there.desk.approve(case.id, BOB)
    closed = there.settle(case, turns=300)
    assert closed.outcome is Outcome.ONE_WAY_DONE, (closed.status, closed.reason, closed.sentence)
    assert not namespace.api.exists(namespace.pod_path("web-1"))


def test_dying_on_the_way_to_the_other_level_loses_nothing(
    kubernetes: Kubernetes, namespace: Namespace, memory: Path
) -> None:
    """A sample; `life` begins with a playbook that is called `isolate`."""
    book = shipped() / "kubernetes"
    isolate = (book / "isolate-pod.yaml").read_text().replace("name: isolate-pod", "name: isolate")
    (memory / "isolate.yaml").write_text(isolate)

    def scene(folder: Path) -> Scene:
        pod = namespace.pod(f"web-{folder.name[-6:].strip('-')}", LABELS)
        path = namespace.pod_path(pod.id)
        return Scene(
            Installation(folder, kubernetes, [memory / "isolate.yaml", book / "quarantine-pod.yaml"]),
            pod,
            raw=lambda: [lasting(namespace.api.get(path)), namespace.policy_names()],
            end=lambda: namespace.api.delete(path),
        )

    lives = Lives("quarantine-pod", scene, memory, life)
    for number in range(0, len(lives.places), 5):
        lives.harmed(number)
    for loss in lives.losses():
        lives.harmed(loss=loss)

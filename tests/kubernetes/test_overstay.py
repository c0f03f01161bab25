"""A pod that its owner has let go of is removed by nobody: after a day, somebody is asked what becomes of it."""

from datetime import timedelta
from pathlib import Path

import pytest

from quarantine.case import Case, Overstayed, Status
from quarantine.config import Watch
from quarantine.playbook import shipped
from quarantine.testing.installation import Installation, settings
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.workloads import make_deployment, running
from tests.testbed.controlplane import ADMIN, ControlPlane
from tests.testbed.poll import until


@pytest.fixture
def installation(control_plane: ControlPlane, tmp_path: Path) -> Installation:
    cluster = Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))
    provider = Kubernetes(KubernetesSettings(clusters={CLUSTER: cluster}))
    playbook = shipped() / "kubernetes" / "isolate-pod.yaml"
    return Installation(tmp_path, provider, [playbook], settings(watch=Watch(overstay=timedelta(hours=12))))


def told(installation: Installation, case: Case) -> list[str]:
    return [item.event.sentence for item in installation.store.history(case.id) if isinstance(item.event, Overstayed)]


def test_a_person_is_told_once_of_an_orphan_and_it_stays_contained(
    installation: Installation, namespace: Namespace
) -> None:
    make_deployment(namespace)
    pod, _ = running(namespace, 2)
    path = namespace.pod_path(pod.id)
    owner = namespace.api.get(path)["metadata"]["ownerReferences"][0]["name"]
    case = installation.settle(installation.open(pod, "isolate-pod"))
    assert case.status is Status.CONTAINED
    until(lambda: not namespace.api.get(path)["metadata"].get("ownerReferences"))
    assert case.contained_at is not None

    installation.turn(case.contained_at + timedelta(hours=11, minutes=59) - installation.clock())
    assert installation.advance(case).status is Status.CONTAINED
    assert told(installation, case) == []

    for _ in range(3):
        installation.turn(timedelta(hours=1))
        case = installation.advance(case)
        assert case.status is Status.CONTAINED, "it is watched on"
    (sentence,) = told(installation, case)
    assert sentence == case.sentence
    assert f"ReplicaSet/{owner} has let go of the pod, so that nothing removes it" in sentence
    assert "delete-pod" in sentence
    assert [sending.kind for sending in installation.store.notices()].count("overstayed") == 1
    installation.assert_whole()


def test_a_pod_that_never_had_an_owner_is_nobodys_orphan(installation: Installation, namespace: Namespace) -> None:
    case = installation.settle(installation.open(namespace.pod("web-1"), "isolate-pod"))
    installation.turn(timedelta(days=3))
    assert installation.advance(case).status is Status.CONTAINED
    assert told(installation, case) == []

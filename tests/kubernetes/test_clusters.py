"""Two real clusters, one that is down, and the one that we run in ourselves."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import JsonValue, ValidationError

from quarantine.action import Verdict
from quarantine.case import Case, Status
from quarantine.config import Schedule
from quarantine.errors import Unreachable
from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.sources import Poller
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.findings import falco
from quarantine_kubernetes.policy_kind import ISOLATED
from quarantine_kubernetes.provider import WHO_AM_I, Cluster, KubernetesSettings
from quarantine_kubernetes.session import in_cluster
from tests.kubernetes.conftest import Namespace
from tests.testbed.controlplane import ADMIN, ControlPlane
from tests.testbed.missing import started
from tests.testbed.process import free_port

HERE, THERE, DOWN = "here", "there", "down"


@pytest.fixture(scope="module")
def other() -> Iterator[ControlPlane]:
    with started(ControlPlane()) as running:
        yield running


@pytest.fixture
def twin(namespace: Namespace, other: ControlPlane) -> Namespace:
    """A namespace of the same name in the other cluster."""
    other.make_namespace(namespace.name)
    return Namespace(namespace.name, other)


@pytest.fixture
def settings(control_plane: ControlPlane, other: ControlPlane) -> KubernetesSettings:
    down = control_plane.kubeconfig(ADMIN, f"https://127.0.0.1:{free_port()}")
    paths = {HERE: control_plane.kubeconfig(ADMIN), THERE: other.kubeconfig(ADMIN), DOWN: down}
    return KubernetesSettings(clusters={name: Cluster(kubeconfig=path) for name, path in paths.items()})


@pytest.fixture
def installation(settings: KubernetesSettings, tmp_path: Path) -> Installation:
    return Installation(tmp_path, Kubernetes(settings), [shipped() / "kubernetes" / "isolate-pod.yaml"])


def alerted(installation: Installation, cluster: str, namespace: Namespace) -> Case:
    """By Falco, which names the pod and not its uid."""
    record: dict[str, JsonValue] = {
        "rule": "Drop and execute new binary in container",
        "priority": "Critical",
        "cluster": cluster,
        "output_fields": {"k8s.ns.name": namespace.name, "k8s.pod.name": "web-1", "container.id": "77aa0c12fe34"},
    }
    (finding,) = falco(record, "falco", installation.clock())
    result = installation.intake.link(finding, "source:falco")
    assert result.case is not None, result.sentence
    return installation.store.load(result.case)


def isolated(namespace: Namespace) -> bool:
    return ISOLATED in namespace.labels("web-1")


def test_a_pod_of_the_same_name_in_two_clusters_is_two_and_one_that_is_down_stops_nobody(
    installation: Installation, namespace: Namespace, twin: Namespace
) -> None:
    for each in (namespace, twin):
        each.pod("web-1")
    unreachable = alerted(installation, DOWN, namespace)
    here, there = alerted(installation, HERE, namespace), alerted(installation, THERE, twin)
    assert len({unreachable.id, here.id, there.id}) == 3

    waiting = installation.advance(unreachable)
    assert waiting.status is Status.NEW
    due = installation.store.due(unreachable.id)
    assert due is not None
    assert due > installation.clock(), "it is tried again, and holds no worker until then"

    assert installation.settle(there).status is Status.CONTAINED
    assert (isolated(namespace), isolated(twin)) == (False, True)
    assert not namespace.policy_names(), "nothing of it was done in the wrong one"
    assert installation.settle(here).status is Status.CONTAINED
    assert isolated(namespace)
    uids = {installation.store.load(case.id).resource.uid for case in (here, there)}
    assert uids == {it.api.get(it.pod_path("web-1"))["metadata"]["uid"] for it in (namespace, twin)}


def test_what_polls_find_is_in_the_cluster_that_was_asked(
    installation: Installation, namespace: Namespace, twin: Namespace
) -> None:
    for each in (namespace, twin):
        each.pod("web-1", hostNetwork=True)
    poller = Poller(
        installation.store, installation.registry, installation.shelf, installation.intake, installation.clock
    )

    def found(cluster: str) -> list[Resource]:
        scope = f"{cluster}/{namespace.name}"
        schedule = Schedule(
            poll="kubernetes:privileged-pods", scope=scope, every=timedelta(minutes=1), playbook="isolate-pod"
        )
        results = poller.run(f"pods-{cluster}", schedule)
        return [installation.store.load(result.case).resource for result in results if result.case]

    with pytest.raises(Unreachable, match="cluster 'down'"):
        found(DOWN)
    (mine,), (others,) = found(HERE), found(THERE)
    assert (mine.account, others.account) == (HERE, THERE)
    assert (mine.uid, others.uid) == tuple(
        each.api.get(each.pod_path("web-1"))["metadata"]["uid"] for each in (namespace, twin)
    )


def test_the_doctor_names_each_cluster_and_says_which_are_one(settings: KubernetesSettings, tmp_path: Path) -> None:
    copy = tmp_path / "copy-of-kubeconfig"
    shutil.copy(str(settings.clusters[HERE].kubeconfig), copy)
    clusters = {**settings.clusters, "alias": Cluster(kubeconfig=copy)}
    checks = {check.subject: check for check in Kubernetes(KubernetesSettings(clusters=clusters)).doctor()}
    verdicts = {name: checks[f"cluster {name}"].verdict for name in clusters}
    assert verdicts == {HERE: Verdict.OK, THERE: Verdict.OK, DOWN: Verdict.FAIL, "alias": Verdict.OK}
    same = {subject: check.message for subject, check in checks.items() if subject.endswith(": same")}
    assert list(same) == ["cluster alias: same"]
    assert "'here'" in same["cluster alias: same"]


@pytest.mark.parametrize(
    "clusters",
    [
        {"a": Cluster(context="prod"), "b": Cluster(context="prod")},
        {"a": Cluster(in_cluster=True), "b": Cluster(in_cluster=True)},
        {"a": Cluster(context="prod", uid="u"), "b": Cluster(context="stage", uid="u")},
    ],
)
def test_two_names_for_one_cluster_are_refused(clusters: dict[str, Cluster]) -> None:
    with pytest.raises(ValidationError, match="clusters 'a' and 'b' are one cluster"):
        KubernetesSettings(clusters=clusters)


def test_other_contexts_of_a_kubeconfig_are_other_clusters(
    control_plane: ControlPlane, other: ControlPlane, tmp_path: Path
) -> None:
    import yaml

    first, second = (yaml.safe_load(api.kubeconfig(ADMIN).read_text()) for api in (control_plane, other))
    for part in ("clusters", "users", "contexts"):
        second[part][0]["name"] = "second"
        first[part] += second[part]
    first["contexts"][1]["context"] = {"cluster": "second", "user": "second"}
    file = tmp_path / "kubeconfig"
    file.write_text(yaml.safe_dump(first))
    clusters = {name: Cluster(kubeconfig=file, context=name) for name in ("testbed", "second")}
    provider = Kubernetes(KubernetesSettings(clusters=clusters))
    read = [
        provider.connect(name).read("get namespaces", "get /api/v1/namespaces/{name}", name="kube-system")
        for name in clusters
    ]
    uids = [api.get("/api/v1/namespaces/kube-system")["metadata"]["uid"] for api in (control_plane, other)]
    assert [namespace["metadata"]["uid"] for namespace in read] == uids


# -- the one that we run in ----------------------------------------------------------------------------------------


def token(namespace: Namespace, account: str) -> str:
    base = f"/api/v1/namespaces/{namespace.name}/serviceaccounts"
    namespace.api.create(base, {"metadata": {"name": account}})
    made = namespace.api.create(f"{base}/{account}/token", {"spec": {"expirationSeconds": 600}})
    return str(made["status"]["token"])


def who(cloud: KubernetesCloud) -> str:
    answer = cloud.read("create selfsubjectreviews.authentication.k8s.io", WHO_AM_I, body={"kind": "SelfSubjectReview"})
    return str(answer["status"]["userInfo"]["username"])


@pytest.fixture
def mounted(namespace: Namespace, tmp_path: Path) -> Path:
    """What the kubelet puts into a pod."""
    shutil.copy(namespace.api.ca_file, tmp_path / "ca.crt")
    (tmp_path / "token").write_text(token(namespace, "first"))
    return tmp_path


def test_in_a_pod_we_are_its_service_account_and_a_new_token_counts_at_once(
    namespace: Namespace, mounted: Path
) -> None:
    host, _, port = namespace.api.url.removeprefix("https://").rpartition(":")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    cloud = KubernetesCloud("here", in_cluster(mounted, environment))
    assert who(cloud) == f"system:serviceaccount:{namespace.name}:first"
    (mounted / "token").write_text(token(namespace, "second"))
    assert who(cloud) == f"system:serviceaccount:{namespace.name}:second", "read again, not remembered"
    (mounted / "token").write_text("")
    with pytest.raises(Unreachable, match="credentials could not be renewed"):
        who(cloud)
    (mounted / "token").unlink()
    with pytest.raises(Unreachable, match="credentials could not be renewed"):
        who(cloud)
    with pytest.raises(Unreachable, match="not in a pod"):
        in_cluster(mounted, environment)

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from quarantine.action import Check, Verdict
from quarantine.errors import Denied, Gone, Unreachable
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.cloud import REVIEWS
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import Namespace
from tests.kubernetes.rbac import granted_everywhere
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.proxy import FaultProxy

Made = Callable[..., Kubernetes]
Proxy = Callable[..., FaultProxy]
UID = "/api/v1/namespaces/kube-system"


@pytest.fixture
def made(control_plane: ControlPlane) -> Made:
    """The provider with one cluster, as a user of it."""

    def make(user: str = ADMIN, uid: str | None = None) -> Kubernetes:
        cluster = Cluster(kubeconfig=control_plane.kubeconfig(user), uid=uid)
        return Kubernetes(KubernetesSettings(clusters={"prod": cluster}))

    return make


@pytest.fixture
def uid(control_plane: ControlPlane) -> str:
    return str(control_plane.get(UID)["metadata"]["uid"])


def test_importing_it_imports_no_sdk() -> None:
    code = "import quarantine_kubernetes, sys; print(sorted({'kubernetes', 'urllib3', 'requests'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_its_scopes_are_its_clusters(made: Made) -> None:
    assert made().scopes() == ("prod",)


def test_a_cluster_is_connected_to_once(made: Made) -> None:
    provider = made()
    assert provider.connect("prod/shop") is provider.connect("prod/other")


def test_an_unknown_cluster_is_unreachable(made: Made) -> None:
    with pytest.raises(Unreachable, match="'dev' is not configured"):
        made().connect("dev/shop")


def test_outside_of_a_pod_there_is_no_service_account() -> None:
    provider = Kubernetes(KubernetesSettings(clusters={"here": Cluster(in_cluster=True)}))
    with pytest.raises(Unreachable, match="not in a pod"):
        provider.connect("here")


# --- who we are ----------------------------------------------------------------------------------------------------


def test_the_cluster_says_who_we_are(made: Made) -> None:
    provider = made(SERVICE)
    assert provider.identity(provider.connect("prod")).principal == "quarantine"


def test_the_pinned_cluster_is_the_account(made: Made, uid: str) -> None:
    provider = made(uid=uid)
    assert provider.identity(provider.connect("prod")).account == "prod"


def test_another_cluster_than_the_pinned_one_is_another_account(made: Made, uid: str) -> None:
    provider = made(uid="7c9e6679-7425-40de-944b-e07fc1f90ae7")
    assert provider.identity(provider.connect("prod")).account == f"unknown cluster {uid}"


def test_a_pin_that_cannot_be_checked_is_an_error(made: Made, uid: str) -> None:
    provider = made(SERVICE, uid=uid)
    with pytest.raises(Denied):
        provider.identity(provider.connect("prod"))


# --- what a finding named ------------------------------------------------------------------------------------------


def test_a_pod_is_resolved_to_its_uid_and_labels(made: Made, namespace: Namespace) -> None:
    resource = namespace.pod("web-1", {"app": "web", "tier": "front"})
    provider = made()
    found, labels = provider.resolve(provider.connect("prod"), resource.model_copy(update={"uid": None}))
    assert found == resource
    assert labels == {"app": "web", "tier": "front"}


def test_another_pod_under_the_name_is_gone(made: Made, namespace: Namespace) -> None:
    resource = namespace.pod("web-1").model_copy(update={"uid": "another"})
    provider = made()
    with pytest.raises(Gone, match="another pod has this name now"):
        provider.resolve(provider.connect("prod"), resource)


# --- doctor --------------------------------------------------------------------------------------------------------


def by_subject(provider: Kubernetes) -> dict[str, Check]:
    return {check.subject: check for check in provider.doctor()}


def test_the_doctor_finds_everything_in_order(made: Made, uid: str) -> None:
    checks = by_subject(made(uid=uid))
    assert {check.verdict for check in checks.values()} == {Verdict.OK}
    assert checks["cluster prod"].message == "Kubernetes v1.37.2, connected as admin"


def test_the_doctor_gives_the_uid_to_pin(made: Made, uid: str) -> None:
    check = by_subject(made())["cluster prod: pin"]
    assert check.verdict is Verdict.WARN
    assert check.fix == f"set its uid: {uid}"


def test_the_doctor_says_when_it_is_another_cluster(made: Made) -> None:
    assert by_subject(made(uid="another"))["cluster prod: pin"].verdict is Verdict.FAIL


STEPS = (*Kubernetes.actions, *Kubernetes.captures)
GROUPS = [permission for group in Kubernetes.groups.values() for permission in group.permissions]
EVERYBODY = {"create selfsubjectreviews.authentication.k8s.io", "get /apis"}
"""What system:basic-user and system:discovery give to everybody (kubernetes.io, RBAC, discovery roles)."""
NEEDED = sorted({*GROUPS, *(permission for step in STEPS for permission in step().permissions())} - EVERYBODY)


def missing(provider: Kubernetes) -> set[str]:
    found = by_subject(provider)
    return {subject.partition(": ")[2] for subject in found if subject != "cluster prod: pin" and ": " in subject}


def test_the_doctor_names_every_permission_that_is_missing(made: Made) -> None:
    assert missing(made(SERVICE)) == set(NEEDED)


@pytest.mark.parametrize("permission", NEEDED)
def test_the_doctor_names_the_one_permission_that_is_missing(
    permission: str, made: Made, control_plane: ControlPlane
) -> None:
    with granted_everywhere(control_plane, SERVICE, [needed for needed in NEEDED if needed != permission]):
        assert missing(made(SERVICE)) == {permission}


def test_the_doctor_says_when_the_pin_cannot_be_checked(made: Made, uid: str) -> None:
    assert by_subject(made(SERVICE))["cluster prod: pin"].verdict is Verdict.WARN
    assert by_subject(made(SERVICE, uid))["cluster prod: pin"].verdict is Verdict.FAIL


def test_the_doctor_sends_nothing_but_questions(control_plane: ControlPlane, proxy: Proxy) -> None:
    witness = proxy(control_plane.url, control_plane.ca_file)
    cluster = Cluster(kubeconfig=control_plane.kubeconfig(ADMIN, witness.url))
    list(Kubernetes(KubernetesSettings(clusters={"prod": cluster})).doctor())
    asked = {f"{call.method.lower()} {call.path}" for call in witness.recorded() if call.method != "GET"}
    assert asked == REVIEWS


@pytest.mark.parametrize("body", ["<html>", "{}", '{"gitVersion": 3}', "[]"])
def test_the_doctor_survives_what_is_no_api_server(body: str, control_plane: ControlPlane, proxy: Proxy) -> None:
    broken = proxy(control_plane.url, control_plane.ca_file)
    broken.answer(lambda call: True, 200, {"Content-Type": "application/json"}, body, times=99)
    cluster = Cluster(kubeconfig=control_plane.kubeconfig(ADMIN, broken.url))
    (check,) = Kubernetes(KubernetesSettings(clusters={"prod": cluster})).doctor()
    assert check.verdict is Verdict.FAIL


def test_the_doctor_survives_a_cluster_that_is_not_there(control_plane: ControlPlane, tmp_path: Path) -> None:
    lost = Cluster(kubeconfig=tmp_path / "none")
    down = Cluster(kubeconfig=control_plane.kubeconfig(ADMIN, "http://127.0.0.1:9"))
    checks = list(Kubernetes(KubernetesSettings(clusters={"lost": lost, "down": down})).doctor())
    assert [check.verdict for check in checks] == [Verdict.FAIL, Verdict.FAIL]


# --- settings ----------------------------------------------------------------------------------------


def test_settings_are_read_from_json() -> None:
    text = json.dumps(
        {"clusters": {"prod": {"kubeconfig": "/etc/kube/config", "context": "eu"}, "here": {"in_cluster": True}}}
    )
    settings = KubernetesSettings.model_validate_json(text)
    assert settings.clusters["prod"].kubeconfig == Path("/etc/kube/config")
    assert not settings.clusters["prod"].in_cluster


def test_what_is_expected_in_a_cluster_is_known_where_polls_look(control_plane: ControlPlane) -> None:
    words = {"expected_subjects": ("Group/platform",), "exempt_namespaces": ("infra",), "public_services": ("a/b",)}
    words["always_admitted"] = ("ingress",)
    cluster = Cluster.model_validate({"kubeconfig": control_plane.kubeconfig(SERVICE), **words})
    cloud = Kubernetes(KubernetesSettings(clusters={"prod": cluster})).connect("prod").belonging_to("ours")
    assert {name: getattr(cloud, name) for name in words} == words

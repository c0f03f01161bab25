"""What `quarantine permissions` writes for Kubernetes, as the API server understands it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from quarantine.action import Needs, reached
from quarantine.errors import Unsupported
from quarantine.model import Resource
from quarantine.testing.contract import Setting
from quarantine_kubernetes.blocked_image import BlockedImage
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.image_block import ImageBlock
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.rbac import CLUSTER_WIDE, document
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.images import Images
from tests.kubernetes.rbac import applied, ask
from tests.testbed.controlplane import SERVICE, ControlPlane
from tests.testbed.kubeapi import ApiError
from tests.testbed.poll import until

ISOLATE = ("permissions", "--provider", "kubernetes", "--playbook", "isolate-pod")


def test_what_is_written_for_a_namespace_is_granted_there_and_nowhere_else(
    tmp_path: Path,
    namespace: Namespace,
    control_plane: ControlPlane,
    cloud_of: Callable[[str], KubernetesCloud],
) -> None:
    config = yaml.safe_dump({"providers": {"kubernetes": {"clusters": {CLUSTER: {"agents": ["kube-system"]}}}}})
    words = (*ISOLATE, "--namespace", namespace.name, "--principal", f"user:{SERVICE}")
    done = ask(tmp_path, *words, config=config)
    assert done.returncode == 0, done.stderr
    objects = list(yaml.safe_load_all(done.stdout))
    agents = ["Role", "RoleBinding"]
    for_each_part = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"]
    assert [thing["kind"] for thing in objects] == [*for_each_part, *agents, *for_each_part]
    ours = control_plane.as_user(SERVICE)

    def may(method: str, path: str, body: object = None) -> bool:
        try:
            ours.request(
                method, path, body, "application/merge-patch+json" if method == "PATCH" else "application/json"
            )
        except ApiError as error:
            if error.status == 403:
                return False
            raise
        return True

    with applied(control_plane, SERVICE, objects):
        pod = namespace.pod("web-1")
        until(lambda: may("GET", namespace.pod_path("web-1")))
        assert may("PATCH", namespace.pod_path("web-1"), {"metadata": {"uid": pod.uid, "labels": {"a": "b"}}})
        assert may("GET", namespace.policies)
        assert not may("GET", "/api/v1/namespaces/default/pods")
        assert not may("GET", f"/api/v1/namespaces/{namespace.name}/secrets")
        assert not may("DELETE", namespace.pod_path("web-1"))
        assert not may("GET", "/api/v1/namespaces/kube-system/pods/calico-node"), "its agents are listed, and no more"

        setting = Setting(PodIsolate(), cloud_of(SERVICE), pod)
        before = setting.observe()
        setting.apply(setting.target(before))
        assert reached(setting.observe(), setting.target(before))
        setting.apply(before)
        assert namespace.labels("web-1") == {"app": "web", "a": "b"}


def test_what_is_written_for_images_is_enough_for_a_whole_life_of_a_block(
    tmp_path: Path, control_plane: ControlPlane, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    words = ("permissions", "--provider", "kubernetes", "--playbook", "block-image", "--principal", f"user:{SERVICE}")
    done = ask(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    with Images(control_plane) as images, applied(control_plane, SERVICE, list(yaml.safe_load_all(done.stdout))):
        image = Resource(kind="kubernetes:image", id="registry.example.com/bad:1", scope=CLUSTER)
        setting = Setting(ImageBlock(), cloud_of(SERVICE), image, mark=images.mark)

        setting.apply(setting.target(setting.observe()))
        assert len(images.there()) == 3
        blocked = setting.observe()
        assert isinstance(blocked, BlockedImage)
        setting.apply(blocked.model_copy(update={"entry": None}))
        assert images.entries() == {}
        path = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt"
        with pytest.raises(ApiError, match="403"):
            control_plane.as_user(SERVICE).patch(path, {"data": {"a": "b"}})


def test_the_reader_changes_nothing() -> None:
    needs = Needs(permissions=dict.fromkeys(("get pods", "list pods", "patch pods", "create pods/eviction"), ("p",)))
    roles = [thing for thing in yaml.safe_load_all(document(needs, pinned=False)) if "rules" in thing]
    verbs = {role["metadata"]["name"]: {verb for rule in role["rules"] for verb in rule["verbs"]} for role in roles}
    assert verbs == {"cloud-quarantine-reader": {"get", "list"}, "cloud-quarantine-actor": {"create", "patch"}}
    assert [rule["resources"] for rule in roles[1]["rules"]] == [["pods/eviction"], ["pods"]]


def test_what_is_in_no_namespace_needs_a_cluster_role() -> None:
    needs = Needs(permissions={"get nodes": ("p",), "get pods": ("p",)}, namespaces=("shop", "till"))
    found = list(yaml.safe_load_all(document(needs, pinned=True)))
    roles = [(thing["kind"], thing["metadata"].get("namespace")) for thing in found if "rules" in thing]
    assert roles == [("ClusterRole", None), ("Role", "shop"), ("Role", "till")]
    assert {
        "apiGroups": [""],
        "resources": ["namespaces"],
        "resourceNames": ["kube-system"],
        "verbs": ["get"],
    } in found[0]["rules"], "the pin reads one namespace and no other"


@pytest.mark.parametrize("namespaces", [(), ("shop",), ("shop", "cloud-quarantine")])
def test_config_maps_are_changed_in_our_own_namespace_alone(namespaces: tuple[str, ...]) -> None:
    """Elsewhere one may decide who may do what: aws-auth in kube-system. Whoever makes a policy that takes its
    parameters from one must be able to read all of them."""
    permissions = dict.fromkeys(("get pods", "get configmaps", "patch configmaps"), ("p",))
    needs = Needs.model_validate({"permissions": permissions, "namespaces": namespaces})
    found = list(yaml.safe_load_all(document(needs, pinned=False)))
    granted = [
        (thing["kind"], thing["metadata"].get("namespace"), rule["verbs"])
        for thing in found
        for rule in thing.get("rules", ())
        if rule["resources"] == ["configmaps"]
    ]
    assert granted == [("ClusterRole", None, ["get"]), ("Role", "cloud-quarantine", ["patch"])]
    names = [(thing["kind"], thing["metadata"].get("namespace"), thing["metadata"]["name"]) for thing in found]
    assert len(set(names)) == len(names)


def test_what_is_said_to_be_in_no_namespace_is_in_none(control_plane: ControlPlane) -> None:
    """Asked at the API server's own discovery, for the groups that it has."""
    groups = {group["name"]: group["preferredVersion"]["version"] for group in control_plane.get("/apis")["groups"]}
    known = {}
    for path, group in [("/api/v1", ""), *((f"/apis/{name}/{version}", name) for name, version in groups.items())]:
        for resource in control_plane.get(path)["resources"]:
            known[f"{resource['name']}.{group}".rstrip(".")] = resource["namespaced"]
    checked = [name for name in CLUSTER_WIDE if name in known]
    assert len(checked) >= 5
    assert not [name for name in checked if known[name]]


@pytest.mark.parametrize("principal", ["shop", "serviceaccount:shop", "user:", "serviceaccount:a/b: [x]", "robot:7"])
def test_nobody_gets_nothing(principal: str) -> None:
    with pytest.raises(Unsupported, match=r"serviceaccount:NAMESPACE|no name"):
        document(Needs(permissions={}, principal=principal), pinned=False)


def test_the_command_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    other = ask(tmp_path, *ISOLATE[:3], "--playbook", "close-public-bucket")
    assert (other.returncode, "not of provider" in other.stderr) == (2, True)
    aws = ask(tmp_path, "permissions", "--provider", "aws")
    assert aws.returncode != 0
    assert "playbook show" in aws.stderr

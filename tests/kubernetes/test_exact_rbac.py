"""All that we do in a cluster, under exactly the RBAC that `quarantine permissions` writes for it.

The API server's audit log is the judge: nothing was refused, and nothing was granted that nobody has used.
"""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from inspect import isclass
from pathlib import Path
from typing import Any

import pytest

from quarantine.action import reached
from quarantine.errors import Unsupported
from quarantine.model import Finding, Resource, Severity, Standing
from quarantine.playbook import shipped
from quarantine.testing.contract import Setting
from quarantine.testing.crash import Lives
from quarantine.testing.installation import memory_folder
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.feeds import FEED_REREADS
from quarantine_kubernetes.image_block import ImageBlock
from quarantine_kubernetes.means import Means
from quarantine_kubernetes.objects import WORKLOADS
from quarantine_kubernetes.pod_isolate import PodIsolate
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from quarantine_kubernetes.rolebinding_revoke import RolebindingRevoke
from quarantine_kubernetes.workload_scale_to_zero import WorkloadScaleToZero
from tests.kubernetes import test_crash, test_means
from tests.kubernetes.conftest import CLUSTER, Namespace, new_namespace
from tests.kubernetes.images import Images
from tests.kubernetes.rbac import RBAC, applied, permissions_in, written_for
from tests.kubernetes.test_workload_scale_to_zero import converged
from tests.kubernetes.workloads import SELECTOR, TEMPLATE, make
from tests.testbed import crds
from tests.testbed.controlplane import EXACT, ControlPlane
from tests.testbed.missing import started
from tests.testbed.poll import until

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)


@pytest.fixture
def control_plane() -> Iterator[ControlPlane]:
    """One of its own: other tests need these definitions, and one that comes back at once is not read reliably."""
    with started(ControlPlane()) as running:
        yield running


def test_nothing_is_refused_and_nothing_was_granted_in_vain(tmp_path: Path, control_plane: ControlPlane) -> None:
    cluster = Cluster(kubeconfig=control_plane.kubeconfig(EXACT))
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: cluster}))
    written = written_for(EXACT, tmp_path)
    granted = {permission for thing in written for permission in permissions_in(thing)}
    Images(control_plane).make_home()
    with (
        test_means.serving(control_plane),
        applied(control_plane, EXACT, written),
        crds.served(control_plane, crds.scanners()),
    ):
        live_by_each_playbook(tmp_path, control_plane)
        take_a_role_away(control_plane, kubernetes)
        isolate_by_each_means(control_plane, kubernetes)
        scale_each_kind(control_plane, kubernetes)
        put_an_image_policy_right(control_plane, kubernetes)
        ask_by_each_poll(control_plane, kubernetes)

    def in_vain() -> list[str]:
        used = {permission_of(event) for event in control_plane.audit(EXACT)}
        return sorted(granted - used)

    with suppress(AssertionError):  # an audit event may show a moment after the answer to its call
        until(lambda: not in_vain())
    assert not in_vain(), "nobody has used: " + ", ".join(in_vain())
    refused = [event for event in control_plane.audit(EXACT) if event["responseStatus"]["code"] == 403]
    assert [permission_of(event) for event in refused] == [], "we asked for what is not granted"


def permission_of(event: dict[str, Any]) -> str:
    target = event.get("objectRef")
    if target is None:
        return f"{event['verb']} {event['requestURI'].partition('?')[0]}"
    asked = ((event.get("requestObject") or {}).get("spec") or {}).get("resourceAttributes") or {}
    if target["resource"] == "selfsubjectaccessreviews" and asked["verb"] == "bind":
        return f"bind {asked['resource']}.{asked['group']}"  # never a call of its own: it is asked whether we may
    resource = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
    return f"{event['verb']} " + ".".join(part for part in (resource, target.get("apiGroup")) if part)


def live_by_each_playbook(folder: Path, api: ControlPlane) -> None:
    """From the finding to the release, as in the tests that kill us on the way."""
    classes: list[Any] = [each for each in vars(test_crash).values() if isclass(each) and hasattr(each, "playbook")]
    assert {each.playbook.stem for each in classes} == {path.stem for path in (shipped() / "kubernetes").iterdir()}
    for each in classes:
        life = each()
        with new_namespace(api) as namespace, memory_folder(folder) as memory:
            give_a_role(namespace, "default")
            Lives(each.playbook.stem, life.stage(namespace, life.provider(api.kubeconfig(EXACT))), memory)


def take_a_role_away(api: ControlPlane, kubernetes: Kubernetes) -> None:
    """One of a namespace, which is given back; the crash tests have cluster roles."""
    with new_namespace(api) as namespace:
        give_a_role(namespace, "default")
        scope = f"{CLUSTER}/{namespace.name}"
        binding = Resource(kind="kubernetes:rolebinding", id="reads", scope=scope)
        setting = Setting(RolebindingRevoke(), kubernetes.connect(CLUSTER), binding)
        before = setting.observe()
        assert setting.action.refusal(before) is None
        setting.apply(setting.target(before))
        setting.apply(before)
        assert reached(setting.observe(), before)


def give_a_role(namespace: Namespace, account: str) -> None:
    base = f"{RBAC}/namespaces/{namespace.name}"
    namespace.api.create(f"{base}/roles", {"metadata": {"name": "reads"}})
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace.name}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reads"}
    binding = {"metadata": {"name": "reads"}, "roleRef": reference, "subjects": [subject]}
    namespace.api.create(f"{base}/rolebindings", binding)


def isolate_by_each_means(api: ControlPlane, kubernetes: Kubernetes) -> None:
    """With a policy of ours to put right in it."""
    classes: dict[Means, Any] = {
        each.means: each for each in vars(test_means).values() if isclass(each) and hasattr(each, "means")
    }
    assert set(classes) == set(Means)
    for means, each in classes.items():
        with new_namespace(api) as namespace:
            cloud, resource = kubernetes.connect(CLUSTER), test_means.on_node_of(means, namespace)
            cloud.recent.forget()
            life = each()
            life.namespace = namespace
            action = PodIsolate(means=(means,), **each.exempt)
            life.whole_life(Setting(action, cloud, resource, settle=partial(life.settle, namespace)))


def scale_each_kind(api: ControlPlane, kubernetes: Kubernetes) -> None:
    """Of workloads. A DaemonSet is looked at, and refused."""
    cloud = kubernetes.connect(CLUSTER)
    for word, kind in WORKLOADS.items():
        with new_namespace(api) as namespace:
            spec = {
                "selector": SELECTOR,
                "template": TEMPLATE,
                **({"serviceName": "web"} if word == "statefulset" else {}),
            }
            if word == "replicationcontroller":
                spec["selector"] = SELECTOR["matchLabels"]
            make(namespace, kind.plural, "web", spec)
            resource = Resource(kind="kubernetes:workload", id=f"{word}/web", scope=f"{CLUSTER}/{namespace.name}")
            setting = Setting(WorkloadScaleToZero(), cloud, resource)
            before = setting.observe()
            if setting.action.refusal(before) is None:
                until(partial(converged, setting, setting.target(before)))
            else:
                assert word == "daemonset"


def put_an_image_policy_right(api: ControlPlane, kubernetes: Kubernetes) -> None:
    with Images(api) as images:
        image = Resource(kind="kubernetes:image", id="registry.example.com/shop:1", scope=CLUSTER)
        cloud = kubernetes.connect(CLUSTER).belonging_to(images.mark.installation)
        setting = Setting(ImageBlock(), cloud, image, mark=images.mark)
        target = setting.target(setting.observe())
        setting.apply(target)
        images.open_up()
        setting.apply(target)
        assert reached(setting.observe(), target)


def ask_by_each_poll(api: ControlPlane, kubernetes: Kubernetes) -> None:
    """From the beginning to the end, what has changed since, and then each finding again."""
    cloud = kubernetes.connect(CLUSTER)
    with new_namespace(api) as namespace:
        give_a_role(namespace, "default")
        namespace.pod("web-1", automountServiceAccountToken=True)
        for poll in (*kubernetes.polls, *(leftover.poll for leftover in kubernetes.leftovers)):
            with suppress(Unsupported):  # Kubescape's API comes with Kubescape; whether we may ask is decided before
                _, cursor = poll.run(cloud, CLUSTER, NOW, None)
                while poll.unfinished(cursor):
                    _, cursor = poll.run(cloud, CLUSTER, NOW, cursor)
                poll.run(cloud, CLUSTER, NOW, cursor)
    for name in FEED_REREADS:
        for where in ({"namespace": "default", "name": "web"}, {"namespace": "", "name": "web"}):
            about = Resource(kind="kubernetes:pod", id="web", scope=f"{CLUSTER}/default")
            finding = Finding(
                source=name,
                id="f",
                title="a finding",
                type="t",
                severity=Severity.HIGH,
                resource=about,
                seen_at=NOW,
                record={"report": {**where}},
            )
            assert FEED_REREADS[name].ask(cloud, finding, NOW) is Standing.RESOLVED

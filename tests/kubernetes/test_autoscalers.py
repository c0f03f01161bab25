"""Whether those who scale a workload leave it at zero: the real controller, and KEDA's objects as it publishes them.

There are no metrics here, as in a cluster without a metrics server: an autoscaler then brings a workload to its
minimum, and can say no more. KEDA itself does not run; a test does its part.
"""

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from quarantine.action import State, reached, three_way
from quarantine.testing.contract import Setting
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.workload_scale_to_zero import WorkloadScaleToZero
from tests.kubernetes.conftest import Namespace
from tests.kubernetes.rbac import grant
from tests.kubernetes.test_workload_scale_to_zero import caveats, contain, converged, path, scale, scaling, seen
from tests.kubernetes.workloads import make_deployment, rest
from tests.testbed import crds
from tests.testbed.controlplane import SERVICE, ControlPlane
from tests.testbed.poll import until

TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
RESTS = "ScalingDisabled"


@pytest.fixture
def setting(namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
    """A Deployment of one pod, and a user who may do what it takes to scale that."""
    grant(namespace, SERVICE, WorkloadScaleToZero().permissions())
    make_deployment(namespace, replicas=1)
    rest(namespace, "deployments", "web")
    return scaling(namespace, cloud_of(SERVICE))


def collection(namespace: Namespace) -> str:
    return f"/apis/autoscaling/v2/namespaces/{namespace.name}/horizontalpodautoscalers"


def autoscaler(namespace: Namespace, name: str, minimum: int) -> str:
    """Its path."""
    spec = {"scaleTargetRef": TARGET, "minReplicas": minimum, "maxReplicas": 9}
    namespace.api.create(collection(namespace), {"metadata": {"name": name}, "spec": spec})
    return f"{collection(namespace)}/{name}"


def replicas(namespace: Namespace) -> int:
    return int(namespace.api.get(path(namespace))["spec"]["replicas"])


def why_inactive(namespace: Namespace, autoscaler: str) -> str:
    """What it says of its latest look, empty before the first one."""
    conditions = namespace.api.get(autoscaler).get("status", {}).get("conditions") or []
    return next((str(each["reason"]) for each in conditions if each["type"] == "ScalingActive"), "")


def release(setting: Setting, before: State) -> None:
    target = setting.target(before)
    assert isinstance(target, State)
    merged, kept = three_way(before, target, seen(setting))
    assert kept == ()
    until(lambda: converged(setting, merged))


def test_a_real_autoscaler_leaves_it_at_zero_and_goes_on_after_the_release(
    namespace: Namespace, setting: Setting
) -> None:
    load = autoscaler(namespace, "web-load", 2)
    until(lambda: replicas(namespace) == 2)  # so it is there, and it acts
    rest(namespace, "deployments", "web")
    said = caveats(setting)
    assert said["autoscaler-rests"].startswith("HorizontalPodAutoscaler/web-load rests")
    assert "autoscaler-fights" not in said

    before = contain(setting)
    assert before.replicas == 2
    until(lambda: why_inactive(namespace, load) == RESTS)
    changed = namespace.api.patch(load, {"spec": {"minReplicas": 3}})["metadata"]["generation"]
    until(lambda: namespace.api.get(load)["status"]["observedGeneration"] == changed)  # it has looked once more
    assert why_inactive(namespace, load) == RESTS
    assert reached(seen(setting), setting.target(before))

    namespace.api.patch(load, {"spec": {"minReplicas": 2}})
    release(setting, before)
    until(lambda: why_inactive(namespace, load) not in ("", RESTS))
    assert replicas(namespace) == 2
    assert reached(seen(setting), before)


@pytest.fixture
def keda(control_plane: ControlPlane) -> Iterator[None]:
    with crds.served(control_plane, crds.scalers()):
        yield


def test_a_scaled_object_is_named_and_what_it_does_is_drift(namespace: Namespace, setting: Setting, keda: None) -> None:
    objects = f"/apis/keda.sh/v1alpha1/namespaces/{namespace.name}/scaledobjects"
    cron = {"timezone": "UTC", "start": "0 6 * * *", "end": "0 20 * * *", "desiredReplicas": "4"}
    spec = {"scaleTargetRef": {"name": "web"}, "triggers": [{"type": "cron", "metadata": cron}]}
    kind = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
    namespace.api.create(objects, {**kind, "metadata": {"name": "web"}, "spec": spec})
    autoscaler(namespace, "keda-hpa-web", 1)  # as KEDA makes one for each of them
    said = caveats(setting)
    assert said["autoscaler-fights"].startswith("ScaledObject/web will scale it up again")
    assert said["autoscaler-rests"].startswith("HorizontalPodAutoscaler/keda-hpa-web rests")

    before = contain(setting)
    until(lambda: why_inactive(namespace, f"{collection(namespace)}/keda-hpa-web") == RESTS)
    assert reached(seen(setting), setting.target(before))
    scale(namespace, 1)  # its trigger is active
    assert not reached(seen(setting), setting.target(before))

    paused = {"autoscaling.keda.sh/paused-replicas": "0"}  # as the caveat tells it
    assert 'paused-replicas: "0"' in said["autoscaler-fights"]
    namespace.api.patch(f"{objects}/web", {"metadata": {"annotations": paused}})
    until(partial(converged, setting, setting.target(before)))
    assert "autoscaler-fights" not in caveats(setting)

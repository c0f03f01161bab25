"""Jobs with the real controller; CronJobs without, so that nothing starts by itself."""

from collections.abc import Callable
from typing import Any

import pytest

from quarantine.action import reached
from quarantine.errors import Conflict
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.cronjob_suspend import CronjobSuspend
from quarantine_kubernetes.job_suspend import JobSuspend
from quarantine_kubernetes.suspension import Suspension, read_suspension
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import grant
from tests.kubernetes.workloads import CONTAINERS, make, rest, running
from tests.testbed.controlplane import SERVICE
from tests.testbed.poll import until

WORK = {"spec": {"containers": CONTAINERS, "restartPolicy": "Never", "nodeName": "node-1"}}


def job_path(namespace: Namespace, name: str = "work") -> str:
    return f"/apis/batch/v1/namespaces/{namespace.name}/jobs/{name}"


def cron_path(namespace: Namespace, name: str = "nightly") -> str:
    return f"/apis/batch/v1/namespaces/{namespace.name}/cronjobs/{name}"


def make_cron_job(namespace: Namespace, **spec: Any) -> Resource:
    template = {"spec": {"template": WORK}}
    made = make(namespace, "cronjobs", "nightly", {"schedule": "0 3 * * *", "jobTemplate": template, **spec})
    return Resource(
        kind="kubernetes:cronjob", id="nightly", scope=f"{CLUSTER}/{namespace.name}", uid=made["metadata"]["uid"]
    )


def make_job(namespace: Namespace, **metadata: Any) -> Resource:
    made = make(namespace, "jobs", "work", {"template": WORK, "parallelism": 2, "completions": 2}, **metadata)
    running(namespace, 2)
    rest(namespace, "jobs", "work")
    return Resource(kind="kubernetes:job", id="work", scope=f"{CLUSTER}/{namespace.name}", uid=made["metadata"]["uid"])


class TestJobSuspend(ReversibleContract):
    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        grant(namespace, SERVICE, JobSuspend().permissions())
        return Setting(
            JobSuspend(), cloud_of(SERVICE), make_job(namespace), settle=lambda: rest(namespace, "jobs", "work")
        )

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        return lambda: change(namespace, job_path(namespace), False)


class TestCronjobSuspend(ReversibleContract):
    @pytest.fixture
    def setting(self, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]) -> Setting:
        grant(namespace, SERVICE, CronjobSuspend().permissions())
        return Setting(CronjobSuspend(), cloud_of(SERVICE), make_cron_job(namespace))

    @pytest.fixture
    def stranger(self, setting: Setting, namespace: Namespace) -> Stranger:
        return lambda: change(namespace, cron_path(namespace), False)


def change(namespace: Namespace, path: str, suspend: bool) -> None:
    namespace.api.patch(path, {"spec": {"suspend": suspend}})


def seen(setting: Setting) -> Suspension:
    state = setting.observe()
    assert isinstance(state, Suspension)
    return state


def said(action: JobSuspend | CronjobSuspend, state: Suspension) -> dict[str, str]:
    return {caveat.id: caveat.text for caveat in action.caveats(state)}


# --- Jobs ----------------------------------------------------------------------------------------------------------


def test_a_job_is_not_contained_while_one_of_its_pods_runs(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(JobSuspend(), cloud, make_job(namespace))
    before = seen(setting)
    assert before.running == 2
    setting.apply(setting.target(before))  # nobody ends the containers
    until(lambda: namespace.api.get(job_path(namespace))["status"].get("terminating") == 2)
    assert not reached(seen(setting), setting.target(before))
    rest(namespace, "jobs", "work")
    assert reached(seen(setting), setting.target(before))


def test_what_has_ended_is_refused(namespace: Namespace, cloud: KubernetesCloud) -> None:
    make(namespace, "jobs", "work", {"template": WORK})
    (pod,) = running(namespace, 1)
    namespace.api.patch_status(namespace.pod_path(pod.id), {"phase": "Succeeded"})
    job = Resource(kind="kubernetes:job", id="work", scope=f"{CLUSTER}/{namespace.name}")
    setting = Setting(JobSuspend(), cloud, job)
    until(lambda: seen(setting).finished)
    refusal = JobSuspend().refusal(seen(setting))
    assert refusal is not None and "has ended (Complete)" in refusal.reason


def test_a_job_that_changed_meanwhile_is_looked_at_again(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(JobSuspend(), cloud, make_job(namespace))
    now = seen(setting)
    namespace.api.patch(job_path(namespace), {"metadata": {"labels": {"team": "shop"}}})
    with pytest.raises(Conflict):
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
        )
    assert namespace.api.get(job_path(namespace))["spec"]["suspend"] is False


@pytest.mark.parametrize(
    ("metadata", "spec", "expected"),
    [
        ({}, {}, set()),
        ({"ownerReferences": [{"kind": "CronJob", "name": "nightly", "controller": True}]}, {}, {"next-run"}),
        ({"labels": {"kueue.x-k8s.io/queue-name": "team"}}, {}, {"kept-elsewhere"}),
        ({}, {"managedBy": "kueue.x-k8s.io/multikueue"}, {"kept-elsewhere"}),
        ({}, {"managedBy": "kubernetes.io/job-controller"}, set()),
    ],
)
def test_it_says_what_a_job_will_meet(metadata: dict[str, Any], spec: dict[str, Any], expected: set[str]) -> None:
    found = {"metadata": {"uid": "u", "resourceVersion": "1", **metadata}, "spec": spec, "status": {"active": 1}}
    assert set(said(JobSuspend(), read_suspension(found))) == {"pods-end", "starts-over"} | expected


# --- CronJobs ------------------------------------------------------------------------------------------------------


def test_the_jobs_that_go_on_are_named(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(CronjobSuspend(), cloud, make_cron_job(namespace))
    assert set(said(CronjobSuspend(), seen(setting))) == {"by-hand", "catches-up"}
    running_now = [{"kind": "Job", "name": name} for name in ("nightly-2", "nightly-1")]
    namespace.api.patch_status(cron_path(namespace), {"active": running_now})
    assert said(CronjobSuspend(), seen(setting))["running-jobs"].startswith("nightly-1, nightly-2 go on")
    assert seen(setting).running == 0


def test_one_with_a_deadline_does_not_catch_up(namespace: Namespace, cloud: KubernetesCloud) -> None:
    resource = make_cron_job(namespace, startingDeadlineSeconds=60)
    assert "catches-up" not in said(CronjobSuspend(), seen(Setting(CronjobSuspend(), cloud, resource)))


def test_one_that_is_suspended_already_needs_nothing(namespace: Namespace, cloud: KubernetesCloud) -> None:
    setting = Setting(CronjobSuspend(), cloud, make_cron_job(namespace, suspend=True))
    before = seen(setting)
    assert reached(before, setting.target(before))
    assert setting.apply(setting.target(before)).calls == []


def test_what_we_do_not_know_of_it_stays(namespace: Namespace, cloud: KubernetesCloud) -> None:
    """Byte for byte, but for what every write counts up."""
    setting = Setting(CronjobSuspend(), cloud, make_cron_job(namespace, timeZone="Etc/UTC", failedJobsHistoryLimit=7))
    before, image = seen(setting), namespace.api.get(cron_path(namespace))
    setting.apply(setting.target(before))
    setting.apply(before)
    after = namespace.api.get(cron_path(namespace))
    for item in (image, after):
        for key in ("resourceVersion", "generation", "managedFields"):
            item["metadata"].pop(key)
    assert after == image


def test_absent_is_given_back_as_absent() -> None:
    """The API server of today fills in `false`; where an older one did not, the key goes away again."""
    found = {"metadata": {"uid": "u", "resourceVersion": "1"}, "spec": {"jobTemplate": {}}}
    assert read_suspension(found).suspend is None

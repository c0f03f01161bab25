"""Every shipped playbook dies everywhere on a real API server: see quarantine/testing/crash.py."""

import uuid
from pathlib import Path
from typing import Any, ClassVar

import pytest

from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract, Scene, Stage
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes
from quarantine_kubernetes.exposure import UNEXPOSED
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.images import Images
from tests.kubernetes.workloads import CONTAINERS, TEMPLATE, kind_of, make, node_of
from tests.testbed.controlplane import ADMIN
from tests.testbed.poll import until

LABELS = {"app": "web", "pod-template-hash": "7d4b9", "tier": "front"}
WRITTEN = {"resourceVersion", "generation", "managedFields"}
"""What the API server notes of each write."""


def lasting(thing: dict[str, Any]) -> dict[str, Any]:
    """An object without what changes with each write."""
    metadata = {key: value for key, value in thing["metadata"].items() if key not in WRITTEN}
    return {**thing, "metadata": metadata}


class OnKubernetes(CrashContract):
    """As the administrator: what is granted for each playbook is tested in test_exact_rbac.py, with the same lives."""

    enforced_by: ClassVar[str | None] = None
    """The plug-in that is said to enforce policies, where no agent can be seen."""

    @pytest.fixture
    def scene(self, namespace: Namespace) -> Stage:
        return self.stage(namespace, self.provider(namespace.api.kubeconfig(ADMIN)))

    def provider(self, kubeconfig: Path) -> Kubernetes:
        cluster = Cluster(kubeconfig=kubeconfig, enforced_by=self.enforced_by)
        return Kubernetes(KubernetesSettings(clusters={CLUSTER: cluster}))

    def stage(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        raise NotImplementedError


class TestIsolatePod(OnKubernetes):
    playbook = shipped() / "kubernetes" / "isolate-pod.yaml"

    def stage(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        namespace.policy("allow-web", podSelector={"matchLabels": {"app": "web"}}, ingress=[{}], egress=[{}])

        def fresh(folder: Path) -> Scene:
            pod = namespace.pod(f"web-{uuid.uuid4().hex[:8]}", LABELS)
            path = namespace.pod_path(pod.id)
            return Scene(
                Installation(folder, kubernetes, [self.playbook]),
                pod,
                raw=lambda: [lasting(namespace.api.get(path)), *map(lasting, namespace.api.items(namespace.policies))],
                end=lambda: namespace.api.delete(path),
            )

        return fresh


class TestQuarantinePod(TestIsolatePod):
    playbook = shipped() / "kubernetes" / "quarantine-pod.yaml"


class TestDeletePod(OnKubernetes):
    """With the kubelet that ends the containers when time has come."""

    playbook = shipped() / "kubernetes" / "delete-pod.yaml"

    def stage(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        def fresh(folder: Path) -> Scene:
            pod = namespace.pod(f"web-{uuid.uuid4().hex[:8]}", LABELS)
            path = namespace.pod_path(pod.id)
            return Scene(
                Installation(
                    folder, kubernetes, [self.playbook], passing=lambda _: namespace.api.play_kubelet(namespace.name)
                ),
                pod,
                raw=lambda: namespace.api.exists(path),
            )

        return fresh


class Written:
    """The objects of one life: what a release must give back of each, and how they go."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._paths: list[str] = []

    def add(self, plural: str, made: dict[str, Any], kind: str) -> Resource:
        """`kind` may name the object within its kind: `kubernetes:workload deployment/`."""
        metadata = made["metadata"]
        space = metadata.get("namespace", "")
        self._paths.append(kind_of(plural).path.format(namespace=space, name=metadata["name"]))
        word, _, prefix = kind.partition(" ")
        scope = f"{CLUSTER}/{space}" if space else CLUSTER
        return Resource(kind=word, id=f"{prefix}{metadata['name']}", scope=scope, uid=metadata["uid"])

    def raw(self) -> object:
        """Without what the controllers say of it."""
        return [{**lasting(self._namespace.api.get(path)), "status": None} for path in self._paths]

    def end(self) -> None:
        for path in reversed(self._paths):  # what is owned before its owner
            self._namespace.api.request("DELETE", path, {"propagationPolicy": "Background"})


class OfObjects(OnKubernetes):
    """What they share who only write to objects that the test makes."""

    pairs = 6

    def stage(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        def fresh(folder: Path) -> Scene:
            written = Written(namespace)
            resource = self.make(namespace, written, uuid.uuid4().hex[:8])
            there = Installation(folder, kubernetes, [self.playbook], passing=lambda _: self.rests(namespace, resource))
            return Scene(there, resource, raw=written.raw, end=written.end)

        return fresh

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        raise NotImplementedError

    def rests(self, namespace: Namespace, resource: Resource) -> None:
        """Until controllers have done what they do in that time."""


class TestScaleToZero(OfObjects):
    """A ReplicationController, for whom no controller runs here: hundreds of lives wait for nobody. What the real
    controllers of the others do meanwhile is in test_workload_scale_to_zero.py."""

    playbook = shipped() / "kubernetes" / "scale-to-zero.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        template = {**TEMPLATE, "metadata": {"labels": {"app": name}}}
        made = make(namespace, "replicationcontrollers", name, {"selector": {"app": name}, "template": template})
        return written.add("replicationcontrollers", made, "kubernetes:workload replicationcontroller/")


JOB: dict[str, Any] = {
    "template": {"spec": {"containers": CONTAINERS, "restartPolicy": "Never"}},
    "managedBy": "example.test/nobody",  # so that the real controller leaves it alone, and no life has to wait for it
}


class TestSuspendJob(OfObjects):
    playbook = shipped() / "kubernetes" / "suspend-job.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        return written.add("jobs", make(namespace, "jobs", name, JOB), "kubernetes:job")


class TestSuspendCronJob(OfObjects):
    playbook = shipped() / "kubernetes" / "suspend-cronjob.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        return written.add("cronjobs", make(namespace, "cronjobs", name, CRON), "kubernetes:cronjob")


class TestStopOwner(OfObjects):
    """From a pod of a Job of a CronJob: both are stopped, and both are given back."""

    playbook = shipped() / "kubernetes" / "stop-owner.yaml"
    pairs = 3

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        cron = make(namespace, "cronjobs", name, CRON)
        written.add("cronjobs", cron, "kubernetes:cronjob")
        job = make(namespace, "jobs", name, JOB, ownerReferences=[owner("CronJob", cron)])
        written.add("jobs", job, "kubernetes:job")
        pod = make(namespace, "pods", name, {"containers": CONTAINERS}, ownerReferences=[owner("Job", job)])
        return written.add("pods", pod, "kubernetes:pod")


CRON = {"schedule": "0 3 * * *", "jobTemplate": {"spec": {"template": JOB["template"]}}}


def owner(kind: str, made: dict[str, Any]) -> dict[str, Any]:
    named = {key: made["metadata"][key] for key in ("name", "uid")}
    return {"apiVersion": "batch/v1", "kind": kind, "controller": True, **named}


RBAC = "rbac.authorization.k8s.io"


def bind(namespace: Namespace, plural: str, name: str, account: str) -> dict[str, Any]:
    subjects = [
        {"kind": "User", "name": "alice", "apiGroup": RBAC},
        {"kind": "ServiceAccount", "name": account, "namespace": namespace.name},
    ]
    body = {"metadata": {"name": name}, "subjects": subjects}
    role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": "view"}
    path = kind_of(plural).collection.format(namespace=namespace.name)
    return namespace.api.create(path, {**body, "roleRef": role})


class TestRevokeBinding(OfObjects):
    playbook = shipped() / "kubernetes" / "revoke-binding.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        return written.add("rolebindings", bind(namespace, "rolebindings", name, name), "kubernetes:rolebinding")


class TestRevokeClusterBinding(OfObjects):
    playbook = shipped() / "kubernetes" / "revoke-cluster-binding.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        made = bind(namespace, "clusterrolebindings", name, name)
        return written.add("clusterrolebindings", made, "kubernetes:clusterrolebinding")


class TestRevokePodRights(OfObjects):
    playbook = shipped() / "kubernetes" / "revoke-pod-rights.yaml"
    pairs = 3

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        accounts = f"/api/v1/namespaces/{namespace.name}/serviceaccounts"
        account = namespace.api.create(accounts, {"metadata": {"name": name}})
        written.add("serviceaccounts", account, "kubernetes:serviceaccount")
        for plural in ("rolebindings", "clusterrolebindings"):
            written.add(plural, bind(namespace, plural, name, name), f"kubernetes:{plural}")
        return namespace.pod(name, serviceAccountName=name)


class TestRevokeAccountRights(TestRevokePodRights):
    playbook = shipped() / "kubernetes" / "revoke-account-rights.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        super().make(namespace, written, name)
        path = f"/api/v1/namespaces/{namespace.name}/serviceaccounts/{name}"
        uid = namespace.api.get(path)["metadata"]["uid"]
        return Resource(kind="kubernetes:serviceaccount", id=name, scope=f"{CLUSTER}/{namespace.name}", uid=uid)


def make_node(namespace: Namespace, written: Written, name: str) -> Resource:
    """Of a pool that its spare is in as well."""
    pool = {"kops.k8s.io/instancegroup": name.removesuffix("-spare")}
    metadata = {"name": name, "annotations": {"team": "shop"}, "labels": pool}
    made = namespace.api.create("/api/v1/nodes", {"metadata": metadata})
    namespace.api.patch_status(f"/api/v1/nodes/{name}", {"conditions": [{"type": "Ready", "status": "True"}]})
    return written.add("nodes", made, "kubernetes:node")


class TestCordonNode(OfObjects):
    playbook = shipped() / "kubernetes" / "cordon-node.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        return make_node(namespace, written, name)


class TestContainEscape(OfObjects):
    """Each life on a node of its own, where no agent runs: the cluster is one whose plug-in needs none there."""

    playbook = shipped() / "kubernetes" / "contain-escape.yaml"
    pairs = 3

    enforced_by = "k3s"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        make_node(namespace, written, name)
        make_node(namespace, written, f"{name}-spare")
        pod = namespace.pod(name, LABELS, nodeName=name)
        written.add("pods", namespace.api.get(namespace.pod_path(name)), "kubernetes:pod")
        return pod


class TestBlockImage(OnKubernetes):
    """Each life has an installation, and so a policy, of its own; what stays of it is an empty one."""

    playbook = shipped() / "kubernetes" / "block-image.yaml"

    def stage(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        def fresh(folder: Path) -> Scene:
            there = Installation(folder, kubernetes, [self.playbook])
            images = Images(namespace.api, there.store.installation())
            images.make_home()
            image = Resource(kind="kubernetes:image", id=f"registry.example.com/{folder.name}:1", scope=CLUSTER)
            return Scene(there, image, raw=images.entries, left=lambda: len(images.there()), end=images.clear)

        return fresh


class TestRemoveImagePolicy(OnKubernetes):
    playbook = shipped() / "kubernetes" / "remove-image-policy.yaml"

    def stage(self, namespace: Namespace, kubernetes: Kubernetes) -> Stage:
        def fresh(folder: Path) -> Scene:
            there = Installation(folder, kubernetes, [self.playbook])
            images = Images(namespace.api, there.store.installation())
            policy = Resource(kind="kubernetes:image-policy", id=images.name, scope=CLUSTER, uid=images.make_empty())
            return Scene(there, policy, raw=lambda: len(images.there()), end=images.clear)

        return fresh


class TestUnexposeService(OfObjects):
    playbook = shipped() / "kubernetes" / "unexpose-service.yaml"

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        namespace.pod(name, {"app": name}, nodeName=node_of(namespace))
        made = make(namespace, "services", name, {"selector": {"app": name}, "ports": [{"port": 80}]})
        resource = written.add("services", made, "kubernetes:service")
        self.rests(namespace, resource)
        return resource

    def rests(self, namespace: Namespace, resource: Resource) -> None:
        """Until its endpoints are those that its selector selects."""
        until(lambda: endpoints(namespace, resource.id) == [UNEXPOSED not in selector(namespace, resource.id)])


def selector(namespace: Namespace, name: str) -> dict[str, str]:
    found = namespace.api.get(f"/api/v1/namespaces/{namespace.name}/services/{name}")
    return dict(found["spec"]["selector"])


def endpoints(namespace: Namespace, name: str) -> list[bool]:
    """Of each slice: whether it has any."""
    base = f"/apis/discovery.k8s.io/v1/namespaces/{namespace.name}/endpointslices"
    slices = namespace.api.items(f"{base}?labelSelector=kubernetes.io%2Fservice-name%3D{name}")
    return [bool(item.get("endpoints")) for item in slices]


class TestDisableAccountTokens(OfObjects):
    playbook = shipped() / "kubernetes" / "disable-account-tokens.yaml"
    pairs = 3

    def make(self, namespace: Namespace, written: Written, name: str) -> Resource:
        base = f"/api/v1/namespaces/{namespace.name}"
        made = namespace.api.create(f"{base}/serviceaccounts", {"metadata": {"name": name}})
        account = written.add("serviceaccounts", made, "kubernetes:serviceaccount")
        metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": name}}
        token = namespace.api.create(f"{base}/secrets", {"type": TOKEN, "metadata": metadata})
        written.add("secrets", token, "kubernetes:secret")
        path = f"{base}/secrets/{name}"
        until(lambda: "token" in namespace.api.get(path).get("data", {}))
        return account


TOKEN = "kubernetes.io/service-account-token"

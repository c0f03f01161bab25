"""The node of a `PodNetwork`: binds pods, gives them a network, and says in the API that they run, until they are gone.

Does for the pods of the namespaces that it serves what a scheduler and a kubelet do; of those that a ReplicaSet makes
as well. Pods of all other namespaces are left alone.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from tests.testbed.kubeapi import ApiError, KubeApi, Object, pod_addresses, pod_path
from tests.testbed.network import Host, PodHost, PodNetwork
from tests.testbed.poll import until
from tests.testbed.reflector import Reflector


class Node:
    """Works inside `with`."""

    def __init__(self, api: KubeApi, network: PodNetwork, name: str = "node-1") -> None:
        self.name = name
        self._api = api
        self.network = network
        self._namespaces: set[str] = set()
        self._lock = threading.Lock()
        self._hosts: dict[str, PodHost] = {}  # by the uid of the pod
        self._changed = threading.Event()
        self._over = False
        self._pods = Reflector(api, "/api/v1/pods", self._changed.set)
        self._thread = ThreadPoolExecutor(1, name)

    def __enter__(self) -> Self:
        # EndpointSlices and DaemonSets leave out pods whose node is not there.
        self._api.create("/api/v1/nodes", {"metadata": {"name": self.name}})
        self._api.patch_status(f"/api/v1/nodes/{self.name}", {"conditions": [{"type": "Ready", "status": "True"}]})
        self._api.patch(f"/api/v1/nodes/{self.name}", {"spec": {"taints": None}})
        self._pods.start()
        self._working = self._thread.submit(self._work)
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._changed.set()
        self._thread.shutdown()
        self._pods.stop()
        self._api.delete(f"/api/v1/nodes/{self.name}")
        self._working.result()

    def serve(self, namespace: str) -> None:
        """The pods that are made there, from now on, run here."""
        with self._lock:
            self._namespaces.add(namespace)
        self._changed.set()

    def host(self, pod: Object) -> Host:
        """Where a pod is on the network: the node itself for one that shares its network. Waits until it runs."""
        if pod["spec"].get("hostNetwork"):
            until(lambda: self._api.get(pod_path(pod)).get("status", {}).get("podIP"))
            return self.network.node

        def running() -> PodHost | None:
            if self._working.done():
                self._working.result()
            return self._hosts.get(pod["metadata"]["uid"])

        found = until(running)
        assert found is not None
        return found

    def _work(self) -> None:
        while not self._over:
            self._changed.wait()
            self._changed.clear()
            self._look()

    def _look(self) -> None:
        with self._lock:
            namespaces = set(self._namespaces)
        pods = {pod["metadata"]["uid"]: pod for pod in self._pods.objects()}
        for uid in set(self._hosts) - set(pods):
            self.network.detach(self._hosts.pop(uid))
        for uid, pod in pods.items():
            if pod["metadata"]["namespace"] not in namespaces or not self._is_its_place(pod["spec"]):
                continue
            try:
                if "deletionTimestamp" in pod["metadata"]:
                    self._end(uid, pod)
                elif not pod.get("status", {}).get("podIP") and uid not in self._hosts:
                    self._begin(uid, pod)
            except ApiError as error:
                if error.status not in (404, 409, 422):  # it is gone, or another one by now: its next event says so
                    raise

    def _is_its_place(self, spec: Object) -> bool:
        """A DaemonSet makes a pod for each node, and leaves it to the scheduler to read in its affinity for which."""
        if "nodeName" in spec:
            return bool(spec["nodeName"] == self.name)
        affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
        terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get("nodeSelectorTerms") or []
        fields = [field for term in terms for field in term.get("matchFields") or []]
        return all(self.name in field["values"] for field in fields)

    def _begin(self, uid: str, pod: Object) -> None:
        if not pod["spec"].get("nodeName"):
            self._api.bind(pod, self.name)
        if pod["spec"].get("hostNetwork"):
            self._report(pod, self.network.node)
            return
        host = self.network.attach(*pod_addresses())
        try:
            self._report(pod, host)
        except BaseException:
            self.network.detach(host)
            raise
        self._hosts[uid] = host

    def _report(self, pod: Object, host: Host) -> None:
        here = [{"ip": address} for address in self.network.node.addresses]
        self._api.report_running(pod, *host.addresses, hostIP=here[0]["ip"], hostIPs=here)

    def _end(self, uid: str, pod: Object) -> None:
        if uid in self._hosts:
            self.network.detach(self._hosts.pop(uid))
        self._api.request("DELETE", pod_path(pod), {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})

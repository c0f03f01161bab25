"""A Kubernetes API as one user sees it: plain HTTP and JSON, none of the product's code.

No kubelet runs in the test bed. `make_pod` and `play_kubelet` do its part: an address, and the status Running.
"""

import http.client
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import count
from typing import Any, cast
from urllib.parse import urlsplit

from tests.testbed.poll import until

Object = dict[str, Any]

MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"  # wants ?fieldManager=NAME in the path

# One namespace of pod addresses for all users of all servers of a run: no two pods share one.
_POD_NUMBERS = count(2)


class ApiError(Exception):
    """The API server said no; `status` is the HTTP status, `answer` its Status object."""

    def __init__(self, status: int, answer: Object) -> None:
        super().__init__(f"{status} {answer.get('reason', '')}: {answer.get('message', answer)}")
        self.status = status
        self.answer = answer


def pod_addresses() -> tuple[str, str]:
    """The next ones of both families that no pod has."""
    number = next(_POD_NUMBERS)
    return f"10.244.{number // 250}.{number % 250 + 1}", f"fd00:10:244::{number:x}"


class KubeApi:
    def __init__(self, url: str, ca_file: str, token: str) -> None:
        self.url = url
        self.ca_file = ca_file
        self._token = token

    def create(self, path: str, thing: Mapping[str, Any]) -> Object:
        """POST to a collection, such as /api/v1/namespaces/shop/pods."""
        return self.request("POST", path, thing)

    def get(self, path: str) -> Object:
        return self.request("GET", path)

    def exists(self, path: str) -> bool:
        try:
            self.get(path)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    def items(self, path: str) -> list[Object]:
        """The items of a collection; a label selector goes into the path's query, percent-encoded."""
        return cast(list[Object], self.get(path)["items"])

    def patch(self, path: str, change: object, content_type: str = MERGE) -> Object:
        return self.request("PATCH", path, change, content_type)

    def patch_status(self, path: str, status: Mapping[str, Any]) -> Object:
        return self.patch(f"{path}/status", {"status": status})

    def delete(self, path: str, grace: int | None = 0) -> Object:
        """Gone when this returns, if there are no finalizers. With a grace, nobody here would end the wait."""
        return self.request("DELETE", path, None if grace is None else {"gracePeriodSeconds": grace})

    def make_namespace(self, name: str, labels: Mapping[str, str] | None = None) -> Object:
        """Ready for pods when this returns: their service account has come by then."""
        metadata = {"name": name, "labels": dict(labels or {})}
        namespace = self.create("/api/v1/namespaces", {"metadata": metadata})
        until(lambda: self.exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"))
        return namespace

    def make_pod(self, namespace: str, name: str, labels: Mapping[str, str] | None = None, **spec: object) -> Object:
        """A running pod with an address, on node-1 unless the spec says otherwise."""
        pod = {
            "metadata": {"name": name, "labels": dict(labels or {})},
            "spec": {
                "automountServiceAccountToken": False,
                "containers": [{"name": "main", "image": "example.test/main:1"}],
                "nodeName": "node-1",
                "terminationGracePeriodSeconds": 0,
                **spec,
            },
        }
        return self._run(self.create(f"/api/v1/namespaces/{namespace}/pods", pod))

    def make_agent(self, plug_in: str, namespace: str = "kube-system", image: str = "example.test/agent:1") -> Object:
        """A pod that looks like the ready agent of a network plug-in on node-1. It enforces nothing."""
        container = {"name": "agent", "image": image}
        labels = {"k8s-app": plug_in}
        return self.make_pod(namespace, plug_in, labels, hostNetwork=True, containers=[container])

    def play_kubelet(self, namespace: str) -> list[Object]:
        """Runs the pods that have no address yet, removes those being deleted; returns those that run now."""
        running = []
        for pod in self.items(f"/api/v1/namespaces/{namespace}/pods"):
            if "deletionTimestamp" in pod["metadata"]:
                self.delete(pod_path(pod))
            elif "podIP" in pod.get("status", {}):
                running.append(pod)
            else:
                running.append(self._run(pod))
        return running

    def request(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Object:
        """Returns the answer's object; ApiError for every status from 400."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        payload = None if body is None else json.dumps(body)
        connection = self._connection()
        try:
            connection.request(method, path, payload, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        try:
            answer = json.loads(text)
        except ValueError:
            answer = {"message": text}
        if response.status >= 400:
            raise ApiError(response.status, answer)
        return cast(Object, answer)

    def bind(self, pod: Object, node: str) -> None:
        """As the scheduler does it."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        self.create(f"{pod_path(pod)}/binding", {"metadata": {"name": pod["metadata"]["name"]}, "target": target})

    def report_running(self, pod: Object, *addresses: str, **status: object) -> Object:
        """As the kubelet does it."""
        running = {
            "phase": "Running",
            "podIP": addresses[0],
            "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        return self.patch_status(pod_path(pod), {**running, **status})

    def watch(self, path: str, since: str) -> "Watched":
        """What happens in a collection after this resourceVersion, one event after the other."""
        return Watched(self._connection(), f"{path}?watch=1&resourceVersion={since}", self._token)

    def _run(self, pod: Object) -> Object:
        if not pod["spec"].get("nodeName"):
            self.bind(pod, "node-1")
        return self.report_running(pod, pod_addresses()[0])

    def _connection(self) -> http.client.HTTPConnection:
        url = urlsplit(self.url)
        host, port = cast(str, url.hostname), url.port
        if url.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=60)
        context = ssl.create_default_context(cafile=self.ca_file)
        return http.client.HTTPSConnection(host, port, timeout=60, context=context)


class Watched:
    """Iterates over (ADDED | MODIFIED | DELETED | BOOKMARK, object) until it ends, or `stop` ends it."""

    def __init__(self, connection: http.client.HTTPConnection, path: str, token: str) -> None:
        self._connection = connection
        connection.timeout = 600  # the server ends a watch before that
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        self._socket = connection.sock
        self._response = connection.getresponse()

    def __iter__(self) -> Iterator[tuple[str, Object]]:
        try:
            while line := self._response.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise ApiError(event["object"].get("code", 500), event["object"])
                yield event["type"], event["object"]
        finally:
            self._connection.close()

    def stop(self) -> None:
        """From any thread."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def pod_path(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"

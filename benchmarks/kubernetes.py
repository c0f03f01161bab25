"""From an alert to a pod without a network, on a real API server: how soon, how many at once, and through kill -9.

The real server process takes the alert over HTTP with a bearer token, as from falcosidekick. Before it changes anything
the alert is in the inbox, the first before-image and the intent are in the database, all of it with the disk's fsync;
etcd writes through as well. A pod counts as contained when a watch of our own, beside the product, sees the label that
its deny-all policy selects: the policy stands by then.
"""

import http.client
import json
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import yaml

from quarantine.case import Status
from quarantine_kubernetes.cloud import MANAGER
from quarantine_kubernetes.policy_kind import ISOLATED
from quarantine_kubernetes.session import Session, from_kubeconfig
from tests.acceptance.product import TOKEN, Product, falco
from tests.testbed.controlplane import ADMIN, ControlPlane
from tests.testbed.poll import until

LIMITS = Path(__file__).with_name("limits.yaml")
SINGLE = 60
BURST = 1_000
SPACES = 10
ESCAPING = 5
"""One pod of so many shares the processes of its node: the poll of the posture finds it."""
CONNECTIONS = 16
AT_ONCE = 4
"""Pods that the bare client works on at a time, as many as the program does."""
PAUSE = 0.25
"""Seconds between two single alerts, so that each meets a program at rest."""
POLICIES = "networking.k8s.io/v1"
BARS = {
    "one alert: POST to policy and label, p50 ms": 20.0,
    "one alert: POST to policy and label, p95 ms": 60.0,
    "1,000 alerts on 1,000 pods: all contained, s": 15.0,
    "1,000 alerts, kill -9 in the middle: lost": 0,
    "1,000 pods listed and judged, s": 1.5,
    "1,000 pods listed and judged, MB above idle": 40.0,
    "one pod: API calls after the preflight": 4,
}
TALON = (
    "Falco Talon, not in this run but earlier, on such a machine and server (fsync on): one alert p50 9 ms, p95 18 ms"
    " with nothing recorded; 1,000 alerts 798 s (label) and 398 s (policy); 921 to 960 of 1,000 lost by kill -9."
)


def run() -> dict[str, Any]:
    print(f"     limits: {' '.join(line for line in LIMITS.read_text().splitlines() if line[:1] != '#')}")
    print(f"     {TALON}")
    with tempfile.TemporaryDirectory(prefix="quarantine-bench-") as folder, ControlPlane(durable=True) as api:
        bench = Bench(api, Path(folder))
        single = bench.single()
        burst = bench.burst()
        listed = bench.listed()
        killed = bench.killed()
        bare = bench.bare()  # the last one, as what is listed above are a thousand pods and not two
    parts = {"single": single, "burst": burst, "listed": listed, "killed": killed, "bare": bare}
    measured = {what: value for part in parts.values() for what, value in part.items()}
    return {"bars": {what: (measured[what], limit) for what, limit in BARS.items()}, **parts}


class Bench:
    def __init__(self, api: ControlPlane, folder: Path) -> None:
        self._api = api
        self._folder = folder
        self._pods = 0

    def single(self) -> dict[str, Any]:
        """One alert after the other, each when the last pod is contained and the program is at rest again."""
        names = self.pods(SINGLE + 5)
        answered, contained = [], []
        with self.installation("single") as product, Watch(self._api) as watch:
            connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=30)
            for number, (space, name) in enumerate(names):
                began = time.perf_counter()
                post(connection, space, name)
                accepted = time.perf_counter()
                seen = watch.wait(space, name)
                if number >= 5:  # the first ones open connections
                    answered.append(round((accepted - began) * 1000, 2))
                    contained.append(round((seen - began) * 1000, 2))
                until(partial(self.all_contained, product, number + 1))
                threading.Event().wait(PAUSE)
            self.judge(product, names)
            calls, with_agents = self.calls(product)
        return {
            "one pod: API calls after the preflight": max(calls),
            "the same, with looks at the agents of its node": with_agents,
            "one alert: POST to policy and label, p50 ms": round(median(contained), 1),
            "one alert: POST to policy and label, p95 ms": percentile(contained, 95),
            "POST answered, p50 ms": round(median(answered), 1),
            "raw ms": contained,
        }

    def calls(self, product: Product) -> tuple[list[int], list[int]]:
        """From the intent until it was read back, for each case, as the API server's audit log has it.

        That an agent is ready on a node is asked once in two seconds for all of its pods, and counted apart.
        """
        log = [call for call in self._api.audit(ADMIN) if call.get("userAgent", "").startswith(MANAGER)]
        alone, all_of_them = [], []
        for line in product.store.lines():
            told = {recorded.event.type: recorded.at for recorded in product.events(line.id)}
            span = told["intended"], told["verified"]
            urls = [call["requestURI"] for call in log if span[0] <= _received(call) <= span[1]]
            alone.append(sum("/namespaces/kube-system/" not in url for url in urls))
            all_of_them.append(len(urls))
        return alone, all_of_them

    def burst(self) -> dict[str, Any]:
        names = self.pods(BURST)
        with self.installation("burst") as product, Watch(self._api) as watch:
            began = time.perf_counter()
            refused = post_all(product.port, names)
            posted = time.perf_counter()
            seen = [watch.wait(space, name, 300) - began for space, name in names]
            self.judge(product, names)
        assert refused == 0, f"{refused} alerts were not accepted"
        return {
            "1,000 alerts on 1,000 pods: all contained, s": round(max(seen), 2),
            "posted in s": round(posted - began, 2),
            "half contained after s": round(median(seen), 2),
        }

    def bare(self) -> dict[str, Any]:
        """What of that is the cluster: the same requests and no more, from a client that decides and records nothing.

        It looks at the pod and at the policies of its namespace, and makes one and the label. The program has to
        decide and to record as well, but shares between pods what it has read a moment ago.
        """
        alone, names = self.pods(SINGLE), self.pods(BURST)
        session = from_kubeconfig(self._api.kubeconfig(ADMIN))
        took = []
        for name in alone:
            took.append(cut(session, name))
            threading.Event().wait(PAUSE)
        began = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(partial(cut, session), names))
        return {
            "1,000 pods by a bare client: all contained, s": round(time.perf_counter() - began, 2),
            "one pod by a bare client, p50 ms": round(median(took) * 1000, 1),
        }

    def listed(self) -> dict[str, Any]:
        """The poll that judges each pod of the cluster, by then a thousand: the best of five, and the most memory."""
        command = [sys.executable, "-m", "benchmarks._listing", str(self._api.kubeconfig(ADMIN))]
        runs = [json.loads(subprocess.run(command, capture_output=True, check=True).stdout) for _ in range(5)]
        assert all(run["findings"] == self._pods // ESCAPING for run in runs), runs
        return {
            "1,000 pods listed and judged, s": round(min(run["seconds"] for run in runs), 2),
            "1,000 pods listed and judged, MB above idle": round(max(run["megabytes"] for run in runs), 1),
            "pods": self._pods,
            "raw": runs,
        }

    def killed(self) -> dict[str, Any]:
        """kill -9 when a third is contained; started again at once."""
        names = self.pods(BURST)
        with self.installation("killed") as product, Watch(self._api) as watch:
            began = time.perf_counter()
            refused = post_all(product.port, names)
            until(lambda: watch.count(names) >= BURST // 3, 120)
            product.kill()
            before = watch.count(names)
            product.start()
            seen = [watch.wait(space, name, 300) - began for space, name in names]
            self.judge(product, names)
        assert refused == 0, f"{refused} alerts were not accepted"
        return {
            "1,000 alerts, kill -9 in the middle: lost": sum(moment == float("inf") for moment in seen),
            "contained before the kill": before,
            "all contained after s": round(max(seen), 2),
        }

    def pods(self, count: int) -> list[tuple[str, str]]:
        """So many new pods without owner, over several namespaces."""
        spaces = sorted({f"bench-{self._pods}-{number % SPACES}" for number in range(count)})
        for space in spaces:
            self._api.make_namespace(space)
        names = [(spaces[number % SPACES], f"web-{number}") for number in range(count)]
        self._pods += count
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(self._make, range(count), names))
        return names

    def _make(self, number: int, name: tuple[str, str]) -> None:
        space, pod = name
        self._api.make_pod(space, pod, {"app": "web", "tier": "front"}, hostPID=number % ESCAPING == ESCAPING - 1)

    @contextmanager
    def installation(self, name: str) -> Iterator[Product]:
        folder = self._folder / name
        folder.mkdir()
        kubeconfig = str(self._api.kubeconfig(ADMIN))
        settings = {
            **yaml.safe_load(LIMITS.read_text()),
            "providers": {"kubernetes": {"clusters": {"testbed": {"kubeconfig": kubeconfig}}}},
        }
        with Product(folder, settings) as product:
            yield product

    def all_contained(self, product: Product, count: int) -> bool:
        return product.store.counts() == {str(Status.CONTAINED): count}

    def judge(self, product: Product, names: list[tuple[str, str]]) -> None:
        """Every one of them is contained in the record too, by its own policy, once."""
        until(partial(self.all_contained, product, len(names)), 300)
        for space in {space for space, _ in names}:
            policies = self._api.items(f"/apis/networking.k8s.io/v1/namespaces/{space}/networkpolicies")
            assert len(policies) == sum(other == space for other, _ in names), f"policies in {space}"
        product.assert_whole()


class Watch:
    """Which pods have the label of a quarantine, and since when, as the API server tells everybody who watches."""

    def __init__(self, api: ControlPlane) -> None:
        url = urlsplit(api.url)
        context = ssl.create_default_context(cafile=api.ca_file)
        self._connection = http.client.HTTPSConnection(str(url.hostname), url.port or 443, context=context)
        self._headers = {"Authorization": f"Bearer {api.token(ADMIN)}"}
        self._seen: dict[tuple[str, str], float] = {}
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> "Watch":
        version = json.loads(self._get("/api/v1/pods?limit=1").read())["metadata"]["resourceVersion"]
        self._stream = self._get(f"/api/v1/pods?watch=1&resourceVersion={version}&labelSelector={ISOLATED}")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection.sock:
            self._connection.sock.close()

    def wait(self, space: str, name: str, seconds: float = 30) -> float:
        """When it was contained; infinity if it was not within so many seconds."""
        with self._news:
            self._news.wait_for(lambda: (space, name) in self._seen, seconds)
            return self._seen.get((space, name), float("inf"))

    def count(self, names: list[tuple[str, str]]) -> int:
        return sum(name in self._seen for name in names)

    def _get(self, path: str) -> http.client.HTTPResponse:
        self._connection.request("GET", path, headers=self._headers)
        return self._connection.getresponse()

    def _follow(self) -> None:
        while line := self._stream.readline():
            now = time.perf_counter()
            metadata = json.loads(line)["object"]["metadata"]
            with self._news:
                self._seen.setdefault((metadata["namespace"], metadata["name"]), now)
                self._news.notify_all()


def _received(call: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(call["requestReceivedTimestamp"])


def post(connection: http.client.HTTPConnection, space: str, name: str) -> int:
    headers = {"content-type": "application/json", "authorization": f"Bearer {TOKEN}"}
    connection.request("POST", "/v1/findings/falco", json.dumps(falco(name, space)).encode(), headers)
    response = connection.getresponse()
    response.read()
    return response.status


def post_all(port: int, names: list[tuple[str, str]]) -> int:
    """Over several connections at once. How many were not accepted."""

    def client(mine: list[tuple[str, str]]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        return sum(post(connection, space, name) != 202 for space, name in mine)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        return sum(pool.map(client, [names[number::CONNECTIONS] for number in range(CONNECTIONS)]))


def cut(session: Session, name: tuple[str, str]) -> float:
    """Isolate a pod without a word about it. How many seconds it took."""
    space, pod = name
    path, policies = f"/api/v1/namespaces/{space}/pods/{pod}", f"/apis/{POLICIES}/namespaces/{space}/networkpolicies"
    spec = {"podSelector": {"matchLabels": {ISOLATED: pod}}, "policyTypes": ["Ingress", "Egress"]}
    policy = {"apiVersion": POLICIES, "kind": "NetworkPolicy", "metadata": {"name": f"deny-{pod}"}, "spec": spec}
    began = time.perf_counter()
    metadata = answer(session, "GET", path)["metadata"]
    answer(session, "GET", policies)
    answer(session, "POST", policies, policy)
    same = {key: metadata[key] for key in ("uid", "resourceVersion")}
    answer(session, "PATCH", path, {"metadata": {"labels": {ISOLATED: pod}, **same}})
    return time.perf_counter() - began


def answer(session: Session, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    sent = None if body is None else json.dumps(body).encode()
    response = session.request(method, path, sent, {"Content-Type": kind})
    assert response.status < 300, response.data
    return json.loads(response.data)


def percentile(samples: list[float], percent: int) -> float:
    ordered = sorted(samples)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)], 2)

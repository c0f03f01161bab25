"""A real Kubernetes control plane on loopback ports: etcd, kube-apiserver and kube-controller-manager.

There is no kubelet and no scheduler. Nothing enforces network policies, though an agent on node-1 looks as if it did:
see `KubeApi` for pods, `Enforcer` for packets.
`python -m tests.testbed.controlplane build` builds the binary, so that no test has to wait for it.
"""

import json
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any, Self

from tests.testbed.certificates import write_server_certificate, write_signing_keys
from tests.testbed.gobinary import GoBinary
from tests.testbed.kubeapi import ApiError, KubeApi
from tests.testbed.poll import until
from tests.testbed.process import Process, free_port

_VERSION = "k8s.io/component-base/version"
BINARY = GoBinary(
    source=Path(__file__).with_name("controlplane"),
    title="kube-apiserver",
    flags=(
        "-tags",
        "providerless",
        "-ldflags",
        f"-s -w -X {_VERSION}.gitVersion=v1.37.2 -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor=37",
    ),
)

AGENT = "calico-node"  # the network plug-in that a look at node-1 finds, where no `Enforcer` is
ADMIN = "admin"
SERVICE = "quarantine"  # has no rights until a test binds a role to it
EXACT = "quarantine-exact"  # nor has this one, whose every call one test looks at
_CONTROLLERS = "system:kube-controller-manager"
_GROUPS = {ADMIN: "system:masters", SERVICE: "", EXACT: "", _CONTROLLERS: ""}

# What the control plane reads by itself is left out; every call of anyone else is there, writes with bodies.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {
            "level": "None",
            "users": ["system:apiserver", _CONTROLLERS],
            "verbs": ["get", "list", "watch"],
        },
        {
            "level": "None",
            "userGroups": ["system:serviceaccounts:kube-system"],
            "verbs": ["get", "list", "watch"],
        },
        {"level": "RequestResponse", "verbs": ["create", "update", "patch", "delete", "deletecollection"]},
        {"level": "Metadata"},
    ],
}

# Without a kubelet, node-lifecycle, taint-eviction and pod-garbage-collector would only tidy the pods away.
_CONTROLLER_NAMES = (
    "deployment-controller",
    "replicaset-controller",
    "statefulset-controller",
    "daemonset-controller",
    "job-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "root-ca-certificate-publisher-controller",
    "disruption-controller",
    "horizontal-pod-autoscaler-controller",
    "resourcequota-controller",
    "ttl-after-finished-controller",
)


class ControlPlane(KubeApi):
    """Runs inside `with`; its calls are the administrator's. Missing if the machine cannot build it."""

    def __init__(self, durable: bool = False) -> None:
        """`durable`: etcd writes through to the disk, as in a real cluster; a test does not need that."""
        self._durable = durable
        self._folder = tempfile.TemporaryDirectory(prefix="quarantine-controlplane-", ignore_cleanup_errors=True)
        self._home = Path(self._folder.name)
        self._processes: list[Process] = []
        self._audit_log = self._home / "audit.jsonl"
        super().__init__(f"https://127.0.0.1:{free_port()}", str(self._home / "ca.crt"), self.token(ADMIN))

    def __enter__(self) -> Self:
        try:
            binary = BINARY.build()
            self._write_files()
            self._start(binary)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()
        self._folder.cleanup()

    def token(self, user: str = SERVICE) -> str:
        return f"token-of-{user.replace(':', '-')}"

    def as_user(self, user: str = SERVICE) -> KubeApi:
        """The same API, with that user's rights."""
        return KubeApi(self.url, self.ca_file, self.token(user))

    def kubeconfig(self, user: str = SERVICE, server: str | None = None) -> Path:
        """A kubeconfig file of that user; `server` may be the address of a proxy in front."""
        path = self._home / f"kubeconfig-{user.replace(':', '-')}-{(server or self.url).rpartition(':')[2]}"
        cluster = {"server": server or self.url, "certificate-authority": self.ca_file}
        if server and server.startswith("http:"):
            del cluster["certificate-authority"]
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.token(user)}}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": user}}],
            "current-context": "testbed",
        }
        path.write_text(json.dumps(config))
        return path

    def audit(self, user: str | None = None) -> list[dict[str, Any]]:
        """The API server's own log of calls, oldest first. A call may show a moment after its answer: poll."""
        text = self._audit_log.read_text() if self._audit_log.exists() else ""
        whole_lines = text[: text.rfind("\n") + 1].splitlines()
        events: list[dict[str, Any]] = [json.loads(line) for line in whole_lines]
        return [event for event in events if user is None or event["user"].get("username") == user]

    def forget(self) -> None:
        """What was before now, as an API server lets etcd do after five minutes (--etcd-compaction-interval)."""
        revision = int(self.get("/api/v1/namespaces?limit=1")["metadata"]["resourceVersion"])
        body = json.dumps({"revision": revision, "physical": True}).encode()
        request = urllib.request.Request(f"{self._etcd}/v3/kv/compaction", data=body)
        urllib.request.urlopen(request, timeout=10).close()

    def _write_files(self) -> None:
        write_server_certificate(self._home)
        write_signing_keys(self._home)
        (self._home / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))
        tokens = [f'{self.token(user)},{user},{user},"{groups}"\n' for user, groups in _GROUPS.items()]
        (self._home / "tokens.csv").write_text("".join(tokens))

    def _start(self, binary: Path) -> None:
        home = self._home
        self._etcd = etcd = f"http://127.0.0.1:{free_port()}"
        peers = f"http://127.0.0.1:{free_port()}"
        self._run_component(
            binary,
            "etcd",
            f"--data-dir={home / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            *([] if self._durable else ["--unsafe-no-fsync"]),
            "--log-level=error",
        )
        apiserver = self._run_component(
            binary,
            "kube-apiserver",
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.url.rpartition(':')[2]}",
            f"--cert-dir={home}",
            f"--tls-cert-file={home / 'server.crt'}",
            f"--tls-private-key-file={home / 'server.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={home / 'sa.pub'}",
            f"--service-account-signing-key-file={home / 'sa.key'}",
            f"--token-auth-file={home / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--audit-policy-file={home / 'audit-policy.json'}",
            f"--audit-log-path={self._audit_log}",
            "--audit-log-maxsize=1000",
        )
        apiserver.wait_ready(self._answers, seconds=60)
        # Under RBAC each controller needs an identity of its own: their common one may do next to nothing.
        self._run_component(
            binary,
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig(_CONTROLLERS)}",
            f"--service-account-private-key-file={home / 'sa.key'}",
            f"--root-ca-file={self.ca_file}",
            f"--secure-port={free_port()}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={home / 'controllers'}",
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--controllers={','.join(_CONTROLLER_NAMES)}",
            "--horizontal-pod-autoscaler-sync-period=1s",  # of 15 s; nobody here has metrics for it
        ).wait_ready(lambda: self.exists("/api/v1/namespaces/default/serviceaccounts/default"), seconds=60)
        until(lambda: self.exists("/api/v1/namespaces/kube-system/serviceaccounts/default"), seconds=60)
        self.make_agent(AGENT)

    def _run_component(self, binary: Path, name: str, *flags: str) -> Process:
        process = Process([binary, name, *flags], self._home / f"{name}.log")
        self._processes.append(process)
        return process

    def _answers(self) -> bool:
        try:
            self.get("/readyz")
        except (ApiError, OSError):
            return False
        return True


if __name__ == "__main__":
    if sys.argv[1:] != ["build"]:
        sys.exit("usage: python -m tests.testbed.controlplane build")
    sys.stdout.write(f"{BINARY.build()}\n")

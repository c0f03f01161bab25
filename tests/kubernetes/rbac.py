"""Roles made from the permission strings of our actions, and from nothing else."""

import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from quarantine_kubernetes import Kubernetes
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.testbed.controlplane import ControlPlane
from tests.testbed.poll import until

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def rules(permissions: Iterable[str]) -> list[dict[str, Any]]:
    """`patch pods` and `list networkpolicies.networking.k8s.io` as rules of a Role."""
    made = []
    for permission in permissions:
        verb, _, kind = permission.partition(" ")
        if kind.startswith("/"):
            continue  # everybody has it, by `system:discovery`
        resource, _, group = kind.partition(".")
        made.append({"apiGroups": [group], "resources": [resource], "verbs": [verb]})
    return made


def grant(namespace: Namespace, user: str, permissions: Iterable[str]) -> None:
    """Exactly these, in this namespace alone."""
    permissions = tuple(permissions)
    base = f"{RBAC}/namespaces/{namespace.name}"
    namespace.api.create(f"{base}/roles", {"metadata": {"name": "ours"}, "rules": rules(permissions)})
    namespace.api.create(f"{base}/rolebindings", _binding("Role", "ours", user))
    until(lambda: all(allowed(namespace.api, user, each, namespace.name) for each in permissions), seconds=60)


@contextmanager
def granted_everywhere(api: ControlPlane, user: str, permissions: Iterable[str]) -> Iterator[None]:
    """Exactly these, in all namespaces, until the end of the block."""
    name = f"ours-{uuid.uuid4().hex[:8]}"
    permissions = tuple(permissions)
    beyond_everybody = [each for each in permissions if not _is_for_everybody(each)]
    api.create(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules(permissions)})
    api.create(f"{RBAC}/clusterrolebindings", _binding("ClusterRole", name, user))
    until(lambda: all(allowed(api, user, each) for each in permissions), seconds=60)
    try:
        yield
    finally:
        api.delete(f"{RBAC}/clusterrolebindings/{name}")
        api.delete(f"{RBAC}/clusterroles/{name}")
        until(lambda: not any(allowed(api, user, each) for each in beyond_everybody), seconds=60)


def _binding(kind: str, name: str, user: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def allowed(api: ControlPlane, user: str, permission: str, namespace: str = "") -> bool:
    """Whether the API server knows of it by now: it watches the roles."""
    verb, _, kind = permission.partition(" ")
    asked: dict[str, dict[str, str]]
    if kind.startswith("/"):
        asked = {"nonResourceAttributes": {"verb": verb, "path": kind}}
    else:
        resource, _, group = kind.partition(".")
        resource, _, subresource = resource.partition("/")
        what = {"verb": verb, "group": group, "resource": resource, "subresource": subresource}
        asked = {"resourceAttributes": {**what, "namespace": namespace}}
    # A review knows no groups but those that it names; whoever calls has this one, and with it `system:discovery`.
    review = {"spec": {"user": user, "groups": ["system:authenticated"], **asked}}
    answer = api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


# --- as the command writes it ----------------------------------------------------------------------------------------


def ask(folder: Path, *words: str, config: str = "installation: tests\n") -> subprocess.CompletedProcess[str]:
    (folder / "config.yaml").write_text(config)
    command = [sys.executable, "-m", "quarantine.cli", *words, "--config", str(folder / "config.yaml")]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def written_for(user: str, folder: Path) -> list[dict[str, Any]]:
    """What `quarantine permissions` writes for all playbooks and all polls."""
    schedules = {
        poll.name.partition(":")[2]: {"poll": poll.name, "scope": CLUSTER, "every": "1h"} for poll in Kubernetes.polls
    }
    config = {"providers": {"kubernetes": {"clusters": {CLUSTER: {}}}}, "schedules": schedules}
    command = ("permissions", "--provider", "kubernetes", "--principal", f"user:{user}")
    done = ask(folder, *command, config=yaml.safe_dump(config))
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@contextmanager
def applied(api: ControlPlane, user: str, objects: list[dict[str, Any]]) -> Iterator[None]:
    """As `kubectl apply` does it; in force within the block, and not after it."""
    paths = []
    for thing in objects:
        namespace = thing["metadata"].get("namespace")
        collection = f"{RBAC}/namespaces/{namespace}" if namespace else RBAC
        paths.append(f"{collection}/{thing['kind'].lower()}s")
        api.create(paths[-1], thing)
    asked = [
        (permission, thing["metadata"].get("namespace", ""))
        for thing in objects
        for permission in permissions_in(thing)
    ]
    try:
        until(lambda: all(allowed(api, user, *each) for each in asked), seconds=60)
        yield
    finally:
        for path, thing in zip(paths, objects, strict=True):
            api.delete(f"{path}/{thing['metadata']['name']}")
        beyond_everybody = [each for each in asked if not _is_for_everybody(each[0])]
        until(lambda: not any(allowed(api, user, *each) for each in beyond_everybody), seconds=60)


def permissions_in(thing: dict[str, Any]) -> Iterator[str]:
    for rule in thing.get("rules", ()):
        for verb in rule["verbs"]:
            yield from (f"{verb} {path}" for path in rule.get("nonResourceURLs", ()))
            for resource, group in product(rule.get("resources", ()), rule.get("apiGroups", ())):
                yield f"{verb} {resource}.{group}" if group else f"{verb} {resource}"


def _is_for_everybody(permission: str) -> bool:
    """By `system:discovery` and `system:basic-user`."""
    return " /" in permission or "selfsubject" in permission

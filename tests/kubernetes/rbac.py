"""Roles made from the permission strings of our actions, and from nothing else."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.kubernetes.conftest import Namespace
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
    base = f"{RBAC}/namespaces/{namespace.name}"
    namespace.api.create(f"{base}/roles", {"metadata": {"name": "ours"}, "rules": rules(permissions)})
    namespace.api.create(f"{base}/rolebindings", _binding("Role", "ours", user))
    until(lambda: all(_allowed(namespace.api, user, rule, namespace.name) for rule in rules(permissions)), seconds=60)


@contextmanager
def granted_everywhere(api: ControlPlane, user: str, permissions: Iterable[str]) -> Iterator[None]:
    """Exactly these, in all namespaces, until the end of the block."""
    name = f"ours-{uuid.uuid4().hex[:8]}"
    api.create(f"{RBAC}/clusterroles", {"metadata": {"name": name}, "rules": rules(permissions)})
    api.create(f"{RBAC}/clusterrolebindings", _binding("ClusterRole", name, user))
    until(lambda: all(_allowed(api, user, rule) for rule in rules(permissions)), seconds=60)
    try:
        yield
    finally:
        api.delete(f"{RBAC}/clusterrolebindings/{name}")
        api.delete(f"{RBAC}/clusterroles/{name}")
        until(lambda: not any(_allowed(api, user, rule) for rule in rules(permissions)), seconds=60)


def _binding(kind: str, name: str, user: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }


def _allowed(api: ControlPlane, user: str, rule: dict[str, Any], namespace: str = "") -> bool:
    """Whether the API server knows of it by now: it watches the roles."""
    resource, _, subresource = rule["resources"][0].partition("/")
    attributes = {"verb": rule["verbs"][0], "group": rule["apiGroups"][0], "namespace": namespace}
    attributes |= {"resource": resource, "subresource": subresource}
    review = {"spec": {"user": user, "resourceAttributes": attributes}}
    answer = api.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    return bool(answer["status"]["allowed"])

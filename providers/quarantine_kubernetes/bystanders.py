"""Asks who loses a pod that is isolated. For a person who looks: nothing that is done by itself waits for it."""

from collections.abc import Mapping
from typing import Final

from quarantine.errors import Denied
from quarantine.model import Resource
from quarantine_kubernetes import pod_policy
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.exemption import Exemption
from quarantine_kubernetes.objects import KINDS, POD, SERVICE, beside
from quarantine_kubernetes.peers import MOST, leading, losing, named, others
from quarantine_kubernetes.pod import get_pod

_CACHED: Final = {"resourceVersion": "0"}


def of_pod(cloud: KubernetesCloud, resource: Resource, labels: Mapping[str, str], exempt: Exemption) -> tuple[str, ...]:
    """In sentences; `labels` are those that it will have. Read from the API server's cache. Raises ProviderError."""
    pod = get_pod(cloud, resource)
    pods = beside(cloud, resource, KINDS[POD], **_CACHED)
    policies = pod_policy.listed(cloud, resource.area, latest=False)
    now = pod["metadata"].get("labels") or {}
    found = [
        _pods(losing(pod, pods, policies, labels, exempt), len(pods)),
        _elsewhere(others(policies, now), exempt),
    ]
    try:
        services = beside(cloud, resource, KINDS[SERVICE], **_CACHED)
    except Denied as error:  # its captures have that right, and may not be in this playbook
        return (*found, f"Which Services lead to it cannot be said: {error}")
    lost = leading(services, now, labels)
    return (*found, f"Services that lead to it and will not: {named(lost)}." if lost else "No Service leads to it.")


def _pods(names: list[str], listed: int) -> str:
    some = f" (the first {MOST} of {listed} were looked at)" if listed > MOST else ""
    if not names:
        return f"No other pod of its namespace loses access to it{some}."
    return f"Pods of its namespace that can reach it and will not: {len(names)}{some}: {named(names)}."


def _elsewhere(openings: list[str] | None, exempt: Exemption) -> str:
    if openings == []:
        return "No policy lets anybody of another namespace in."
    who = "Pods of other namespaces were not looked at"
    but = f", but for {exempt.peer}" if exempt.peer is not None else ""
    if openings is None:
        return f"{who}: no policy keeps any of them out now, and none will reach it{but}."
    return f"{who}: those that can reach it now lose it{but}. By {'; '.join(openings)}."

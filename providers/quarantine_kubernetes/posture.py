"""What a pod may do to its node, and whom a Service lets in. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import collapse_addresses, ip_address, ip_network
from typing import Any, Final

_RANGES: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"
"""Counts where the field says nothing (kubernetes/cloud-provider, service/helpers, GetLoadBalancerSourceRanges)."""


def ways_to_the_node(pod: Mapping[str, Any]) -> tuple[str, ...]:
    """`hostNetwork`, `hostPath /var/run`, `privileged container main`: what the baseline of the Pod Security Standards
    forbids because it leads out of the pod. None for a pod that has finished."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return ()
    return tuple(_ways(pod["spec"]))


def _ways(spec: Mapping[str, Any]) -> Iterator[str]:
    yield from (name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name))
    for volume in spec.get("volumes") or []:
        if volume.get("hostPath"):
            yield f"hostPath {volume['hostPath']['path']}"
    for part in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(part) or []:
            if (container.get("securityContext") or {}).get("privileged"):
                yield f"privileged container {container['name']}"


def has_token(pod: Mapping[str, Any]) -> bool:
    """A token for the API server is mounted: by the volume that admission has put in, whoever asked for it. One for
    another audience opens nothing here."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    volumes = pod["spec"].get("volumes") or []
    sources = [source for volume in volumes for source in (volume.get("projected") or {}).get("sources") or []]
    tokens = [source["serviceAccountToken"] for source in sources if source.get("serviceAccountToken")]
    return any("kubernetes.default.svc" in (token.get("audience") or "kubernetes.default.svc") for token in tokens)


def open_families(service: Mapping[str, Any]) -> tuple[str, ...]:
    """The families of addresses, `IPv4` and `IPv6`, of which its load balancer lets everybody in. None if it has no
    load balancer, or one with private addresses alone."""
    spec = service["spec"]
    if spec.get("type") != "LoadBalancer" or _is_inside(service):
        return ()
    annotated = (service["metadata"].get("annotations") or {}).get(_RANGES, "").split(",")
    ranges = spec.get("loadBalancerSourceRanges") or [text for text in annotated if text.strip()]
    return tuple(family for family in spec.get("ipFamilies") or ("IPv4",) if _lets_all_in(ranges, family))


def _lets_all_in(ranges: Iterable[str], family: str) -> bool:
    """No range of a family limits nothing for that family (kubernetes, pkg/proxy, newBaseServiceInfo). Two halves are
    the whole, too."""
    version = 6 if family == "IPv6" else 4
    return _is_whole([found for found in map(_range, ranges) if found is not None and found.version == version])


def _range(text: str) -> Any:
    """None for what is no range: it limits nothing, and must not hide all other Services from the poll."""
    try:
        return ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _is_whole(ranges: list[Any]) -> bool:
    return not ranges or any(it.prefixlen == 0 for it in collapse_addresses(ranges))


def _is_inside(service: Mapping[str, Any]) -> bool:
    """Every address that it got is a private one. While it has none, or only a name, it counts as open."""
    entries = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    addresses = [entry.get("ip") for entry in entries]
    return bool(addresses) and all(address and ip_address(address).is_private for address in addresses)

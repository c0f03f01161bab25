"""Who reaches what is behind a Service, and two ways to close it that keep its address. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Proof, Refusal, State, Token
from quarantine_kubernetes.gitops import keeper_of
from quarantine_kubernetes.policy_kind import DOMAIN

UNEXPOSED: Final = f"{DOMAIN}/unexposed"
"""The label that no pod has. The selector asks for it besides: with no selector at all, the endpoints that a Service
has would stay for ever (kubernetes/kubernetes, pkg/controller/endpointslice, syncService)."""
_NOWHERE: Final = {"IPv4": "192.0.2.1/32", "IPv6": "2001:db8::1/128"}
"""Addresses that nobody comes from (RFC 5737, RFC 3849). One for each family of the Service: no range of a family
is for kube-proxy no limit for that family (pkg/proxy, newBaseServiceInfo)."""
_OURS: Final = "endpointslice-controller.k8s.io"


class Means(StrEnum):
    SELECTOR = "selector"
    """It has no endpoints any more: nobody gets through, from inside or outside."""
    SOURCE_RANGES = "source-ranges"
    """Its load balancer lets nobody in; clients inside of the cluster go on."""


class Exposure(State):
    selector: dict[str, str]
    source_ranges: tuple[str, ...] | None = None
    """None where it does not say, which lets everybody in."""
    endpoints: Annotated[int, Proof] = 0
    """How many pods it leads to; not looked at where only the load balancer is closed."""
    type: Annotated[str, Fact] = "ClusterIP"
    families: Annotated[tuple[str, ...], Fact] = ()
    node_ports: Annotated[tuple[int, ...], Fact] = ()
    ingresses: Annotated[tuple[str, ...], Fact] = ()
    foreign: Annotated[tuple[str, ...], Fact] = ()
    """EndpointSlices that somebody else than the cluster's controller has made."""
    keeper: Annotated[str, Fact] = ""
    uid: Annotated[str, Fact]
    version: Annotated[str, Token] = ""


def read_exposure(
    found: Mapping[str, Any], slices: Iterable[Mapping[str, Any]], ingresses: Iterable[Mapping[str, Any]]
) -> Exposure:
    metadata, spec, ranges = found["metadata"], found["spec"], found["spec"].get("loadBalancerSourceRanges")
    slices = list(slices)
    return Exposure(
        selector=spec.get("selector") or {},
        source_ranges=None if ranges is None else tuple(ranges),
        endpoints=sum(len(item.get("endpoints") or []) for item in slices),
        type=spec.get("type", "ClusterIP"),
        families=tuple(spec.get("ipFamilies") or ()),
        node_ports=tuple(port["nodePort"] for port in spec.get("ports") or [] if "nodePort" in port),
        ingresses=tuple(sorted(item["metadata"]["name"] for item in ingresses if _leads_to(item, metadata["name"]))),
        foreign=tuple(sorted(item["metadata"]["name"] for item in slices if _manager(item) != _OURS)),
        keeper=keeper_of(found, ("spec", "selector"), ("spec", "loadBalancerSourceRanges")),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
    )


def _manager(found: Mapping[str, Any]) -> str:
    return str((found["metadata"].get("labels") or {}).get("endpointslice.kubernetes.io/managed-by", ""))


def _leads_to(ingress: Mapping[str, Any], name: str) -> bool:
    spec = ingress["spec"]
    paths = [path for rule in spec.get("rules") or [] for path in (rule.get("http") or {}).get("paths") or []]
    backends = [spec.get("defaultBackend") or {}, *(path["backend"] for path in paths)]
    return any((backend.get("service") or {}).get("name") == name for backend in backends)


def closed(before: Exposure, means: Means) -> Exposure:
    if means is Means.SELECTOR:
        return before.model_copy(update={"selector": before.selector | {UNEXPOSED: before.uid}, "endpoints": 0})
    return before.model_copy(update={"source_ranges": tuple(_NOWHERE[family] for family in before.families)})


def change(now: Exposure, target: Exposure) -> dict[str, Any]:
    """The merge patch from one to the other; what is absent there goes."""
    spec: dict[str, Any] = {}
    if now.selector != target.selector:
        spec["selector"] = dict.fromkeys(now.selector) | target.selector
    if now.source_ranges != target.source_ranges:
        spec["loadBalancerSourceRanges"] = None if target.source_ranges is None else list(target.source_ranges)
    return {"spec": spec}


def refusal(before: Exposure, means: Means) -> Refusal | None:
    if before.type == "ExternalName":
        return Refusal(reason="it is a name for something outside of the cluster (ExternalName), and leads to no pod")
    if means is Means.SOURCE_RANGES and before.type != "LoadBalancer":
        reason = f"a Service of type {before.type} has no load balancer whose sources could be limited"
        return Refusal(reason=reason, alternatives=("take its endpoints away: `means: selector`",))
    if means is Means.SELECTOR and (before.foreign or not before.selector):
        who = f"EndpointSlice {', '.join(before.foreign)}" if before.foreign else "somebody"
        reason = f"its endpoints do not come from its selector: {who} gives them to it"
        limit = ("limit its load balancer: `means: source-ranges`",) if before.type == "LoadBalancer" else ()
        return Refusal(reason=reason, alternatives=(*limit, "isolate what is behind it"))
    return None


_ALWAYS: Final = {
    "open-connections": "Connections that are open already may go on: what they are tracked by is not cleared for TCP.",
    "pods-reached-otherwise": "Its pods are still reached by their addresses and by other Services that select them.",
}
_SELECTOR: Final = {
    "inside-too": "Clients inside of the cluster lose it too; `means: source-ranges` closes only the load balancer.",
}
_RANGES: Final = {
    "who-enforces": "kube-proxy refuses on the nodes. Whether the load balancer itself does depends on the cloud, and"
    " was not seen from here.",
    "inside-goes-on": "Clients inside of the cluster, and whoever can reach a node, still get through.",
}


def caveats(before: Exposure, means: Means) -> tuple[Caveat, ...]:
    selector = means is Means.SELECTOR
    texts = _ALWAYS | (_SELECTOR if selector else _RANGES)
    if before.node_ports and not selector:
        texts["node-ports"] = "Node ports {ports} stay open on every node."
    if before.ingresses:
        texts["ingresses"] = "Ingress {ingresses} leads here, and " + (
            "answers with an error." if selector else "still lets the world in: close it too."
        )
    elif not selector:
        texts["routes"] = "Routes of the Gateway API and of meshes are not looked at: they may lead here too."
    if before.keeper:
        texts["kept-elsewhere"] = "{keeper} may put it back: suspend it at its root, with the reason."
    words = {"ports": ", ".join(map(str, before.node_ports)), "ingresses": ", ".join(before.ingresses)}
    return tuple(Caveat(id=name, text=text.format(keeper=before.keeper, **words)) for name, text in texts.items())

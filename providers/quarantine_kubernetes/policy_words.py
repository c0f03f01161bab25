"""What a rule of a NetworkPolicy allows, in words for people. Pure."""

from typing import Any

from quarantine_kubernetes.selector import items, mapping


def rule_words(rule: Any, ingress: bool) -> str:
    """`to pods with k8s-app=kube-dns in every namespace on UDP/53`. Whatever a rule says, this does not fail."""
    rule = mapping(rule)
    peers, ports = rule.get("from" if ingress else "to"), rule.get("ports")
    who = " or ".join(_peer(peer) for peer in items(peers)) or "anywhere"
    where = ", ".join(_port(port) for port in items(ports)) or "any port"
    return f"{'from' if ingress else 'to'} {who} on {where}"


def _peer(peer: Any) -> str:
    peer = mapping(peer)
    block = mapping(peer.get("ipBlock"))
    if block:
        excepted = ", ".join(str(item) for item in items(block.get("except")))
        return f"{block.get('cidr')}{f' except {excepted}' if excepted else ''}"
    who = _selector(peer.get("podSelector") or {}, "every pod", "pods with ")
    if "namespaceSelector" not in peer:
        return f"{who} of the namespace"
    return f"{who} in {_selector(peer['namespaceSelector'] or {}, 'every namespace', 'namespaces with ')}"


def _selector(selector: Any, everything: str, some: str) -> str:
    selector = mapping(selector)
    parts = [f"{key}={value}" for key, value in sorted(mapping(selector.get("matchLabels")).items())]
    for expression in map(mapping, items(selector.get("matchExpressions"))):
        values = ",".join(str(value) for value in items(expression.get("values")))
        words = f"{expression.get('key')} {expression.get('operator')}"
        parts.append(f"{words} ({values})" if values else words)
    return some + ", ".join(parts) if parts else everything


def _port(port: Any) -> str:
    port = mapping(port)
    first, last = port.get("port"), port.get("endPort")
    number = "any port" if first is None else f"{first}-{last}" if last is not None else first
    return f"{port.get('protocol') or 'TCP'}/{number}"

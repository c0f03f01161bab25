"""Our permissions as RBAC that `kubectl apply` takes: one role to look, and another one to act. Pure.

get pods, list pods, patch pods ──> reader: get, list pods      actor: patch pods
everywhere ──> ClusterRole and ClusterRoleBinding        in some namespaces ──> a Role and a RoleBinding in each
what we change in our own namespace ──> a Role there
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import yaml

from quarantine.action import Needs
from quarantine.errors import Unsupported
from quarantine_kubernetes.image_policy import HOME
from quarantine_kubernetes.objects import CONFIG_MAP, KINDS

GROUP: Final = "rbac.authorization.k8s.io"
PART: Final = "cloud-quarantine.dev/part"
READS: Final = frozenset({"get", "list", "watch"})
WHO_AM_I: Final = "selfsubjectreviews.authentication.k8s.io"
"""A question that is asked with `create`."""
USUAL: Final = "serviceaccount:cloud-quarantine/cloud-quarantine"

CLUSTER_WIDE: Final = frozenset(kind.permission("get")[4:] for kind in KINDS.values() if not kind.namespaced) | {
    WHO_AM_I,
    "namespaces",
    f"clusterroles.{GROUP}",
    f"clusterrolebindings.{GROUP}",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "clusternetworkpolicies.policy.networking.k8s.io",
    "ciliumclusterwidenetworkpolicies.cilium.io",
    "globalnetworkpolicies.crd.projectcalico.org",
    "globalnetworkpolicies.projectcalico.org",
    "tiers.crd.projectcalico.org",
    "clusterinfraassessmentreports.aquasecurity.github.io",
    "clusterpolicyreports.wgpolicyk8s.io",
    "clusterreports.openreports.io",
}
"""What is in no namespace, as permissions name it: a Role cannot grant it."""

AT_HOME: Final = frozenset({KINDS[CONFIG_MAP].permission("get")[4:]})
"""What of ours is in our own namespace, and is changed there alone: ConfigMaps of others may decide who may do what.

They are read everywhere, because whoever makes a policy must be able to read all objects of the kind of its parameters
(kubernetes/kubernetes, pkg/registry/admissionregistration, validatingadmissionpolicy/authz.go)."""

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

Rule = tuple[str, str, tuple[str, ...]]
"""Verb, resource with its group, and names of objects if it is for these alone."""


_AGENTS: Final[Rule] = ("list", "pods", ())


def document(needs: Needs, pinned: bool, agents: Iterable[str] = ()) -> str:
    """`pinned`: the configuration says the uid of a cluster, which is read from its kube-system namespace.

    `agents`: the namespaces where the network plug-in's agents are looked for, wherever the contained pods are.
    """
    rules: dict[Rule, tuple[str, ...]] = {}
    for permission, of in needs.permissions.items():
        verb, _, resource = permission.partition(" ")
        rules[verb, resource, ()] = of
    for kind, of in needs.kinds.items():
        if kind in KINDS:
            verb, _, resource = KINDS[kind].permission("get").partition(" ")
            rules[verb, resource, ()] = (*rules.get((verb, resource, ()), ()), *of)
    if pinned and ("get", "namespaces", ()) not in rules:
        rules["get", "namespaces", ("kube-system",)] = ("the pins of clusters",)
    subject = _subject(needs.principal or USUAL)
    where = (needs.namespaces, tuple(agents))
    return _HEAD + "".join(_part(part, chosen, subject, *where) for part, chosen in _parts(rules))


def _parts(rules: Mapping[Rule, tuple[str, ...]]) -> Iterator[tuple[str, dict[Rule, tuple[str, ...]]]]:
    for part, reads in (("reader", True), ("actor", False)):
        yield part, {rule: of for rule, of in rules.items() if (rule[0] in READS or rule[1] == WHO_AM_I) is reads}


def _part(
    part: str,
    rules: Mapping[Rule, tuple[str, ...]],
    subject: Mapping[str, str],
    namespaces: Iterable[str],
    agents: Iterable[str],
) -> str:
    home = {rule: of for rule, of in rules.items() if _resource(rule) in AT_HOME and rule[0] not in READS}
    others = {rule: of for rule, of in rules.items() if rule not in home}
    wide = {
        rule: of
        for rule, of in others.items()
        if not namespaces or _is_a_path(rule[1]) or _resource(rule) in CLUSTER_WIDE | AT_HOME
    }
    # To bind a cluster role in a namespace is granted there (kubernetes.io, "Using RBAC Authorization").
    narrow = {rule: of for rule, of in others.items() if rule not in wide or rule[0] == "bind"}
    places = {_name(namespace, "--namespace"): dict(narrow) for namespace in namespaces}
    places[HOME] = {**places.get(HOME, {}), **home}
    for namespace in agents if namespaces and _AGENTS in rules else ():
        places.setdefault(_name(namespace, "agents"), {_AGENTS: ("the agents of the network plug-in",)})
    documents = _role("Cluster", part, {}, wide, subject) if wide else ""
    for namespace, granted in places.items():
        documents += _role("", part, {"namespace": namespace}, granted, subject) if granted else ""
    return documents


def _role(
    prefix: str,
    part: str,
    where: Mapping[str, str],
    rules: Mapping[Rule, tuple[str, ...]],
    subject: Mapping[str, str],
) -> str:
    metadata = {"name": f"cloud-quarantine-{part}", **where, "labels": {PART: part}}
    head = {"apiVersion": f"{GROUP}/v1", "kind": f"{prefix}Role", "metadata": metadata}
    role = {"apiGroup": GROUP, "kind": f"{prefix}Role", "name": metadata["name"]}
    binding = {"kind": f"{prefix}RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [dict(subject)]}
    return f"---\n{_yaml(head)}rules:\n{''.join(_rules(rules))}---\n{_yaml({'apiVersion': f'{GROUP}/v1', **binding})}"


def _rules(rules: Mapping[Rule, tuple[str, ...]]) -> Iterator[str]:
    """One for each resource, with who needs it."""
    grouped: dict[tuple[str, tuple[str, ...]], list[Rule]] = {}
    for rule in sorted(rules):
        grouped.setdefault((rule[1], rule[2]), []).append(rule)
    for (what, names), members in grouped.items():
        resource, _, group = what.partition(".")
        written: dict[str, Any] = {"apiGroups": [group], "resources": [resource]}
        if _is_a_path(what):
            written = {"nonResourceURLs": [what]}
        written |= {"resourceNames": list(names)} if names else {}
        written["verbs"] = [verb for verb, _, _ in members]
        for line in sorted({name for member in members for name in rules[member]}):
            yield f"# {line}\n"
        yield _yaml([written])


def _is_a_path(what: str) -> bool:
    """`/apis`: no resource, and in no namespace (kubernetes.io, "Using RBAC Authorization", nonResourceURLs)."""
    return what.startswith("/")


def _resource(rule: Rule) -> str:
    """`nodes`, of `get nodes/proxy` too."""
    resource, dot, group = rule[1].partition(".")
    return f"{resource.partition('/')[0]}{dot}{group}"


def _subject(principal: str) -> dict[str, str]:
    kind, _, name = principal.partition(":")
    if kind == "serviceaccount":
        namespace, _, account = name.partition("/")
        where = {"namespace": _name(namespace, "--principal"), "name": _name(account, "--principal")}
        return {"kind": "ServiceAccount", **where}
    if kind in ("user", "group") and name:
        return {"apiGroup": GROUP, "kind": kind.title(), "name": name}
    raise Unsupported(f"{principal!r} is nobody: serviceaccount:NAMESPACE/NAME, user:NAME or group:NAME")


def _name(name: str, of: str) -> str:
    if not _NAME.fullmatch(name):
        raise Unsupported(f"{of}: {name[:80]!r} is no name that a Kubernetes object can have")
    return name


def _yaml(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=120)


_HEAD: Final = f"""\
# Written by `quarantine permissions --provider kubernetes`, for the playbooks that each rule names. Apply it with
#   quarantine permissions --provider kubernetes | kubectl apply -f -
# The reader is enough for `guards.mode: observe`: kubectl apply -l {PART}=reader -f -
"""

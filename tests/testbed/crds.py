"""The CustomResourceDefinitions of network plug-ins, scanners and KEDA, for a control plane where none of them runs.

Cilium's, network-policy-api's, KEDA's, and those of policy reports are the published ones, out of Go modules. Those of
Calico and Trivy Operator are not to be had; theirs are ours, with the fields that we use as api/config/crd of
projectcalico/calico and deploy/helm/crds of aquasecurity/trivy-operator describe them.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.testbed.kubeapi import ApiError, KubeApi, Object
from tests.testbed.missing import need
from tests.testbed.poll import until

PATH: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_PLUG_INS: Final = {
    "github.com/cilium/cilium": [
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumendpoints.yaml",
    ],
    "sigs.k8s.io/network-policy-api": [
        "config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml",
    ],
}
_SCANNERS: Final = {
    "github.com/kyverno/kyverno": [
        "config/crds/policyreport/wgpolicyk8s.io_policyreports.yaml",
        "config/crds/policyreport/wgpolicyk8s.io_clusterpolicyreports.yaml",
    ],
    "github.com/openreports/reports-api": [
        "config/crd/openreports.io_reports.yaml",
        "config/crd/openreports.io_clusterreports.yaml",
    ],
}
_SCALERS: Final = {
    "github.com/kedacore/keda/v2": [
        "config/crd/bases/keda.sh_scaledobjects.yaml",
    ],
}


def plug_ins() -> list[Object]:
    """Cilium's, Calico's, and those of network-policy-api."""
    return [each for module in _PLUG_INS.items() for each in _published(*module)] + _calico()


def scanners() -> list[Object]:
    """Trivy Operator's, and those of policy reports."""
    return [each for module in _SCANNERS.items() for each in _published(*module)] + _trivy()


def scalers() -> list[Object]:
    """KEDA's."""
    return [each for module in _SCALERS.items() for each in _published(*module)]


def _published(module: str, files: list[str]) -> list[Object]:
    if shutil.which("go") is None:
        need(f"the CRDs of {module}: Go is not installed")
    proxies = subprocess.run(["go", "env", "GOPROXY"], capture_output=True, text=True, check=True).stdout
    done = subprocess.run(
        ["go", "mod", "download", "-json", module],
        cwd=Path(__file__).with_name("crds"),
        env={**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": proxies.strip().removesuffix(",direct")},
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout or "{}")
    if "Dir" not in found:
        need(f"the CRDs of {module}: {found.get('Error', done.stderr)}")
    return [yaml.safe_load((Path(found["Dir"]) / file).read_text()) for file in files]


def _calico() -> list[Object]:
    return [
        _definition(
            "Tier", "tiers", "Cluster", {"order": {"type": "number"}, "defaultAction": _one_of("Pass", "Deny")}
        ),
        _definition("NetworkPolicy", "networkpolicies", "Namespaced", _CALICO_POLICY),
    ]


def _trivy() -> list[Object]:
    """Its reports have no `spec`; what is not named in a schema is kept there too."""
    return [
        _report("ExposedSecretReport", "Namespaced", ["artifact", "scanner", "secrets", "summary", "updateTimestamp"]),
        _report("ConfigAuditReport", "Namespaced", ["checks"]),
        _report("InfraAssessmentReport", "Namespaced", ["checks"]),
        _report("ClusterInfraAssessmentReport", "Cluster", ["checks"]),
        _report("VulnerabilityReport", "Namespaced", ["artifact", "scanner", "summary", "vulnerabilities"]),
    ]


def _report(kind: str, scope: str, required: list[str]) -> Object:
    group, plural = "aquasecurity.github.io", f"{kind.lower()}s"
    open_object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    known = {
        "updateTimestamp": {"type": "string", "format": "date-time"},
        "artifact": open_object,
        "scanner": {**open_object, "required": ["name", "vendor", "version"]},
        "summary": open_object,
        "checks": _many({**open_object, "required": ["checkID", "severity", "success"]}),
        "secrets": _many({**open_object, "required": ["category", "match", "ruleID", "severity", "target", "title"]}),
        "vulnerabilities": _many({**open_object, "required": ["resource", "severity", "title", "vulnerabilityID"]}),
    }
    report = {**open_object, "required": required, "properties": known}
    schema = {**open_object, "required": ["report"], "properties": {"report": report}}
    version = {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [version]},
    }


@contextmanager
def served(api: KubeApi, definitions: list[Object]) -> Iterator[None]:
    """Each of them, inside `with`; afterwards none of their groups."""
    install(api, definitions)
    try:
        yield
    finally:
        _remove(api, definitions)


def install(api: KubeApi, definitions: list[Object]) -> None:
    """Each is served when this returns."""
    for each in definitions:
        api.create(PATH, each)
    for each in definitions:
        spec = each["spec"]
        version = next(version["name"] for version in spec["versions"] if version["served"])
        path = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        until(partial(_answers, api, path))


def _answers(api: KubeApi, path: str) -> bool:
    try:
        return api.exists(path)
    except ApiError as error:
        if error.status != 429:  # "storage is (re)initializing"
            raise
        return False


def _remove(api: KubeApi, definitions: list[Object]) -> None:
    for each in definitions:
        api.delete(f"{PATH}/{each['metadata']['name']}")
    groups = {each["spec"]["group"] for each in definitions}
    until(lambda: not groups & {group["name"] for group in api.get("/apis")["groups"]})


def _definition(kind: str, plural: str, scope: str, fields: dict[str, Any]) -> Object:
    spec = {"type": "object", "properties": fields}
    schema = {"type": "object", "required": ["metadata", "spec"], "properties": {"spec": spec}}
    version = {"name": "v3", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    group = "projectcalico.org"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": names, "scope": scope, "versions": [version]},
    }


def _one_of(*values: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(values)}


def _many(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_TEXT: Final = {"type": "string", "maxLength": 1024}
_ENTITY: Final = {
    "type": "object",
    "properties": {
        "nets": _many({"type": "string"}),
        "selector": _TEXT,
        "namespaceSelector": _TEXT,
        "ports": _many({"x-kubernetes-int-or-string": True}),
    },
}
_RULE: Final = {
    "type": "object",
    "required": ["action"],
    "properties": {
        "action": _one_of("Allow", "Deny", "Log", "Pass"),
        "protocol": {"x-kubernetes-int-or-string": True},
        "source": _ENTITY,
        "destination": _ENTITY,
    },
}
_CALICO_POLICY: Final[dict[str, Any]] = {
    "tier": {"type": "string", "default": "default"},
    "order": {"type": "number"},
    "selector": _TEXT,
    "types": _many(_one_of("Ingress", "Egress")),
    "ingress": _many(_RULE),
    "egress": _many(_RULE),
}

"""The CustomResourceDefinitions of network plug-ins, for a control plane where nothing enforces what they are about.

Cilium's and network-policy-api's are the published ones, out of their Go modules. Calico's module is not to be had; its
two are ours, with the fields that we use as api/config/crd of projectcalico/calico describes them.
"""

import json
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, Final

import yaml

from tests.testbed.kubeapi import ApiError, KubeApi, Object
from tests.testbed.missing import Missing
from tests.testbed.poll import until

PATH: Final = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FILES: Final = {
    "github.com/cilium/cilium": [
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumnetworkpolicies.yaml",
        "pkg/k8s/apis/cilium.io/client/crds/v2/ciliumendpoints.yaml",
    ],
    "sigs.k8s.io/network-policy-api": [
        "config/crd/standard/policy.networking.k8s.io_clusternetworkpolicies.yaml",
    ],
}


def published(module: str) -> list[Object]:
    """Raises Missing without Go, or without the module."""
    if shutil.which("go") is None:
        raise Missing(f"the CRDs of {module}: Go is not installed")
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
        raise Missing(f"the CRDs of {module}: {found.get('Error', done.stderr)}")
    return [yaml.safe_load((Path(found["Dir"]) / file).read_text()) for file in FILES[module]]


def calico() -> list[Object]:
    return [
        _definition(
            "Tier", "tiers", "Cluster", {"order": {"type": "number"}, "defaultAction": _one_of("Pass", "Deny")}
        ),
        _definition("NetworkPolicy", "networkpolicies", "Namespaced", _CALICO_POLICY),
    ]


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


def remove(api: KubeApi, definitions: list[Object]) -> None:
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

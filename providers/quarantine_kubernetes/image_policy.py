"""The policy by which API servers deny new pods with blocked images, as three objects of one installation. Pure.

ValidatingAdmissionPolicy ──> what a new pod is asked      its binding ──> where, and that the answer is a no
ConfigMap                 ──> one entry for each blocked image, which is all that a case adds and takes away

Cases share the three; they are made by the first one, and go by kubernetes:image-policy-remove when no entry is left.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from quarantine_kubernetes.exemption import NAMESPACE_NAME
from quarantine_kubernetes.isolation import INSTALLATION, Origin, origin_of
from quarantine_kubernetes.objects import CONFIG_MAP, IMAGE_POLICY, IMAGE_POLICY_BINDING, KINDS, Kind
from quarantine_kubernetes.policy_kind import same

HOME: Final = "cloud-quarantine"
"""The namespace of the ConfigMap. What is in it is ours, so that no other ConfigMap has to be ours to change."""
MOST: Final = 500
"""Images. Each pod is compared with all of them, and an expression may cost so much and no more: see the tests."""
COMMENT: Final = "#"

POLICY: Final = KINDS[IMAGE_POLICY]
BINDING: Final = KINDS[IMAGE_POLICY_BINDING]
LIST: Final = KINDS[CONFIG_MAP]


def name_of(installation: str) -> str:
    """Of all three objects."""
    return f"cloud-quarantine-images-{installation}"


def _images(pod: str) -> str:
    """CEL: `NAME IMAGE` of whatever a pod runs or mounts. A name is there once among all containers of a pod."""
    kinds = ("containers", "initContainers", "ephemeralContainers")
    parts = [
        f"(has({pod}.spec.{kind}) ? {pod}.spec.{kind}.map(c, c.name + ' ' + (has(c.image) ? c.image : '')) : [])"
        for kind in kinds
    ]
    mounted = f"{pod}.spec.volumes.filter(v, has(v.image)).map(v, '/' + v.name + ' ' + v.image.reference)"
    return " + ".join([*parts, f"(has({pod}.spec.volumes) ? {mounted} : [])"])


# Only what a change brings is asked about: the pod that runs a blocked image is still labelled, evicted and finished.
# Where there is a digest it decides alone. Hosts are compared in lower case, as DNS does.
_VARIABLES: Final = {
    "was": f"oldObject == null ? [] : ({_images('oldObject')})",
    "brings": f"({_images('object')}).filter(image, !(image in variables.was)).map(image, image.split(' ')[1])",
    "blocked": "has(params.data) ? params.data.map(key, params.data[key].split('\\n')) : []",
    "denied": "variables.brings.filter(image, variables.blocked.exists(spellings,"
    " (image.contains('@') ? image.split('@')[1]"
    " : image.contains('/')"
    " ? image.substring(0, image.indexOf('/')).lowerAscii() + image.substring(image.indexOf('/'))"
    " : image) in spellings))",
}


def policy(installation: str) -> dict[str, Any]:
    """Fail: an API server that cannot judge for a moment, because it has only just begun to watch the list, denies what
    is tried again anyway. Nothing but the API server itself takes part, so it fails with no network and no other pod.
    """
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["pods", "pods/ephemeralcontainers"],
        "scope": "*",
    }
    said = f"'blocked by cloud-quarantine (ConfigMap {HOME}/{name_of(installation)}): ' + variables.denied.join(', ')"
    validation = {"expression": "variables.denied.size() == 0", "messageExpression": said, "reason": "Forbidden"}
    spec = {
        "failurePolicy": "Fail",
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {},
            "objectSelector": {},
            "resourceRules": [rule],
        },
        "variables": [{"name": name, "expression": expression} for name, expression in _VARIABLES.items()],
        "validations": [validation],
    }
    return _object(POLICY, "ValidatingAdmissionPolicy", installation, spec=spec)


def binding(installation: str, always_admitted: Iterable[str]) -> dict[str, Any]:
    """Without the list nothing is blocked, and no cluster stands still because somebody has deleted a ConfigMap."""
    name = name_of(installation)
    spared = sorted({HOME, *always_admitted})
    where = {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "NotIn", "values": spared}]}
    spec = {
        "policyName": name,
        "paramRef": {"name": name, "namespace": HOME, "parameterNotFoundAction": "Allow"},
        "matchResources": {"matchPolicy": "Equivalent", "namespaceSelector": where, "objectSelector": {}},
        "validationActions": ["Deny"],
    }
    return _object(BINDING, "ValidatingAdmissionPolicyBinding", installation, spec=spec)


def image_list(installation: str, entries: Mapping[str, str]) -> dict[str, Any]:
    return _object(LIST, "ConfigMap", installation, data=dict(entries))


def _object(kind: Kind, word: str, installation: str, **content: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": name_of(installation),
        "labels": {"app.kubernetes.io/managed-by": "cloud-quarantine"},
        "annotations": {INSTALLATION: installation},
    }
    if kind.namespaced:
        metadata["namespace"] = HOME
    version = f"{kind.group}/{kind.version}" if kind.group else kind.version
    return {"apiVersion": version, "kind": word, "metadata": metadata, **content}


def entry(spellings: Iterable[str], case: str) -> str:
    """What the list says of one image. Its first line is for people: no image has a name with a space in it."""
    return "\n".join((f"{COMMENT} {case}", *spellings))


def says(found: str, spellings: Iterable[str]) -> bool:
    """Does an entry block exactly this image?"""
    return [line for line in found.split("\n") if not line.startswith(COMMENT)] == list(spellings)


def trouble(wanted: Mapping[str, Any], found: Mapping[str, Any] | None) -> str | None:
    """Why an object would not do its part; None if it says what it must."""
    what = f"{wanted['kind']} {wanted['metadata']['name']!r}"
    if found is None:
        return f"{what} is not there"
    if "deletionTimestamp" in found["metadata"]:
        return f"{what} is being deleted"
    return None if same(wanted["spec"], found.get("spec")) else f"{what} does not say what it must"


def is_foreign(found: Mapping[str, Any], installation: str) -> bool:
    """Under our name, and made by somebody else."""
    return origin_of(found).installation != installation


def origins(found: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Origin]:
    return {name: origin_of(item) for name, item in found.items() if item is not None}

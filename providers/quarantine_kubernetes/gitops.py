"""Who keeps an object as it is written down somewhere else, and will put it back. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine_kubernetes.field_manager import Path, appliers

# Argo CD, "Resource Tracking"; Flux, Kustomization and HelmRelease; Helm, "adopt-only" annotations.
_MARKS: Final = {
    ("annotations", "argocd.argoproj.io/tracking-id"): "Argo CD application",
    ("labels", "argocd.argoproj.io/instance"): "Argo CD application",
    ("labels", "kustomize.toolkit.fluxcd.io/name"): "Flux Kustomization",
    ("labels", "helm.toolkit.fluxcd.io/name"): "Flux HelmRelease",
    ("annotations", "meta.helm.sh/release-name"): "Helm release",
}


def keeper_of(found: Mapping[str, Any], *fields: Path) -> str:
    """`Argo CD application shop`; empty for what nobody keeps. The one that reconciles comes before a mere Helm.

    Without a mark it is whoever applies one of these fields, by the name that the API server has of them.
    """
    for (part, key), what in _MARKS.items():
        if value := (found["metadata"].get(part) or {}).get(key):
            return f"{what} {value.partition(':')[0]}"
    return ", ".join(f"field manager {name!r}" for name in appliers(found, fields))

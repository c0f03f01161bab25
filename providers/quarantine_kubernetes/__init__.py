"""Everything this program knows about Kubernetes."""

from quarantine_kubernetes.provider import Kubernetes

__all__ = ["Kubernetes"]

"""Takes subjects out of a ClusterRoleBinding, and puts them back where they stood."""

from typing import ClassVar

from quarantine_kubernetes import objects
from quarantine_kubernetes.binding_revoke import BindingRevoke


class ClusterrolebindingRevoke(BindingRevoke):
    """The id is the binding's name, or `NAME/User/alice` for one subject alone."""

    name: ClassVar[str] = "kubernetes:clusterrolebinding-revoke"
    resource: ClassVar[str] = objects.CLUSTER_ROLE_BINDING
    roles: ClassVar[tuple[str, ...]] = ("ClusterRole",)

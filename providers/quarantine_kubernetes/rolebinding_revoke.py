"""Takes subjects out of a RoleBinding, and puts them back where they stood."""

from typing import ClassVar

from quarantine_kubernetes import objects
from quarantine_kubernetes.binding_revoke import BindingRevoke


class RolebindingRevoke(BindingRevoke):
    """The id is the binding's name, or `NAME/ServiceAccount/shop/builder` for one subject alone."""

    name: ClassVar[str] = "kubernetes:rolebinding-revoke"
    resource: ClassVar[str] = objects.ROLE_BINDING
    roles: ClassVar[tuple[str, ...]] = ("Role", "ClusterRole")

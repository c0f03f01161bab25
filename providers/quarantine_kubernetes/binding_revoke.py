"""Takes subjects out of role bindings; the binding itself and its role, which nobody can change, stay."""

from typing import Any, ClassVar, Final

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_kubernetes import binding, objects
from quarantine_kubernetes.binding import Binding
from quarantine_kubernetes.cloud import KubernetesCloud

WHO_AM_I: Final = "post /apis/authentication.k8s.io/v1/selfsubjectreviews"
MAY_I: Final = "post /apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
WHO: Final = "create selfsubjectreviews.authentication.k8s.io"
ROLES: Final = {
    "ClusterRole": objects.Kind("clusterroles", objects.RBAC, namespaced=False),
    "Role": objects.Kind("roles", objects.RBAC),
}


class BindingRevoke(Action[KubernetesCloud, Binding]):
    """Every change of a binding, taking somebody out of it as well, needs all rights of its role or the verb `bind` on
    the role (kubernetes.io, RBAC, Restrictions on role binding creation or update). Deleting one would not, but could
    not be undone without it.
    """

    state: ClassVar[type[State]] = Binding
    roles: ClassVar[tuple[str, ...]]
    """The kinds of role that these bindings can give."""

    subjects: tuple[str, ...] = ()
    """Who is taken out: `User/alice`, `Group/dev`, `ServiceAccount/shop/builder`. Everybody, if nobody is named here or
    by the resource."""

    def permissions(self) -> tuple[str, ...]:
        kind = objects.KINDS[self.resource]
        return (
            kind.permission("get"),
            kind.permission("patch"),
            WHO,
            *(ROLES[role].permission("bind") for role in self.roles),
        )

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> Binding:
        found = objects.get(cloud, resource)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        user = cloud.read(WHO, WHO_AM_I, body=body)["status"]["userInfo"]
        named = resource.id.partition("/")[2]
        meant = (named,) if named else self.subjects
        return binding.read_binding(found, meant, binding.keys_of(user), self._bindable(cloud, resource, found))

    def _bindable(self, cloud: KubernetesCloud, resource: Resource, found: dict[str, Any]) -> bool:
        role = found["roleRef"]
        kind = ROLES[role["kind"]]
        asked = {"verb": "bind", "group": kind.group, "resource": kind.plural, "name": role["name"]}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**asked, "namespace": resource.area}},
        }
        return bool(cloud.read(kind.permission("bind"), MAY_I, body=body)["status"]["allowed"])

    def contained(self, before: Binding) -> Binding:
        return before.model_copy(update={"subjects": {}})

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: Binding, target: Any) -> None:
        if now.subjects != target.subjects:
            subjects = binding.subjects_of(now, target)
            objects.patch(cloud, resource, (now.uid, now.version), {"subjects": subjects or None})

    def refusal(self, before: Binding) -> Refusal | None:
        return binding.refusal(before)

    def caveats(self, before: Binding) -> tuple[Caveat, ...]:
        return binding.caveats(before)

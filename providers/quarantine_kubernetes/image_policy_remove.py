"""Deletes the policy by which images were blocked, with its list, when it blocks none any more."""

from contextlib import suppress
from typing import Annotated, Any, ClassVar

from quarantine.action import GONE, Absence, Fact, OneWay, Refusal, State, Token
from quarantine.errors import Conflict, Gone
from quarantine.model import Resource
from quarantine_kubernetes import image_gate, image_policy, objects
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.image_policy import HOME
from quarantine_kubernetes.isolation import Origin


class PolicyPresence(State):
    """It is there; that is all there is to manage."""

    ours: Annotated[bool, Fact]
    blocks: Annotated[tuple[str, ...], Fact] = ()
    """The entries of its list."""
    origins: Annotated[dict[str, Origin], Token] = {}  # noqa: RUF012  a frozen model copies it


class ImagePolicyRemove(OneWay[KubernetesCloud, PolicyPresence]):
    """The list goes first and only as it was seen, empty: an entry that a case adds meanwhile keeps it all."""

    name: ClassVar[str] = "kubernetes:image-policy-remove"
    resource: ClassVar[str] = objects.IMAGE_POLICY
    state: ClassVar[type[State]] = PolicyPresence

    def permissions(self) -> tuple[str, ...]:
        return tuple(kind.permission(verb) for kind in image_gate.KINDS.values() for verb in ("get", "delete"))

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> PolicyPresence:
        objects.get(cloud, resource)
        there = image_gate.found(cloud)
        origins = image_policy.origins(there)
        marks = {origin.installation for origin in origins.values()}
        return PolicyPresence(
            ours=resource.id == image_policy.name_of(cloud.installation) and marks == {cloud.installation},
            blocks=tuple((there["ConfigMap"] or {}).get("data") or {}),
            origins=origins,
        )

    def contained(self, before: PolicyPresence) -> Absence:
        return GONE

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: PolicyPresence, target: Any) -> None:
        """The policy that the resource is goes last, so that whatever stops this in between leaves something to see."""
        if (why := self.refusal(now)) is not None:  # a retry comes here without being asked again
            raise Conflict(f"{resource.id} stays: {why.reason}")
        for word in ("ConfigMap", "ValidatingAdmissionPolicyBinding", "ValidatingAdmissionPolicy"):
            kind, origin = image_gate.KINDS[word], now.origins.get(word)
            if origin is None:
                continue
            body = {"preconditions": {"uid": origin.uid, "resourceVersion": origin.version}}
            where = {"namespace": HOME, "name": resource.id}
            with suppress(Gone):  # already gone is what was wanted
                cloud.change(kind.permission("delete"), f"delete {kind.path}", **where, body=body)

    def ours(self, before: PolicyPresence, now: PolicyPresence) -> bool:
        return now.ours and not now.blocks

    def refusal(self, before: PolicyPresence) -> Refusal | None:
        if not before.ours:
            reason = "it is not the image policy of this installation, and what we did not make we do not delete"
            return Refusal(reason=reason, alternatives=("ask whoever made it",))
        if before.blocks:
            reason = f"it still blocks {', '.join(before.blocks)}"
            return Refusal(reason=reason, alternatives=("release their cases first",))
        return None

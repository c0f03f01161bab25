"""Lets no new pod have an image: the API servers deny it, whoever asks. What runs already goes on."""

from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_kubernetes import blocked_image, image_gate
from quarantine_kubernetes.blocked_image import BlockedImage, Entry
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.image_name import image_name
from quarantine_kubernetes.image_policy import BINDING, LIST, POLICY
from quarantine_kubernetes.objects import IMAGE, IMAGE_POLICY


class ImageBlock(Action[KubernetesCloud, BlockedImage]):
    """One entry of a list that all blocked images share, and that a policy of the API server reads."""

    name: ClassVar[str] = "kubernetes:image-block"
    resource: ClassVar[str] = IMAGE
    state: ClassVar[type[State]] = BlockedImage
    shares: ClassVar[str] = IMAGE_POLICY

    def permissions(self) -> tuple[str, ...]:
        of_list = tuple(LIST.permission(verb) for verb in ("get", "create", "patch"))
        of_policy = tuple(kind.permission(verb) for kind in (POLICY, BINDING) for verb in ("get", "create", "update"))
        return ("get namespaces", *of_list, *of_policy)

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> BlockedImage:
        return image_gate.look(cloud, image_name(resource.id))

    def contained(self, before: BlockedImage) -> BlockedImage:
        return before.model_copy(update={"entry": Entry.BLOCKED, "unenforced": ()})

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: BlockedImage, target: Any) -> None:
        """The entry first: a policy without one denies nobody."""
        name = image_name(resource.id)
        if now.entry is not target.entry:
            now = image_gate.write(cloud, name, now, blocked=target.entry is Entry.BLOCKED)
        if target.entry is Entry.BLOCKED:
            image_gate.enforce(cloud, now)

    def refusal(self, before: BlockedImage) -> Refusal | None:
        return blocked_image.refusal(before)

    def caveats(self, before: BlockedImage) -> tuple[Caveat, ...]:
        return blocked_image.caveats(before)

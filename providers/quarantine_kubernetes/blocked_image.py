"""An image that no new pod may have: how its block stands, where it cannot be, and what it does not stop. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Final

from quarantine.action import Caveat, Fact, Proof, Refusal, State, Token
from quarantine_kubernetes import image_policy
from quarantine_kubernetes.image_name import ImageName
from quarantine_kubernetes.image_policy import HOME, MOST
from quarantine_kubernetes.isolation import Origin


class Entry(StrEnum):
    """What the list of blocked images says under the key of an image."""

    BLOCKED = "blocked"
    ALTERED = "altered"
    """Somebody has changed it."""


class BlockedImage(State):
    entry: Entry | None
    unenforced: Annotated[tuple[str, ...], Proof] = ()
    """Why API servers would not deny by the entry that is there."""
    image: Annotated[str, Fact]
    by_digest: Annotated[bool, Fact] = False
    others: Annotated[int, Fact] = 0
    """How many further images are blocked."""
    homeless: Annotated[bool, Fact] = False
    """The namespace for the list is not there."""
    foreign: Annotated[tuple[str, ...], Fact] = ()
    """What has the name of an object of ours, and was made by somebody else."""
    spared: Annotated[tuple[str, ...], Fact] = ()
    """The namespaces in which it still starts."""
    lacking: Annotated[tuple[str, ...], Token] = ()
    """Kinds of the objects that have to be made or put right."""
    origins: Annotated[dict[str, Origin], Token] = {}  # noqa: RUF012  a frozen model copies it
    """By kind of object."""


Found = Mapping[str, Mapping[str, Any] | None]
"""What stands under our names, by kind."""


def read_block(name: ImageName, wanted: Mapping[str, Any], found: Found, installation: str) -> BlockedImage:
    """`wanted` are the policy and its binding as they must be. Whether the list has a place is not read here."""
    listed = found["ConfigMap"]
    entries = dict((listed or {}).get("data") or {})
    stands = entries.pop(name.key, None)
    troubles = {kind: image_policy.trouble(thing, found[kind]) for kind, thing in wanted.items()}
    right = stands is not None and image_policy.says(stands, name.spellings)
    return BlockedImage(
        entry=None if stands is None else Entry.BLOCKED if right else Entry.ALTERED,
        unenforced=tuple(filter(None, troubles.values())) if stands is not None else (),
        image=name.canonical,
        by_digest=name.by_digest,
        others=len(entries),
        foreign=tuple(kind for kind, item in found.items() if item and image_policy.is_foreign(item, installation)),
        lacking=tuple(kind for kind, why in troubles.items() if why is not None),
        origins=image_policy.origins(found),
    )


def refusal(before: BlockedImage) -> Refusal | None:
    if before.homeless:
        make = f"an administrator makes it once: kubectl create namespace {HOME}"
        return Refusal(reason=f"there is no namespace {HOME!r} for the list of blocked images", alternatives=(make,))
    if before.foreign:
        reason = f"somebody else made the {' and the '.join(before.foreign)} that ours would have the name of"
        return Refusal(reason=reason, alternatives=("look at it, and delete it",))
    if before.others >= MOST:
        reason = f"{before.others} images are blocked already, and every new pod is compared with all of them"
        return Refusal(reason=reason, alternatives=("release those that are not needed any more",))
    return None


# kubernetes.io: "Validating Admission Policy", "Images" (Image names, Updating images), "Static Pods".
_ALWAYS: Final = {
    "running-goes-on": "Pods that have the image run on, and their containers are restarted: delete them, or stop their"
    " owner. Their replacements are denied, so what runs only this image stays down.",
    "denied-late": "Deployments and other owners are still accepted; their pods are denied, as the owner's events say.",
    "not-at-once": "Each API server denies from when its watch has told it, mostly within a second. No pod has been"
    " created to prove it.",
    "on-the-nodes": "Static pods, and what is started on a node without the API server, are not asked about.",
    "spared": "It still starts in namespaces {spared}.",
}
_BY_TAG: Final = {
    "tags-move": "A tag is a name: the same content under another tag, by digest or in another registry is let in, and"
    " another content under this tag is not. Block its digest as well.",
}
_BY_DIGEST: Final = {
    "digest-not-asked": "Only pods that name this digest are denied. One that names a tag is let in, whatever the tag"
    " leads to: block the tag as well.",
}


def caveats(before: BlockedImage) -> tuple[Caveat, ...]:
    texts = _ALWAYS | (_BY_DIGEST if before.by_digest else _BY_TAG)
    words = {"spared": ", ".join(before.spared)}
    return tuple(Caveat(id=name, text=text.format(**words)) for name, text in texts.items())

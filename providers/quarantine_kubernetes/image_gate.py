"""The list of blocked images and the policy that reads it: how they stand in a cluster, and how they are put right."""

from collections.abc import Mapping
from typing import Any, Final

from quarantine.errors import Conflict, Gone, Unsupported
from quarantine.model import Resource
from quarantine_kubernetes import image_policy
from quarantine_kubernetes.blocked_image import BlockedImage, read_block
from quarantine_kubernetes.cloud import MERGE, KubernetesCloud
from quarantine_kubernetes.image_name import ImageName, image_name
from quarantine_kubernetes.image_policy import BINDING, HOME, LIST, POLICY
from quarantine_kubernetes.objects import Kind, naming_writers

KINDS: Final = {
    "ConfigMap": LIST,
    "ValidatingAdmissionPolicy": POLICY,
    "ValidatingAdmissionPolicyBinding": BINDING,
}


TRIES: Final = 10


def resolve(resource: Resource) -> Resource:
    """Its uid is what all spellings of one image have in common. Raises Unsupported."""
    if resource.area:
        raise Unsupported(f"{resource}: an image is blocked in the whole cluster, so the scope is {resource.account}")
    return resource.model_copy(update={"uid": image_name(resource.id).canonical})


def found(cloud: KubernetesCloud) -> dict[str, Mapping[str, Any] | None]:
    """What stands under our names, by kind."""
    if not cloud.installation:
        raise Unsupported("whose list of blocked images is meant is not known to this connection")
    return {word: _get(cloud, kind, image_policy.name_of(cloud.installation)) for word, kind in KINDS.items()}


def look(cloud: KubernetesCloud, name: ImageName) -> BlockedImage:
    there = found(cloud)
    block = read_block(name, _wanted(cloud), there, cloud.installation)
    homeless = there["ConfigMap"] is None and _get(cloud, _NAMESPACE, HOME) is None
    return block.model_copy(update={"homeless": homeless, "spared": _spared(cloud)})


def write(cloud: KubernetesCloud, name: ImageName, now: BlockedImage, *, blocked: bool) -> BlockedImage:
    """The entry of one image, and no other, into the list or out of it. Returns what was seen before the last try.

    Other cases write to the list too. That it is another version by now is a conflict only where this entry is not
    as it was seen any more: each try names the version that it has just seen, so that a late one is still refused.
    """
    seen = now
    for remaining in reversed(range(TRIES)):
        try:
            _write(cloud, name, seen, blocked=blocked)
        except Conflict:
            seen = look(cloud, name)
            if not remaining or seen.entry is not now.entry:
                raise
        else:
            break
    return seen


def _write(cloud: KubernetesCloud, name: ImageName, now: BlockedImage, *, blocked: bool) -> None:
    content = image_policy.entry(name.spellings, cloud.mark.case) if blocked else None
    origin = now.origins.get("ConfigMap")
    where = {"namespace": HOME, "name": image_policy.name_of(cloud.mark.installation)}
    try:
        if origin is None:
            made = image_policy.image_list(cloud.mark.installation, {name.key: str(content)})
            cloud.change(LIST.permission("create"), f"post {LIST.collection}", **where, body=made)
            return
        _must_be_ours(cloud, now)
        seen = {"uid": origin.uid, "resourceVersion": origin.version}
        body = {"metadata": seen, "data": {name.key: content}}
        with naming_writers(cloud, LIST.permission("get"), f"get {LIST.path}", **where):
            cloud.change(LIST.permission("patch"), f"patch {LIST.path}", **where, content_type=MERGE, body=body)
    except Gone as error:  # the list or its namespace, not the image
        raise Conflict(str(error)) from error


def enforce(cloud: KubernetesCloud, now: BlockedImage) -> None:
    """The policy and its binding, as far as they are not as they must be. They are ours as a whole, and so replaced."""
    _must_be_ours(cloud, now)
    for word, thing in _wanted(cloud).items():
        if word not in now.lacking:
            continue
        kind, origin = KINDS[word], now.origins.get(word)
        if origin is None:
            cloud.change(kind.permission("create"), f"post {kind.collection}", body=thing)
            continue
        thing["metadata"] |= {"uid": origin.uid, "resourceVersion": origin.version}
        where = {"name": thing["metadata"]["name"]}
        try:
            with naming_writers(cloud, kind.permission("get"), f"get {kind.path}", **where):
                cloud.change(kind.permission("update"), f"put {kind.path}", **where, body=thing)
        except Gone as error:  # the object, not the image
            raise Conflict(str(error)) from error


_NAMESPACE: Final = Kind("namespaces", namespaced=False)


def _wanted(cloud: KubernetesCloud) -> dict[str, dict[str, Any]]:
    things = (
        image_policy.policy(cloud.installation),
        image_policy.binding(cloud.installation, cloud.always_admitted),
    )
    return {thing["kind"]: thing for thing in things}


def _spared(cloud: KubernetesCloud) -> tuple[str, ...]:
    return tuple(sorted({HOME, *cloud.always_admitted}))


def _must_be_ours(cloud: KubernetesCloud, now: BlockedImage) -> None:
    name = image_policy.name_of(cloud.mark.installation)
    for word, origin in now.origins.items():
        if origin.installation != cloud.mark.installation:
            raise Conflict(f"{word} {name!r} does not carry our mark: look at it, and delete it")


def _get(cloud: KubernetesCloud, kind: Kind, name: str) -> Mapping[str, Any] | None:
    try:
        return dict(cloud.read(kind.permission("get"), f"get {kind.path}", namespace=HOME, name=name))
    except Gone:
        return None

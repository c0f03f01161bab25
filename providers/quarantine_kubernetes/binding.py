"""A role binding: whom it gives a role, which of them are taken out of it, and whom it must not be taken from. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import JsonValue

from quarantine.action import Caveat, Fact, Refusal, State, Token
from quarantine_kubernetes.gitops import keeper_of

ANYBODY: Final = ("Group/system:authenticated", "Group/system:unauthenticated", "Group/system:serviceaccounts")
"""Groups that no detector should find a role bound to, although we are in them as well."""
_THE_CLUSTERS_OWN: Final = ("Group/system:masters", "Group/system:nodes", "Group/system:bootstrappers")
_DEFAULT: Final = "kubernetes.io/bootstrapping"


ALL: Final = "*"


class Binding(State):
    subjects: dict[str, JsonValue]
    """Those that are meant, raw: under `*` the whole list, which is one value to the API server (listType atomic); or
    each by itself under `User/alice`, `Group/dev`, `ServiceAccount/shop/builder`. A list comes back in its order, a
    single one at the end."""
    others: Annotated[tuple[dict[str, JsonValue], ...], Fact] = ()
    """Those that stay, raw and in their order."""
    meant: Annotated[tuple[str, ...], Fact] = ()
    """The keys of those that are taken out."""
    role: Annotated[str, Fact]
    """`ClusterRole/cluster-admin`"""
    own: Annotated[tuple[str, ...], Fact] = ()
    """Those of the meant ones that we ourselves have our rights by."""
    default: Annotated[bool, Fact] = False
    """The API server makes it, and puts it back when it starts."""
    keeper: Annotated[str, Fact] = ""
    bindable: Annotated[bool, Fact] = True
    """We may give the role again."""
    uid: Annotated[str, Fact]
    version: Annotated[str, Token] = ""


def read_binding(found: Mapping[str, Any], meant: Iterable[str], ourselves: Iterable[str], bindable: bool) -> Binding:
    """`meant` are keys of subjects; none means all of them. `ourselves` are the keys that we go by."""
    metadata, role, wanted = found["metadata"], found["roleRef"], frozenset(meant)
    everybody = found.get("subjects") or []
    named = [subject for subject in everybody if key_of(subject) in wanted]
    keys = tuple(key_of(subject) for subject in (named if wanted else everybody))
    whole: dict[str, JsonValue] = {ALL: everybody} if everybody else {}
    return Binding(
        subjects={key_of(subject): subject for subject in named} if wanted else whole,
        others=tuple(subject for subject in everybody if subject not in named) if wanted else (),
        meant=keys,
        role=f"{role['kind']}/{role['name']}",
        own=tuple(key for key in keys if key in set(ourselves) - set(ANYBODY)),
        default=_DEFAULT in (metadata.get("labels") or {}) or metadata["name"].startswith("system:"),
        keeper=keeper_of(found, ("subjects",)),
        bindable=bindable,
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
    )


def key_of(subject: Mapping[str, Any]) -> str:
    space = f"{subject['namespace']}/" if subject.get("namespace") else ""
    return f"{subject['kind']}/{space}{subject['name']}"


def keys_of(user: Mapping[str, Any]) -> tuple[str, ...]:
    """What somebody's rights can be bound to, from a SelfSubjectReview's userInfo."""
    name = user["username"]
    account = name.removeprefix("system:serviceaccount:")
    accounts = () if account == name else (f"ServiceAccount/{account.replace(':', '/')}",)
    return (f"User/{name}", *accounts, *(f"Group/{group}" for group in user.get("groups") or []))


def subjects_of(now: Binding, target: Binding) -> list[JsonValue]:
    """The whole list with the target's subjects in it."""
    given = target.subjects.get(ALL)
    if isinstance(given, list):
        return given
    stays = [subject for key, subject in now.subjects.items() if key in target.subjects]
    back = [subject for key, subject in target.subjects.items() if key not in now.subjects]
    return [*now.others, *stays, *back]


def refusal(before: Binding) -> Refusal | None:
    if before.default:
        reason = "it is one of the API server's own, which it needs, and puts back when it starts"
        return Refusal(reason=reason, alternatives=("take the suspect out of the group that it names",))
    needed = [key for key in before.meant if is_of_the_cluster(key)]
    if needed:
        reason = f"the cluster itself works by {', '.join(needed)}"
        return Refusal(reason=reason, alternatives=("name the subjects that are meant, with `subjects`",))
    if before.own:
        reason = f"we ourselves have our rights by {', '.join(before.own)}: we could not give them back"
        return Refusal(reason=reason, alternatives=("take it away by hand", "bind our own rights by another binding"))
    if not before.bindable:
        reason = f"we could take {before.role} away but not give it back: that needs the verb `bind` on it"
        allow = (
            f"grant us `bind` on {before.role} (kubernetes.io, RBAC, Restrictions on role binding creation or update)"
        )
        return Refusal(reason=reason, alternatives=(allow, "take it away by hand"))
    return None


def is_of_the_cluster(key: str) -> bool:
    """The control plane, its nodes, and the service accounts of kube-system."""
    named = key.removeprefix("User/")
    component = named != key and named.startswith("system:") and named != "system:anonymous"
    account = named.startswith("system:serviceaccount:") and not named.startswith("system:serviceaccount:kube-system:")
    return key in _THE_CLUSTERS_OWN or key.startswith("ServiceAccount/kube-system/") or (component and not account)


_ALWAYS: Final = {
    "other-ways": "Other bindings, of these subjects or of groups that they are in, go on giving rights.",
    "what-was-made": "What was made with the role stays: tokens, bindings, workloads, copies of secrets.",
    "all-who-use-it": "Everybody who acts as {subjects} loses the role, not only the suspect.",
}
_ANYBODY: Final = "We are in that group too: see that our own rights come by another binding."
_KEPT: Final = "{keeper} may put the subjects back: suspend it at its root, with the reason."


def caveats(before: Binding) -> tuple[Caveat, ...]:
    texts = dict(_ALWAYS)
    if set(before.meant) & set(ANYBODY):
        texts["ourselves-in-it"] = _ANYBODY
    if before.keeper:
        texts["kept-elsewhere"] = _KEPT
    words = {"subjects": ", ".join(before.meant), "keeper": before.keeper}
    return tuple(Caveat(id=name, text=text.format(**words)) for name, text in texts.items())

"""The tokens of a service account: which new pods get, and which lie in Secrets until somebody takes them out. Pure."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from quarantine.action import Caveat, Fact, Refusal, State, Token
from quarantine_kubernetes.gitops import keeper_of

INVALID: Final = "kubernetes.io/legacy-token-invalid-since"
"""A token of a Secret with this label is refused by the API server, until the label goes (kubernetes.io, Well-Known
Labels; kubernetes/kubernetes pkg/serviceaccount/legacy.go; on since 1.29)."""
FOREVER: Final = "9999-12-31"
"""The cleaner deletes what has been invalid for a year, counted from the label's date: this one never comes."""
ACCOUNT: Final = "kubernetes.io/service-account.name"


class AccountTokens(State):
    automount: bool | None
    """None where it does not say, which is a yes."""
    secrets: dict[str, str]
    """Each token Secret, with the date since which it is invalid; empty while it is valid."""
    own: Annotated[bool, Fact] = False
    """We ourselves are this service account."""
    keeper: Annotated[str, Fact] = ""
    uid: Annotated[str, Fact]
    version: Annotated[str, Token] = ""
    seen: Annotated[dict[str, tuple[str, str]], Token] = Field(default_factory=dict)
    """(uid, resourceVersion) of each Secret."""


def read_tokens(found: Mapping[str, Any], secrets: Iterable[Mapping[str, Any]], username: str) -> AccountTokens:
    """`secrets` are the metadata of all token Secrets of the namespace; `username` is who we are."""
    metadata = found["metadata"]
    mine = [
        secret["metadata"]
        for secret in secrets
        if (secret["metadata"].get("annotations") or {}).get(ACCOUNT) == metadata["name"]
    ]
    return AccountTokens(
        automount=found.get("automountServiceAccountToken"),
        secrets={secret["name"]: (secret.get("labels") or {}).get(INVALID, "") for secret in mine},
        own=username == f"system:serviceaccount:{metadata['namespace']}:{metadata['name']}",
        keeper=keeper_of(found, ("automountServiceAccountToken",)),
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        seen={secret["name"]: (secret["uid"], secret["resourceVersion"]) for secret in mine},
    )


def disabled(before: AccountTokens) -> AccountTokens:
    secrets = {name: since or FOREVER for name, since in before.secrets.items()}
    return before.model_copy(update={"automount": False, "secrets": secrets})


def refusal(before: AccountTokens) -> Refusal | None:
    if before.own:
        reason = "it is our own service account: we could not give anything back"
        return Refusal(reason=reason, alternatives=("take its rights away by hand", "run as another account"))
    return None


# kubernetes.io: "Managing Service Accounts" (bound tokens), "Configure Service Accounts for Pods".
_ALWAYS: Final = {
    "bound-tokens": "Tokens that running pods have go on, copies too, until they expire or their pod is gone: no single"
    " one can be revoked. Take the account out of its role bindings (revoke-pod-rights), or delete the pods.",
    "asked-for": "A pod whose own spec says automountServiceAccountToken: true still gets one, and whoever may create"
    " serviceaccounts/token still makes one.",
    "new-pods-without": "New pods of this account that need the API server do not work until the release.",
}


def caveats(before: AccountTokens) -> tuple[Caveat, ...]:
    texts = dict(_ALWAYS)
    if before.secrets:
        texts["users-of-secrets"] = "Whoever uses the token of Secret {secrets} is refused until the release."
    if before.keeper:
        texts["kept-elsewhere"] = "{keeper} may put the account's setting back: suspend it at its root."
    words = {"secrets": ", ".join(sorted(before.secrets)), "keeper": before.keeper}
    return tuple(Caveat(id=name, text=text.format(**words)) for name, text in texts.items())

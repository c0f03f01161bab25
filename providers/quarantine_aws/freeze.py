"""What lets a function run, and what stopping it leaves. Pure."""

from typing import Annotated, Final

from quarantine.action import Caveat, Fact, Proof, State


class Freeze(State):
    concurrency: int | None
    """How many executions are reserved for it; None if none are, 0 if it may not run."""
    mappings: dict[str, bool]
    """Event source mapping -> does it bring events, or will it in a moment?"""
    moving: Annotated[tuple[str, ...], Proof] = ()
    """Mappings on their way from one to the other: until then events may still be fetched."""
    url: Annotated[str, Fact] = ""
    """How callers of its own URL are authenticated; empty if it has none."""


# AWS Lambda Developer Guide, "Configuring reserved concurrency", "How Lambda handles errors and retries with
# asynchronous invocation" and "Lambda quotas" (a function runs for 15 minutes at most).
_ALWAYS: Final = {
    "running-executions": "What runs already runs to its end, 15 minutes at most.",
    "asynchronous-events": "Asynchronous events are kept for 6 hours by default; after that they are dropped, or go"
    " where the function's failures go.",
    "credentials-stay-valid": "Credentials of its role that were taken out of it stay valid until they expire: that is"
    " revoke-role-sessions.",
    "account-limit": "A number reserved for it can be given back only if 100 are left unreserved in the account then.",
}


def caveats(before: Freeze, disables: bool) -> tuple[Caveat, ...]:
    said = dict(_ALWAYS)
    if before.url:
        who = "anybody" if before.url == "NONE" else "whoever IAM lets"
        said["function-url"] = f"Its URL, open to {who}, stays and answers 429."
    if not disables and any(before.mappings.values()):
        said["mappings-go-on"] = "Its event sources go on asking: messages of a queue may end in its dead-letter queue."
    return tuple(Caveat(id=key, text=text) for key, text in said.items())

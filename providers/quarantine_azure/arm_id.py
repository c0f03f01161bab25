"""The ids of Azure Resource Manager. They compare without regard to case; our one spelling is the lower one. Pure."""

import re
from typing import Final, Self

from quarantine.model import Value

_ID: Final = re.compile(
    r"/subscriptions/(?P<subscription>[0-9a-f-]{36})"
    r"(?:/resourcegroups/(?P<group>[^/]+))?"
    r"(?:/providers/(?P<namespace>[^/]+)/(?P<type>[^/]+)/(?P<name>[^/]+)(?P<below>(?:/[^/]+/[^/]+)*))?"
)
_SEGMENT: Final = re.compile(r"[\w.()-]{1,260}")
"""Letters, digits, `_`, `-`, `.`, `(` and `)` (Azure, "Naming rules and restrictions for Azure resources")."""


class ArmId(Value):
    """One id, taken apart. Every part is in lower case."""

    text: str
    subscription: str
    group: str = ""
    type: str = ""
    """`microsoft.compute/virtualmachines`; for a part of something, the type of the whole."""
    name: str = ""
    below: str = ""
    """What follows the name: `/virtualmachines/3` of a scale set's instance."""

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """None for what no id looks like, or what must not stand in a path."""
        lower = text.strip().rstrip("/").lower()
        found = _ID.fullmatch(lower)
        if found is None or not all(map(segment, lower[1:].split("/"))):
            return None
        kind = f"{found['namespace']}/{found['type']}" if found["namespace"] else ""
        return cls(
            text=lower,
            subscription=found["subscription"],
            group=found["group"] or "",
            type=kind,
            name=found["name"] or "",
            below=found["below"] or "",
        )


def segment(name: str) -> bool:
    """May it be one part of an id? Names come from findings: `..` must not climb, and `?` must not end the path."""
    return _SEGMENT.fullmatch(name) is not None and name.strip(".") != ""


def covers(scope: str, id_: str) -> bool:
    """Does something at `scope` (a lock, a role) hold for what has this id?"""
    return f"{id_.lower()}/".startswith(f"{scope.lower().rstrip('/')}/")

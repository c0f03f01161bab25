"""Who writes what of an object, by what the API server notes in its managedFields. Pure.

https://kubernetes.io/docs/reference/using-api/server-side-apply: an entry for each manager, operation and subresource.
"""

from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str, ...]
"""`("spec", "replicas")`"""


def last_writers(found: Mapping[str, Any], ourselves: str) -> tuple[str, ...]:
    """Those who wrote in the last second of which the object tells: `kubectl-edit`, `kubelet (status)`. We ourselves
    only if nobody else did. None where the API server has noted nobody."""
    entries = _entries(found)
    last = max((str(entry.get("time", "")) for entry in entries), default="")
    names = tuple(dict.fromkeys(_name(entry) for entry in entries if entry.get("time", "") == last))
    return tuple(name for name in names if name != ourselves) or names


def appliers(found: Mapping[str, Any], fields: Iterable[Path]) -> tuple[str, ...]:
    """Those who have one of these fields in what they apply, and so set it again each time."""
    paths = tuple(fields)
    return tuple(
        dict.fromkeys(
            _name(entry)
            for entry in _entries(found)
            if entry.get("operation") == "Apply" and any(_has(entry.get("fieldsV1") or {}, path) for path in paths)
        )
    )


def _entries(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(found["metadata"].get("managedFields") or ())


def _name(entry: Mapping[str, Any]) -> str:
    part = entry.get("subresource")
    return f"{entry.get('manager')} ({part})" if part else str(entry.get("manager"))


def _has(fields: Mapping[str, Any], path: Path) -> bool:
    for part in path:
        if f"f:{part}" not in fields:
            return False
        fields = fields[f"f:{part}"]
    return True

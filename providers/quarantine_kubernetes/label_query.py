"""Which pods a workload or a Job has, as the API server is asked for them. Pure."""

from collections.abc import Mapping
from typing import Any

from quarantine.errors import Gone


def label_query(found: Mapping[str, Any]) -> str:
    """Which pods are its own, as a query says it (Kubernetes, Labels and Selectors). No such object selects all."""
    wanted = found["spec"].get("selector") or {}
    if "matchLabels" not in wanted and "matchExpressions" not in wanted:
        wanted = {"matchLabels": wanted}  # a ReplicationController has only this form
    parts = [f"{key}={value}" for key, value in (wanted.get("matchLabels") or {}).items()]
    for item in wanted.get("matchExpressions") or []:
        key, values = item["key"], ",".join(item.get("values") or [])
        parts.append(
            {
                "In": f"{key} in ({values})",
                "NotIn": f"{key} notin ({values})",
                "Exists": key,
                "DoesNotExist": f"!{key}",
            }[item["operator"]]
        )
    if not parts:
        raise Gone(f"{found['metadata']['name']} selects nothing by which its pods could be found")
    return ",".join(parts)

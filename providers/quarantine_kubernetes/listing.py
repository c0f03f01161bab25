"""All objects of a kind, in pages, of which only what is made of them stays in memory."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from quarantine_kubernetes.cloud import Expired, KubernetesCloud
from quarantine_kubernetes.objects import Kind

T = TypeVar("T")
PAGE: Final = 250
ATTEMPTS: Final = 3


def gather(
    cloud: KubernetesCloud, kind: Kind, area: str, judge: Callable[[Mapping[str, Any]], T | None], **query: str
) -> list[T]:
    """What `judge` makes of each object of a namespace, or of all where `area` is empty or the kind is in none.

    A list that takes so long that the API server forgets its snapshot starts anew, as pages of two snapshots could miss
    an object (Kubernetes API Concepts, Retrieving large results sets in chunks). Raises Transient at the third time.
    """
    for remaining in reversed(range(ATTEMPTS)):
        try:
            return _gather(cloud, kind, area, judge, query)
        except Expired:
            if not remaining:
                raise
    raise AssertionError("the last attempt returns or raises")


def _gather(
    cloud: KubernetesCloud,
    kind: Kind,
    area: str,
    judge: Callable[[Mapping[str, Any]], T | None],
    query: Mapping[str, str],
) -> list[T]:
    call = f"get {kind.collection if area and kind.namespaced else kind.everywhere}"
    made: list[T] = []
    page: dict[str, Any] = {**query, "limit": PAGE}
    while True:
        answer = cloud.read(kind.permission("list"), call, namespace=area, query=page)
        for found in answer["items"]:
            verdict = judge(found)
            if verdict is not None:
                made.append(verdict)
        following = answer["metadata"].get("continue")
        if not following:
            return made
        page = {**page, "continue": following}

"""One kind of policy object of ours for one pod: where it stands in the API, and what it says. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from quarantine_kubernetes.exemption import Exemption

DOMAIN: Final = "cloud-quarantine.dev"
ISOLATED: Final = f"{DOMAIN}/isolated"
"""The label of a pod in quarantine. Its value is the pod's uid, so that a policy selects exactly one pod.

The key is in a domain of our own: Cilium by default ignores labels of kubernetes.io (docs.cilium.io, "Limiting
Identity-Relevant Labels").
"""


@dataclass(frozen=True)
class Target:
    """The pod that a policy is for."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class PolicyKind:
    name: str
    """The key under which a State has it."""
    group: str
    """`cilium.io/v2`: group and version, as discovery lists them."""
    kind: str
    plural: str
    says: Callable[[Target, Exemption], dict[str, Any]]
    """The spec of the policy that lets the pod do what is exempt, and nothing else."""
    prefix: str = "cloud-quarantine-"
    """Of the object's name; the uid of the pod follows."""
    namespaced: bool = True

    @property
    def resource(self) -> str:
        """As permissions name it."""
        return f"{self.plural}.{self.group.partition('/')[0]}"

    @property
    def collection(self) -> str:
        return f"/apis/{self.group}{'/namespaces/{namespace}' if self.namespaced else ''}/{self.plural}"

    @property
    def object(self) -> str:
        return f"{self.collection}/{{name}}"

    def permissions(self, *verbs: str) -> tuple[str, ...]:
        return tuple(f"{verb} {self.resource}" for verb in verbs)

    def object_name(self, uid: str) -> str:
        return f"{self.prefix}{uid}"


def same(written: Any, read: Any) -> bool:
    """Does an object say what we wrote? Go programs that read and write it add empty structures: `source: {}`."""
    if isinstance(written, Mapping) and isinstance(read, Mapping):
        keys = {*written, *read}
        return all(same(written.get(key, {}), read.get(key, {})) for key in keys)
    if isinstance(written, list) and isinstance(read, list):
        return len(written) == len(read) and all(map(same, written, read))
    return type(written) is type(read) and bool(written == read)

"""What a capture has gathered: raw objects by name, and of the others why they could not be read."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from quarantine.action import Artifact
from quarantine.errors import Denied, Gone, Unsupported


class Dossier:
    def __init__(self) -> None:
        self._found: dict[str, Any] = {}
        self._missing: dict[str, str] = {}

    def keep(self, name: str, found: Any) -> None:
        self._found[name] = found

    def ask(self, name: str, read: Callable[[], Any]) -> Any:
        """What was read, or None where there is no such thing or no right to see it: that is noted.

        What is around a pod outlives it, so that a containment need not wait for it. Raises Transient and Unreachable:
        that is asked again.
        """
        try:
            found = read()
        except (Denied, Gone, Unsupported) as error:
            self._missing[name] = str(error)
            return None
        self.keep(name, found)
        return found

    def lacks(self, name: str, why: str) -> None:
        self._missing[name] = why

    def artifacts(self) -> Iterator[Artifact]:
        for name, found in self._found.items():
            yield document(name, found)
        yield document("missing.json", self._missing)


def document(name: str, value: object) -> Artifact:
    return Artifact(name, "application/json", json.dumps(value, indent=2, sort_keys=True).encode())

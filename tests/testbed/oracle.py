"""What an independent implementation of NetworkPolicy says: cyclonus 0.5.6, built from its Go module."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from quarantine_kubernetes.connection import Connection, Endpoint
from tests.testbed.gobinary import GoBinary

BINARY = GoBinary(source=Path(__file__).with_name("oracle"), title="cyclonus")

Verdict = tuple[bool, bool]
"""Is it let in at its destination, and let out at its source?"""


@dataclass(frozen=True)
class Said:
    verdicts: list[Verdict]
    """With selectors as Kubernetes reads them."""
    raw: list[Verdict]
    """By cyclonus alone, which reads two kinds of selectors otherwise: see `marks` in oracle/main.go."""


class Oracle:
    """Works inside `with`. Policies are whole objects with their namespaces; see oracle/main.go for connections."""

    def missing(self) -> str | None:
        return BINARY.missing()

    def __enter__(self) -> Self:
        binary = BINARY.build()
        self._process = subprocess.Popen([binary], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, policies: Sequence[Mapping[str, Any]], connections: Sequence[Mapping[str, Any]]) -> Said:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({"policies": policies, "connections": connections}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return Said(*([(one["ingress"], one["egress"]) for one in answer[key]] for key in ("verdicts", "raw")))


def asked(one: Connection) -> dict[str, Any]:
    """For cyclonus, which wants the name of a port to be looked up beforehand."""
    named = {(port.number, port.protocol): port.name for port in one.destination.ports if port.name}
    return {
        "source": _end(one.source),
        "destination": _end(one.destination),
        "port": one.port,
        "protocol": one.protocol,
        "port_name": named.get((one.port, one.protocol), ""),
    }


def _end(end: Endpoint) -> dict[str, Any]:
    address = end.addresses[0]
    return {**end.model_dump(include={"namespace", "namespace_labels", "labels"}), "address": address}

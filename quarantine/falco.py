"""An alert of Falco, or of falcosidekick's webhook: what is the same wherever Falco runs. Pure.

Falco 0.41, userspace/engine/formats.cpp; falcosidekick, types/types.go.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple, Self

from quarantine.errors import Malformed
from quarantine.model import Finding, Resource
from quarantine.record import digest, finding, seen, text
from quarantine.scale import word

HOST: Final = "host"
"""`container.id` of what runs in no container."""


class Alert(NamedTuple):
    """One alert: the whole record, its output fields, and the rule that it is of."""

    record: Mapping[str, Any]
    fields: Mapping[str, Any]
    rule: str

    @classmethod
    def read(cls, record: Any) -> Self:
        """Raises Malformed with what to set in falco.yaml."""
        if not isinstance(record, Mapping):
            raise Malformed("a Falco alert is a JSON object")
        fields = record.get("output_fields")
        if not isinstance(fields, Mapping):
            raise Malformed(
                "a Falco alert needs `output_fields`: set json_include_output_fields_property in falco.yaml"
            )
        rule = text(record, "rule")
        if rule is None:
            raise Malformed("a Falco alert needs `rule`, the name of the rule")
        return cls(record, fields, rule)

    @property
    def audited(self) -> bool:
        """Of the plug-in that reads the API server's audit log."""
        return self.record.get("source") == "k8s_audit"

    def field(self, *keys: str) -> str | None:
        return text(self.fields, *keys)

    def finding(self, source: str, resource: Resource, known_by: tuple[str | None, ...], received: datetime) -> Finding:
        """falcosidekick's own `uuid` is a new one each time it receives an alert: `known_by` tells repetitions."""
        return finding(
            source=source,
            id=digest(self.rule, *known_by),
            title=text(self.record, "output") or self.rule,
            type=self.rule,
            severity=word("falco", self.record.get("priority"), "priority"),
            resource=resource,
            seen_at=seen(self.record, ("time",), received),
            sample=self.rule == "Test rule",  # falcosidekick's /test
            record=self.record,
        )

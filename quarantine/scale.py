"""How bad each detector's words and numbers are here: one table, with its sources. Pure."""

from collections.abc import Mapping
from typing import Final

from quarantine.errors import Malformed
from quarantine.model import Severity

_INFORMATIONAL, _LOW, _MEDIUM, _HIGH, _CRITICAL = Severity

WORDS: Final[Mapping[str, Mapping[str, Severity]]] = {
    # falco.org, Default Rules, Rule Priorities: ERROR for writing state, WARNING for reading it unauthorised, NOTICE
    # for unexpected behaviour such as a shell in a container, INFO for bad practice.
    "falco": {
        "emergency": _CRITICAL,
        "alert": _CRITICAL,
        "critical": _CRITICAL,
        "error": _HIGH,
        "warning": _MEDIUM,
        "notice": _LOW,
        "informational": _INFORMATIONAL,
        "debug": _INFORMATIONAL,
    },
    # schema.ocsf.io/1.5.0, severity_id; 6 is Fatal, 0 Unknown, 99 Other.
    "ocsf": {
        "0": _INFORMATIONAL,
        "1": _INFORMATIONAL,
        "2": _LOW,
        "3": _MEDIUM,
        "4": _HIGH,
        "5": _CRITICAL,
        "6": _CRITICAL,
        "99": _INFORMATIONAL,
    },
    # Security Hub API Reference, Severity.Label.
    "asff": {severity.value: severity for severity in Severity},
    # Inspector API Reference, Finding.severity.
    "inspector": {**{severity.value: severity for severity in Severity}, "untriaged": _INFORMATIONAL},
    # Macie User Guide, "Severity scoring for findings": it has no more than these three.
    "macie": {"low": _LOW, "medium": _MEDIUM, "high": _HIGH},
    # Defender for Cloud REST API, Alerts, AlertSeverity; Assessments, Severity.
    "defender": {severity.value: severity for severity in Severity},
    # Azure Monitor, "Common alert schema": Sev0 Critical, Sev1 Error, Sev2 Warning, Sev3 Informational, Sev4 Verbose.
    "azure-monitor": {
        "sev0": _CRITICAL,
        "sev1": _HIGH,
        "sev2": _MEDIUM,
        "sev3": _INFORMATIONAL,
        "sev4": _INFORMATIONAL,
    },
    # Prometheus has none of its own: critical, warning and info are what kube-prometheus writes, the rest is Falco's
    # (falcosidekick, outputs/alertmanager.go writes critical, warning and information).
    "alertmanager": {
        "critical": _CRITICAL,
        "page": _CRITICAL,
        "high": _HIGH,
        "error": _HIGH,
        "warning": _MEDIUM,
        "medium": _MEDIUM,
        "low": _LOW,
        "notice": _LOW,
        "info": _INFORMATIONAL,
        "information": _INFORMATIONAL,
        "informational": _INFORMATIONAL,
        "none": _INFORMATIONAL,
    },
    # vSphere API, ManagedEntityStatus: red is "definitely a problem"; a vCenter has no more to say.
    "vmware": {"red": _HIGH, "yellow": _MEDIUM, "green": _INFORMATIONAL, "gray": _INFORMATIONAL},
    # Trivy (trivy-operator, v1alpha1 Severity), Kubescape (scan_types.go, ControlSeverity), policy reports
    # (openreports.io, ResultSeverity).
    "report": {
        "critical": _CRITICAL,
        "high": _HIGH,
        "medium": _MEDIUM,
        "low": _LOW,
        "info": _INFORMATIONAL,
        "none": _INFORMATIONAL,
        "unknown": _INFORMATIONAL,
    },
    # Our own JSON (docs/findings.md).
    "plain": {severity.value: severity for severity in Severity},
}
"""Words in lower case."""

STEPS: Final[Mapping[str, tuple[tuple[float, Severity], ...]]] = {
    # GuardDuty User Guide, "Severity levels of GuardDuty findings".
    "guardduty": ((9, _CRITICAL), (7, _HIGH), (4, _MEDIUM), (1, _LOW)),
    # Security Hub API Reference, Severity.Normalized.
    "asff": ((90, _CRITICAL), (70, _HIGH), (40, _MEDIUM), (1, _LOW)),
    # kubescape/node-agent, pkg/rulemanager/ruleengine: RulePriority, 1 to 10, 8 is high and 10 critical.
    "kubescape": ((10, _CRITICAL), (8, _HIGH), (5, _MEDIUM), (1, _LOW)),
}
"""(from this number on, severity), the gravest first; below all of them it is informational."""


def word(scale: str, said: object, where: str = "severity") -> Severity:
    """Raises Malformed for what this detector would not say: a new word must not count as harmless."""
    known = WORDS[scale]
    found = known.get(said.lower()) if isinstance(said, str) else None
    if found is None:
        raise Malformed(f"`{where}` is none of {', '.join(known)}: {str(said)[:80]!r}")
    return found


def at_most(worst: Severity, said: Severity) -> Severity:
    """A way in is no intruder: what only could be used must not start a playbook that answers an attack."""
    return said if worst.at_least(said) else worst


def number(scale: str, said: object, where: str = "severity") -> Severity:
    """Raises Malformed for what is no number."""
    if not isinstance(said, int | float) or isinstance(said, bool):
        raise Malformed(f"`{where}` is missing: it must be a number")
    return next((severity for least, severity in STEPS[scale] if said >= least), _INFORMATIONAL)

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity
from quarantine_kubernetes.findings import falco

RECEIVED = datetime(2026, 11, 24, 12, tzinfo=UTC)

# Falco 0.41 and later with `append_output: [{suggested_output: true}]`, and k8s.pod.uid added to it.
SHELL = {
    "hostname": "node-3",
    "output": "10:20:30.123456789: Notice A shell was spawned in a container with an attached terminal",
    "output_fields": {
        "container.id": "3ad7b26ded6d",
        "container.image.repository": "docker.io/library/nginx",
        "container.image.tag": "1.29",
        "container.name": "web",
        "evt.time": 1795515630123456789,
        "k8s.ns.name": "shop",
        "k8s.pod.name": "web-7d4b9c6f5-x2x9q",
        "k8s.pod.uid": "0b0a3c59-5bd0-4a53-9e8f-4a2a0d1e6f11",
        "proc.cmdline": "sh -c id",
        "proc.tty": 34816,
        "user.name": None,
    },
    "priority": "Notice",
    "rule": "Terminal shell in container",
    "source": "syscall",
    "tags": ["T1059", "container", "maturity_stable", "mitre_execution", "shell"],
    "time": "2026-11-24T10:20:30.123456789Z",
    "cluster": "prod",
}

# What falcosidekick's webhook makes of it: its own uuid, and custom fields among the output fields.
SIDEKICK = {
    "uuid": "9f6f6a6e-3a29-4d44-bb1f-70c3b6a3f2a1",
    "output": "10:20:31.000000000: Critical Executing binary not part of base image (proc_exe=/tmp/xmrig [...]",
    "priority": "Critical",
    "rule": "Drop and execute new binary in container",
    "time": "2026-11-24T10:20:31.0Z",
    "source": "syscall",
    "output_fields": {
        "cluster": "staging",
        "container.id": "77aa0c12fe34",
        "evt.time": 1795515631000000000,
        "k8s.ns.name": "batch",
        "k8s.pod.name": "miner-0",
        "proc.exepath": "/tmp/xmrig",
    },
    "hostname": "node-1",
    "tags": ["TA0003", "container", "process"],
}

# The k8saudit plugin: somebody attached to a pod.
AUDIT = {
    "hostname": "falco-k8saudit-0",
    "output": "10:22:00.000000000: Notice Attach/Exec to pod (user=eve pod=web-1 resource=pods ns=shop action=exec)",
    "output_fields": {
        "evt.time": 1795515720000000000,
        "ka.auditid": "7d2f7d69-4a0c-4b8c-8a7c-9f6d2f6d1a11",
        "ka.cluster.name": "prod",
        "ka.target.name": "web-1",
        "ka.target.namespace": "shop",
        "ka.target.resource": "pods",
        "ka.target.subresource": "exec",
        "ka.user.name": "eve",
        "ka.verb": "create",
    },
    "priority": "Notice",
    "rule": "Attach/Exec Pod",
    "source": "k8s_audit",
    "tags": ["k8s"],
    "time": "2026-11-24T10:22:00.000000000Z",
}


def parse(record: Any) -> Finding:
    (finding,) = falco(record, "falco-prod", RECEIVED)
    return finding


def changed(record: dict[str, Any], fields: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    return {**record, **top, "output_fields": {**record["output_fields"], **(fields or {})}}


def test_an_alert_of_falco() -> None:
    finding = parse(SHELL)
    assert str(finding.resource) == "kubernetes:pod/web-7d4b9c6f5-x2x9q in prod/shop"
    assert finding.resource.uid == "0b0a3c59-5bd0-4a53-9e8f-4a2a0d1e6f11"
    assert finding.source == "falco-prod"
    assert finding.type == "Terminal shell in container"
    assert finding.severity is Severity.LOW
    assert finding.seen_at == datetime(2026, 11, 24, 10, 20, 30, 123456, tzinfo=UTC)
    assert finding.record == SHELL
    assert not finding.sample


def test_an_alert_of_falcosidekick() -> None:
    finding = parse(SIDEKICK)
    assert str(finding.resource) == "kubernetes:pod/miner-0 in staging/batch"
    assert finding.resource.uid is None
    assert finding.severity is Severity.CRITICAL


def test_an_alert_about_an_audited_exec() -> None:
    assert str(parse(AUDIT).resource) == "kubernetes:pod/web-1 in prod/shop"


def test_a_repetition_is_the_same_finding() -> None:
    again = {**SIDEKICK, "uuid": "another", "time": "2026-11-24T11:00:00Z", "output": "11:00:00: Critical ..."}
    assert parse(again).key == parse(SIDEKICK).key


@pytest.mark.parametrize("fields", [{"k8s.pod.name": "miner-1"}, {"k8s.ns.name": "other"}, {"container.id": "other"}])
def test_another_pod_or_container_is_another_finding(fields: dict[str, str]) -> None:
    assert parse(changed(SIDEKICK, fields)).key != parse(SIDEKICK).key


def test_the_cluster_of_the_source_goes_before_what_the_alert_says() -> None:
    assert parse({**SIDEKICK, "cluster": "prod"}).resource.account == "prod"


def test_without_a_cluster_it_says_what_to_configure() -> None:
    with pytest.raises(Malformed, match="set `cluster:` on this source"):
        parse(changed(SIDEKICK, {"cluster": None}))


@pytest.mark.parametrize("unknown", [None, "", "<NA>"])
def test_a_container_whose_pod_is_not_known_is_not_dropped(unknown: str | None) -> None:
    with pytest.raises(Malformed, match=r"`k8s\.pod\.name` is missing, null or <NA>"):
        parse(changed(SHELL, {"k8s.pod.name": unknown}))


def test_an_alert_about_a_host_has_no_finding() -> None:
    fields = {"container.id": "host", "k8s.pod.name": None, "k8s.ns.name": None, "k8s.pod.uid": None}
    assert falco(changed(SHELL, fields), "falco", RECEIVED) == []


def test_an_audited_object_that_is_no_pod_has_no_finding() -> None:
    assert falco(changed(AUDIT, {"ka.target.resource": "clusterrolebindings"}), "falco", RECEIVED) == []


def test_the_name_of_an_unknown_audited_object_is_not_taken_for_a_pod() -> None:
    with pytest.raises(Malformed, match="which pod"):
        parse(changed(AUDIT, {"ka.target.resource": None}))


@pytest.mark.parametrize("name", ["..", "a/b", "a%2fb", "Web", "web-", "a b", "a" * 254, "web\n", "\ud800"])
def test_a_name_that_no_pod_can_have_is_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        parse(changed(SHELL, {"k8s.pod.name": name}))
    with pytest.raises(Malformed):
        parse(changed(SHELL, {"k8s.ns.name": name}))


@pytest.mark.parametrize(
    "top",
    [
        {"priority": "High"},
        {"priority": None},
        {"time": "yesterday"},
        {"rule": None},
        {"output_fields": None},
        {"cluster": "a/b"},
        {"output": "\ud800"},
    ],
)
def test_what_is_not_an_alert_of_falco_is_malformed(top: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        parse({**SHELL, **top})


def test_without_a_time_it_was_seen_when_it_came() -> None:
    assert parse({**SHELL, "time": None}).seen_at == RECEIVED


def test_the_test_alert_of_falcosidekick_is_a_sample() -> None:
    assert parse({**SHELL, "rule": "Test rule"}).sample


keys = st.sampled_from(
    [
        "output_fields",
        "rule",
        "priority",
        "time",
        "output",
        "source",
        "cluster",
        "k8s.pod.name",
        "k8s.ns.name",
        "k8s.pod.uid",
        "container.id",
        "ka.target.resource",
        "ka.target.name",
        "ka.target.namespace",
        "ka.target.pod.name",
        "k8s.cluster.name",
    ]
)
words = st.sampled_from(
    ["pods", "host", "k8s_audit", "Critical", "2026-11-24", "0001-01-01T00:00:00+23:59", "web", "<NA>"]
)
texts = st.text(st.characters(exclude_categories=[]), max_size=30)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys | texts, inner, max_size=5),
    max_leaves=15,
)


@given(values)
def test_any_json_gives_findings_or_is_malformed(record: Any) -> None:
    findings_or_malformed(record)


@given(st.dictionaries(keys, values, max_size=6), st.dictionaries(keys, values, max_size=6))
def test_any_change_of_an_alert_gives_findings_or_is_malformed(top: dict[str, Any], fields: dict[str, Any]) -> None:
    findings_or_malformed({**SHELL, "output_fields": {**SHELL["output_fields"], **fields}, **top})  # type: ignore[dict-item]


def findings_or_malformed(record: Any) -> None:
    try:
        found = falco(record, "falco", RECEIVED)
    except Malformed:
        return
    assert all(isinstance(finding, Finding) for finding in found)

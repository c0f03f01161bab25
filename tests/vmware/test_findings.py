import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarantine.errors import Malformed
from quarantine.model import Finding, Severity
from quarantine_vmware.findings import alarm, finding_id

NOW = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
RECORD: dict[str, Any] = {
    "vcenter": "berlin",
    "datacenter": "DC 0",
    "alarm_id": "alarm-301",
    "alarm_name": "quarantine: ransomware note found",
    "target_id": "vm-42",
    "target_name": "web-1",
    "old_status": "Green",
    "new_status": "Red",
    "summary": "Event: a note was found on web-1",
    "time": "2026-11-25T07:59:00Z",
}


def parsed(**changes: Any) -> Finding:
    (finding,) = alarm({**RECORD, **changes}, "vcenter", NOW)
    return finding


def test_an_alarm_is_a_finding_of_its_machine() -> None:
    finding = parsed()
    assert (finding.resource.kind, finding.resource.id, finding.resource.scope) == ("vmware:vm", "vm-42", "berlin/DC 0")
    assert finding.source == "vcenter" and finding.type == "quarantine: ransomware note found"
    assert finding.title == "Event: a note was found on web-1"
    assert finding.seen_at == datetime(2026, 11, 25, 7, 59, tzinfo=UTC)
    assert finding.severity is Severity.HIGH and finding.active and finding.record == RECORD


@pytest.mark.parametrize(
    ("status", "severity", "active"),
    [
        ("Red", Severity.HIGH, True),
        ("red", Severity.HIGH, True),
        ("Yellow", Severity.MEDIUM, True),
        ("Green", Severity.INFORMATIONAL, False),
        ("Gray", Severity.INFORMATIONAL, False),
    ],
)
def test_its_status_is_the_severity_and_one_that_is_over_is_not_active(
    status: str, severity: Severity, active: bool
) -> None:
    finding = parsed(new_status=status)
    assert (finding.severity, finding.active) == (severity, active)


def test_the_same_alarm_of_the_same_machine_is_the_same_finding() -> None:
    assert parsed(time="2026-11-25T09:00:00Z", summary="again").key == parsed().key
    assert len({parsed().id, parsed(target_id="vm-43").id, parsed(alarm_id="alarm-302").id}) == 3
    assert parsed().id == finding_id("alarm-301", "vm-42"), "as the poll has it"


def test_what_is_not_needed_may_be_missing() -> None:
    needed = {key: RECORD[key] for key in ("vcenter", "alarm_name", "target_id", "new_status")}
    (finding,) = alarm(needed, "vcenter", NOW)
    assert finding.resource.scope == "berlin" and finding.seen_at == NOW
    assert finding.title == finding.type


@pytest.mark.parametrize("target", ["VirtualMachine:vm-42", "vim.VirtualMachine:vm-42"])
def test_the_type_before_an_id_does_not_matter(target: str) -> None:
    assert parsed(target_id=target).resource.id == "vm-42"


@pytest.mark.parametrize(
    "target", ["host-12", "datastore-7", "domain-c8", "group-v3", "ClusterComputeResource:domain-c8"]
)
def test_an_alarm_of_something_else_has_no_finding(target: str) -> None:
    assert alarm({**RECORD, "target_id": target}, "vcenter", NOW) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"vcenter": None}, "`vcenter`"),
        ({"vcenter": ["berlin"]}, "`vcenter`"),
        ({"vcenter": "berlin/../prod"}, "`vcenter`"),
        ({"vcenter": "ber\nlin"}, "`vcenter`"),
        ({"datacenter": "a/b"}, "`datacenter`"),
        ({"datacenter": "x\x1b[2J"}, "`datacenter`"),
        ({"alarm_name": ""}, "`alarm_name`"),
        ({"target_id": None}, "`target_id`"),
        ({"target_id": 42}, "`target_id`"),
        ({"target_id": "web-1 "}, "`target_id`"),
        ({"target_id": "vm-42\n"}, "`target_id`"),
        ({"target_id": "vm-web"}, "`target_id`"),
        ({"target_id": "vm-" + "9" * 40}, "`target_id`"),
        ({"target_id": "vm-42' or 1=1"}, "`target_id`"),
        ({"new_status": "Purple"}, "`new_status`"),
        ({"new_status": None}, "`new_status`"),
        ({"time": "yesterday"}, "`time`"),
        ({"time": "0001-01-01T00:00:00+23:59"}, "`time`"),
    ],
)
def test_what_is_malformed_is_named(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        parsed(**changes)


def test_hostile_text_is_kept_as_text_and_cut() -> None:
    finding = parsed(summary="\x1b[31m" * 4000, alarm_name="<script>" * 1000)
    assert len(finding.title) == 4096 and len(finding.type) == 1024


texts = st.text(max_size=40)
values = st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=2)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(sorted(RECORD)), values))
def test_anything_is_a_finding_or_malformed(changes: dict[str, Any]) -> None:
    try:
        findings = alarm({**RECORD, **changes}, "vcenter", NOW)
    except Malformed:
        return
    assert all(json.loads(finding.model_dump_json()) for finding in findings)

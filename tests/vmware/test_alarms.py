from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from quarantine.model import Finding, Severity
from quarantine_vmware.alarms import ALARMS
from quarantine_vmware.cloud import VmwareCloud
from tests.testbed.vcsim import Machine, Vcsim
from tests.vmware.conftest import VCENTER

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NAME = "vcsim VM Alarm"


@pytest.fixture
def machine(vcsim: Vcsim) -> Iterator[Machine]:
    made = vcsim.machine()
    yield made
    vcsim.post_event(made, "success")


def poll(cloud: VmwareCloud, machine: Machine, scope: str = VCENTER) -> list[Finding]:
    found, _ = ALARMS.run(cloud, scope, NOW, None)
    return [finding for finding in found if finding.resource.uid == machine.uuid]


def test_without_an_alarm_there_is_no_finding(cloud: VmwareCloud, machine: Machine) -> None:
    assert poll(cloud, machine) == []


def test_a_triggered_alarm_is_a_finding_of_the_machine(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    vcsim.post_event(machine, "fatal")
    (finding,) = poll(cloud, machine)
    assert (finding.resource.id, finding.resource.scope) == (machine.moid, f"{VCENTER}/DC0")
    assert finding.type == NAME and machine.name in finding.title and "red" in finding.title
    assert finding.severity is Severity.HIGH and finding.active
    assert abs(datetime.now(UTC) - finding.seen_at) < timedelta(minutes=5), "when it was triggered, not when we asked"


def test_yellow_is_medium(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    vcsim.post_event(machine, "failure")
    (finding,) = poll(cloud, machine)
    assert finding.severity is Severity.MEDIUM


def test_one_that_is_cleared_is_none(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    vcsim.post_event(machine, "fatal")
    vcsim.post_event(machine, "success")
    assert poll(cloud, machine) == []


def test_a_triggering_is_told_once(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    """Or a machine that a person has just released would be contained again, as long as the alarm is red."""
    vcsim.post_event(machine, "failure")
    first, cursor = ALARMS.run(cloud, VCENTER, NOW, None)
    assert machine.uuid in {finding.resource.uid for finding in first}
    again, cursor = ALARMS.run(cloud, VCENTER, NOW, cursor)
    assert again == []

    vcsim.post_event(machine, "fatal")
    worse, cursor = ALARMS.run(cloud, VCENTER, NOW, cursor)
    assert [finding.severity for finding in worse] == [Severity.HIGH]
    assert {finding.key for finding in worse} <= {finding.key for finding in first}, "it is the same finding"

    vcsim.post_event(machine, "success")
    cleared, cursor = ALARMS.run(cloud, VCENTER, NOW, cursor)
    vcsim.post_event(machine, "failure")
    anew, _ = ALARMS.run(cloud, VCENTER, NOW, cursor)
    assert cleared == [] and len(anew) == 1


def test_one_that_somebody_has_acknowledged_is_not_active(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    vcsim.post_event(machine, "fatal")
    content = vcsim.client().content
    (state,) = [state for state in content.rootFolder.triggeredAlarmState if state.entity._moId == machine.moid]
    content.alarmManager.AcknowledgeAlarm(alarm=state.alarm, entity=state.entity)
    (finding,) = poll(cloud, machine)
    assert not finding.active


def test_a_scope_with_a_datacenter_has_only_its_machines(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    vcsim.post_event(machine, "fatal")
    assert poll(cloud, machine, f"{VCENTER}/DC1") == []
    assert poll(cloud, machine, f"{VCENTER}/DC0")


def test_it_uses_the_permission_that_it_declares(cloud: VmwareCloud, vcsim: Vcsim, machine: Machine) -> None:
    vcsim.post_event(machine, "fatal")
    used: list[str] = []
    cloud._seen = lambda call: used.append(call.permission)
    poll(cloud, machine)
    assert set(used) == set(ALARMS.permissions)

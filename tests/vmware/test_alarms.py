from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any

import pytest

from quarantine.model import Finding, Severity
from quarantine_vmware.alarms import ALARMS
from quarantine_vmware.cloud import VmwareCloud
from tests.testbed.vcsim import Machine, Vcsim
from tests.vmware.conftest import VCENTER

NOW = datetime(2026, 11, 25, tzinfo=UTC)
NAME = "vcsim VM Alarm"


def raise_alarm(vcsim: Vcsim, machine: Machine, event: str) -> None:
    """`success`, `failure` (yellow) and `fatal` (red) are the simulator's own events."""
    vim: Any = import_module("pyVmomi").vim
    posted = vim.event.EventEx(
        eventTypeId=f"vcsim.vm.{event}", objectType=vim.VirtualMachine, objectId=machine.moid,
        createdTime=datetime.now(UTC), key=1, chainId=1, userName="sensor",
    )  # fmt: skip
    vcsim.client().content.eventManager.PostEvent(eventToPost=posted)


@pytest.fixture
def machine(vcsim: Vcsim) -> Iterator[Machine]:
    made = vcsim.machine()
    yield made
    raise_alarm(vcsim, made, "success")


def poll(cloud: VmwareCloud, machine: Machine, scope: str = VCENTER) -> list[Finding]:
    found, cursor = ALARMS.run(cloud, scope, NOW, None)
    assert cursor is None
    return [finding for finding in found if finding.resource.uid == machine.uuid]


def test_without_an_alarm_there_is_no_finding(cloud: VmwareCloud, machine: Machine) -> None:
    assert poll(cloud, machine) == []


def test_a_triggered_alarm_is_a_finding_of_the_machine(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    raise_alarm(vcsim, machine, "fatal")
    (finding,) = poll(cloud, machine)
    assert (finding.resource.id, finding.resource.scope) == (machine.moid, f"{VCENTER}/DC0")
    assert finding.type == NAME and machine.name in finding.title and "red" in finding.title
    assert finding.severity is Severity.HIGH and finding.active
    assert abs(datetime.now(UTC) - finding.seen_at) < timedelta(minutes=5), "when it was triggered, not when we asked"


def test_yellow_is_medium(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    raise_alarm(vcsim, machine, "failure")
    (finding,) = poll(cloud, machine)
    assert finding.severity is Severity.MEDIUM


def test_one_that_is_cleared_is_none(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    raise_alarm(vcsim, machine, "fatal")
    raise_alarm(vcsim, machine, "success")
    assert poll(cloud, machine) == []


def test_one_that_somebody_has_acknowledged_is_not_active(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    raise_alarm(vcsim, machine, "fatal")
    content = vcsim.client().content
    (state,) = [state for state in content.rootFolder.triggeredAlarmState if state.entity._moId == machine.moid]
    content.alarmManager.AcknowledgeAlarm(alarm=state.alarm, entity=state.entity)
    (finding,) = poll(cloud, machine)
    assert not finding.active


def test_a_scope_with_a_datacenter_has_only_its_machines(vcsim: Vcsim, cloud: VmwareCloud, machine: Machine) -> None:
    raise_alarm(vcsim, machine, "fatal")
    assert poll(cloud, machine, f"{VCENTER}/DC1") == []
    assert poll(cloud, machine, f"{VCENTER}/DC0")


def test_it_uses_the_permission_that_it_declares(cloud: VmwareCloud, vcsim: Vcsim, machine: Machine) -> None:
    raise_alarm(vcsim, machine, "fatal")
    used: list[str] = []
    cloud._seen = lambda call: used.append(call.permission)
    poll(cloud, machine)
    assert set(used) == set(ALARMS.permissions)

"""What a vCenter's answers, and the lack of them, become; against the simulator and through a proxy that breaks."""

import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pytest

from quarantine.action import Cloud, Mark, Receipt
from quarantine.errors import (
    Conflict,
    Denied,
    Gone,
    ProviderError,
    Transient,
    Unknown,
    Unreachable,
    Unsupported,
)
from quarantine.testing.contract import CountingGate
from quarantine_vmware import calls, session
from quarantine_vmware.calls import Connection
from quarantine_vmware.cloud import EDIT, READ, VmwareCloud, translate
from quarantine_vmware.session import Address, Sessions
from tests.testbed.call import Call as Seen
from tests.testbed.poll import until
from tests.testbed.proxy import FaultProxy
from tests.testbed.vcsim import EVERY, NONE, PASSWORD, USER, Machine, Vcsim
from tests.vmware.conftest import VCENTER, Made

MARK = Mark(installation="home", case="c-17", step=0, key="k")
RECONFIGURE = "VirtualMachine.ReconfigVM_Task"
PROPERTIES = "PropertyCollector.RetrievePropertiesEx"
CUT = {"4000": Connection(False, False, False)}


@pytest.fixture
def machine(vcsim: Vcsim) -> Machine:
    return vcsim.machine()


@pytest.fixture
def changing(cloud: VmwareCloud) -> VmwareCloud:
    return cloud.through(CountingGate(), MARK)


@pytest.fixture
def broken(vcsim: Vcsim, proxy: Callable[..., FaultProxy]) -> FaultProxy:
    return proxy(vcsim.url, vcsim.ca_file)


@pytest.fixture
def through(made: Made, broken: FaultProxy) -> VmwareCloud:
    return made(url=broken.url, ca_file=None).connect(VCENTER).through(CountingGate(), MARK)


def asks(method: str) -> Callable[[Seen], bool]:
    return lambda call: f"<{method} ".encode() in call.body


def read(cloud: Cloud, machine: Machine, path: str = "name") -> Any:
    objects = [("VirtualMachine", machine.moid)]
    ((_, _, found),) = cloud.read(READ, PROPERTIES, objects=objects, paths={"VirtualMachine": (path,)})
    return found.get(path)


def cut(cloud: Cloud, machine: Machine, version: str | None = None) -> Receipt:
    hardware = read(cloud, machine, "config.hardware.device")
    return cloud.change(EDIT, RECONFIGURE, machine=machine.moid, hardware=hardware, adapters=CUT, version=version)


# --- answers -------------------------------------------------------------------------------------------------------


def test_only_what_certainly_changes_nothing_is_a_read(cloud: VmwareCloud) -> None:
    for call in ("VirtualMachine.ReconfigVM_Task", "VirtualMachine.Destroy_Task", "", "PropertyCollector.Destroy"):
        assert not cloud.reads(call)
        with pytest.raises(PermissionError):
            cloud.read(READ, call)


def test_without_a_gate_nothing_is_changed(cloud: VmwareCloud, machine: Machine) -> None:
    with pytest.raises(PermissionError, match="outside of the engine"):
        cut(cloud, machine)
    assert machine.flags() == {4000: EVERY}


def test_what_is_not_set_is_not_there(cloud: VmwareCloud, machine: Machine) -> None:
    assert read(cloud, machine) == machine.name
    assert read(cloud, machine, "config.managedBy") is None


def test_a_change_carries_the_case_into_the_vcenter_s_log(
    through: VmwareCloud, broken: FaultProxy, machine: Machine
) -> None:
    receipt = cut(through, machine)
    assert receipt.id.startswith("task-") and receipt.operation == receipt.id
    (call,) = broken.recorded(asks("ReconfigVM_Task"))
    assert b">c-17-0</operationID>" in call.body
    read(through, machine)
    assert b"operationID" not in broken.recorded()[-1].body
    machine.settle()


def test_a_machine_that_is_gone(cloud: VmwareCloud, changing: VmwareCloud, machine: Machine) -> None:
    machine.power(on=False)
    machine.destroy()
    with pytest.raises(Gone, match="ManagedObjectNotFound"):
        read(cloud, machine)
    with pytest.raises(Gone):
        changing.change(EDIT, RECONFIGURE, machine=machine.moid, hardware=[], adapters={}, version=None)


def test_an_adapter_that_went_between_look_and_act_was_not_acted_on(changing: VmwareCloud, machine: Machine) -> None:
    machine.remove(4000)
    with pytest.raises(Transient, match="4000 was removed"):
        cut(changing, machine)


def test_a_task_that_nobody_knows_any_more_has_ended(cloud: VmwareCloud) -> None:
    assert cloud.running("task-99999999") is False


def test_a_task_that_somebody_cancelled_is_not_simply_started_again(
    vcsim: Vcsim, changing: VmwareCloud, machine: Machine
) -> None:
    with vcsim.holding():
        receipt = cut(changing, machine)
        (task,) = [task for task in machine.vm.recentTask if task._moId == receipt.operation]
        task.CancelTask()
        with pytest.raises(Unknown, match="RequestCanceled"):
            changing.running(receipt.operation or "")
    until(lambda: machine.flags() == {4000: NONE})  # the simulator goes on all the same


# --- sessions ------------------------------------------------------------------------------------------------------


@pytest.fixture
def alone(vcsim: Vcsim) -> None:
    """No session of another test is left."""
    vcsim.end_sessions()


def test_a_read_in_a_session_that_has_ended_logs_in_again(
    alone: None, vcsim: Vcsim, cloud: VmwareCloud, machine: Machine
) -> None:
    read(cloud, machine)
    vcsim.end_sessions()
    assert read(cloud, machine) == machine.name
    assert len(vcsim.sessions()) == 1


def test_a_change_in_one_was_certainly_not_made_and_is_not_repeated(
    vcsim: Vcsim, through: VmwareCloud, broken: FaultProxy, machine: Machine
) -> None:
    read(through, machine)
    held = broken.hold(asks("ReconfigVM_Task"))
    failures: list[Exception] = []

    def change() -> None:
        try:
            cut(through, machine)
        except ProviderError as error:
            failures.append(error)

    sender = threading.Thread(target=change)
    sender.start()
    held.wait_reached()
    vcsim.end_sessions()
    held.let_go()
    sender.join()
    assert [type(failure) for failure in failures] == [Transient]
    assert len(broken.recorded(asks("ReconfigVM_Task"))) == 1 and machine.flags() == {4000: EVERY}
    cut(through, machine)
    until(lambda: machine.flags() == {4000: NONE})


def test_one_session_serves_one_call_after_the_other(
    alone: None, vcsim: Vcsim, cloud: VmwareCloud, machine: Machine
) -> None:
    for _ in range(5):
        read(cloud, machine)
    assert len(vcsim.sessions()) == 1


def test_calls_at_the_same_time_have_sessions_of_their_own(
    alone: None, vcsim: Vcsim, through: VmwareCloud, broken: FaultProxy, machine: Machine
) -> None:
    held = broken.hold(asks("RetrievePropertiesEx"))
    names: list[str] = []
    first = threading.Thread(target=lambda: names.append(read(through, machine)))
    first.start()
    held.wait_reached()
    assert read(through, machine) == machine.name, "it does not wait for the other one's answer"
    assert len(vcsim.sessions()) == 2
    held.let_go()
    first.join()
    assert names == [machine.name]


def test_at_the_end_every_session_is_logged_out(alone: None, vcsim: Vcsim, made: Made, machine: Machine) -> None:
    provider = made()
    read(provider.connect(VCENTER), machine)
    provider.close()
    assert vcsim.sessions() == []
    assert read(provider.connect(VCENTER), machine) == machine.name, "and it may be used again"


def test_a_wrong_password_is_said_once_and_without_it(vcsim: Vcsim) -> None:
    pool = Sessions(Address(vcsim.url, USER, lambda: b"wrong", thumbprint=vcsim.thumbprint))
    with pytest.raises(Unreachable, match=f"refuses the log-in of {USER} .InvalidLogin") as failure:
        VmwareCloud(VCENTER, pool).read(READ, "ServiceInstance.RetrieveServiceContent")
    assert "wrong" not in str(failure.value)


# --- connections that break ----------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "SECONDS", 0.5)


def test_nobody_there_is_unreachable(made: Made, broken: FaultProxy, through: VmwareCloud, machine: Machine) -> None:
    broken.close()
    with pytest.raises(Unreachable, match="no trusted connection"):
        read(through, machine)


def test_another_certificate_than_the_pinned_one_gets_no_password(alone: None, vcsim: Vcsim) -> None:
    pool = Sessions(Address(vcsim.url, USER, PASSWORD.encode, thumbprint="ab" * 32))
    with pytest.raises(Unreachable, match="SHA-256"):
        VmwareCloud(VCENTER, pool).read(READ, "ServiceInstance.RetrieveServiceContent")
    assert vcsim.sessions() == []


def test_a_certificate_that_an_authority_signed_does_not_replace_the_pinned_one(vcsim: Vcsim) -> None:
    """pyVmomi's own pin is not looked at when the certificate verifies."""
    pool = Sessions(Address(vcsim.url, USER, PASSWORD.encode, thumbprint="ab" * 32, ca_file=_path(vcsim.ca_file)))
    with pytest.raises(Unreachable, match="SHA-256"):
        VmwareCloud(VCENTER, pool).read(READ, "ServiceInstance.RetrieveServiceContent")


@pytest.mark.parametrize("how", ["drop", "lose_answer"])
def test_a_change_without_an_answer_is_unknown_and_sent_once(
    through: VmwareCloud, broken: FaultProxy, machine: Machine, how: str
) -> None:
    read(through, machine)
    getattr(broken, how)(asks("ReconfigVM_Task"))
    with pytest.raises(Unknown, match="ReconfigVM_Task"):
        cut(through, machine)
    assert len(broken.recorded(asks("ReconfigVM_Task"))) == 1
    machine.settle()
    assert machine.flags() == {4000: EVERY if how == "drop" else NONE}


def test_a_change_whose_answer_takes_too_long_is_unknown(
    impatient: None, through: VmwareCloud, broken: FaultProxy, machine: Machine
) -> None:
    held = broken.hold_answer(asks("ReconfigVM_Task"))
    with pytest.raises(Unknown):
        cut(through, machine)
    held.abandon()
    machine.settle()


def test_a_connection_that_was_closed_meanwhile_does_not_lose_a_read(
    through: VmwareCloud, broken: FaultProxy, machine: Machine
) -> None:
    broken.drop(asks("RetrievePropertiesEx"))
    assert read(through, machine) == machine.name


def test_a_read_that_breaks_again_and_again_is_transient(
    through: VmwareCloud, broken: FaultProxy, machine: Machine
) -> None:
    broken.drop(asks("RetrievePropertiesEx"), times=2)
    with pytest.raises(Transient):
        read(through, machine)


@pytest.mark.parametrize(
    "body", ["<html>down for maintenance</html>", "", "<a><b>", "{}", "<e:Envelope><x/></e:Envelope>"]
)
@pytest.mark.parametrize("status", [200, 500, 502, 503])
def test_what_is_no_answer_of_a_vcenter(
    through: VmwareCloud, broken: FaultProxy, machine: Machine, status: int, body: str
) -> None:
    read(through, machine)
    broken.answer(asks("RetrievePropertiesEx"), status, {"Content-Type": "text/html"}, body, times=2)
    with pytest.raises(Transient):
        read(through, machine)
    broken.clear()
    broken.answer(asks("ReconfigVM_Task"), status, {"Content-Type": "text/html"}, body)
    with pytest.raises(Unknown):
        cut(through, machine)
    assert len(broken.recorded(asks("ReconfigVM_Task"))) == 1


# --- faults --------------------------------------------------------------------------------------------------------


def fault(name: str, **fields: Any) -> Exception:
    pyvmomi: Any = import_module("pyVmomi")
    kind = getattr(pyvmomi.vim.fault, name, None) or getattr(pyvmomi.vmodl.fault, name)
    made: Exception = kind(**fields)
    return made


@pytest.mark.parametrize(
    ("name", "reading", "changing"),
    [
        ("NoPermission", Denied, Denied),
        ("NotAuthenticated", Transient, Transient),
        ("InvalidLogin", Unreachable, Unreachable),
        ("ManagedObjectNotFound", Gone, Gone),
        ("ConcurrentAccess", Conflict, Conflict),
        ("RequestCanceled", Transient, Unknown),
        ("TaskInProgress", Transient, Transient),
        ("ResourceInUse", Transient, Transient),
        ("HostNotConnected", Transient, Transient),
        ("InvalidState", Unsupported, Unsupported),
        ("InvalidPowerState", Unsupported, Unsupported),
        ("ToolsUnavailable", Transient, Unknown),
        ("InvalidDeviceSpec", Unsupported, Unsupported),
        ("NotSupported", Unsupported, Unsupported),
        ("MethodDisabled", Unsupported, Unsupported),
        ("RestrictedVersion", Denied, Denied),
        ("HostCommunication", Transient, Unknown),
        ("Timedout", Transient, Unknown),
        ("SystemError", Transient, Unknown),
    ],
)
def test_a_fault_is_judged_by_its_type(name: str, reading: type[Exception], changing: type[Exception]) -> None:
    assert type(translate(fault(name), "a call", changes=False)) is reading
    assert type(translate(fault(name), "a call", changes=True)) is changing


def test_a_fault_s_words_decide_nothing() -> None:
    error = translate(fault("SystemError", msg="NoPermission: ManagedObjectNotFound"), "a call", changes=True)
    assert type(error) is Unknown and "a call: SystemError" in str(error)


def test_a_denial_names_the_privilege() -> None:
    assert "grant VirtualMachine.Config.EditDevice" in str(
        translate(fault("NoPermission", privilegeId="VirtualMachine.Config.EditDevice"), "a call", changes=True)
    )


def test_a_property_that_may_not_be_read_is_denied_not_missing(server: Vcsim, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vCenter says that in missingSet, not as a fault of the call (API reference, MissingProperty)."""
    pyvmomi: Any = import_module("pyVmomi")
    spec, machine = pyvmomi.vmodl.query.PropertyCollector, pyvmomi.vim.VirtualMachine("vm-1", None)
    denied = fault("NoPermission", privilegeId=READ)
    missing = spec.MissingProperty(path="name", fault=denied)
    content = spec.ObjectContent(obj=machine, missingSet=[missing])
    monkeypatch.setattr(calls, "_pages", lambda *_: iter([content]))
    here: Any = type("Session", (), {"stub": None})()
    paths: Mapping[str, tuple[str, ...]] = {"VirtualMachine": ("name",)}
    with pytest.raises(type(denied)):
        calls.properties(here, [("VirtualMachine", "vm-1")], paths)
    assert calls.properties(here, [("Folder", "group-d1")], paths, walk="down") == []


def _path(name: str) -> Any:
    from pathlib import Path

    return Path(name)

import subprocess
import sys
from typing import Any

import pytest
from pydantic import ValidationError

from quarantine.action import Check, Verdict
from quarantine.errors import Gone, Unreachable, Unsupported
from quarantine.model import Resource
from quarantine_vmware import Vmware
from quarantine_vmware.cloud import CONNECT, EDIT, READ
from quarantine_vmware.provider import Access, VmwareSettings
from tests.testbed.process import free_port
from tests.testbed.vcsim import USER, Vcsim, done
from tests.vmware.conftest import VCENTER, Made, resource

OTHER = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
WORKING = {"url": "https://vcenter.example.com", "user": "q@vsphere.local", "password": "env:VCENTER_PASSWORD"}


def instance(vcsim: Vcsim) -> str:
    return str(vcsim.client().content.about.instanceUuid)


def test_importing_it_imports_no_sdk() -> None:
    code = "import quarantine_vmware, sys; print(sorted({'pyVmomi', 'pyVim', 'http'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pyV" not in done.stdout


def test_its_scopes_are_its_vcenters(made: Made) -> None:
    assert made().scopes() == (VCENTER,)


def test_an_unknown_vcenter_is_unreachable(made: Made) -> None:
    with pytest.raises(Unreachable, match="'paris' is not configured"):
        made().connect("paris/DC0")


# --- settings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"url": "vcenter.example.com"}, "a URL"),
        ({"url": "http://vcenter.example.com"}, "https"),
        ({"url": "ftp://127.0.0.1"}, "https"),
        ({"url": "https://me:secret@vcenter.example.com"}, "without a user"),
        ({"url": "https://vcenter.example.com:99999"}, "a URL"),
        ({"password": "hunter2"}, "a secret is a reference"),
        ({"thumbprint": "AB:CD"}, "thumbprint"),
        ({"thumbprint": "ab" * 32, "ca_file": "/ca.pem"}, "either ca_file or thumbprint"),
        ({"url": "http://127.0.0.1", "ca_file": "/ca.pem"}, "for https"),
        ({"instance_uuid": "prod"}, "instance_uuid"),
        ({"user": ""}, "user"),
        ({"insecure": True}, "insecure"),
    ],
)
def test_a_wrong_setting_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as failure:
        Access.model_validate({**WORKING, **changes})
    assert "hunter2" not in str(failure.value.errors(include_input=False))


def test_a_name_with_a_slash_would_look_like_a_scope() -> None:
    with pytest.raises(ValidationError):
        VmwareSettings.model_validate({"vcenters": {"a/b": WORKING}})


@pytest.mark.parametrize("thumbprint", ["ab" * 32, ":".join(["AB"] * 32)])
def test_a_thumbprint_may_have_colons(thumbprint: str) -> None:
    assert Access.model_validate({**WORKING, "thumbprint": thumbprint}).thumbprint == thumbprint


# --- who we are ----------------------------------------------------------------------------------------------------


def test_the_vcenter_says_who_we_are(made: Made) -> None:
    provider = made()
    assert provider.identity(provider.connect(VCENTER)).principal == USER


def test_the_pinned_vcenter_is_the_account(vcsim: Vcsim, made: Made) -> None:
    provider = made(instance_uuid=instance(vcsim).upper())
    assert provider.identity(provider.connect(VCENTER)).account == VCENTER


def test_another_vcenter_than_the_pinned_one_is_another_account(vcsim: Vcsim, made: Made) -> None:
    provider = made(instance_uuid=OTHER)
    assert provider.identity(provider.connect(VCENTER)).account == f"unknown vCenter {instance(vcsim)}"


# --- which machine -------------------------------------------------------------------------------------------------


def resolved(provider: Vmware, found: Resource) -> Resource:
    return provider.resolve(provider.connect(VCENTER), found)[0]


@pytest.mark.parametrize("scope", [VCENTER, f"{VCENTER}/DC0"])
@pytest.mark.parametrize("identified", ["name", "moid", "uuid"])
def test_every_way_to_name_a_machine_leads_to_the_same_one(
    vcsim: Vcsim, made: Made, identified: str, scope: str
) -> None:
    machine = vcsim.machine(on=False)
    found = resolved(made(), Resource(kind="vmware:vm", id=getattr(machine, identified), scope=scope))
    assert (found.uid, found.scope) == (machine.uuid, f"{VCENTER}/DC0")


def test_the_uuid_of_a_finding_goes_before_its_name(vcsim: Vcsim, made: Made) -> None:
    machine, other = vcsim.machine(on=False), vcsim.machine(on=False)
    with_both = resource(machine, id=other.name)
    assert resolved(made(), with_both).uid == machine.uuid


def test_a_name_that_two_machines_have_names_both(vcsim: Vcsim, made: Made) -> None:
    one = vcsim.machine(on=False)
    two = vcsim.machine(name=one.name, datacenter="DC1", on=False)
    with pytest.raises(Unsupported, match="several machines") as failure:
        resolved(made(), Resource(kind="vmware:vm", id=one.name, scope=VCENTER))
    assert f"{one.moid} in DC0" in str(failure.value) and f"{two.moid} in DC1" in str(failure.value)
    in_one = Resource(kind="vmware:vm", id=one.name, scope=f"{VCENTER}/DC1")
    assert resolved(made(), in_one).uid == two.uuid


def test_a_name_is_found_as_people_see_it(vcsim: Vcsim, made: Made) -> None:
    """vCenter keeps `/`, `\\` and `%` in names as %2f, %5c and %25 (API reference, ManagedEntity, name)."""
    machine = vcsim.machine(on=False)
    done(machine.vm.Rename_Task(newName=f"db%2f{machine.name}"))
    found = Resource(kind="vmware:vm", id=f"db/{machine.name}", scope=VCENTER)
    assert resolved(made(), found).uid == machine.uuid


@pytest.mark.parametrize(
    ("identified", "scope"),
    [
        ("no-such-machine", VCENTER),
        ("vm-999999", VCENTER),
        (OTHER, VCENTER),
        ("DC0_H0_VM0", f"{VCENTER}/DC1"),
        ("DC0_H0_VM0", f"{VCENTER}/nowhere"),
    ],
)
def test_a_machine_that_is_not_there_is_gone(made: Made, identified: str, scope: str) -> None:
    with pytest.raises(Gone):
        resolved(made(), Resource(kind="vmware:vm", id=identified, scope=scope))


def test_a_machine_in_another_datacenter_is_gone_by_its_id_too(vcsim: Vcsim, made: Made) -> None:
    machine = vcsim.machine(on=False)
    with pytest.raises(Gone, match="in datacenter 'DC0'"):
        resolved(made(), Resource(kind="vmware:vm", id=machine.moid, scope=f"{VCENTER}/DC1"))


def test_custom_attributes_are_its_tags(vcsim: Vcsim, made: Made) -> None:
    machine = vcsim.machine(on=False)
    fields = vcsim.client().content.customFieldsManager
    field = fields.AddCustomFieldDef(name=f"owner-{machine.name}", moType=type(machine.vm))
    fields.SetField(entity=machine.vm, key=field.key, value="data team")
    provider = made()
    _, tags = provider.resolve(provider.connect(VCENTER), resource(machine))
    assert tags == {f"owner-{machine.name}": "data team"}


# --- doctor --------------------------------------------------------------------------------------------------------


def verdicts(provider: Vmware) -> dict[str, Check]:
    return {check.subject: check for check in provider.doctor()}


def test_a_healthy_vcenter_is_well(vcsim: Vcsim, made: Made) -> None:
    found = verdicts(made(instance_uuid=instance(vcsim)))
    assert {check.verdict for check in found.values()} == {Verdict.OK}
    assert USER in found[f"vCenter {VCENTER}"].message


def test_without_a_pin_it_says_what_to_pin(vcsim: Vcsim, made: Made) -> None:
    check = verdicts(made())[f"vCenter {VCENTER}: pin"]
    assert check.verdict is Verdict.WARN and instance(vcsim) in check.fix


def test_another_vcenter_fails(made: Made) -> None:
    check = verdicts(made(instance_uuid=OTHER))[f"vCenter {VCENTER}: pin"]
    assert check.verdict is Verdict.FAIL and OTHER in check.message


def test_privileges_that_are_missing_are_named(vcsim: Vcsim, made: Made) -> None:
    vcsim.set(privileges={USER: [READ, EDIT]})
    found = verdicts(made())
    check = found[f"vCenter {VCENTER}: {CONNECT}"]
    assert check.verdict is Verdict.WARN and CONNECT in check.fix
    assert f"vCenter {VCENTER}: {EDIT}" not in found


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"url": f"https://127.0.0.1:{free_port()}"}, "refused"),
        ({"ca_file": None}, "certificate verify failed"),
        ({"ca_file": "/nowhere/ca.pem"}, "ca_file"),
        ({"ca_file": None, "thumbprint": "ab" * 32}, "SHA-256"),
        ({"password": "env:NO_SUCH_VARIABLE"}, "NO_SUCH_VARIABLE"),
        ({"password": "file:/etc/hostname"}, "refuses the log-in"),
    ],
)
def test_what_keeps_us_out_is_said(made: Made, settings: dict[str, Any], says: str) -> None:
    (check,) = made(**settings).doctor()
    assert check.verdict is Verdict.FAIL and says in check.message


def test_without_a_vcenter_there_is_something_to_add() -> None:
    (check,) = Vmware(VmwareSettings()).doctor()
    assert check.verdict is Verdict.WARN and check.fix


def test_the_thumbprint_alone_is_trust_enough(vcsim: Vcsim, made: Made) -> None:
    provider = made(ca_file=None, thumbprint=vcsim.thumbprint)
    assert verdicts(provider)[f"vCenter {VCENTER}"].verdict is Verdict.OK

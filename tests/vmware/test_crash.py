"""Every shipped playbook dies everywhere on a strict vCenter: see quarantine/testing/crash.py."""

from pathlib import Path

import pytest

from quarantine.playbook import shipped
from quarantine.testing.crash import CrashContract, Scene, Stage
from quarantine.testing.installation import Installation
from tests.testbed.vcsim import EVERY, NONE, Vcsim
from tests.vmware.conftest import Made, resource


class TestDisconnectVm(CrashContract):
    """Three adapters, one of them cut already. One machine lives all lives."""

    playbook = shipped() / "vmware" / "disconnect-vm.yaml"

    @pytest.fixture
    def scene(self, vcsim: Vcsim, made: Made) -> Stage:
        vmware, machine = made(), vcsim.machine(EVERY, NONE)

        def again(folder: Path) -> Scene:
            installation = Installation(folder, vmware, [self.playbook], passing=lambda _: machine.settle())
            return Scene(installation, resource(machine), raw=machine.image)

        return again

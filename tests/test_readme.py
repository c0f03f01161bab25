"""The README's examples are what they claim: the action passes its contract, the playbook loads."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from quarantine.document import loads
from quarantine.playbook import check
from quarantine.registry import Registry, installed
from quarantine.testing.contract import ReversibleContract
from tests.testbed.aws import aws_environment

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FILES = dict(re.findall(r"```python (\S+)\n(.*?)```", README, flags=re.DOTALL))


def test_the_action_of_the_readme_passes_its_contract(tmp_path: Path) -> None:
    assert set(FILES) == {"kms_key_disable.py", "test_kms_key_disable.py"}
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", str(tmp_path)]
    environment = aws_environment("unused")
    del environment["AWS_ENDPOINT_URL"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    contract = [name for name in vars(ReversibleContract) if name.startswith("test_")]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None and int(passed[1]) > len(contract), "its own tests and what it inherits"


@pytest.mark.parametrize("name", ["kms_key_disable.py"])
def test_it_is_short(name: str) -> None:
    assert 30 <= len(FILES[name].splitlines()) <= 80


def test_the_playbook_of_the_readme_loads() -> None:
    (text,) = re.findall(r"```yaml\n(name: .*?)```", README, flags=re.DOTALL)
    document = loads(text, "README.md")
    check(document, Registry(installed().values(), {}), "close-our-buckets")


def test_every_file_that_the_readme_links_to_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target

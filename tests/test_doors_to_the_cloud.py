"""No code but `cloud.change` can reach a mutating call of an SDK: read off the syntax trees of the whole product."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SDKS = {"boto3", "botocore", "kubernetes", "azure", "urllib3", "requests", "docker", "pyVmomi", "http"}
MODULES = sorted([*ROOT.glob("quarantine/**/*.py"), *ROOT.glob("providers/**/*.py")])
CONNECTS = {"calls.py", "clients.py", "cloud.py", "codes.py", "devices.py", "session.py"}
"""Where an SDK may be imported: a provider's connection, its clients, its calls, its error codes, its types."""
READS = {"read", "read_or_absent", "pages", "identity"}
"""What a connection offers besides `change`; each ends in `Cloud.read`."""
PLAYS_THE_CUSTOMER = {"demo_cloud.py", "demo_story.py"}
"""The demo's customer and sender: they stand outside of the product, and drive it."""

WRITES_LETTERS = {"quarantine/notify.py", "quarantine/herald.py"}
"""They post notices, and states of the record, to configured addresses, with HTTP and nothing more: they know no cloud
and no credentials of one."""


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sdk":
            assert isinstance(node.args[0], ast.Constant), f"say which: {ast.unparse(node)}"
            found.add(str(node.args[0].value).partition(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_sdk_is_imported_only_where_a_connection_is_made(path: Path) -> None:
    if path.name in PLAYS_THE_CUSTOMER:
        return
    sdks = imported(ast.parse(path.read_text())) & SDKS
    if path.relative_to(ROOT).as_posix() in WRITES_LETTERS:
        sdks -= {"http"}
    allowed = path.parts[-3] == "providers" and path.name in CONNECTS
    assert not sdks or allowed, f"{sdks}: only {sorted(CONNECTS)} of a provider may"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_door_behind_the_gate_is_opened_by_the_gate_alone(path: Path) -> None:
    """`invoke` is called in `Cloud.read` and `Cloud.change`; an action has neither it nor a client."""
    tree = ast.parse(path.read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    opens = [node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "invoke"]
    here = path.relative_to(ROOT).as_posix()
    if here == "quarantine/action.py":
        assert len(opens) == 2
    elif here == "quarantine/cli/program.py":
        assert all(ast.unparse(node) == "super().invoke(ctx)" for node in opens)
    elif here == "quarantine/testing/installation.py":  # looks on, in front of a connection, and hands everything on
        assert all(ast.unparse(node) == "super().invoke(call, arguments)" for node in opens)
    else:
        assert opens == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_sdk_that_is_imported_late_is_imported_there_too(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    late = [node for node in calls if isinstance(node.func, ast.Name) and node.func.id == "sdk"]
    assert not late or (path.parts[-3] == "providers" and path.name in CONNECTS)


def test_what_a_vcenter_s_objects_can_do_is_called_in_one_module() -> None:
    """A reference in pyVmomi's data is alive: its methods, in capitals, go to the vCenter around the gate."""
    for path in ROOT.glob("providers/quarantine_vmware/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr[0].isupper():
                assert path.name in {"calls.py", "session.py"}, f"{path.name}: {ast.unparse(node)[:80]}"


def test_only_the_engine_gives_a_cloud_a_gate() -> None:
    """`through` is what turns a connection that reads into one that may change something."""
    users = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and node.attr == "through":
                users.add(path.relative_to(ROOT).as_posix())
    assert users == {"quarantine/convergence.py", "quarantine/testing/contract.py"}


def test_actions_change_something_only_through_cloud_change() -> None:
    """Every call of an action on its cloud is `read` or `change`, or a reading helper of the connection."""
    for path in ROOT.glob("providers/*/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if isinstance(node.func.value, ast.Name) and node.func.value.id == "cloud":
                assert node.func.attr in READS | {"change"}, f"{path.name}: {ast.unparse(node)[:80]}"


@pytest.mark.parametrize("words", [["--help"], ["version"], ["kill", "--help"], ["completion", "bash"]])
def test_the_quick_commands_load_no_sdk_and_no_database(words: list[str]) -> None:
    program = (
        "import sys\nfrom quarantine.cli.program import program\n"
        f"try:\n    program({words!r}, prog_name='quarantine')\nexcept SystemExit:\n    pass\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stderr.strip().splitlines()[-1]))
    assert not loaded & {"boto3", "botocore", "kubernetes", "azure", "sqlalchemy", "alembic", "pydantic", "rich"}

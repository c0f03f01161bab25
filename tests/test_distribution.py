"""What a user installs: checkout -> sdist -> wheel -> an empty environment, without checkout or network."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
import yaml

from quarantine import __version__

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {
    "quarantine",
    "quarantine_aws",
    "quarantine_azure",
    "quarantine_docker",
    "quarantine_kubernetes",
    "quarantine_vmware",
}
TOP_LEVEL = ("quarantine", "providers", "playbooks", "tests", "requirements", "docs")


def run(*command: str | Path, cwd: Path, home: Path) -> str:
    """Its stdout. Neither this checkout nor a configuration of this user or machine's Python takes part."""
    kept = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"HOME": str(home), "PYTHONNOUSERSITE": "1", "UV_OFFLINE": "1", "UV_NO_CONFIG": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def playbooks() -> dict[str, Path]:
    """Path below playbooks/ -> file."""
    folder = ROOT / "playbooks"
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("sdist")
    tree = work / "tree"
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, tree)
        elif path.name in TOP_LEVEL:
            shutil.copytree(path, tree / path.name, symlinks=True)
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", work, cwd=tree, home=work)
    (built,) = work.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # not in every 3.11
        archive.extractall(work, **safely)  # type: ignore[arg-type]  # noqa: S202 - our own archive
    (tree,) = (path for path in work.iterdir() if path.is_dir())
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", work, cwd=tree, home=work)
    (built,) = work.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a new environment: the wheel is in it, its requirements are those of this environment.

    A line in a .pth file adds one folder and does not read the .pth files there, so the editable install of
    this environment stays out of sight.
    """
    root = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", root / "venv", cwd=root, home=root)
    python = root / "venv" / "bin" / "python"
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    run(uv, "pip", "install", "--no-deps", "--no-cache", "--python", python, wheel, cwd=root, home=root)
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=root, home=root)
    ours = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(purelib.strip()) / "requirements.pth").write_text("\n".join(sorted(ours)) + "\n")
    return root


def command(installed: Path, *arguments: str) -> str:
    return run(installed / "venv" / "bin" / "quarantine", *arguments, cwd=installed, home=installed)


def test_the_sdist_holds_no_leftovers_of_this_checkout(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    assert {Path("LICENSE"), Path("pyproject.toml"), Path("tests/test_distribution.py")} <= names
    leftovers = {"__pycache__", ".venv", ".git", "config.yaml"}
    assert [name for name in names if leftovers & set(name.parts)] == []


def test_the_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == PACKAGES | {f"cloud_quarantine-{__version__}.dist-info"}
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)


def test_the_wheel_holds_every_playbook(wheel: Path) -> None:
    folder = "quarantine/_playbooks/"
    with zipfile.ZipFile(wheel) as archive:
        shipped = {
            name.removeprefix(folder): archive.read(name) for name in archive.namelist() if name.startswith(folder)
        }
    assert playbooks()
    assert {name: data for name, data in shipped.items() if name.endswith(".yaml")} == {
        name: path.read_bytes() for name, path in playbooks().items()
    }


@pytest.mark.parametrize("package", sorted(PACKAGES))
def test_the_new_environment_imports_the_wheel_and_not_the_checkout(installed: Path, package: str) -> None:
    python = installed / "venv" / "bin" / "python"
    file = run(python, "-c", f"import {package}; print({package}.__file__)", cwd=installed, home=installed)
    assert Path(file.strip()).is_relative_to(installed / "venv")


def test_the_installed_command_says_its_version(installed: Path) -> None:
    assert __version__ in command(installed, "version")


def test_the_installed_command_shows_its_help(installed: Path) -> None:
    assert "playbook" in command(installed, "--help")


def test_the_installed_command_lists_every_shipped_playbook(installed: Path) -> None:
    listed = command(installed, "playbook", "list").split()
    names = {yaml.safe_load(path.read_bytes())["name"] for path in playbooks().values()}
    assert names - set(listed) == set()

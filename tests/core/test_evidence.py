"""Evidence is kept once, under what it is, and never more of it than the limits say; how it came is in the record."""

from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest

from quarantine import __version__
from quarantine.action import Artifact
from quarantine.case import Captured
from quarantine.config import Evidence as Limits
from quarantine.errors import NotFound, QuarantineError
from quarantine.evidence import EvidenceStore, Folder, Locker
from tests.core.cli_bench import CommandLine


def artifact(content: bytes, name: str = "log") -> Artifact:
    return Artifact(name=name, media_type="text/plain", content=content)


class Bucket:
    """A locker that is no folder, as one in object storage would be."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put(self, sha256: str, content: bytes) -> None:
        self.objects[sha256] = content

    def open(self, sha256: str) -> BytesIO | None:
        return BytesIO(self.objects[sha256]) if sha256 in self.objects else None

    def remove(self, sha256: str) -> None:
        self.objects.pop(sha256, None)


@pytest.fixture(params=["folder", "bucket"])
def locker(request: pytest.FixtureRequest, tmp_path: Path) -> Locker:
    return Folder(tmp_path / "evidence") if request.param == "folder" else Bucket()


@pytest.fixture
def small(locker: Locker) -> EvidenceStore:
    return EvidenceStore(locker, Limits(largest_bytes=1024, step_bytes=2500))


def lying(locker: Locker) -> int:
    """How many pieces are there."""
    if isinstance(locker, Bucket):
        return len(locker.objects)
    return sum(1 for path in Path(str(locker)).rglob("*") if path.is_file())


def test_the_same_content_is_there_once_until_it_is_erased(small: EvidenceStore, locker: Locker) -> None:
    first, second = small.keep(artifact(b"x", "a")), small.keep(artifact(b"x", "b"))
    assert (first.sha256, first.cut_from, lying(locker)) == (second.sha256, None, 1)
    assert (small.digest(first.sha256), small.content(first.sha256)) == (first.sha256, b"x")
    small.erase(first.sha256)
    small.erase(first.sha256)
    assert (small.digest(first.sha256), small.content(first.sha256), lying(locker)) == (None, None, 0)
    with pytest.raises(NotFound, match="is missing"):
        small.read(first.sha256)


def test_others_cannot_read_a_file(tmp_path: Path) -> None:
    kept = EvidenceStore(Folder(tmp_path)).keep(artifact(b"x"))
    assert Folder(tmp_path).place(kept.sha256).stat().st_mode & 0o077 == 0


def test_what_is_too_large_is_cut_and_that_is_said(small: EvidenceStore) -> None:
    kept = small.keep(artifact(b"y" * 1024 + b"z"))
    assert (kept.size, kept.cut_from) == (1024, 1025)
    assert small.read(kept.sha256) == b"y" * 1024
    assert small.keep(artifact(b"y" * 1024)).cut_from is None


def test_all_of_one_step_has_a_limit_too_and_nothing_is_collected_beforehand(
    small: EvidenceStore, locker: Locker
) -> None:
    kept_when_asked: list[int] = []

    def collected() -> Iterator[Artifact]:
        for number in range(4):
            kept_when_asked.append(lying(locker))
            yield artifact(bytes([number]) * 1000)

    kept = small.keep_all(collected())
    assert [(item.size, item.cut_from) for item in kept] == [(1000, None), (1000, None), (500, 1000), (0, 1000)]
    assert kept_when_asked == [0, 1, 2, 3]


def test_a_disk_that_does_not_take_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("a file stands where the folder should be")
    with pytest.raises(QuarantineError, match="evidence cannot be kept in"):
        EvidenceStore(Folder(tmp_path / "evidence")).keep(artifact(b"x"))


def test_what_was_changed_is_not_read(small: EvidenceStore, locker: Locker) -> None:
    kept = small.keep(artifact(b"genuine"))
    locker.remove(kept.sha256)
    locker.put(kept.sha256, b"planted")
    assert small.digest(kept.sha256) != kept.sha256
    with pytest.raises(NotFound, match="was changed"):
        small.read(kept.sha256)


def test_the_record_says_who_took_it_where_when_and_with_what(line: CommandLine) -> None:
    case = line.case("close")
    (event,) = [item.event for item in line.store.history(case) if isinstance(item.event, Captured)]
    taken = event.custody
    assert (taken.action, taken.resource.id, taken.resource.uid) == ("fake:machine-capture", "web-1", "uid-1")
    assert taken.tool == f"cloud-quarantine {__version__}"
    assert taken.principal and taken.worker
    assert timedelta(0) <= taken.ended_at - taken.began_at < timedelta(minutes=1)
    shown = line("case", "show", case).stdout
    assert f"as {taken.principal}, by {taken.worker} with cloud-quarantine" in shown

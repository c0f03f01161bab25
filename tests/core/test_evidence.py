"""Evidence is kept once, under what it is, and never more of it than the limits say; how it came is in the record."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from quarantine import __version__
from quarantine.action import Artifact
from quarantine.case import Captured
from quarantine.config import Evidence as Limits
from quarantine.errors import NotFound, QuarantineError
from quarantine.evidence import EvidenceStore
from tests.core.cli_bench import CommandLine


def artifact(content: bytes, name: str = "log") -> Artifact:
    return Artifact(name=name, media_type="text/plain", content=content)


@pytest.fixture
def small(tmp_path: Path) -> EvidenceStore:
    return EvidenceStore(tmp_path / "evidence", Limits(largest_bytes=1024, step_bytes=2500))


def test_the_same_content_is_one_file_that_others_cannot_read(small: EvidenceStore) -> None:
    first, second = small.keep(artifact(b"x", "a")), small.keep(artifact(b"x", "b"))
    assert (first.sha256, first.cut_from) == (second.sha256, None)
    (path,) = [path for path in small.folder.rglob("*") if path.is_file()]
    assert (path.read_bytes(), path.stat().st_mode & 0o077) == (b"x", 0)
    assert small.digest(first.sha256) == first.sha256
    assert small.digest("0" * 64) is None


def test_what_is_too_large_is_cut_and_that_is_said(small: EvidenceStore) -> None:
    kept = small.keep(artifact(b"y" * 1024 + b"z"))
    assert (kept.size, kept.cut_from) == (1024, 1025)
    assert small.read(kept.sha256) == b"y" * 1024
    assert small.keep(artifact(b"y" * 1024)).cut_from is None


def test_all_of_one_step_has_a_limit_too_and_nothing_is_collected_beforehand(small: EvidenceStore) -> None:
    kept_when_asked: list[int] = []

    def collected() -> Iterator[Artifact]:
        for number in range(4):
            kept_when_asked.append(sum(1 for path in small.folder.rglob("*") if path.is_file()))
            yield artifact(bytes([number]) * 1000)

    kept = small.keep_all(collected())
    assert [(item.size, item.cut_from) for item in kept] == [(1000, None), (1000, None), (500, 1000), (0, 1000)]
    assert kept_when_asked == [0, 1, 2, 3]


def test_a_disk_that_does_not_take_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "evidence").write_text("a file stands where the folder should be")
    with pytest.raises(QuarantineError, match="evidence cannot be kept in"):
        EvidenceStore(tmp_path / "evidence").keep(artifact(b"x"))


def test_a_file_that_was_changed_is_not_read(small: EvidenceStore) -> None:
    kept = small.keep(artifact(b"genuine"))
    small.path(kept.sha256).write_bytes(b"planted")
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

"""What a SIEM gets is what OCSF says of class 7001: each event is held against the published schema."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema

from quarantine.case import Event, Halted, Intended, Reason, Released, ReleaseIntended, ReleaseRequested, Verified
from quarantine.model import Severity
from quarantine.ocsf import VERSION, activities
from quarantine.plan import Nature
from tests.core.builders import finding, opened, plan, recorded, resource, step
from tests.core.cli_bench import CommandLine
from tests.core.test_report import contained


@cache
def schema(*profiles: str) -> Draft202012Validator:
    found = OcsfJsonSchemaEmbedded(get_ocsf_schema(version=VERSION))
    return Draft202012Validator(found.get_class_schema(class_name="remediation_activity", profiles=list(profiles)))


def told(*events: Event, **parts: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = [activity.record() for activity in activities(recorded([opened(**parts), *events]))]
    for event in made:
        wrong = [error.message for error in schema(*event["metadata"]["profiles"]).iter_errors(event)]
        assert wrong == []
    return made


def released() -> list[Event]:
    back = ReleaseIntended(
        step=0, action="fake:machine-close", resource=resource(), before={}, target={}, kept=(), epoch=1, key="r"
    )
    return [ReleaseRequested(), back, Released(step=0)]


def test_a_containment_and_its_release_are_isolate_and_restore() -> None:
    isolate, restore = told(*contained(), *released())
    assert (isolate["type_uid"], isolate["activity_name"], isolate["status_id"]) == (700101, "Isolate", 1)
    assert (restore["type_uid"], restore["activity_name"]) == (700103, "Restore")
    assert isolate["metadata"]["correlation_uid"] == restore["metadata"]["correlation_uid"]
    assert isolate["metadata"]["uid"] != restore["metadata"]["uid"]
    assert (isolate["start_time"], isolate["time"]) == (1772366406000, 1772366407000)
    assert isolate["unmapped"]["approved_by"] == "engine"


def test_what_cannot_be_undone_is_evict() -> None:
    events = contained()
    planned = plan(step(nature=Nature.ONE_WAY))
    events[0] = events[0].model_copy(update={"plan": planned})
    assert [event["activity_name"] for event in told(*events)] == ["Evict"]


@pytest.mark.parametrize(("reason", "status"), [("partial", 4), ("unsupported", 5), ("unverified", 2)])
def test_what_stopped_for_a_person_is_no_success(reason: str, status: int) -> None:
    events = contained()[:5]
    assert isinstance(events[-1], Intended)
    (event,) = told(*events, Halted(reason=Reason(reason), sentence="half of it"))
    assert (event["status_id"], event["status_detail"]) == (status, "half of it")


def test_a_case_that_did_nothing_is_no_event() -> None:
    assert told() == []
    assert told(Halted(reason=Reason.GUARD_ERROR, sentence="why")) == []
    assert told(*contained()[:5]) == [], "not read back yet"


@pytest.mark.parametrize(
    ("kind", "scope", "cloud"),
    [
        ("aws:s3-bucket", "123456789012/eu-west-1",
         {"provider": "AWS", "account": {"uid": "123456789012"}, "region": "eu-west-1"}),
        ("azure:vm", "1111-2222/shop", {"provider": "Azure", "account": {"uid": "1111-2222"}}),
        ("kubernetes:pod", "prod/shop", None),
    ],
)  # fmt: skip
def test_a_cloud_is_named_where_there_is_one(kind: str, scope: str, cloud: dict[str, Any] | None) -> None:
    of_cloud = resource("x", kind=kind, scope=scope)
    intended = Intended(step=0, action="a", resource=of_cloud, before={}, target={}, epoch=1, key="k")
    (event,) = told(*contained()[:4], intended, Verified(step=0), finding=finding(resource=of_cloud))
    assert event.get("cloud") == cloud
    assert event["metadata"]["profiles"] == (["cloud"] if cloud else [])


@pytest.mark.parametrize(("severity", "number"), [(item, number) for number, item in enumerate(Severity, 1)])
def test_severities(severity: Severity, number: int) -> None:
    assert [event["severity_id"] for event in told(*contained(), finding=finding(severity=severity))] == [number]


def test_the_schema_finds_what_is_wrong() -> None:
    """So the other tests mean something."""
    (event,) = told(*contained())
    for change in ({"activity_id": 42}, {"category_uid": 6}, {"nonsense": 1}, {"time": "now"}):
        assert list(schema().iter_errors({**event, **change})), change
    assert list(schema().iter_errors({name: value for name, value in event.items() if name != "command_uid"}))


def test_the_record_is_exported(line: CommandLine, tmp_path: Path) -> None:
    case = line.case("close")
    line("case", "release", case)
    done = line("audit", "export", str(tmp_path / "events.jsonl"), "--as", "ocsf")
    assert (done.exit_code, done.stderr) == (0, "2 events of OCSF class 7001.\n")
    events = [json.loads(event) for event in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [event["activity_name"] for event in events] == ["Isolate", "Restore"]
    assert [list(schema().iter_errors(event)) for event in events] == [[], []]
    assert line("audit", "export", str(tmp_path / "events.jsonl"), "--as", "ocsf").exit_code == 2

"""The fake platform as a provider: what comes in, what it knows, and what it says about itself."""

from datetime import timedelta
from typing import Any

import pytest

from quarantine.action import Verdict
from quarantine.errors import Gone, Malformed, Unreachable
from quarantine.model import Severity
from quarantine.registry import Registry
from quarantine.testing.fake.provider import FakeProvider, FakeSettings, fake_finding
from quarantine.testing.fake.world import FakeWorld, Fault
from tests.core.builders import NOW, resource


@pytest.fixture
def provider(world: FakeWorld) -> FakeProvider:
    return FakeProvider(FakeSettings(accounts=("local", "other")), world)


def test_a_finding_is_parsed(registry: Registry) -> None:
    record: dict[str, Any] = {"id": "f-1", "title": "a shell", "type": "shell", "machine": "web-1", "severity": "low"}
    (found,) = registry.parsers["fake:finding"](record, "detector", NOW)
    assert (found.source, found.id, found.severity, found.seen_at) == ("detector", "f-1", Severity.LOW, NOW)
    assert found.resource == resource(uid=None)
    assert found.record == record


def test_several_findings_come_in_one_body() -> None:
    body: dict[str, Any] = {"findings": [{"id": "f-1", "machine": "a"}, {"id": "f-2", "machine": "b", "sample": True}]}
    assert [(item.id, item.sample) for item in fake_finding(body, "detector", NOW)] == [("f-1", False), ("f-2", True)]


@pytest.mark.parametrize(
    "record",
    [{}, {"id": "f"}, {"id": "f", "machine": 1}, {"id": "f", "machine": "m", "severity": "dire"}, {"findings": [1]},
     {"id": "f", "machine": "m", "surprise": 1}, {"id": "f", "machine": "m", "seen_at": "yesterday"},
     {"id": "", "machine": "m"}],
)  # fmt: skip
def test_what_is_not_a_finding_is_malformed(record: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        fake_finding(record, "detector", NOW)


def test_the_poll_finds_what_is_open_to_the_world(registry: Registry, world: FakeWorld) -> None:
    world.add("web-1", ports={"22": "0.0.0.0/0"})
    world.add("web-2", ports={"22": "10.0.0.0/8"})
    poll = registry.polls["fake:open-machines"]
    findings, _ = poll.run(registry.provider("fake").connect("local"), "local", NOW, None)
    assert [item.resource.id for item in findings] == ["web-1"]


def test_a_resource_is_resolved_with_its_uid_and_tags(provider: FakeProvider, world: FakeWorld) -> None:
    machine = world.add("web-1", tags={"team": "shop"})
    found, tags = provider.resolve(provider.connect("local"), resource(uid=None))
    assert (found.uid, tags) == (machine.uid, {"team": "shop"})


def test_a_resource_that_is_not_there_is_gone(provider: FakeProvider) -> None:
    with pytest.raises(Gone):
        provider.resolve(provider.connect("local"), resource())


def test_the_relation_finds_the_peers(registry: Registry, world: FakeWorld) -> None:
    world.add("web-2")
    machine = world.add("web-1", peers=("web-2",))
    found = registry.relations["fake:machine", "peers"].find(registry.provider("fake").connect("local"), machine)
    assert [item.id for item in found] == ["web-2"]


def test_an_account_that_is_not_configured_is_unreachable(provider: FakeProvider) -> None:
    with pytest.raises(Unreachable):
        provider.connect("elsewhere/zone")


def test_the_doctor_sees_where_the_credentials_lead(provider: FakeProvider, world: FakeWorld) -> None:
    assert [check.verdict for check in provider.doctor()] == [Verdict.OK, Verdict.OK]
    world.lands_in = "elsewhere"
    assert [check.verdict for check in provider.doctor()] == [Verdict.FAIL, Verdict.FAIL]


def test_the_doctor_never_raises(provider: FakeProvider, world: FakeWorld) -> None:
    world.fail("identity.get", Fault.DENY, Fault.UNREACHABLE)
    assert [check.verdict for check in provider.doctor()] == [Verdict.FAIL, Verdict.FAIL]


def test_a_finding_says_when_it_was_seen() -> None:
    record = {"id": "f", "machine": "m", "seen_at": (NOW - timedelta(hours=1)).isoformat()}
    assert fake_finding(record, "detector", NOW)[0].seen_at == NOW - timedelta(hours=1)

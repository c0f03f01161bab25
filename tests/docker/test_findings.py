import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.errors import Malformed
from quarantine.model import Severity
from quarantine.scale import WORDS
from quarantine_docker.findings import falco

RECEIVED = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
UID = "3ad7b26ded6d" + "0" * 52

# As falco.org shows an event of the rule, with `json_output: true`, of a host with the container plugin.
ALERT: dict[str, Any] = {
    "hostname": "web-1",
    "output": "15:59:58.123 Notice A shell was spawned in a container (container_id=3ad7b26ded6d container_name=web)",
    "output_fields": {
        "container.id": "3ad7b26ded6d",
        "container.image.repository": "docker.io/library/nginx",
        "container.image.tag": "1.27",
        "container.name": "web",
        "evt.time": 1795608000123456789,
        "k8s.ns.name": None,
        "k8s.pod.name": None,
        "proc.cmdline": "sh -c id",
        "user.name": "root",
    },
    "priority": "Critical",
    "rule": "Drop and execute new binary in container",
    "source": "syscall",
    "tags": ["container", "mitre_persistence"],
    "time": "2026-11-25T11:59:58.123456789Z",
}


def alert(**changes: Any) -> dict[str, Any]:
    return {**ALERT, **changes}


def fields(**changes: Any) -> dict[str, Any]:
    return alert(output_fields={**ALERT["output_fields"], **changes})


def test_an_alert_about_a_container_is_a_finding() -> None:
    (finding,) = falco(ALERT, "falco-hosts", RECEIVED)
    assert str(finding.resource) == "docker:container/3ad7b26ded6d in web-1"
    assert (finding.source, finding.type, finding.severity) == ("falco-hosts", ALERT["rule"], Severity.CRITICAL)
    assert finding.seen_at == datetime(2026, 11, 25, 11, 59, 58, 123456, tzinfo=UTC)
    assert finding.resource.uid is None and not finding.sample
    assert finding.record == ALERT


def test_one_by_way_of_falcosidekick_is_the_same_finding() -> None:
    theirs = {**ALERT, "uuid": "8f6c1a7e-0000-4d6e-9a53-0123456789ab"}
    (first,), (second,) = (falco(record, "falco", RECEIVED) for record in (ALERT, theirs))
    assert first.key == second.key


def test_the_whole_id_is_the_uid_where_falco_gives_it() -> None:
    (finding,) = falco(fields(**{"container.full_id": UID}), "falco", RECEIVED)
    assert finding.resource.uid == UID


@pytest.mark.parametrize("full", ["web", "f" * 64, UID.upper(), UID + "0"])
def test_a_whole_id_that_does_not_fit_is_left_out(full: str) -> None:
    (finding,) = falco(fields(**{"container.full_id": full}), "falco", RECEIVED)
    assert finding.resource.uid is None


@pytest.mark.parametrize("unknown", [None, "", "<NA>"])
def test_the_name_stands_in_for_an_id_that_falco_does_not_know(unknown: str | None) -> None:
    (finding,) = falco(fields(**{"container.id": unknown}), "falco", RECEIVED)
    assert finding.resource.id == "web"


def test_a_custom_field_goes_before_what_falco_takes_for_the_machines_name() -> None:
    names = {"host": "shop-3", "evt.hostname": "ip-10-0-0-5"}
    assert [finding.resource.scope for finding in falco(fields(**names), "falco", RECEIVED)] == ["shop-3"]
    del names["host"]
    assert [finding.resource.scope for finding in falco(fields(**names), "falco", RECEIVED)] == ["ip-10-0-0-5"]


@pytest.mark.parametrize(
    "record",
    [
        fields(**{"k8s.pod.name": "web-1", "k8s.ns.name": "shop"}),
        fields(**{"container.id": "host", "container.name": "host"}),
        alert(source="k8s_audit"),
    ],
    ids=["a pod", "the host itself", "the audit log of Kubernetes"],
)
def test_what_is_no_container_of_a_docker_host_has_no_finding(record: dict[str, Any]) -> None:
    assert falco(record, "falco", RECEIVED) == []


def test_falcosidekicks_test_alert_never_acts() -> None:
    (finding,) = falco(alert(rule="Test rule"), "falco", RECEIVED)
    assert finding.sample


@pytest.mark.parametrize(("priority", "severity"), WORDS["falco"].items())
def test_priorities_are_falcos_own(priority: str, severity: Severity) -> None:
    (finding,) = falco(alert(priority=priority.title()), "falco", RECEIVED)
    assert finding.severity is severity


def test_times_are_in_utc_and_the_receipt_stands_in() -> None:
    berlin = alert(time="2026-11-25T12:59:58+01:00")
    (finding,) = falco(berlin, "falco", RECEIVED)
    assert finding.seen_at == RECEIVED - timedelta(seconds=2)
    (finding,) = falco(alert(time=None), "falco", RECEIVED)
    assert finding.seen_at == RECEIVED


@pytest.mark.parametrize(
    ("record", "word"),
    [
        ([], "JSON object"),
        (alert(output_fields=None), "output_fields"),
        (alert(rule=None), "rule"),
        (alert(priority="Urgent"), "priority"),
        (alert(priority=3), "priority"),
        (alert(time="yesterday"), "time"),
        (alert(hostname=None), "hostname"),
        (alert(hostname="a/b"), "name of a host"),
        (alert(hostname="web 1"), "name of a host"),
        (alert(hostname="x" * 300), "name of a host"),
        (fields(**{"container.id": None, "container.name": "<NA>"}), "which container"),
        (fields(**{"container.id": 7, "container.name": None}), "which container"),
        (fields(**{"container.id": "../../images/json"}), "container.id"),
        (fields(**{"container.id": "web"}), "container.id"),
        (fields(**{"container.id": "3AD7B26DED6D"}), "container.id"),
        (fields(**{"container.id": None, "container.name": "a/b"}), "container.name"),
        (fields(**{"container.id": None, "container.name": "-web"}), "container.name"),
        (fields(**{"container.id": None, "container.name": "web\n"}), "container.name"),
        (fields(**{"container.id": None, "container.name": "\u202ebew"}), "container.name"),
    ],
)
def test_what_falco_would_not_send_is_malformed(record: Any, word: str) -> None:
    with pytest.raises(Malformed, match=word):
        falco(record, "falco", RECEIVED)


texts = st.text(max_size=80) | st.sampled_from(["host", "<NA>", "3ad7b26ded6d", "web", "Critical", "syscall"])
values = st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=2)


@given(
    st.dictionaries(st.sampled_from([*ALERT, "uuid"]), values | st.dictionaries(texts, values, max_size=3)),
    st.dictionaries(st.sampled_from(["container.id", "container.name", "k8s.pod.name", "host"]), values),
)
def test_whatever_comes_is_a_finding_or_malformed(top: dict[str, Any], inner: dict[str, Any]) -> None:
    record = {**ALERT, "output_fields": {**ALERT["output_fields"], **inner}, **top}
    try:
        found = falco(record, "falco", RECEIVED)
    except Malformed:
        return
    for finding in found:
        assert "/" not in finding.resource.id and "/" not in finding.resource.scope
        assert json.dumps(finding.record) == json.dumps(record)

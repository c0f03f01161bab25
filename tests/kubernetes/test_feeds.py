"""Reports in a real API server become findings: each once, whatever it forgets and whatever breaks in between."""

import json
import socket
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from quarantine.config import Schedule
from quarantine.errors import Denied, Unsupported
from quarantine.intake import Fate
from quarantine.model import Finding, Standing
from quarantine.playbook import Approval, Match, Playbook, Step
from quarantine.sources import Poller
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes, feed, policy_report, trivy
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.feed import Cursor, Place, Report, follow, unfinished
from quarantine_kubernetes.feeds import FEED_REREADS, FEEDS
from quarantine_kubernetes.objects import Kind
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from quarantine_kubernetes.session import Session
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.rbac import granted_everywhere
from tests.kubernetes.report_samples import AUDIT, EXPOSED, KUBESCAPE, POLICY_REPORT
from tests.kubernetes.workloads import SELECTOR, TEMPLATE, kind_of, make
from tests.testbed import crds
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.kubeapi import Object

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
AUDITS = Report(trivy.REPORTS[1].kind, trivy.checks, page=2)
TRIVY, POLICY, KUBESCAPE_SCANS = FEEDS


@pytest.fixture(scope="module", autouse=True)
def _served(control_plane: ControlPlane) -> Iterator[None]:
    with crds.served(control_plane, crds.scanners()):
        yield


def write(namespace: Namespace, sample: Object, name: str, **changes: Any) -> str:
    """As its author would, about something of that name. Returns its path."""
    group, kind = sample["apiVersion"], sample["kind"].lower()
    metadata: dict[str, Any] = {"name": name}
    if owners := sample["metadata"].get("ownerReferences"):
        metadata["ownerReferences"] = [{**owners[0], "name": name, "uid": _owner(namespace, name)}]
    path = f"/apis/{group}/namespaces/{namespace.name}/{kind}s"
    namespace.api.create(path, {**sample, "metadata": metadata, **changes})
    return f"{path}/{name}"


def _owner(namespace: Namespace, name: str) -> str:
    """The uid of a ReplicaSet of that name, which exists: the cluster deletes a report of an owner that does not."""
    path = kind_of("replicasets").path.format(namespace=namespace.name, name=name)
    if not namespace.api.exists(path):
        make(namespace, "replicasets", name, {"replicas": 0, "selector": SELECTOR, "template": TEMPLATE})
    return str(namespace.api.get(path)["metadata"]["uid"])


def subjects(findings: list[Finding]) -> list[str]:
    return sorted(finding.resource.id.partition("/")[2] for finding in findings)


class Reader:
    """One schedule for a namespace of its own, whose cursor it keeps as the store would."""

    def __init__(self, cloud: KubernetesCloud, namespace: Namespace, *reports: Report) -> None:
        self.cloud, self.scope, self.reports = cloud, f"{CLUSTER}/{namespace.name}", reports or (AUDITS,)
        self.cursor: str | None = None
        self.runs = 0

    def read(self) -> list[str]:
        """One run, as far as its parts go."""
        findings: list[Finding] = []
        while True:
            found, self.cursor = follow(self.reports, self.cloud, self.scope, NOW, self.cursor)
            findings += found
            self.runs += 1
            if not unfinished(self.cursor):
                return subjects(findings)

    def at(self, **place: Any) -> None:
        """As if it had stopped there."""
        places = {report.name: Place(**place) for report in self.reports}
        self.cursor = Cursor(scope=self.scope, places=places).model_dump_json()

    @property
    def place(self) -> Place:
        return Cursor.model_validate_json(self.cursor or "").places[self.reports[0].name]


def test_a_list_comes_in_pages_and_then_only_what_has_changed(namespace: Namespace, cloud: KubernetesCloud) -> None:
    for number in range(5):
        write(namespace, AUDIT, f"app-{number}")
    reader = Reader(cloud, namespace)
    assert reader.read() == [f"app-{number}" for number in range(5)]
    assert reader.runs == 3
    assert reader.read() == []
    path = write(namespace, AUDIT, "app-7")
    namespace.api.patch(path, {"metadata": {"labels": {"seen": "again"}}})
    write(namespace, AUDIT, "fine", report={**AUDIT["report"], "checks": []})
    reader.runs = 0
    assert reader.read() == ["app-7", "app-7"], "created, and changed"
    assert reader.runs == 1
    namespace.api.delete(path)
    assert reader.read() == [], "what went says nothing"


def test_a_place_that_the_api_server_has_forgotten_is_left_for_a_new_list(
    namespace: Namespace, cloud: KubernetesCloud
) -> None:
    for number in range(3):
        write(namespace, AUDIT, f"app-{number}")
    reader = Reader(cloud, namespace)
    reader.at(at="1")
    where = {"namespace": namespace.name, "query": {"resourceVersion": "1", "timeoutSeconds": 1}}
    (event,) = cloud.read("watch", f"watch {AUDITS.kind.collection}", **where)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410), "or this tests nothing"
    assert reader.read() == ["app-0", "app-1", "app-2"]
    assert reader.read() == []


def test_so_is_a_page_of_a_list_that_it_has_forgotten(namespace: Namespace, cloud: KubernetesCloud) -> None:
    for number in range(5):
        write(namespace, AUDIT, f"app-{number}")
    reader = Reader(cloud, namespace)
    first, reader.cursor = follow(reader.reports, cloud, reader.scope, NOW, None)
    assert subjects(first) == ["app-0", "app-1"]
    namespace.api.forget()
    token = reader.place.page or ""
    old = json.loads(b64decode(token + "=" * (-len(token) % 4))) | {"rv": 5}
    reader.at(page=b64encode(json.dumps(old).encode()).decode().rstrip("="))
    assert reader.read() == [f"app-{number}" for number in range(5)]
    assert reader.runs == 4, "the one that was told so, and three pages"


def test_a_cluster_that_was_restored_from_a_backup_is_listed_anew(namespace: Namespace, cloud: KubernetesCloud) -> None:
    write(namespace, AUDIT, "app-0")
    reader = Reader(cloud, namespace)
    reader.at(at="999999999")
    assert reader.read() == ["app-0"]


def test_a_schedule_that_is_pointed_elsewhere_begins_anew(namespace: Namespace, cloud: KubernetesCloud) -> None:
    write(namespace, AUDIT, "app-0")
    reader = Reader(cloud, namespace)
    assert reader.read() == ["app-0"]
    everywhere, _ = follow((AUDITS,), cloud, CLUSTER, NOW, reader.cursor)
    assert "app-0" in subjects(everywhere)


def test_kinds_that_are_not_served_hide_no_other(namespace: Namespace, cloud: KubernetesCloud) -> None:
    absent = Report(Kind("nothings", "example.com"), trivy.checks)
    write(namespace, AUDIT, "app-0")
    reader = Reader(cloud, namespace, absent, AUDITS)
    assert reader.read() == ["app-0"]
    write(namespace, AUDIT, "app-1")
    assert reader.read() == ["app-1"]
    with pytest.raises(Unsupported, match=r"serves none of nothings\.example\.com/v1"):
        Reader(cloud, namespace, absent).read()


def test_one_that_cannot_be_read_hides_no_other(
    namespace: Namespace, cloud: KubernetesCloud, caplog: pytest.LogCaptureFixture
) -> None:
    broken = {**AUDIT["report"], "updateTimestamp": "0000-01-01T00:00:00Z"}
    write(namespace, AUDIT, "app-0", report=broken)
    write(namespace, AUDIT, "app-1")
    assert Reader(cloud, namespace).read() == ["app-1"]
    assert [record.message for record in caplog.records] == ["report_unreadable"]


def test_more_changes_than_one_run_takes_come_in_the_next(
    namespace: Namespace, cloud: KubernetesCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST", 2)
    reader = Reader(cloud, namespace)
    assert reader.read() == []
    reader.runs = 0
    for number in range(5):
        write(namespace, AUDIT, f"app-{number}")
    assert reader.read() == [f"app-{number}" for number in range(5)]
    assert reader.runs == 3


def test_a_run_that_ends_in_the_middle_of_changes_is_not_the_last(
    namespace: Namespace, cloud: KubernetesCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the API server ends one after its time: so do large reports, of which a thousand came in two runs."""
    reader = Reader(cloud, namespace)
    assert reader.read() == []
    for number in range(3):
        write(namespace, AUDIT, f"app-{number}")
    follow_on = cloud._session.follow

    def cut(*request: Any) -> Any:
        """After the first whole change."""
        response = follow_on(*request)
        first = next(response.stream(1 << 16)).split(b"\n")[0] + b"\n"
        monkeypatch.setattr(cloud._session, "follow", follow_on)
        response.stream = lambda _: iter([first])
        return response

    monkeypatch.setattr(cloud._session, "follow", cut)
    assert reader.read() == ["app-0", "app-1", "app-2"]
    assert reader.runs == 3


# -- through the inbox ---------------------------------------------------------------------------------------------

LOOK = Playbook(
    name="look",
    description="For tests.",
    match=Match(resource="kubernetes:workload", type=("KSV-0017",)),
    approval=Approval.REQUIRED,
    steps=(Step(action="kubernetes:workload-scale-to-zero"),),
)


def installed(folder: Path, control_plane: ControlPlane) -> Installation:
    cluster = Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))
    return Installation(folder, Kubernetes(KubernetesSettings(clusters={CLUSTER: cluster})), [LOOK])


def test_through_a_restart_and_a_410_each_opens_one_case(
    namespace: Namespace, control_plane: ControlPlane, tmp_path: Path
) -> None:
    for number in range(5):
        write(namespace, AUDIT, f"app-{number}")
    schedule = Schedule(poll=TRIVY.name, scope=f"{CLUSTER}/{namespace.name}", every=timedelta(minutes=1))

    def poll(stopping: Callable[[], bool] = lambda: False) -> list[Fate]:
        """By a process that has just started."""
        it = installed(tmp_path, control_plane)
        results = Poller(it.store, it.registry, it.shelf, it.intake, it.clock).run("trivy", schedule, stopping)
        return [result.fate for result in results]

    fates = poll(lambda: True)
    while unfinished(installed(tmp_path, control_plane).store.cursor("trivy")):
        fates += poll(lambda: True)
    assert fates == [Fate.LINKED] * 5
    write(namespace, AUDIT, "app-5")
    assert poll() == [Fate.LINKED]
    store = installed(tmp_path, control_plane).store
    cursor = Cursor.model_validate_json(store.cursor("trivy") or "")
    old = {name: Place(at="1") if place.at else place for name, place in cursor.places.items()}
    store.move_cursor("trivy", Cursor(scope=cursor.scope, places=old).model_dump_json(), NOW)
    assert poll() == [Fate.DUPLICATE] * 6
    assert len(store.lines()) == 6


# -- connections that break ----------------------------------------------------------------------------------------


class Breaking:
    """An API server whose watch says one thing and a half, and is gone."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def __enter__(self) -> "Breaking":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    asked = connection.recv(65536).split(b" ", 2)[1].decode()
                    connection.sendall(self._answer(parse_qs(urlsplit(asked).query)))

    def _answer(self, query: dict[str, list[str]]) -> bytes:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
        if "watch" not in query:
            body = json.dumps({"metadata": {"resourceVersion": "9"}, "items": []}).encode()
            return head + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body
        metadata = {**AUDIT["metadata"], "resourceVersion": "8"}
        line = json.dumps({"type": "ADDED", "object": {**AUDIT, "metadata": metadata}}).encode() + b"\n"
        sent = line + line[: len(line) // 2]
        return head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(sent) + sent + b"\r\n"


def test_what_came_before_a_connection_broke_counts_and_the_rest_is_asked_for() -> None:
    with Breaking() as server:
        configuration = SimpleNamespace(host=server.url)
        cloud = KubernetesCloud(CLUSTER, _plain(configuration.host))
        cursor = Cursor(scope=CLUSTER, places={AUDITS.name: Place(at="7")}).model_dump_json()
        findings, following = follow((AUDITS,), cloud, CLUSTER, NOW, cursor)
    assert [finding.type for finding in findings] == ["KSV-0017"]
    assert Cursor.model_validate_json(following or "").places == {AUDITS.name: Place(at="8", more=True)}


def _plain(host: str) -> Session:
    from kubernetes.client import Configuration

    configuration = Configuration()
    configuration.host = host
    return Session(configuration)


# -- one that cannot be watched ------------------------------------------------------------------------------------


def test_kubescape_is_listed_each_time_with_what_its_api_server_wants_to_be_asked() -> None:
    """Its API server is not to be had; what it answers is taken from its source."""
    asked: list[dict[str, list[str]]] = []

    def request(method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Any:
        query = parse_qs(urlsplit(path).query)
        asked.append(query)
        report = {**KUBESCAPE, "metadata": {**KUBESCAPE["metadata"], "name": f"scan-{len(asked)}"}}
        metadata = {} if "continue" in query else {"continue": "last"}
        data = json.dumps({"metadata": metadata, "items": [report]}).encode()
        return SimpleNamespace(status=200, reason="", headers={"Content-Type": "application/json"}, data=data)

    cloud = KubernetesCloud(CLUSTER, cast(Session, SimpleNamespace(request=request)))
    cursor: str | None = None
    for _ in range(2):
        first, cursor = KUBESCAPE_SCANS.run(cloud, CLUSTER, NOW, cursor)
        assert KUBESCAPE_SCANS.unfinished(cursor)
        second, cursor = KUBESCAPE_SCANS.run(cloud, CLUSTER, NOW, cursor)
        assert not KUBESCAPE_SCANS.unfinished(cursor)
        assert len(first + second) == 2
    assert {query["resourceVersion"][0] for query in asked} == {"fullSpec"}
    assert len(asked) == 4


# -- asked again ---------------------------------------------------------------------------------------------------


def test_a_finding_is_confirmed_while_its_report_says_so(namespace: Namespace, cloud: KubernetesCloud) -> None:
    path = write(namespace, EXPOSED, "app-0")
    (finding,) = follow((trivy.REPORTS[0],), cloud, f"{CLUSTER}/{namespace.name}", NOW, None)[0]
    ask = FEED_REREADS[TRIVY.name].ask
    assert ask(cloud, finding, NOW) is Standing.ACTIVE
    other = finding.model_copy(update={"resource": finding.resource.model_copy(update={"uid": "another"})})
    assert ask(cloud, other, NOW) is Standing.UNKNOWN
    forged = finding.model_copy(update={"record": {}})
    assert ask(cloud, forged, NOW) is Standing.UNKNOWN
    namespace.api.patch(path, {"report": {**EXPOSED["report"], "secrets": []}})
    assert ask(cloud, finding, NOW) is Standing.RESOLVED
    namespace.api.delete(path)
    assert ask(cloud, finding, NOW) is Standing.RESOLVED


@pytest.mark.parametrize("poll", [TRIVY, POLICY], ids=lambda poll: poll.name)
def test_each_needs_exactly_what_it_declares(
    poll: Any, control_plane: ControlPlane, namespace: Namespace, cloud_of: Callable[[str], KubernetesCloud]
) -> None:
    write(namespace, EXPOSED, "app-0")
    write(namespace, POLICY_REPORT, "app-0", scope={**POLICY_REPORT["scope"], "namespace": namespace.name})
    reports = {TRIVY.name: trivy.REPORTS, POLICY.name: policy_report.REPORTS}[poll.name]

    def read(cloud: KubernetesCloud) -> list[Finding]:
        cursor, findings = None, []
        while cursor is None or poll.unfinished(cursor):
            found, cursor = poll.run(cloud, CLUSTER, NOW, cursor)
            findings += found
        poll.run(cloud, CLUSTER, NOW, cursor)
        return findings

    with granted_everywhere(control_plane, SERVICE, poll.permissions):
        (finding,) = (it for it in read(cloud_of(SERVICE)) if it.resource.area == namespace.name)
    for missing in poll.permissions:
        rest = [permission for permission in poll.permissions if permission != missing]
        with granted_everywhere(control_plane, SERVICE, rest), pytest.raises(Denied):
            read(cloud_of(SERVICE))
    reread = FEED_REREADS[poll.name]
    with granted_everywhere(control_plane, SERVICE, reread.permissions):
        reread.probe(cloud_of(SERVICE))
        assert reread.ask(cloud_of(SERVICE), finding, NOW) is Standing.ACTIVE
    with pytest.raises(Denied):
        reread.probe(cloud_of(SERVICE))
    assert len(reports) == len(reread.permissions)

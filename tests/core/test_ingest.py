"""The webhook door: no answer before the commit, and no silent drop."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from quarantine.config import Scheme, Secret, Server, Source
from quarantine.intake import Intake
from quarantine.match import Matcher
from quarantine.model import now
from quarantine.registry import Registry
from quarantine.store.sql import Delivery, Store
from quarantine.testing.fake.provider import FakeProvider, FakeSettings
from quarantine.testing.fake.world import FakeWorld
from quarantine.web.ingest import GroupCommit, Ingest


class Slow(Store):
    """A store that keeps what it was given only when it is told to, or says why it cannot."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = threading.Event()
        self.go_on = threading.Event()
        self.problem: Exception | None = None

    def receive(self, deliveries: Sequence[Delivery]) -> list[bool]:
        self.asked.set()
        assert self.go_on.wait(30)
        if self.problem is not None:
            raise self.problem
        return super().receive(deliveries)


async def post(application: Any, body: bytes, headers: Mapping[str, str]) -> tuple[int, dict[str, str], bytes]:
    """What is answered to a finding, without a network."""
    scope = {
        "type": "http", "http_version": "1.1", "method": "POST", "path": "/v1/findings/detector", "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()], "scheme": "http",
        "server": ("127.0.0.1", 1),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await application(scope, receive, send)
    names = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent)


class Door:
    """The application, asked without a network."""

    def __init__(self, store: Slow) -> None:
        self.store = store
        registry = Registry([FakeProvider], {"fake": FakeProvider(FakeSettings(), FakeWorld())})
        parser = next(iter(FakeProvider.parsers))
        sources = {"detector": Source(parser=parser, scheme=Scheme.BEARER, secret=Secret(reference="env:DOOR_TOKEN"))}
        intake = Intake(store, registry, Matcher(()), sources, now)
        self.commit = GroupCommit(store, lambda: None)
        self.commit.start()
        self.application = Ingest(store, intake, sources, Server(), self.commit, now).application()

    async def post(self, record: object, content_type: str = "application/json") -> tuple[int, dict[str, str], Any]:
        headers = {"content-type": content_type, "authorization": "Bearer a-token"}
        status, names, body = await post(self.application, json.dumps(record).encode(), headers)
        return status, names, json.loads(body)


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setenv("DOOR_TOKEN", "a-token")
    store = Slow(f"sqlite:///{tmp_path / 'cases.db'}")
    store.migrate()
    door = Door(store)
    yield door
    store.go_on.set()
    door.commit.stop()
    store.close()


FINDING = {"id": "finding-1", "type": "close", "machine": "web", "seen_at": now().isoformat()}


def test_the_answer_waits_for_the_commit(door: Door) -> None:
    async def scenario() -> None:
        answer = asyncio.create_task(door.post(FINDING))
        await asyncio.to_thread(door.store.asked.wait, 30)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not answer.done()
        assert door.store.waiting_count() == 0
        door.store.go_on.set()
        status, _, body = await answer
        assert (status, body["status"]) == (202, "accepted")
        assert door.store.waiting_count() == 1
        status, _, body = await door.post(FINDING)
        assert (status, body["status"]) == (202, "duplicate")

    asyncio.run(scenario())


def test_what_cannot_be_stored_is_not_accepted(door: Door) -> None:
    async def scenario() -> None:
        door.store.go_on.set()
        door.store.problem = OSError("the disk is full")
        status, headers, _ = await door.post(FINDING)
        assert (status, headers.get("retry-after")) == (503, "5")
        door.store.problem = None
        assert (await door.post(FINDING))[2]["status"] == "accepted", "the sender sends it again, and it is new"

    asyncio.run(scenario())


def test_cloud_events_have_a_content_type_of_their_own(door: Door) -> None:
    event = {"specversion": "1.0", "id": "1", "type": "finding", "source": "/detector", "data": FINDING}

    async def scenario() -> None:
        door.store.go_on.set()
        assert (await door.post(event, "application/cloudevents+json; charset=utf-8"))[0] == 202
        assert (await door.post(event, "text/plain"))[0] == 415
        assert (await door.post([FINDING, {**FINDING, "id": "finding-2"}]))[2]["findings"] == 2

    asyncio.run(scenario())

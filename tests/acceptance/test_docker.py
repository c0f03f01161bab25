"""The program on a real Docker host: an alert of Falco comes in, a container is cut off, watched, and given back."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.case import Outcome, Reason, Status
from tests.acceptance.product import Product
from tests.testbed.call import Call
from tests.testbed.dockerd import Dockerd, TcpDoor, unique
from tests.testbed.poll import until
from tests.testbed.proxy import FaultProxy

HOST = "web-1"
Start = Callable[..., Product]


@dataclass
class Machine:
    """A Docker host with a web container on two networks and a client on one; tests act here around the proxy."""

    daemon: Dockerd
    proxy: FaultProxy
    front: str = field(default_factory=lambda: unique("front"))
    back: str = field(default_factory=lambda: unique("back"))
    web: str = field(default_factory=lambda: unique("web"))
    client: str = field(default_factory=lambda: unique("client"))

    def build(self) -> None:
        self.daemon.network(self.front, "10.8.1.0/24")
        self.daemon.network(self.back, "10.8.2.0/24", "fd00:8:2::/64")
        self.daemon.run(self.web, self.front, endpoint={"Aliases": ["www"]})
        self.daemon.connect(self.back, self.web, IPAMConfig={"IPv4Address": "10.8.2.77"}, Aliases=["api"])
        self.daemon.run(self.client, self.front)

    def clear(self) -> None:
        for container in self.daemon.client.containers(all=True):
            self.daemon.client.remove_container(container["Id"], force=True)
        for network in (self.front, self.back):
            self.daemon.client.remove_network(network)

    @property
    def uid(self) -> str:
        return str(self.daemon.client.inspect_container(self.web)["Id"])

    def connected(self) -> set[str]:
        return set(self.daemon.networks(self.web))

    def image(self) -> bytes:
        """What a release must give back of every connection."""
        kept = ("NetworkID", "IPAddress", "GlobalIPv6Address", "MacAddress", "Aliases", "Links", "DriverOpts")
        found = {
            name: {key: each[key] for key in kept} for name, each in sorted(self.daemon.networks(self.web).items())
        }
        return json.dumps(found, sort_keys=True).encode()

    def serves(self) -> bool:
        return self.daemon.reaches(self.client, "www:7") and self.daemon.reaches(self.web, f"{self.client}:7")

    def changes(self) -> list[str]:
        """What was changed at the daemon by way of the proxy, in words: `disconnect`, `connect`."""
        return [
            call.path.rpartition("/")[2] for call in self.proxy.recorded() if call.method == "POST" and call.forwarded
        ]


@pytest.fixture
def machine(dockerd: Dockerd) -> Iterator[Machine]:
    with ExitStack() as stack:
        door = stack.enter_context(TcpDoor(dockerd.socket))
        made = Machine(dockerd, stack.enter_context(FaultProxy(door.url)))
        stack.callback(made.clear)
        made.build()
        yield made


@pytest.fixture
def on_docker(machine: Machine, install: Start) -> Start:
    """An installation for that host, pinned to its daemon, by way of the proxy."""

    def start(**settings: Any) -> Product:
        url, pin = machine.proxy.url.replace("http:", "tcp:"), machine.daemon.client.info()["ID"]
        secret = "env:SENDER_SECRET"
        return install(
            {
                "providers": {"docker": {"hosts": {HOST: {"url": url, "id": pin}}}},
                "sources": {"falco": {"parser": "docker:falco", "secret": secret}},
                **settings,
            }
        )

    return start


def alert(uid: str, name: str) -> dict[str, Any]:
    """As falcosidekick posts it."""
    return {
        "uuid": str(uuid.uuid4()),
        "output": f"Critical Executing binary not part of base image (container_name={name})",
        "priority": "Critical",
        "rule": "Drop and execute new binary in container",
        "time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "source": "syscall",
        "hostname": HOST,
        "output_fields": {
            "container.id": uid[:12], "container.name": name, "k8s.pod.name": None, "proc.exepath": "/tmp/xmrig"
        },
    }  # fmt: skip


def contained(product: Product, machine: Machine) -> str:
    """The id of the case, once the container is cut off."""
    assert product.send(alert(machine.uid, machine.web), "falco").status == 202
    return product.wait(product.only_case().id, Status.CONTAINED).id


def test_an_alert_isolates_the_container_after_approval_and_a_release_gives_it_back(
    machine: Machine, on_docker: Start
) -> None:
    before = machine.image()
    assert machine.serves()
    product = on_docker()
    assert product.send(alert(machine.uid, machine.web), "falco").status == 202
    case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
    assert case.plan is not None
    assert str(case.plan.resource) == f"docker:container/{machine.web} in {HOST}"
    assert machine.image() == before, "nothing is touched before a person has said yes"

    product.say("case", "approve", case.id, "--yes", "--no-wait")
    product.wait(case.id, Status.CONTAINED)
    assert machine.connected() == set()
    assert not machine.daemon.reaches(machine.client, "www:7")
    assert not machine.daemon.reaches(machine.web, f"{machine.client}:7")
    assert machine.changes() == ["disconnect", "disconnect"]

    product.say("case", "release", case.id, "--no-wait")
    closed = product.wait(case.id, Status.CLOSED)
    assert closed.outcome is Outcome.RELEASED
    assert machine.image() == before and machine.serves()
    product.assert_whole()


def test_one_that_is_connected_again_by_hand_is_drift_and_is_put_right(machine: Machine, on_docker: Start) -> None:
    before = machine.image()
    product = on_docker(guards={"mode": "auto"}, watch={"every": "1s"})
    case = contained(product, machine)
    machine.daemon.connect(machine.back, machine.web)
    drifted = product.wait(case, Status.NEEDS_HUMAN)
    assert drifted.reason is Reason.DRIFTED and machine.back in str(drifted.sentence)

    product.say("case", "retry", case, "--no-wait")
    product.wait(case, Status.CONTAINED)
    assert machine.connected() == set()
    product.say("case", "release", case, "--no-wait")
    product.wait(case, Status.CLOSED)
    assert machine.image() == before
    product.assert_whole()


@pytest.mark.parametrize("nth", [1, 2], ids=["the first network", "the second network"])
@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
def test_killed_between_two_networks_it_goes_on_to_the_end(
    machine: Machine, on_docker: Start, nth: int, after_the_effect: bool
) -> None:
    before = machine.image()
    product = on_docker(guards={"mode": "auto"})
    seen = 0

    def wanted(call: Call) -> bool:
        nonlocal seen
        seen += call.path.endswith("/disconnect")
        return call.path.endswith("/disconnect") and seen == nth

    held = (machine.proxy.hold_answer if after_the_effect else machine.proxy.hold)(wanted)
    product.send(alert(machine.uid, machine.web), "falco")
    held.wait_reached()
    product.kill()
    held.abandon()
    assert len(machine.connected()) == 2 - (nth - 1) - after_the_effect

    product.start()
    case = product.wait(product.only_case().id, Status.CONTAINED, seconds=60)
    assert machine.connected() == set()
    assert machine.changes() == ["disconnect", "disconnect"], "each happened once"
    product.say("case", "release", case.id, "--no-wait")
    product.wait(case.id, Status.CLOSED, seconds=60)
    assert machine.image() == before and machine.serves()
    product.assert_whole()


@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
def test_killed_while_it_is_being_released(machine: Machine, on_docker: Start, after_the_effect: bool) -> None:
    before = machine.image()
    product = on_docker(guards={"mode": "auto"})
    case = contained(product, machine)
    held = (machine.proxy.hold_answer if after_the_effect else machine.proxy.hold)(
        lambda call: call.path.endswith("/connect")
    )
    product.say("case", "release", case, "--no-wait")
    held.wait_reached()
    product.kill()
    held.abandon()

    product.start()
    assert product.wait(case, Status.CLOSED, seconds=60).outcome is Outcome.RELEASED
    assert machine.image() == before and machine.serves()
    product.assert_whole()


def test_a_daemon_that_restarts_meanwhile_changes_nothing(machine: Machine, on_docker: Start) -> None:
    product = on_docker(guards={"mode": "auto"}, watch={"every": "1s"})
    case = contained(product, machine)
    machine.daemon.restart()
    looks = len(machine.proxy.recorded())
    until(lambda: len(machine.proxy.recorded()) > looks + 4, seconds=30)
    assert product.store.load(case).status is Status.CONTAINED
    machine.daemon.client.start(machine.web)
    assert machine.connected() == set()


def test_a_network_that_is_gone_leaves_the_release_to_a_person(machine: Machine, on_docker: Start) -> None:
    product = on_docker(guards={"mode": "auto"})
    case = contained(product, machine)
    machine.daemon.client.remove_network(machine.back)
    product.say("case", "release", case, "--no-wait")
    halted = product.wait(case, Status.NEEDS_HUMAN)
    assert f"network '{machine.back}'" in str(halted.sentence) and "was removed" in str(halted.sentence)
    assert machine.connected() == set()
    machine.daemon.network(machine.back, "10.8.2.0/24", "fd00:8:2::/64")
    product.assert_whole()


def test_one_on_its_hosts_network_is_refused_with_what_would_work(machine: Machine, on_docker: Start) -> None:
    agent = unique("agent")
    uid = machine.daemon.run(agent, "host")
    product = on_docker(guards={"mode": "auto"})
    product.send(alert(uid, agent), "falco")
    case = product.wait(product.only_case().id, Status.PROPOSED)
    until(lambda: product.store.load(case.id).sentence)
    sentence = str(product.store.load(case.id).sentence)
    assert "host's own network" in sentence and f"docker pause {agent}" in sentence
    assert machine.changes() == []


def test_another_daemon_at_the_same_url_is_left_alone(machine: Machine, on_docker: Start) -> None:
    url = machine.proxy.url.replace("http:", "tcp:")
    providers = {"docker": {"hosts": {HOST: {"url": url, "id": "AAAA:BBBB"}}}}
    product = on_docker(guards={"mode": "auto"}, providers=providers)
    product.send(alert(machine.uid, machine.web), "falco")
    closed = product.wait(product.only_case().id, Status.CLOSED)
    assert closed.outcome is Outcome.REFUSED and "account_pin" in str(closed.sentence)
    assert machine.changes() == []

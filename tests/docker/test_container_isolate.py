import pytest

from quarantine.action import GONE, Refusal, State, reached, three_way
from quarantine.errors import Conflict, Gone, ProviderError, Unknown, Unsupported
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stopped, Stranger
from quarantine_docker.cloud import DockerCloud
from quarantine_docker.container_isolate import CONNECT, DISCONNECT, ContainerIsolate
from quarantine_docker.isolation import ContainerIsolation
from tests.docker.conftest import Stage
from tests.testbed.call import Call
from tests.testbed.dockerd import unique
from tests.testbed.poll import until
from tests.testbed.proxy import FaultProxy

IPV4, IPV6 = "10.{}.1.77", "fd00:{}:1::77"


def two_networks(stage: Stage) -> str:
    """A container with an address that Docker chose on one network, and all that can be wished for on the other."""
    front, back = stage.network("front"), stage.network("back")
    friend = stage.container("friend", back)
    web = stage.container("web", front, endpoint={"Aliases": ["www"]})
    stage.daemon.connect(
        back,
        web,
        IPAMConfig={"IPv4Address": IPV4.format(stage.number), "IPv6Address": IPV6.format(stage.number)},
        Aliases=["api", "v2.api"],
        Links=[f"{friend}:db"],
        DriverOpts={"com.example.note": "kept"},
    )
    return web


class TestContainerIsolate(ReversibleContract):
    @pytest.fixture
    def setting(self, stage: Stage, cloud: DockerCloud) -> Setting:
        return Setting(ContainerIsolate(), cloud, stage.resource(two_networks(stage)))

    @pytest.fixture
    def stranger(self, setting: Setting, stage: Stage) -> Stranger:
        other = stage.network("other")
        return lambda: stage.daemon.connect(other, setting.resource.id, Aliases=["theirs"])


class TestOnNetworksThatTakeNoWishes(ReversibleContract):
    """The default bridge, and a network whose subnet Docker chose."""

    @pytest.fixture
    def setting(self, stage: Stage, cloud: DockerCloud) -> Setting:
        web = stage.container("web", "bridge")
        stage.daemon.connect(stage.network("chosen", subnet=False), web, Aliases=["www"])
        return Setting(ContainerIsolate(), cloud, stage.resource(web))

    @pytest.fixture
    def stranger(self, setting: Setting, stage: Stage) -> Stranger:
        other = stage.network("other")
        return lambda: stage.daemon.connect(other, setting.resource.id)


def observe(setting: Setting) -> ContainerIsolation:
    state = setting.observe()
    assert isinstance(state, ContainerIsolation)
    return state


def contain(setting: Setting) -> ContainerIsolation:
    """Contains and returns what was before."""
    before = observe(setting)
    setting.apply(setting.target(before))
    assert reached(setting.observe(), setting.target(before))
    return before


def release(setting: Setting, before: ContainerIsolation) -> ContainerIsolation:
    now, target = observe(setting), setting.target(before)
    assert isinstance(target, State)
    merged, _ = three_way(before, target, now)
    setting.apply(merged)
    return observe(setting)


def isolate(stage: Stage, cloud: DockerCloud, container: str) -> Setting:
    return Setting(ContainerIsolate(), cloud, stage.resource(container))


# --- packets -------------------------------------------------------------------------------------------------------


def test_no_connection_comes_in_or_goes_out_until_the_release(stage: Stage, cloud: DockerCloud) -> None:
    front = stage.network("front")
    web, client = stage.container("web", front, endpoint={"Aliases": ["www"]}), stage.container("client", front)
    reaches, address = stage.daemon.reaches, stage.address(web, front)
    assert reaches(client, "www:7") and reaches(client, f"{address}:7") and reaches(web, f"{client}:7")

    setting = isolate(stage, cloud, web)
    before = contain(setting)
    peer = stage.address(client, front)
    assert not reaches(client, "www:7") and not reaches(client, f"{address}:7")
    assert not reaches(web, f"{client}:7") and not reaches(web, f"{peer}:7")
    assert reaches(web, "127.0.0.1:7"), "it runs on"

    release(setting, before)
    assert stage.address(web, front) == address
    assert reaches(client, "www:7") and reaches(client, f"{address}:7") and reaches(web, f"{client}:7")


def test_a_connection_that_was_open_carries_nothing_more(stage: Stage, cloud: DockerCloud) -> None:
    front = stage.network("front")
    web, client = stage.container("web", front), stage.container("client", front)
    stage.daemon.box(web, "hold", f"{client}:7", "/number", detach=True)

    def count() -> int:
        code, number = stage.daemon.box(web, "show", "/number")
        return int(number) if code == 0 and number else 0

    until(lambda: count() > 5)
    contain(isolate(stage, cloud, web))
    stopped = count()
    assert not stage.daemon.reaches(web, f"{client}:7")  # takes two seconds, a hundred numbers
    assert count() == stopped


def test_published_ports_are_closed_meanwhile_and_open_again(stage: Stage, cloud: DockerCloud) -> None:
    bindings = {"7/tcp": [{"HostPort": "18007"}]}
    web = stage.container("web", stage.network("front"), ExposedPorts={"7/tcp": {}}, host={"PortBindings": bindings})
    outside = stage.container("outside", "host")
    assert stage.daemon.reaches(outside, "127.0.0.1:18007")
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    assert not stage.daemon.reaches(outside, "127.0.0.1:18007")
    release(setting, before)
    assert stage.daemon.reaches(outside, "127.0.0.1:18007")


# --- what a release gives back -------------------------------------------------------------------------------------


def test_a_release_gives_back_addresses_aliases_links_and_options(stage: Stage, cloud: DockerCloud) -> None:
    web = two_networks(stage)
    before = stage.daemon.networks(web)
    setting = isolate(stage, cloud, web)
    release(setting, contain(setting))
    after = stage.daemon.networks(web)
    assert before.keys() == after.keys()
    for name, endpoint in before.items():
        for key in ("IPAddress", "GlobalIPv6Address", "MacAddress", "Aliases", "Links", "DriverOpts", "NetworkID"):
            assert after[name][key] == endpoint[key], (name, key)


def test_an_address_that_another_has_taken_is_reported_and_nothing_is_changed(stage: Stage, cloud: DockerCloud) -> None:
    front, back = stage.network("front"), stage.network("back")
    web = stage.container("web", front)
    stage.daemon.connect(back, web)
    setting = isolate(stage, cloud, web)
    address = stage.address(web, front)
    before = contain(setting)
    thief = stage.container("thief", front, endpoint={"IPAMConfig": {"IPv4Address": address}})
    with pytest.raises(Unsupported, match=f"container '{thief}' has its address {address} on network '{front}' now"):
        release(setting, before)
    assert stage.daemon.networks(web) == {}

    stage.daemon.disconnect(front, thief)
    assert release(setting, before).part() == before.part()


@pytest.mark.parametrize("again", [False, True], ids=["removed", "made again under the same name"])
def test_a_network_that_is_gone_is_reported_and_nothing_is_changed(
    stage: Stage, cloud: DockerCloud, again: bool
) -> None:
    front, back = stage.network("front"), stage.network("back")
    web = stage.container("web", front)
    stage.daemon.connect(back, web)
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    stage.daemon.client.remove_network(back)
    if again:
        stage.daemon.network(back, f"10.{stage.number}.9.0/24")
    with pytest.raises(Unsupported, match=f"network '{back}'.*was removed") as told:
        release(setting, before)
    assert ("has its name now" in str(told.value)) is again
    assert stage.daemon.networks(web) == {}


def test_a_network_that_is_called_like_the_id_of_the_one_that_is_gone_is_not_taken_for_it(
    stage: Stage, cloud: DockerCloud
) -> None:
    front = stage.network("front")
    setting = isolate(stage, cloud, stage.container("web", front))
    before = contain(setting)
    stage.daemon.client.remove_network(front)
    stage.networks.append(before.endpoints[front].network)
    stage.daemon.network(before.endpoints[front].network)
    with pytest.raises(Unsupported, match="was removed meanwhile"):
        release(setting, before)


def test_what_a_person_connected_by_hand_meanwhile_stays_as_it_is(stage: Stage, cloud: DockerCloud) -> None:
    front = stage.network("front")
    web = stage.container("web", front, endpoint={"Aliases": ["www"]})
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    stage.daemon.connect(front, web, Aliases=["by-hand"])
    target, now = setting.target(before), observe(setting)
    assert isinstance(target, ContainerIsolation)
    assert not reached(now, target), "this is drift"
    merged, kept = three_way(before, target, now)
    assert kept and merged.endpoints[front].aliases == ("by-hand",)


# --- the life of the container and of the daemon -------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["bridge", "a network of its own"])
def test_neither_a_restart_of_the_container_nor_of_the_daemon_connects_it_again(
    stage: Stage, cloud: DockerCloud, mode: str
) -> None:
    network = mode if mode == "bridge" else stage.network("front")
    web = stage.container("web", network, host={"RestartPolicy": {"Name": "always"}})
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    stage.daemon.client.restart(web, timeout=0)
    assert stage.daemon.networks(web) == {} and stage.inspect(web)["State"]["Running"]
    stage.daemon.restart()
    assert stage.daemon.networks(web) == {} and stage.inspect(web)["State"]["Running"]
    assert reached(observe(setting), setting.target(before))
    release(setting, before)
    assert network in stage.daemon.networks(web)


def test_a_paused_container_is_isolated_too(stage: Stage, cloud: DockerCloud) -> None:
    web = stage.container("web", stage.network("front"))
    stage.daemon.client.pause(web)
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    assert release(setting, before).part() == before.part()
    stage.daemon.client.unpause(web)


def test_one_that_stops_halfway_is_still_known_as_our_own_work(stage: Stage, cloud: DockerCloud) -> None:
    setting = isolate(stage, cloud, two_networks(stage))
    before = observe(setting)
    with pytest.raises(Stopped):
        setting.apply(setting.target(before), stop_after=1)
    stage.daemon.client.stop(setting.resource.id)
    half = observe(setting)
    assert len(half.endpoints) == 1 and not half.alive
    assert setting.action.ours(before, half)
    setting.apply(setting.target(before))
    assert observe(setting).endpoints == {}


def test_one_that_stopped_in_quarantine_is_released_too(stage: Stage, cloud: DockerCloud) -> None:
    web = two_networks(stage)
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    stage.daemon.client.stop(web)
    assert release(setting, before).part() == before.part()
    stage.daemon.client.start(web)
    assert observe(setting).part() == before.part()


def test_one_that_stopped_with_anothers_connection_is_not_our_work(stage: Stage, cloud: DockerCloud) -> None:
    web = two_networks(stage)
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    stage.daemon.connect(stage.network("other"), web)
    stage.daemon.client.stop(web)
    assert not setting.action.ours(before, observe(setting))


def test_a_container_that_is_gone_is_gone(stage: Stage, cloud: DockerCloud) -> None:
    web = stage.container("web", stage.network("front"))
    setting = isolate(stage, cloud, web)
    before = observe(setting)
    stage.daemon.client.remove_container(web, force=True)
    stage.daemon.run(web)
    assert setting.observe() is GONE, "another one has its name"
    with pytest.raises(Gone):  # even if it looked just before
        setting.action.apply(
            setting.cloud.through(CountingGate(), setting.mark), setting.resource, before, setting.target(before)
        )


def test_it_keeps_its_identity_when_it_is_renamed(stage: Stage, cloud: DockerCloud) -> None:
    web = stage.container("web", stage.network("front"))
    setting = isolate(stage, cloud, web)
    before = contain(setting)
    stage.containers.append(renamed := unique("renamed"))
    stage.daemon.client.rename(web, renamed)
    assert release(setting, before).part() == before.part()


# --- what came about by itself ------------------------------------------------------------------------------------


def test_what_somebody_else_disconnected_just_then_is_found_so_by_the_next_look(
    stage: Stage, cloud: DockerCloud
) -> None:
    """The daemon answers 500, which tells nothing; the engine then looks, and goes on from there."""
    front, back = stage.network("front"), stage.network("back")
    web = stage.container("web", front)
    stage.daemon.connect(back, web)
    setting = isolate(stage, cloud, web)
    before = observe(setting)
    stage.daemon.disconnect(back, web)
    gate = CountingGate()
    with pytest.raises(Unknown, match="is not connected"):
        setting.action.apply(cloud.through(gate, setting.mark), setting.resource, before, setting.target(before))
    assert setting.action.ours(before, observe(setting))
    setting.apply(setting.target(before))
    assert observe(setting).endpoints == {}


@pytest.mark.parametrize("connected", [False, True])
def test_a_not_found_of_a_disconnect_is_looked_into(
    stage: Stage, broken: FaultProxy, through: DockerCloud, connected: bool
) -> None:
    """The network, the container, or only their connection: the answer does not say what was not found."""
    front = stage.network("front")
    setting = isolate(stage, through, stage.container("web", front))
    before = observe(setting)
    if not connected:
        stage.daemon.disconnect(front, setting.resource.id)
    broken.answer(lambda call: call.path.endswith("/disconnect"), 404, {}, '{"message": "not found"}')
    changing = through.through(CountingGate(), setting.mark)
    if connected:
        with pytest.raises(Conflict):
            setting.action.apply(changing, setting.resource, before, setting.target(before))
    else:
        setting.action.apply(changing, setting.resource, before, setting.target(before))


def test_a_disconnect_that_has_failed_is_not_taken_for_done(
    stage: Stage, broken: FaultProxy, through: DockerCloud
) -> None:
    setting = isolate(stage, through, stage.container("web", stage.network("front")))
    before = observe(setting)
    broken.answer(lambda call: call.path.endswith("/disconnect"), 500, {}, '{"message": "it broke"}')
    with pytest.raises(Unknown, match="it broke"):
        setting.apply(setting.target(before))


def test_a_network_that_goes_between_look_and_change_is_not_the_container_gone(
    stage: Stage, broken: FaultProxy, through: DockerCloud
) -> None:
    front = stage.network("front")
    setting = isolate(stage, through, stage.container("web", front))
    before = contain(setting)

    def removed_just_then(call: Call) -> bool:
        if call.path.endswith("/connect"):
            stage.daemon.client.remove_network(front)
        return False

    broken.answer(removed_just_then, 500)
    with pytest.raises(ProviderError) as told:
        release(setting, before)
    assert not isinstance(told.value, Gone)
    with pytest.raises(Unsupported, match="was removed meanwhile"):
        release(setting, before)


def test_the_network_that_it_was_started_in_comes_back_first(
    stage: Stage, broken: FaultProxy, through: DockerCloud
) -> None:
    first, second = stage.network("zebra"), stage.network("aardvark")
    web = stage.container("web", first)
    stage.daemon.connect(second, web)
    setting = isolate(stage, through, web)
    before = contain(setting)
    release(setting, before)
    made = [call.path.split("/")[3] for call in broken.recorded() if call.path.endswith("/connect")]
    assert made == [before.endpoints[first].network, before.endpoints[second].network]


# --- what cannot work is refused -----------------------------------------------------------------------------------


def refused(setting: Setting) -> Refusal:
    before = observe(setting)
    assert not reached(before, setting.target(before)), "else it would be taken for contained"
    found = ContainerIsolate().refusal(before)
    assert found is not None and found.alternatives
    return found


def test_one_on_its_hosts_network_is_refused(stage: Stage, cloud: DockerCloud) -> None:
    assert "host's own network" in refused(isolate(stage, cloud, stage.container("agent", "host"))).reason


def test_one_in_anothers_namespace_is_refused_and_the_other_named(stage: Stage, cloud: DockerCloud) -> None:
    web = stage.container("web", stage.network("front"))
    uid = stage.resource(web).uid
    assert uid is not None
    found = refused(isolate(stage, cloud, stage.container("sidecar", f"container:{web}")))
    assert uid[:12] in found.reason
    assert f"docker:container/{uid[:12]}" in found.alternatives[0]
    assert "shared-namespace" in caveats(isolate(stage, cloud, web))


def test_a_pods_container_is_refused(stage: Stage, cloud: DockerCloud) -> None:
    labels = {"io.kubernetes.pod.name": "web-1", "io.kubernetes.pod.namespace": "shop"}
    found = refused(isolate(stage, cloud, stage.container("k8s", "none", Labels=labels)))
    assert "shop/web-1" in found.reason and "kubernetes:pod-isolate" in found.alternatives[0]


def test_a_task_of_a_swarm_service_is_refused(stage: Stage, cloud: DockerCloud) -> None:
    labels = {"com.docker.swarm.service.name": "shop", "com.docker.swarm.task.id": "abc"}
    found = refused(isolate(stage, cloud, stage.container("task", stage.network("front"), Labels=labels)))
    assert "service shop" in found.reason and "docker service scale shop=0" in found.alternatives[1]


def test_one_that_does_not_run_is_refused(stage: Stage, cloud: DockerCloud) -> None:
    web = stage.container("web", stage.network("front"))
    stage.daemon.client.stop(web)
    assert "does not run (exited)" in refused(isolate(stage, cloud, web)).reason


def test_one_without_network_is_contained_already(stage: Stage, cloud: DockerCloud) -> None:
    setting = isolate(stage, cloud, stage.container("alone", "none"))
    assert reached(observe(setting), setting.target(observe(setting)))


# --- what stays possible is said -----------------------------------------------------------------------------------

ALWAYS = {"processes-run", "docker-api", "another-one"}


def caveats(setting: Setting) -> dict[str, str]:
    return {caveat.id: caveat.text for caveat in setting.action.caveats(observe(setting))}


def test_a_plain_container_has_the_plain_caveats(stage: Stage, cloud: DockerCloud) -> None:
    front = stage.network("front")
    address = {"IPAMConfig": {"IPv4Address": f"10.{stage.number}.0.9"}}
    found = caveats(isolate(stage, cloud, stage.container("web", front, endpoint=address))).keys()
    assert found - {"mac-changes"} == ALWAYS


def test_an_address_that_docker_chose_is_named(stage: Stage, cloud: DockerCloud) -> None:
    front = stage.network("front")
    found = caveats(isolate(stage, cloud, stage.container("web", front)))
    assert front in found["address-becomes-fixed"] and front in found["address-not-promised"]
    found = caveats(isolate(stage, cloud, stage.container("web")))
    assert "address-not-promised" in found and "address-becomes-fixed" not in found


@pytest.mark.parametrize(
    ("caveat", "word", "settings"),
    [
        ("daemon-socket", "docker.sock", {"host": {"Binds": ["/tmp/docker.sock:/var/run/docker.sock"]}}),
        ("daemon-socket", "/run", {"host": {"Binds": ["/run:/host/run"]}}),
        ("mounts", "/tmp/shared", {"host": {"Binds": ["/tmp/shared:/data"]}}),
        ("mounts", "volume-of-many", {"host": {"Binds": ["volume-of-many:/data"]}}),
        ("can-leave", "privileged", {"started": False, "host": {"Privileged": True}}),
        ("can-leave", "pid: host", {"started": False, "host": {"PidMode": "host"}}),
        ("can-leave", "SYS_ADMIN", {"started": False, "host": {"CapAdd": ["CAP_SYS_ADMIN"]}}),
        ("owner", "compose project shop", {"Labels": {"com.docker.compose.project": "shop"}}),
        ("ports-move", "7/tcp", {"ExposedPorts": {"7/tcp": {}}, "host": {"PortBindings": {"7/tcp": [{}]}}}),
        ("ports-move", "7/tcp", {"ExposedPorts": {"7/tcp": {}}, "host": {"PublishAllPorts": True}}),
        (
            "published-ports",
            "18009 -> 7/tcp",
            {"ExposedPorts": {"7/tcp": {}}, "host": {"PortBindings": {"7/tcp": [{"HostPort": "18009"}]}}},
        ),
    ],
)
def test_what_stays_possible_is_said(
    stage: Stage, cloud: DockerCloud, caveat: str, word: str, settings: dict[str, object]
) -> None:
    setting = isolate(stage, cloud, stage.container("web", stage.network("front"), **settings))
    assert word in caveats(setting)[caveat]


def test_a_mac_address_that_is_not_given_back_is_named(stage: Stage, cloud: DockerCloud) -> None:
    setting = isolate(stage, cloud, stage.container("web", stage.network("front")))
    before = observe(setting)
    ignored = (1, 44) <= cloud.api < (1, 54)
    assert before.mac_lost is ignored
    found = ContainerIsolate().caveats(before.model_copy(update={"mac_lost": True}))
    assert "mac-changes" in {caveat.id for caveat in found}


def test_every_change_is_a_connect_or_a_disconnect(stage: Stage, cloud: DockerCloud) -> None:
    setting = isolate(stage, cloud, two_networks(stage))
    before = observe(setting)
    made = setting.apply(setting.target(before)).calls
    assert [call.call for call in made] == [DISCONNECT, DISCONNECT]
    merged, _ = three_way(before, setting.target(before), observe(setting))  # type: ignore[type-var]
    assert [call.call for call in setting.apply(merged).calls] == [CONNECT, CONNECT]

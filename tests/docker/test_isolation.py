"""What can be decided without a daemon."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from quarantine_docker import exposure
from quarantine_docker.isolation import (
    DEFAULT_BRIDGE,
    ContainerIsolation,
    Endpoint,
    endpoint,
    in_order,
    only_stopped,
    wishes_for,
)

UID = "3ad7b26ded6d" + "0" * 52
OLD, BETWEEN, NEW = (1, 41), (1, 45), (1, 54)
RAW: dict[str, Any] = {
    "IPAMConfig": {"IPv4Address": "10.9.1.7", "LinkLocalIPs": ["169.254.34.68"]},
    "Aliases": ["www", "3ad7b26ded6d", "api"],
    "Links": ["db:db"],
    "DriverOpts": {"com.example.note": "kept"},
    "NetworkID": "n1",
    "EndpointID": "e1",
    "Gateway": "10.9.1.1",
    "IPAddress": "10.9.1.7",
    "IPPrefixLen": 24,
    "GlobalIPv6Address": "fd00::7",
    "MacAddress": "02:42:0a:09:01:07",
    "GwPriority": 10,
    "DNSNames": ["web", "www", "3ad7b26ded6d"],
}


def test_all_that_can_be_wished_for_is_kept_and_nothing_else() -> None:
    kept = Endpoint(
        network="n1",
        ipv4="10.9.1.7",
        ipv6="fd00::7",
        mac="02:42:0a:09:01:07",
        link_local=("169.254.34.68",),
        aliases=("api", "www"),
        links=("db:db",),
        driver_options={"com.example.note": "kept"},
        gateway_priority=10,
    )
    assert endpoint(RAW, UID, "n1", NEW) == kept
    first = next(wishes_for("front", kept))
    assert first == {
        "IPAMConfig": {"IPv4Address": "10.9.1.7", "IPv6Address": "fd00::7", "LinkLocalIPs": ["169.254.34.68"]},
        "Aliases": ["api", "www"],
        "Links": ["db:db"],
        "DriverOpts": {"com.example.note": "kept"},
        "MacAddress": "02:42:0a:09:01:07",
        "GwPriority": 10,
    }


def test_a_mac_address_is_only_kept_where_the_api_gives_it_back() -> None:
    assert [endpoint(RAW, UID, "n1", api).mac for api in (OLD, BETWEEN, NEW)] == [None, None, RAW["MacAddress"]]


def test_wishes_get_fewer_until_none_is_left() -> None:
    full = [list(wish.get("IPAMConfig", {})) for wish in wishes_for("front", endpoint(RAW, UID, "n1", OLD))]
    links = ["LinkLocalIPs"]
    four, six = ["IPv4Address"], ["IPv6Address"]
    assert full == [four + six + links, four + links, six + links, links]
    only_four = Endpoint(network="n1", ipv4="10.9.1.7")
    assert list(wishes_for("front", only_four)) == [{"IPAMConfig": {"IPv4Address": "10.9.1.7"}}, {}]


def test_the_default_bridge_is_asked_for_no_address() -> None:
    assert list(wishes_for(DEFAULT_BRIDGE, Endpoint(network="bridge", ipv4="172.17.0.2"))) == [{}]


def test_the_network_of_the_start_comes_first_by_whatever_name_it_was_given() -> None:
    names = {name: Endpoint(network=f"id-of-{name}") for name in ("c", "a", "bridge", "b")}
    assert in_order("b", names) == ["b", "a", "bridge", "c"]
    assert in_order("id-of-c", names) == ["c", "a", "b", "bridge"]
    assert in_order("default", names) == ["bridge", "a", "b", "c"]


addresses = st.none() | st.sampled_from(["10.9.1.7", "10.9.1.8"])
endpoints = st.builds(
    Endpoint,
    network=st.sampled_from(["n1", "n2"]),
    ipv4=addresses,
    aliases=st.sampled_from([(), ("www",)]),
)
connections = st.dictionaries(st.sampled_from(["front", "back"]), endpoints)


def state(found: dict[str, Endpoint], status: str) -> ContainerIsolation:
    return ContainerIsolation(endpoints=found, uid=UID, name="web", status=status, mode="front")


@given(connections, st.sets(st.sampled_from(["front", "back"])))
def test_a_container_that_stopped_at_any_point_of_a_containment_is_known(
    found: dict[str, Endpoint], gone: set[str]
) -> None:
    left = {name: each.model_copy(update={"ipv4": None}) for name, each in found.items() if name not in gone}
    assert only_stopped(state(found, "running"), state(left, "exited"))
    assert not only_stopped(state(found, "running"), state(left, "running"))


@given(connections, connections)
def test_nothing_that_somebody_else_did_is_taken_for_a_stop(
    found: dict[str, Endpoint], now: dict[str, Endpoint]
) -> None:
    if only_stopped(state(found, "running"), state(now, "exited")):
        for name, left in now.items():
            assert left.network == found[name].network and left.aliases == found[name].aliases
            assert left.ipv4 in (None, found[name].ipv4)


def test_what_a_daemon_leaves_out_is_nothing() -> None:
    bare: dict[str, Any] = {"HostConfig": {}, "Config": {}, "NetworkSettings": {}}
    assert exposure.mounts(bare) == exposure.powers(bare) == exposure.published(bare) == ()
    assert exposure.moving_ports(bare) == ()
    assert exposure.daemon_socket(bare) == exposure.owner(bare) == exposure.service(bare) == ""

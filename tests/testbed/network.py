"""The wires of a cluster's pods: a network namespace for each, in one more that plays the node between them.

    pod 10.244.0.7, fd00:10:244::7 ──veth── node (routes, iptables) ──veth── pod 10.244.0.8, fd00:10:244::8

The machine's own network and firewall are left alone. On each of PORTS a pod says back what it is told. Traffic between
two pods passes the node's FORWARD chain, what a pod sends to the node its INPUT chain.
"""

import errno
import os
import selectors
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Final, Self, TypeVar

from tests.testbed.missing import Missing
from tests.testbed.netns import NetworkNamespace

T = TypeVar("T")

PORTS: Final = (80, 81, 443, 8080)
NODE_ADDRESSES: Final = ("192.0.2.1", "2001:db8::1")
PATIENCE: Final = 2.0  # seconds for a connection, and for an answer
PROGRAMS: Final = ("ip", "iptables-restore", "ip6tables-restore")

# How a no looks to the one who connects: REJECT with a reset, no route any more; a DROP is a TimeoutError.
_NO: Final = {errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH}

# Without it nothing watches connections, and those that are open are cut by the first other rule. Real nodes watch all.
TRACKED: Final = "".join(
    f"-A {chain} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n" for chain in ("FORWARD", "INPUT")
)

_GATEWAY, _GATEWAY6 = "169.254.1.1", "fe80::1"


class Connection:
    """A TCP connection that stays open."""

    def __init__(self, wire: socket.socket) -> None:
        self._wire = wire
        self._numbers = count(1)

    def answers(self, seconds: float = PATIENCE) -> bool:
        """Does a question on it get its answer?"""
        question = f"{next(self._numbers)}\n".encode()
        self._wire.settimeout(seconds)
        try:
            self._wire.sendall(question)
            heard = b""
            while not heard.endswith(question):
                if not (more := self._wire.recv(4096)):
                    return False
                heard += more
        except OSError:  # TimeoutError as well: cut off
            return False
        return True

    def close(self) -> None:
        self._wire.close()


class Host:
    """One end of the network: a pod, or the node itself."""

    def __init__(self, namespace: NetworkNamespace, addresses: Sequence[str]) -> None:
        self.addresses = tuple(addresses)
        self._namespace = namespace

    @property
    def v4(self) -> str:
        return next(address for address in self.addresses if ":" not in address)

    @property
    def v6(self) -> str:
        return next(address for address in self.addresses if ":" in address)

    def inside(self, what: Callable[[], T]) -> T:
        """What a program here would do."""
        return self._namespace.run(what)

    def connect(self, address: str, port: int = PORTS[0], seconds: float = PATIENCE) -> Connection:
        """A new TCP connection from here. Raises OSError."""
        wire = self._namespace.run(lambda: socket.socket(_family(address), socket.SOCK_STREAM))
        wire.settimeout(seconds)
        try:
            wire.connect((address, port))
        except BaseException:
            wire.close()
            raise
        return Connection(wire)

    def reaches(self, address: str, port: int = PORTS[0], seconds: float = PATIENCE) -> bool:
        """Does a new TCP connection carry a question and its answer?"""
        assert port in PORTS, "nobody listens there, which would look like a firewall"
        try:
            connection = self.connect(address, port, seconds)
        except OSError as error:
            if isinstance(error, TimeoutError) or error.errno in _NO:
                return False
            raise
        try:
            return connection.answers(seconds)
        finally:
            connection.close()


BOTH: Final = {4, 6}


def families(one: Host, other: Host, port: int = PORTS[0]) -> set[int]:
    """By which of IPv4 and IPv6 a new connection from one to the other works now."""
    return {family for family, address in ((4, other.v4), (6, other.v6)) if one.reaches(address, port)}


class PodHost(Host):
    def __init__(self, addresses: Sequence[str], interface: str) -> None:
        super().__init__(NetworkNamespace(), addresses)
        self.interface = interface  # the node's end

    def run(self, commands: Sequence[str]) -> None:
        self._namespace.run(lambda: _ip(commands))

    @property
    def fd(self) -> int:
        return self._namespace.fd

    def listeners(self) -> list[socket.socket]:
        return self._namespace.run(lambda: [_listener(each, port) for each in self.addresses for port in PORTS])

    def close(self) -> None:
        self._namespace.close()


class PodNetwork:
    """Runs inside `with`. Missing if the machine cannot do it."""

    def __init__(self) -> None:
        self._pods: list[PodHost] = []
        self._numbers = count(1)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if reason := self.missing():
            raise Missing(reason)
        self._echo = _Echo()
        self._node = NetworkNamespace()
        try:
            self._node.run(_become_a_router)
            self.node = Host(self._node, NODE_ADDRESSES)
            self.filter(TRACKED, TRACKED)
            self._echo.serve(None, self._node.run(lambda: [_listener(each, PORTS[0]) for each in NODE_ADDRESSES]))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def missing(self) -> str | None:
        if os.geteuid() != 0:
            return "pods with a network of their own need root"
        lacks = [name for name in PROGRAMS if not shutil.which(name)]
        return f"pods with a network of their own: {', '.join(lacks)} not installed: make testbed" if lacks else None

    def close(self) -> None:
        for pod in list(self._pods):
            self.detach(pod)
        self._echo.close()
        self._node.close()

    def attach(self, *addresses: str) -> PodHost:
        """A host with these addresses, at most one of each family. It listens when this returns."""
        pod = PodHost(addresses, f"pod{next(self._numbers)}")
        try:
            self._node.run(lambda: _ip(_outside(pod.interface, pod.fd, addresses), pod.fd))
            pod.run(_inside(addresses))
            self._echo.serve(pod, pod.listeners())
        except BaseException:
            pod.close()
            raise
        with self._lock:
            self._pods.append(pod)
        return pod

    def detach(self, pod: PodHost) -> None:
        """Its processes and its interface go, and its connections with them."""
        with self._lock:
            self._pods.remove(pod)
        self._echo.end(pod)
        self._node.run(lambda: _ip([f"link delete {pod.interface}"]))
        pod.close()

    def filter(self, v4: str, v6: str) -> None:
        """Replaces the node's packet filter, in the language of iptables-restore, for both families at once."""

        def replace() -> None:
            for program, rules in (("iptables-restore", v4), ("ip6tables-restore", v6)):
                _run([program], f"*filter\n{rules}COMMIT\n")

        self._node.run(replace)


class _Echo:
    """Says back what it is told, on all sockets of all pods, in one thread."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._owners: dict[socket.socket, PodHost | None] = {}
        self._bell, self._ear = socket.socketpair()
        self._selector.register(self._ear, selectors.EVENT_READ)
        self._over = False
        self._thread = threading.Thread(target=self._work, name="echo", daemon=True)
        self._thread.start()

    def serve(self, owner: PodHost | None, listeners: Sequence[socket.socket]) -> None:
        with self._lock:
            for listener in listeners:
                self._add(listener, owner)
        self._bell.send(b".")

    def end(self, owner: PodHost) -> None:
        with self._lock:
            for each in [each for each, whose in self._owners.items() if whose is owner]:
                self._remove(each)

    def close(self) -> None:
        self._over = True
        self._bell.send(b".")
        self._thread.join()
        for each in list(self._owners):
            self._remove(each)
        self._selector.close()
        self._bell.close()
        self._ear.close()

    def _add(self, each: socket.socket, owner: PodHost | None) -> None:
        each.setblocking(False)
        self._owners[each] = owner
        self._selector.register(each, selectors.EVENT_READ)

    def _remove(self, each: socket.socket) -> None:
        self._selector.unregister(each)
        del self._owners[each]
        each.close()

    def _work(self) -> None:
        while not self._over:
            for key, _ in self._selector.select():
                with self._lock:
                    if key.fileobj is self._ear:
                        self._ear.recv(64)
                    elif isinstance(key.fileobj, socket.socket) and key.fileobj in self._owners:
                        self._answer(key.fileobj)

    def _answer(self, each: socket.socket) -> None:
        try:
            if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                self._add(each.accept()[0], self._owners[each])
            elif data := each.recv(4096):
                each.sendall(data)
            else:
                self._remove(each)
        except BlockingIOError:
            return  # whoever knocked has gone away
        except OSError:
            self._remove(each)  # the other end is gone


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _listener(address: str, port: int) -> socket.socket:
    return socket.create_server((address, port), family=_family(address), backlog=64)


def _become_a_router() -> None:
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    _ip(["link set lo up", *(_have(address, "lo") for address in NODE_ADDRESSES)])


def _outside(interface: str, namespace: int, addresses: Sequence[str]) -> list[str]:
    """The node's end: no bridge, a route to each address of the pod. `namespace` is a descriptor of this process."""
    return [
        f"link add {interface} type veth peer name eth0 netns /proc/self/fd/{namespace}",
        f"addr add {_GATEWAY}/32 dev {interface}",
        f"addr add {_GATEWAY6}/64 dev {interface} nodad",
        f"link set {interface} up",
        *(f"route add {address}/{_bits(address)} dev {interface}" for address in addresses),
    ]


def _inside(addresses: Sequence[str]) -> list[str]:
    return [
        "link set lo up",  # an IPv6 address is known through it
        *(_have(address, "eth0") for address in addresses),
        "link set eth0 up",
        f"route add {_GATEWAY}/32 dev eth0",
        f"route add default via {_GATEWAY} dev eth0",
        f"route add ::/0 via {_GATEWAY6} dev eth0",
    ]


def _have(address: str, device: str) -> str:
    # An IPv6 address is not used before a second has shown that nobody else has it, unless nobody asks.
    return f"addr add {address}/{_bits(address)} dev {device}{' nodad' * (':' in address)}"


def _bits(address: str) -> int:
    return 128 if ":" in address else 32


def _ip(commands: Sequence[str], *descriptors: int) -> None:
    _run(["ip", "-batch", "-"], "".join(f"{command}\n" for command in commands), *descriptors)


def _run(command: Sequence[str], told: str, *descriptors: int) -> None:
    done = subprocess.run(command, input=told, capture_output=True, text=True, pass_fds=descriptors)
    if done.returncode:
        raise AssertionError(f"{command[0]}: {done.stderr.strip()}; it was told:\n{told}")

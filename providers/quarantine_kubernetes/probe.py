"""Whether a connection of ours still gets through to a pod in quarantine. It can only disprove that the pod is closed:
where nobody listens, or no way leads, none gets through either.

From the pod that this program runs in, by TCP, to the ports that the pod declares. Nothing is sent, nothing is read. A
pod that is made for it would take the right to make pods, which is the right to run anything. Decision 0029.
"""

import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Final

from quarantine.action import Check, Verdict
from quarantine.errors import Denied
from quarantine_kubernetes.cloud import KubernetesCloud, Probe
from quarantine_kubernetes.peers import endpoint
from quarantine_kubernetes.recent import Recent

SECONDS: Final = 1.0
"""For one connection: all of it passes where packets are dropped."""
MOST: Final = 8
"""So many addresses and ports of a pod are tried, all at once."""
SAMPLED: Final = 30.0
"""Seconds for which one pod that was closed is enough for all of its node with the same means: there may be many."""


def connect(address: str, port: int) -> str | None:
    try:
        with socket.create_connection((address, port), SECONDS) as wire:
            return str(wire.getsockname()[0])
    except OSError:  # refused, dropped, no route: closed to us
        return None


def open_to_us(probe: Probe, recent: Recent, pod: Mapping[str, Any], means: str) -> tuple[str, ...]:
    """Sentences: where we get through. That a pod of the node is open says nothing of the others: they are tried."""
    ends = list(islice(_ends(pod), MOST))
    if not ends:
        return ()  # and no example for others
    key = ("closed", pod["spec"].get("nodeName") or "", means)
    found = recent.get(key, SAMPLED, lambda: _try(probe, ends))
    return recent.get(key, 0.0, lambda: _try(probe, ends)) if found else found


def examine(subject: str, cloud: KubernetesCloud, probe: Probe) -> Check:
    """Does anybody answer us? If not, that an isolated pod does not answer either says nothing."""
    try:
        pods = cloud.read("list pods", "get /api/v1/pods", query={"limit": 250})["items"]
    except Denied as error:
        return Check(subject=subject, verdict=Verdict.WARN, message=f"nobody to be tried: {error}")
    if found := answering(probe, pods):
        return Check(subject=subject, verdict=Verdict.OK, message=f"{found} answers us")
    return Check(
        subject=subject,
        verdict=Verdict.WARN,
        message="no pod answers us, so that the probe finds nothing out",
        fix="let the network policies of our own namespace, and our network, lead to other pods",
    )


def answering(probe: Probe, pods: Iterable[Mapping[str, Any]]) -> str:
    """`NAMESPACE/NAME` of one that answers, empty if none of the first twenty ends does.

    Neither our own pod counts nor one on its node's network, which other policies are for.
    """
    apart = (pod for pod in pods if not pod["spec"].get("hostNetwork"))
    tried = list(islice(((pod, end) for pod in apart for end in _ends(pod)), 20))
    with ThreadPoolExecutor(MOST) as threads:
        answers = threads.map(lambda each: probe(*each[1]), tried)
        return next(
            (
                f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                for (pod, (address, _)), ours in zip(tried, answers, strict=True)
                if ours not in (None, address)
            ),
            "",
        )


def _ends(pod: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    there = endpoint(pod)
    declared = sorted({port.number for port in there.ports if port.protocol == "TCP"})
    return ((address, port) for port in declared for address in there.addresses)


def _try(probe: Probe, ends: Sequence[tuple[str, int]]) -> tuple[str, ...]:
    with ThreadPoolExecutor(MOST) as threads:
        answers = list(threads.map(lambda end: probe(*end), ends))
    return tuple(
        f"a connection from {ours} to its address {address}, port {port}, still gets through"
        for (address, port), ours in zip(ends, answers, strict=True)
        if ours is not None
    )

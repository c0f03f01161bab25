"""One kind of request to the resource manager of ours, and how its bodies are held against the SDK's models."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from tests.testbed.arm_network import Refused
from tests.testbed.arm_shapes import unknown, unwritable

Reply = tuple[int, Any, dict[str, str]]
IN_GROUP = r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/"
IN_SUBSCRIPTION = r"/subscriptions/[^/]+/providers/"


def _no_links(_: Any) -> Iterable[str]:
    return ()


@dataclass(frozen=True)
class Route:
    """`path` is in lower case. `answered` and `sent` are `module:Class` of an SDK; None: without a body."""

    method: str
    path: str
    permission: str
    answer: Callable[[Any, Any, re.Match[str]], Reply]
    """(arm, request, found)"""
    answered: str | None = None
    sent: str | None = None
    many: bool = False
    """It answers a page of them."""
    links: Callable[[Any], Iterable[str]] = _no_links
    """The linked actions that ARM checks besides."""
    unknown_to_sdk: frozenset[str] = frozenset()
    """Fields of real answers that the SDK's model does not have."""

    def load(self) -> None:
        """The SDK's models, before a request has to wait for the import of a large package."""
        for model in (self.answered, self.sent):
            if model is not None:
                unknown(model, {})

    def check_sent(self, body: Any) -> None:
        """Raises Refused for what the real one refuses."""
        if self.sent is None:
            assert body is None, f"{self.method} {self.path} takes no body: {body}"
        elif (wrong := [*unknown(self.sent, body), *unwritable(self.sent, body)]) != []:
            raise Refused(400, "InvalidRequestContent", f"Not a member that can be written: {', '.join(wrong)}.")

    def check_answered(self, content: Any) -> None:
        """Raises AssertionError for an answer of ours that the real one would not give."""
        if self.answered is None:
            return
        for each in content["value"] if self.many else [content]:
            strange = set(unknown(self.answered, each)) - self.unknown_to_sdk
            assert not strange, f"the SDK knows no {sorted(strange)} of {self.answered}"

"""One request to a provider, as a proxy in front of the provider saw it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlsplit


class Fate(StrEnum):
    ARRIVED = "arrived"  # not forwarded yet; for ever so if it was held and never let go
    FORWARDED = "forwarded"  # the provider has it and has not answered yet
    ANSWERED = "answered"  # the provider's answer went to the client
    ANSWER_LOST = "answer lost"  # the provider answered; the client never saw it
    FAILED = "failed"  # the provider could not be reached, or broke off
    DROPPED = "dropped"  # the connection was closed, nothing was forwarded
    CANNED = "canned"  # a rule answered, nothing was forwarded


@dataclass(frozen=True)
class Call:
    """Header names are in lower case."""

    index: int  # in order of arrival
    at: datetime
    arrived: float  # seconds of the monotonic clock
    method: str
    target: str  # path and query
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    operation: str | None  # "StopTask", "patch pods/status"
    service: str | None  # of AWS: the one it is signed for
    fate: Fate = Fate.ARRIVED
    status: int | None = None  # what the provider, or the rule, answered
    answered: float | None = None

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def form(self) -> dict[str, str]:
        """The fields of an AWS query call, such as InstanceId.1."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def forwarded(self) -> bool:
        """Whether the provider may have seen it."""
        return self.fate in (Fate.FORWARDED, Fate.ANSWERED, Fate.ANSWER_LOST, Fate.FAILED)

    @property
    def question(self) -> tuple[str, str, bytes]:
        """Two calls with the same one ask the same."""
        return self.method, self.target, self.body


Predicate = Callable[[Call], bool] | str  # text: the operation's name


def matcher(predicate: Predicate) -> Callable[[Call], bool]:
    if isinstance(predicate, str):
        return lambda call: call.operation == predicate
    return predicate

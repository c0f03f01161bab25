"""What holds for every action and capture that is shipped, whatever it does."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from quarantine.action import Action, Capture, OneWay, Provider
from quarantine.registry import installed
from quarantine.testing.fake.provider import FakeProvider

MOST_LINES = 80
PROVIDERS: list[type[Provider]] = [*installed().values(), FakeProvider]
DOINGS: list[type[Action[Any, Any]] | type[Capture[Any]]] = [
    *(action for provider in PROVIDERS for action in provider.actions),
    *(capture for provider in PROVIDERS for capture in provider.captures),
]


@pytest.mark.parametrize("doing", DOINGS, ids=lambda doing: doing.name)
def test_an_action_is_one_short_file_of_its_name(doing: type[Action[Any, Any]] | type[Capture[Any]]) -> None:
    file = Path(inspect.getfile(doing))
    assert file.stem == doing.name.partition(":")[2].replace("-", "_")
    assert len(file.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("doing", DOINGS, ids=lambda doing: doing.name)
def test_its_platform_is_that_of_its_resource(doing: type[Action[Any, Any]] | type[Capture[Any]]) -> None:
    assert doing.name.partition(":")[0] == doing.resource.partition(":")[0]


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)
def test_what_removes_a_shared_object_cannot_be_undone_and_so_asks(provider: Any) -> None:
    removed = {doing.resource for doing in provider.actions if issubclass(doing, OneWay)}
    assert {doing.shares for doing in provider.actions if doing.shares} <= removed

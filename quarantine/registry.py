"""Entry points -> providers, and with them every action, capture, parser, poll and relation by name."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from quarantine.action import Action, Capture, Grouping, Parser, Poll, Provider, Relation, Reread
from quarantine.document import Document
from quarantine.errors import Misconfigured, NotFound
from quarantine.plain import ocsf, plain
from quarantine.text import closest

GROUP = "quarantine.providers"

Doing = type[Action[Any, Any]] | type[Capture[Any]]


class Registry:
    """What can be done: the provider classes that are installed, and of those the ones that are configured."""

    def __init__(self, classes: Iterable[type[Provider]], configured: Mapping[str, Provider]) -> None:
        self.classes = {provider.name: provider for provider in classes}
        self.configured = dict(configured)

    @cached_property
    def actions(self) -> dict[str, Doing]:
        """Every action and capture by name."""
        doings: dict[str, Doing] = {}
        for provider in self.classes.values():
            doings.update({action.name: action for action in provider.actions})
            doings.update({capture.name: capture for capture in provider.captures})
        return doings

    @cached_property
    def parsers(self) -> dict[str, Parser]:
        """Those of the providers, and the two that belong to none."""
        own: dict[str, Parser] = {"plain": plain, "ocsf": ocsf}
        return {name: parser for provider in self.classes.values() for name, parser in provider.parsers.items()} | own

    @cached_property
    def polls(self) -> dict[str, Poll]:
        return {poll.name: poll for provider in self.classes.values() for poll in provider.polls}

    @cached_property
    def rereads(self) -> dict[str, Reread]:
        """By parser or poll."""
        return {name: reread for provider in self.classes.values() for name, reread in provider.rereads.items()}

    @cached_property
    def relations(self) -> dict[tuple[str, str], Relation]:
        """(kind of resource, name of the relation) -> relation."""
        return {
            (relation.resource, name): relation
            for provider in self.classes.values()
            for name, relation in provider.relations.items()
        }

    @cached_property
    def groups(self) -> dict[str, Grouping]:
        """By kind of resource."""
        return {kind: group for provider in self.classes.values() for kind, group in provider.groups.items()}

    def build(self, action: str, settings: Mapping[str, Any]) -> Action[Any, Any] | Capture[Any]:
        """The action with these fields. They were checked when the playbook was loaded. Raises NotFound."""
        try:
            return self.actions[action].model_validate(dict(settings))
        except (KeyError, ValidationError) as error:
            raise NotFound(f"action '{action}' with these settings is not known to this version") from error

    def permissions(
        self, doing: Action[Any, Any] | Capture[Any], kind: str, relation: str | None = None
    ) -> tuple[str, ...]:
        """What a step needs: its action's permissions, and those to find what is related to the case's resource, and
        the groups that both belong to.
        """
        related = self.relations[kind, relation].permissions if relation is not None else ()
        kinds = (kind, doing.resource) if isinstance(doing, Action) else (kind,)
        grouped = (permission for each in kinds if each in self.groups for permission in self.groups[each].permissions)
        return tuple(dict.fromkeys((*doing.permissions(), *related, *grouped)))

    def provider(self, name: str) -> Provider:
        """The configured provider. Raises NotFound with what to configure or install."""
        if name in self.configured:
            return self.configured[name]
        if name in self.classes:
            raise NotFound(
                f"provider '{name}' is not configured: add 'providers: {{{name}: ...}}' to the configuration"
            )
        raise NotFound(f"no provider '{name}' is installed.{closest(name, list(self.classes))}")


def installed() -> dict[str, type[Provider]]:
    """The provider classes of all installed distributions. Importing one does not import its SDK."""
    return {point.name: point.load() for point in entry_points(group=GROUP)}


def load(sections: Mapping[str, Mapping[str, Any]], document: Document) -> Registry:
    """The registry for the `providers:` part of the configuration. Raises Misconfigured with file, line and column."""
    classes = installed()
    configured = {}
    for name in sections:
        if name not in classes:
            raise document.error(("providers", name), f"unknown provider '{name}'.{closest(name, list(classes))}")
        configured[name] = classes[name](document.parse(classes[name].settings, ("providers", name)))
        if classes[name].name != name:
            raise Misconfigured(f"the entry point '{name}' gives a provider that calls itself '{classes[name].name}'")
    return Registry(classes.values(), configured)

"""quarantine permissions"""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.action import Needs, Poll, Provider
    from quarantine.app import App
    from quarantine.playbook import Playbook


@click.command("permissions")
@click.option("--provider", required=True, metavar="NAME", help="kubernetes, azure; postgresql: our own database.")
@click.option("--playbook", "names", multiple=True, metavar="NAME", help="Only what this one needs. May be repeated.")
@click.option("--namespace", "namespaces", multiple=True, metavar="NAME", help="Only there. May be repeated.")
@click.option("--principal", default="", metavar="WHO", help="Who gets it: serviceaccount:NAMESPACE/NAME, a role.")
@options.everywhere
@click.pass_context
def command(
    ctx: click.Context, provider: str, names: tuple[str, ...], namespaces: tuple[str, ...], principal: str
) -> None:
    """Write what to grant, and no more, for the platform's own tool.

    \b
      quarantine permissions --provider kubernetes | kubectl apply -f -
      quarantine permissions --provider kubernetes --playbook isolate-pod --namespace shop
      quarantine permissions --provider postgresql --principal quarantine_runtime | psql DATABASE

    Without --playbook: for every playbook of the provider, and for its polls under `schedules:`.
    """
    if provider == "postgresql":
        from quarantine.store.grants import grants

        click.echo(grants(principal), nl=False)
        return
    app = options.load_app(ctx)
    playbooks = [app.shelf.find(name) for name in names] or _answering(app, provider)
    needs = _needs(app, provider, playbooks, everything=not names)
    asked = needs.model_copy(update={"namespaces": namespaces, "principal": principal})
    click.echo(_provider(app, provider).permissions_document(asked), nl=False)


def _provider(app: "App", name: str) -> "Provider":
    """As it is configured; and what it says without a configuration, which is enough for a document."""
    from quarantine.errors import NotFound

    try:
        return app.registry.provider(name)
    except NotFound:
        if name not in app.registry.classes:
            raise
        installed = app.registry.classes[name]
        return installed(installed.settings())


def _answering(app: "App", provider: str) -> list["Playbook"]:
    return [item for item in app.shelf.playbooks.values() if item.match.resource.partition(":")[0] == provider]


def _needs(app: "App", provider: str, playbooks: list["Playbook"], *, everything: bool) -> "Needs":
    from quarantine.action import Needs
    from quarantine.cli.playbook import to_ask_again

    permissions: defaultdict[str, list[str]] = defaultdict(list)
    kinds: defaultdict[str, list[str]] = defaultdict(list)
    for playbook in playbooks:
        kind = playbook.match.resource
        if kind.partition(":")[0] != provider:
            raise click.UsageError(f"playbook '{playbook.name}' is for {kind}, which is not of provider '{provider}'.")
        kinds[kind].append(playbook.name)
        for permission in {*playbook.permissions(app.registry), *to_ask_again(app, playbook)}:
            permissions[permission].append(playbook.name)
    for name, poll in _polls(app, provider) if everything else ():
        for permission in poll.permissions:
            permissions[permission].append(name)
    return Needs(permissions=_settled(permissions), kinds=_settled(kinds))


def _polls(app: "App", provider: str) -> Iterator[tuple[str, "Poll"]]:
    """What is asked by the clock, and by `quarantine sweep`."""
    for name, schedule in app.settings.schedules.items():
        if schedule.poll.partition(":")[0] == provider:
            yield name, app.registry.polls[schedule.poll]
    for leftover in app.registry.classes[provider].leftovers:
        yield "sweep", leftover.poll


def _settled(found: dict[str, list[str]]) -> dict[str, Any]:
    return {what: tuple(of) for what, of in sorted(found.items())}

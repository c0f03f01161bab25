"""quarantine sweep"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options
from quarantine.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.model import Finding

COLUMNS = ("resource", "scope", "title", "playbook")


@dataclass(frozen=True)
class Found:
    """A shared object of ours that nobody uses, and the playbook that removes it."""

    finding: "Finding"
    playbook: str

    @property
    def record(self) -> dict[str, str]:
        resource = self.finding.resource
        return {
            "resource": f"{resource.kind}/{resource.id}",
            "scope": resource.scope,
            "title": self.finding.title,
            "playbook": self.playbook,
        }


@click.command("sweep")
@click.option("--apply", "act", is_flag=True, help="Remove them, each as a case of its own. Without, only list them.")
@click.option("--wait", type=options.Span(), default="120s", show_default=True, help="With --apply: work for so long.")
@options.formatted
@options.everywhere
@click.pass_context
def command(ctx: click.Context, act: bool, wait: timedelta, form: str) -> None:
    """Find our shared objects that no case uses any more.

    Quarantine groups and image policies are shared by cases and stay when one is released. Exit 6 if a scope could not
    be searched.
    """
    app = options.load_app(ctx)
    from quarantine.cli import acting, dry_run, hand, output

    found, missed = _search(app)
    if not act:
        output.listing(form, [item.record for item in found], COLUMNS, lambda: _show(found))
        if found and form == "table":
            options.tell("To remove them: quarantine sweep --apply")
        ctx.exit(ExitCode.PARTLY if missed else ExitCode.DONE)
    codes = [ExitCode.PARTLY] if missed else []
    for item in found:
        resource = item.finding.resource
        thing = (resource.kind, resource.id)
        asked = hand.request(app, item.playbook, thing, resource.scope, resource.uid, options.who(app))
        codes.append(acting.act(app, dry_run.make(app, asked), "", wait, form))
    if not found:
        options.tell("Nothing is left over.")
    ctx.exit(max(codes, default=ExitCode.DONE))


def _search(app: "App") -> tuple[list[Found], bool]:
    """What is left over in all configured scopes, and whether a scope could not be searched."""
    from quarantine.errors import QuarantineError

    found: list[Found] = []
    missed = False
    for scope, leftover, provider in _places(app):
        try:
            cloud = app.registry.provider(provider).connect(scope).belonging_to(app.store.installation())
            findings, _ = leftover.poll.run(cloud, scope, app.clock(), None)
        except QuarantineError as error:
            missed = True
            options.tell(f"{scope} could not be searched: {error}")
            continue
        found += [Found(finding, leftover.playbook) for finding in findings]
    return found, missed


def _places(app: "App") -> Iterator[tuple[str, Any, str]]:
    for name, provider in app.registry.configured.items():
        for leftover in provider.leftovers:
            for scope in provider.scopes():
                yield scope, leftover, name


def _show(found: list[Found]) -> None:
    from quarantine.cli.screen import safe, stdout

    screen = stdout()
    for item in found:
        screen.line(safe(f"{item.record['resource']} in {item.record['scope']}"))
        screen.prose(safe(item.finding.title), "    ")
    if not found:
        screen.line(safe("Nothing is left over."))

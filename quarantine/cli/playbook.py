"""quarantine playbook"""

from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.app import App
    from quarantine.playbook import Playbook, Shelf

COLUMNS = ("name", "resource", "severity", "approval", "actions", "origin", "description")


@click.group("playbook")
@options.everywhere
def command() -> None:
    """What is answered, and how."""


@command.command("list")
@options.formatted
@options.everywhere
@click.pass_context
def list_playbooks(ctx: click.Context, form: str) -> None:
    """The playbooks that come with the program, and yours."""
    from quarantine.cli.output import listing

    shelf = options.load_app_or_defaults(ctx).shelf
    playbooks = [shelf.playbooks[name] for name in sorted(shelf.playbooks)]
    listing(form, [_record(shelf, playbook) for playbook in playbooks], COLUMNS, lambda: _show_list(playbooks))


@command.command("show")
@click.argument("name")
@options.formatted
@options.everywhere
@click.pass_context
def show(ctx: click.Context, name: str, form: str) -> None:
    """One playbook, as it was written."""
    from quarantine.cli.output import one

    app = options.load_app_or_defaults(ctx)
    playbook = app.shelf.find(name)
    record = {
        **_record(app.shelf, playbook),
        "digest": playbook.digest,
        "permissions": playbook.permissions(app.registry),
        "to_ask_again": to_ask_again(app, playbook),
        "playbook": playbook.model_dump(mode="json"),
    }
    one(form, record, COLUMNS, lambda: _show(app.shelf, playbook, record))


@command.command("schema")
@options.everywhere
def schema() -> None:
    """The JSON Schema of a playbook, for editors."""
    import json

    from quarantine.playbook import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


def _record(shelf: "Shelf", playbook: "Playbook") -> dict[str, Any]:
    return {
        "name": playbook.name,
        "resource": playbook.match.resource,
        "severity": str(playbook.match.severity),
        "approval": str(playbook.approval),
        "actions": [step.action for step in playbook.steps],
        "origin": _origin(shelf, playbook),
        "description": playbook.description,
    }


def _origin(shelf: "Shelf", playbook: "Playbook") -> str:
    from quarantine.playbook import shipped

    path = shelf.origins[playbook.name]
    return "shipped" if path.is_relative_to(shipped()) else str(path)


def to_ask_again(app: "App", playbook: "Playbook") -> list[str]:
    """What it takes to ask the configured sources of its findings again, before anything is done by itself."""
    only = playbook.match.source
    readers = {reader for name, reader in app.settings.readers.items() if not only or name in only}
    about = f"{playbook.match.resource.partition(':')[0]}:"
    asked = [item for name, item in app.registry.rereads.items() if name in readers and name.startswith(about)]
    return sorted({permission for reread in asked for permission in reread.permissions})


def _show_list(playbooks: list["Playbook"]) -> None:
    from rich.text import Text

    from quarantine.cli.screen import safe, severity_text, stdout

    rows = [
        (
            safe(playbook.name, "bold"),
            safe(playbook.match.resource),
            severity_text(playbook.match.severity),
            Text("always asks" if playbook.approval == "required" else "by mode", "dim"),
        )
        for playbook in playbooks
    ]
    screen, header = stdout(), ("PLAYBOOK", "RESOURCE", "FROM", "APPROVAL")
    told = [(*row, safe(playbook.description)) for row, playbook in zip(rows, playbooks, strict=True)]
    if screen.fits(told):
        screen.table((*header, "WHAT IT DOES"), told)
        return
    if screen.fits(rows):
        screen.table(header, rows, [safe(playbook.description) for playbook in playbooks])
        return
    below = [safe(f"{playbook.match.resource}: {playbook.description}") for playbook in playbooks]
    screen.table((header[0], *header[2:]), [(row[0], *row[2:]) for row in rows], below)


def _show(shelf: "Shelf", playbook: "Playbook", record: dict[str, Any]) -> None:
    from rich.text import Text

    from quarantine.cli.screen import safe, stdout

    screen = stdout()
    screen.line(safe(playbook.name, "bold"), Text(f"  {_origin(shelf, playbook)}", "dim"))
    screen.prose(safe(playbook.description))
    screen.blank()
    match = playbook.match
    screen.facts(
        (
            ("answers", safe(f"{match.resource}, {match.severity} or above")),
            ("from", safe(", ".join(match.source))),
            ("types", safe(", ".join(match.type))),
            ("when", safe(match.when or "")),
            ("approval", safe(playbook.approval)),
            ("steps", safe(", then ".join(_step(step) for step in playbook.steps))),
            ("needs", safe(", ".join(record["permissions"]))),
            ("and to ask the sources again", safe(", ".join(record["to_ask_again"]))),
            ("digest", safe(playbook.digest)),
        ),
        indent=2,
    )


def _step(step: Any) -> str:
    given = ", ".join(f"{name}: {value}" for name, value in step.settings.items())
    return f"{step.action}{f' on its {step.relation}' if step.relation else ''}{f' ({given})' if given else ''}"

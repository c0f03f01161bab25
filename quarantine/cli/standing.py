"""quarantine audit status"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from quarantine.cli import options

if TYPE_CHECKING:
    from quarantine.app import App

_COLUMNS = ("name", "covers", "behind", "behind_seconds", "at")


@click.command("status")
@options.formatted
@options.everywhere
@click.pass_context
def status(ctx: click.Context, form: str) -> None:
    """Show how far checkpoint, witnesses and anchor are behind the record.

    `behind` counts the entries that are not covered, `behind_seconds` is the age of the oldest of them: feed it to your
    monitoring with `-o json`. Beyond 2 s for the checkpoint, or `ledger.witness_every` and `ledger.anchor_every` for
    the others, somebody is away.
    """
    from quarantine.cli.output import listing

    records = list(_lags(options.load_app(ctx)))
    listing(form, records, _COLUMNS, lambda: _show(records))


def _lags(app: "App") -> Iterator[dict[str, Any]]:
    from quarantine.note import Checkpoint
    from quarantine.sealer import anchors_in

    last, seen = app.store.last_checkpoint(), app.store.seen()
    size = 0 if last is None else Checkpoint.in_note(last[1]).size
    yield _lag(app, "checkpoint", size, None if last is None else last[0])
    for name, witness in app.settings.ledger.witnesses.items():
        has, at = seen.get(witness.key, (0, None))
        yield _lag(app, f"witness {name}", has, at)
    anchor = app.settings.ledger.anchor
    if anchor is not None:
        notes = anchors_in(anchor) if anchor.exists() else []
        sizes = [Checkpoint.in_note(note).size for note in notes]
        yield _lag(app, "anchor", max(sizes, default=0), None)


def _lag(app: "App", name: str, covers: int, at: Any) -> dict[str, Any]:
    lag = app.store.lag(covers)
    seconds = 0.0 if lag.since is None else max(0.0, (app.clock() - lag.since).total_seconds())
    said = None if at is None else at.isoformat()
    return {"name": name, "covers": covers, "behind": lag.entries, "behind_seconds": round(seconds, 3), "at": said}


def _show(records: list[dict[str, Any]]) -> None:
    from datetime import timedelta

    from rich.text import Text

    from quarantine.cli import screen

    rows = [
        (
            screen.safe(record["name"]),
            Text(str(record["covers"])),
            Text(str(record["behind"])),
            Text(screen.age(timedelta(seconds=record["behind_seconds"])) if record["behind"] else ""),
        )
        for record in records
    ]
    screen.stdout().table(("WHAT", "COVERS", "BEHIND", "FOR"), rows)

"""Follows a case from its record, without carrying it on."""

import json
import time
from collections.abc import Callable
from datetime import timedelta

import click

from quarantine.app import App
from quarantine.case import Case, Recorded
from quarantine.cli.carry import LOOK, RESTING, rests
from quarantine.cli.options import tell
from quarantine.cli.screen import stdout
from quarantine.cli.timeline import Timeline

LONG_OVERDUE = timedelta(seconds=5)
"""A case that is due and that nobody takes: no server runs, or it is busy."""


def follow(app: App, case_id: str, form: str) -> Case:
    """Tell every event, until the case rests."""
    told: Callable[[Recorded], None] = Timeline(stdout(), clock=True).add if form == "table" else _as_json
    seen, warned = 0, False
    while True:
        for recorded in app.store.history(case_id, after=seen):
            told(recorded)
            seen = recorded.seq
        case = app.store.load(case_id)
        if case.seq == seen and rests(app, case):
            return case
        due = app.store.due(case_id)
        overdue = due is not None and app.clock() - due > LONG_OVERDUE
        if overdue and case.status in RESTING:
            return case
        if overdue and not warned:
            tell("Nobody carries this case on: is a server running?")
            warned = True
        time.sleep(LOOK)


def _as_json(recorded: Recorded) -> None:
    click.echo(json.dumps(recorded.model_dump(mode="json")))

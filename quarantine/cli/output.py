"""The forms of stdout: a table for people, and json, jsonl, yaml, csv or names for programs.

An empty result is still valid. In json, jsonl and yaml every character outside of ASCII is escaped, so text from
outside arrives exactly and yet cannot move a cursor; in csv and names it passes `safe_text`.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from quarantine.text import safe_text

Record = Mapping[str, Any]
LONGEST = 2000


def listing(form: str, records: Sequence[Record], columns: Sequence[str], table: Callable[[], None]) -> None:
    """Several records. `columns` are those of csv; the first one is the name."""
    if form == "table":
        table()
    elif form == "json":
        click.echo(json.dumps(list(records), indent=2))
    elif form == "jsonl":
        for record in records:
            click.echo(json.dumps(record))
    elif form == "yaml":
        click.echo(_yaml(list(records)), nl=False)
    elif form == "csv":
        click.echo(_csv(records, columns), nl=False)
    else:
        for record in records:
            click.echo(safe_text(record[columns[0]], LONGEST))


def one(form: str, record: Record, columns: Sequence[str], table: Callable[[], None]) -> None:
    """One record: an object, not a list of one."""
    if form == "json":
        click.echo(json.dumps(record, indent=2))
    elif form == "yaml":
        click.echo(_yaml(dict(record)), nl=False)
    else:
        listing(form, [record], columns, table)


def _yaml(content: Any) -> str:
    import yaml

    return yaml.safe_dump(json.loads(json.dumps(content)), sort_keys=False, allow_unicode=False)


def _csv(records: Sequence[Record], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for record in records:
        writer.writerow(_cell(record.get(column)) for column in columns)
    return text.getvalue()


def _cell(value: Any) -> str:
    shown = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    shown = safe_text(shown, LONGEST)
    # A spreadsheet runs what begins so; a quote before it makes it text (OWASP, "CSV Injection").
    return f"'{shown}" if shown[:1] in ("=", "+", "-", "@") else shown

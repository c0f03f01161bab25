"""quarantine doctor"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from quarantine.cli import options
from quarantine.cli.exit_code import ExitCode

if TYPE_CHECKING:
    from quarantine.action import Check, Provider
    from quarantine.app import App

COLUMNS = ("verdict", "subject", "message", "fix")


@click.command("doctor")
@options.formatted
@options.everywhere
@click.pass_context
def command(ctx: click.Context, form: str) -> None:
    """Can this installation do its work?

    Each line says what to do about it. Only reads. Exit 6 if something fails.
    """
    app = options.load_app(ctx)
    from quarantine.cli.output import listing

    checks = list(_checks(app))
    listing(form, [check.model_dump(mode="json") for check in checks], COLUMNS, lambda: _show(checks))
    ctx.exit(ExitCode.PARTLY if any(check.verdict == "fail" for check in checks) else ExitCode.DONE)


def _checks(app: "App") -> Iterator["Check"]:
    yield from _configuration(app)
    yield from _database(app)
    yield from _ledger(app)
    yield from _secrets(app)
    try:
        providers = app.registry.configured
    except Exception:  # noqa: BLE001 - said already, under configuration
        return
    if not providers:
        yield _warn("providers", "none is configured, so nothing can be touched", "fill in 'providers:'")
    for provider in providers.values():
        yield from _provider(provider)
    yield from _rereads(app)


def _provider(provider: "Provider") -> Iterator["Check"]:
    from quarantine.errors import Missing

    try:
        yield from provider.doctor()
    except Missing as error:  # the others are looked at all the same
        yield _fail(provider.name, str(error), "install it where the server runs")


def _rereads(app: "App") -> Iterator["Check"]:
    """Can those be asked again whose findings we act on? Where not, nothing is done about these by itself."""
    from quarantine.errors import Gone, QuarantineError

    for name, reader in app.settings.readers.items():
        reread, provider = app.registry.rereads.get(reader), reader.partition(":")[0]
        if reread is None or provider not in app.registry.configured:
            continue
        schedule = app.settings.schedules.get(name)
        for scope in app.registry.provider(provider).scopes() if schedule is None else (schedule.scope,):
            subject, needs = f"{name}, {scope}", ", ".join(reread.permissions)
            try:
                reread.probe(app.registry.provider(provider).connect(scope))
            except Gone:
                yield _ok(subject, f"its findings can be asked for again: {needs}")
            except QuarantineError as error:
                fix = f"allow {needs}; until then a person is asked about each of its findings"
                yield _warn(subject, f"its findings cannot be asked for again: {error}", fix)
            else:
                yield _ok(subject, f"its findings can be asked for again: {needs}")


def _configuration(app: "App") -> Iterator["Check"]:
    from quarantine.config import Mode
    from quarantine.errors import QuarantineError

    try:
        app.check()
    except QuarantineError as error:
        yield _fail("configuration", str(error), "correct it; then: quarantine validate")
        return
    mode = app.settings.guards.mode
    playbooks = f"{len(app.shelf.playbooks)} playbooks"
    if mode is Mode.OBSERVE:
        yield _warn("configuration", f"{playbooks}, mode observe: nothing is contained", "set guards.mode: ask")
    else:
        yield _ok("configuration", f"{playbooks}, mode {mode}")


def _database(app: "App") -> Iterator["Check"]:
    from quarantine.errors import QuarantineError

    try:
        kept = app.store.durability()
        switches = app.store.switches()
    except QuarantineError as error:
        yield _fail("database", str(error), "look at 'data:' and 'database:'")
        return
    said = ", ".join(f"{name} {value}" for name, value in kept.items())
    # SQLite says 2 for FULL.
    safe = kept in ({"journal_mode": "wal", "synchronous": "2"}, {"fsync": "on", "synchronous_commit": "on"})
    if safe:
        yield _ok("database", said.replace("synchronous 2", "synchronous full"))
    else:
        yield _warn("database", f"{said}: a power cut may lose the last records", "use a local disk; fsync on")
    lost = app.store.notices(only_given_up=True)
    if lost:
        said = f"{len(lost)} notices were given up, the last one for {lost[-1].channel}: {lost[-1].failure}"
        yield _warn("notify", said, "quarantine case list --needs-human, and --waiting")
    for switch in switches:
        yield _warn("kill switch", f"{switch.scope} is stopped by {switch.by}: {switch.reason}", "quarantine kill off")


def _ledger(app: "App") -> Iterator["Check"]:
    """Is the record signed, and seen by those who watch over it?"""
    from quarantine.audit import STALE, UNSEEN
    from quarantine.errors import QuarantineError
    from quarantine.text import many, moment

    try:
        last, waiting, seen = app.store.last_checkpoint(), app.store.unsealed(), app.store.seen()
    except QuarantineError:
        return  # said already, under database
    if last is None:
        yield _warn("ledger", "nothing is signed yet", "quarantine serve signs what is written, where its key is")
        return
    at, size = last[0], int(last[1].split("\n")[1])
    told = f"{many(size, 'entry', 'entries')} signed, the last time {moment(at)}, {waiting} waiting"
    if waiting and app.clock() - at > STALE:
        yield _warn("ledger", told, f"start quarantine serve where the key is: {app.ledger_key}")
    else:
        yield _ok("ledger", told)
    for name, witness in app.settings.ledger.witnesses.items():
        has, when = seen.get(witness.key, (0, None))
        subject, told = f"witness {name}", f"it has seen {has} of {size}" + (f", {moment(when)}" if when else "")
        if has < size and (when is None or app.clock() - when > UNSEEN):
            yield _warn(subject, told, f"does it run at {witness.url}, with our key? The server's log says more")
        else:
            yield _ok(subject, told)


def _secrets(app: "App") -> Iterator["Check"]:
    from quarantine.errors import QuarantineError

    for name, source in app.settings.sources.items():
        for secret in (source.secret, source.previous_secret):
            if secret is None:
                continue
            try:
                secret.reveal()
            except QuarantineError as error:
                yield _fail(f"source {name}", str(error), "set it, where the server runs")
            else:
                yield _ok(f"source {name}", f"its secret is there: {secret.reference}")
    for webhook in app.webhooks:
        try:
            webhook.check()
        except QuarantineError as error:
            yield _fail(f"notify {webhook.name}", str(error), "set it, where the server runs")
        else:
            yield _ok(f"notify {webhook.name}", "its address and its secret are there")


def _ok(subject: str, message: str) -> "Check":
    return _check(subject, "ok", message, "")


def _warn(subject: str, message: str, fix: str) -> "Check":
    return _check(subject, "warn", message, fix)


def _fail(subject: str, message: str, fix: str) -> "Check":
    return _check(subject, "fail", message, fix)


def _check(subject: str, verdict: str, message: str, fix: str) -> "Check":
    from quarantine.action import Check, Verdict

    return Check(subject=subject, verdict=Verdict(verdict), message=message, fix=fix)


def _show(checks: list["Check"]) -> None:
    from rich.text import Text

    from quarantine.cli.screen import joined, safe, stdout

    screen = stdout()
    styles = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    width = max(len(check.subject) for check in checks)
    for check in checks:
        word = Text(check.verdict.upper().ljust(6), styles[check.verdict])
        screen.prose(safe(check.message), joined(word, safe(check.subject.ljust(width + 2))))
        if check.fix:
            screen.prose(safe(check.fix), joined(" " * (8 + width), Text("fix: ", "dim")))

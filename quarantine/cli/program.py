"""The command `quarantine`: which verbs there are, and what becomes of an error."""

import errno
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from quarantine.cli import exit_code, options
from quarantine.cli.exit_code import ExitCode
from quarantine.errors import QuarantineError
from quarantine.text import closest, safe_text

# Each verb is `command` in the module of its name.
SECTIONS: dict[str, tuple[str, ...]] = {
    "Begin": ("demo", "init", "doctor", "permissions", "validate", "serve", "worker", "witness"),
    "Contain": ("explain", "plan", "apply", "run"),
    "Cases": ("case", "kill", "budget", "sweep", "break-glass", "token"),
    "Look": ("playbook", "report", "audit", "version", "completion"),
}


class Program(click.Group):
    """Loads a verb's module when it is used, and is the one net for errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for verbs in SECTIONS.values() for verb in verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(f"quarantine.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args[0] not in known and not args[0].startswith("-"):
            # click looks for similar words among commands that are loaded, and here none is.
            raise click.UsageError(f"No such command '{safe_text(args[0], 50)}'.{closest(args[0], known)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, verbs in SECTIONS.items():
            commands = [(verb, self.get_command(ctx, verb)) for verb in verbs]
            with formatter.section(title):
                # One width for all sections, so that they align.
                rows = [(verb.ljust(11), command.get_short_help_str(80)) for verb, command in commands if command]
                formatter.write_dl(rows, col_spacing=2)

    def invoke(self, ctx: click.Context) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                # A terminal that cannot show a character gets its escape, never a traceback.
                with suppress(OSError):
                    stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except QuarantineError as error:
            complain(str(error))
            _trace(ctx)
            ctx.exit(exit_code.of_error(error))
        except KeyboardInterrupt:
            click.echo("\ninterrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            return self._unexpected(ctx, error)
        except Exception as error:  # noqa: BLE001 - a door: nobody shall see a traceback who did not ask for it
            return self._unexpected(ctx, error)

    def _unexpected(self, ctx: click.Context, error: Exception) -> None:
        if _is_database_error(error):
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            complain(f"the database does not answer: {reason}. Look with: quarantine doctor")
        else:
            complain(f"an error in this program: {type(error).__name__}: {error}")
        if not _trace(ctx):
            click.echo("Where it happened: the same command with --debug", err=True)
        ctx.exit(ExitCode.INTERNAL)


def complain(sentence: str) -> None:
    """Say on stderr what went wrong; a configuration may have several problems, one a line."""
    label = click.style("Error:", fg="red", bold=True) if options.colourful(sys.stderr) else "Error:"
    for number, line in enumerate(sentence.splitlines() or [""]):
        click.echo(f"{label if number == 0 else '      '} {safe_text(line, 2000)}", err=True)


def _trace(ctx: click.Context) -> bool:
    """Print the traceback of the error being handled, if it was asked for."""
    if not options.debugging(ctx):
        return False
    import traceback

    for line in traceback.format_exc().splitlines():
        click.echo(safe_text(line, 2000), err=True)
    return True


def _is_database_error(error: Exception) -> bool:
    if "sqlalchemy" not in sys.modules:
        return False
    from sqlalchemy.exc import SQLAlchemyError

    return isinstance(error, SQLAlchemyError)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExit codes: 0 done, 1 internal, 2 usage, 3 work pending, 4 authentication,\n"
    "5 waiting for approval, 6 partly failed, 7 stopped by a guard, 130 interrupted.",
)
@options.everywhere
def program() -> None:
    """Contains compromised cloud workloads: planned, guarded, recorded, verified, reversible.

    \b
      quarantine demo                                          see all of it, without an account
      quarantine run close-public-bucket aws:s3-bucket/NAME    what would be done; --apply does it
      quarantine case release CASE                             give everything back as it was
    """

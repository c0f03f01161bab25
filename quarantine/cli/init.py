"""quarantine init"""

from pathlib import Path

import click

from quarantine.cli import options
from quarantine.errors import Misconfigured, Misused


@click.command("init")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@options.everywhere
@click.pass_context
def command(ctx: click.Context, folder: Path) -> None:
    """Write a commented config.yaml, and make the key that signs the record.

    Into FOLDER, here if left out. It runs as it is: in observe mode, without a provider, touching nothing.
    """
    path = folder / "config.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_example().read_text(encoding="utf-8"))
    except FileExistsError:
        raise Misused(f"{path} is already there: nothing was written") from None
    except OSError as error:
        raise Misconfigured(f"{path} cannot be written: {error.strerror}") from error
    click.echo(str(path))
    options.quiet(ctx)
    key = _key(path)
    options.tell("The record is signed. Keep this public key where nobody here can change it:")
    options.tell(f"  {key}")
    options.tell("Next: name your accounts or clusters under 'providers:', then")
    where = "" if path == Path("config.yaml") else f" --config {path}"
    options.tell(f"  quarantine doctor{where}      are they reachable, and is it us?")
    options.tell(f"  quarantine serve{where}       take findings, in observe mode")


def _key(path: Path) -> str | None:
    """The public key of the new installation."""
    from quarantine import app

    made = app.load(path)
    try:
        return made.store.log_key() if made.sealer is not None else None
    finally:
        made.store.close()


def _example() -> Path:
    """The commented configuration: inside the wheel, else beside the package."""
    from importlib.resources import files

    package = Path(str(files("quarantine")))
    packed = package / "_config.example.yaml"
    return packed if packed.is_file() else package.parent / "config.example.yaml"

"""quarantine completion"""

import click

from quarantine.cli import options


@click.command(
    "completion", epilog="Bash: source <(quarantine completion bash)   Fish: quarantine completion fish | source"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@options.everywhere
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Write the script that completes commands in a shell."""
    from click.shell_completion import get_completion_class

    completion = get_completion_class(shell)
    assert completion is not None  # noqa: S101 - click has all three
    root = ctx.find_root()
    click.echo(completion(root.command, {}, "quarantine", "_QUARANTINE_COMPLETE").source())

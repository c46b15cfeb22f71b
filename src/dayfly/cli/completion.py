"""`completion`: the script that teaches a shell to complete commands, options and the names of functions."""

from __future__ import annotations

import click

PLACES = {
    "bash": '~/.bashrc:                           eval "$(dayfly completion bash)"',
    "zsh": '~/.zshrc:                            eval "$(dayfly completion zsh)"',
    "fish": "~/.config/fish/completions/dayfly.fish: dayfly completion fish | source",
}


@click.command(
    epilog="\b\nPut into\n  " + "\n  ".join(PLACES.values()) + "\n\n\b\nExamples:\n  dayfly completion bash",
)
@click.argument("shell", type=click.Choice(tuple(PLACES)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the shell script that completes commands and names."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(ctx.find_root().command, {}, "dayfly", "_DAYFLY_COMPLETE").source())

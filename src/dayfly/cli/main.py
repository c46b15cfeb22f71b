"""The `dayfly` command: which commands there are, and how errors end.

The table below is all that `dayfly --help`, `--version` and completion need; a command's module is imported when it runs.
(A test compares the one-line helps here with those of the commands.)
"""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from .. import __version__
from .errors import ExitCode, Failure
from .options import global_options

SECTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "Server": {
        "up": ("up", "Start Dayfly on this machine."),
        "down": ("up", "Stop the Dayfly that `dayfly up` started."),
        "status": ("status", "Show whether the server answers and what it holds."),
        "doctor": ("doctor", "Show what protections and runtimes this machine offers."),
    },
    "Functions": {
        "deploy": ("deploy", "Deploy a file, folder or zip as a function."),
        "dev": ("dev", "Watch a folder: deploy at every save and follow the logs."),
        "ls": ("functions", "List functions."),
        "show": ("functions", "Show a function and the configuration that is live."),
        "revisions": ("functions", "List the revisions of a function."),
        "traffic": ("traffic", "Show or split a function's calls over its revisions."),
        "rollback": ("traffic", "Send all calls to an earlier revision."),
        "alias": ("traffic", "Name revisions: set, list and remove aliases."),
        "callers": ("callers", "Show or say who may call a function."),
        "recycle": ("functions", "Retire a function's instances, so that the next call is cold."),
        "rm": ("functions", "Remove functions; calls under way end first."),
    },
    "Calls": {
        "invoke": ("invoke", "Call a function and print its answer."),
        "invocations": ("invocations", "List past and present calls, newest first."),
        "result": ("invocations", "Print the answer of an asynchronous call."),
        "cancel": ("invocations", "Stop a queued or running call."),
        "logs": ("logs", "Print the logs of a function."),
        "top": ("top", "Watch functions live: instances, calls, errors."),
        "usage": ("usage", "Show what was used and what it costs."),
    },
    "Events": {
        "publish": ("events", "Publish an event; it is on disk when this comes back."),
        "events": ("events", "List, show and follow accepted events, and the types that have passed."),
        "broker": ("triggers", "Create, list and remove brokers. Every namespace has one called `default`."),
        "trigger": ("triggers", "Create, list, pause, fire and remove triggers."),
        "queue": ("queues", "Create queues, send, receive and acknowledge messages."),
        "dlq": ("dead", "Look into what could not be delivered, give it another chance, or forget it."),
        "replay": ("dead", "Call again with the input of a recorded invocation or event."),
        "advance": ("events", "Put the time of a development server forward."),
    },
    "Tenants": {
        "namespace": ("namespaces", "Create, list, bound and remove namespaces."),
        "secret": ("secrets", "Set, list and remove secrets."),
        "key": ("keys", "Create, list and revoke keys."),
        "audit": ("audit", "Show who changed what, newest first."),
        "token": ("keys", "Print a token for a short while."),
    },
    "Migration": {
        "import": ("migrate", "Deploy what a manifest of OpenWhisk's wskdeploy or a SAM template describes."),
        "env": ("migrate", "Print the settings that other systems' tools need to use this server."),
    },
    "Shell": {
        "completion": ("completion", "Print the shell script that completes commands and names."),
    },
}

COMMANDS = {name: entry for commands in SECTIONS.values() for name, entry in commands.items()}


class _Commands(click.Group):
    """A group that imports a command's module when the command is asked for, not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __package__)
        command: click.Command = getattr(module, f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(args[0], COMMANDS, n=3)
            advice = f" Did you mean {' or '.join(close)}?" if close else ""
            raise click.UsageError(f"No such command {args[0]!r}.{advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name, text) for name, (_, text) in commands.items()], col_max=14)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), code.explanation) for code in ExitCode])
        with formatter.section("Environment"):
            formatter.write_text(
                "Every option is also a variable: DAYFLY_URL, DAYFLY_TOKEN, DAYFLY_NAMESPACE and DAYFLY_OUTPUT for all "
                "commands, DAYFLY_COMMAND_OPTION for the others (DAYFLY_DEPLOY_MEMORY=512). NO_COLOR turns colours off."
            )


@click.group(
    cls=_Commands,
    context_settings={
        "auto_envvar_prefix": "DAYFLY",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(__version__, "-V", "--version", message="dayfly %(version)s")
@global_options
@click.pass_context
def cli(ctx: click.Context, /, **_: object) -> None:
    """Deploy functions in milliseconds, call them, pay by the millisecond.

    \b
      dayfly up --detach                    start the server on this machine
      dayfly deploy hello.py --name hello   hand over code
      dayfly invoke hello -d '{"n": 1}'     call it
      dayfly COMMAND --help                 options and examples of a command
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code (`errors.ExitCode`)."""
    try:
        outcome = cli.main(arguments, prog_name="dayfly", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.code if isinstance(error, Failure) else error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # `| head` has seen enough: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    return outcome if isinstance(outcome, int) else ExitCode.OK

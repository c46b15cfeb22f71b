"""The frame of the command line: help, names, environment, exit codes, start."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dayfly import __version__
from dayfly.cli.errors import PLAIN, ExitCode
from dayfly.cli.main import COMMANDS, cli
from tests.support.cli import FUNCTIONS, Run, Stub, function, no_settings, run, stub

__all__ = ["no_settings", "run", "stub"]


def all_commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", inner) for sub, inner in command.commands.items())


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_table_says_what_the_command_says(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert (command.help or "").split("\n\n")[0].strip().replace("\n", " ") == COMMANDS[name][1]


@pytest.mark.parametrize(("name", "command"), list(all_commands()))
def test_every_command_and_option_explains_itself(name: str, command: click.Command) -> None:
    assert command.help, name
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{name} {parameter.opts}"
    if not isinstance(command, click.Group):
        assert "Examples:" in (command.epilog or ""), name


def examples() -> Iterator[str]:
    for _, command in all_commands():
        yield from re.findall(r"^  .*?\b(dayfly .*)$", command.epilog or "", re.MULTILINE)


@pytest.mark.parametrize("line", sorted(set(examples())))
def test_every_example_of_a_help_text_is_a_valid_command_line(line: str, tmp_path: Path) -> None:
    words = shlex.split(re.split(r" [|>] |\)\"?$", line)[0])[1:]
    context: click.Context = click.Context(cli, info_name="dayfly")
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context, info_name=name)
    existing = (".", "./shop", "hello.py", "password.txt", "manifest.yaml", "template.yaml")
    (tmp_path / "file").touch()
    words = [str(tmp_path / "file") if word in existing else word for word in words]
    with command.make_context(command.name, words, parent=context.parent):
        pass


def test_help_lists_every_command_and_every_exit_code(run: Run) -> None:
    ran = run("--help")
    assert ran.code == 0
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", ran.out, re.MULTILINE)
    for code in ExitCode:
        assert re.search(rf"^  {int(code)}  +{re.escape(code.explanation)}$", ran.out, re.MULTILINE)


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"dayfly {__version__}\n", "")


def test_no_arguments_show_the_help(run: Run) -> None:
    ran = run()
    assert ran.code == 2
    assert "Usage: dayfly" in ran.out + ran.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["depoly"], "No such command 'depoly'. Did you mean deploy or replay?"),
        (["ls", "--nonsense"], "No such option"),
        (["show"], "Missing argument 'NAME'"),
        (["ls", "-o", "xml"], "'xml' is not one of"),
        (["logs", "x", "--since", "soon"], "'soon' is neither an age (90s, 15m, 1h, 7d) nor a time"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(run: Run, arguments: list[str], message: str) -> None:
    ran = run(*arguments)
    assert ran.code == ExitCode.USAGE
    assert message in ran.err
    assert ran.out == ""


def test_starting_imports_nothing_heavy() -> None:
    heavy = {"rich", "httpx2", "msgspec", "watchfiles", "http.client", "asyncio", "ssl", "email", "uvloop", "starlette"}
    script = (
        "import sys; from dayfly.cli.main import main; main(sys.argv[1:]); "
        f"print('LOADED', sorted({heavy!r} & set(sys.modules)))"
    )
    for arguments in (["--help"], ["--version"], ["deploy", "--help"], ["logs", "--help"]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "LOADED []", arguments


def test_calling_imports_no_http_library(stub: Stub) -> None:
    stub.give("GET", FUNCTIONS, {"items": [], "cursor": ""})
    script = "import sys; from dayfly.cli.main import main; main(['ls']); print('httpx2' in sys.modules, 'rich' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_shared_options_before_after_and_in_the_environment(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    def asked_of(*arguments: str) -> str:
        stub.asked.clear()
        run(*arguments)
        return stub.asked[0].path.split("/")[3]

    assert asked_of("ls") == "default"
    monkeypatch.setenv("DAYFLY_NAMESPACE", "env")
    assert asked_of("ls") == "env"
    assert asked_of("-n", "before", "ls") == "before"
    assert asked_of("-n", "before", "ls", "-n", "after") == "after"
    assert asked_of("-n", "before", "secret", "ls") == "before"


def test_every_flag_has_a_variable(run: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    stub.give("GET", FUNCTIONS, {"items": [function()]})
    stub.give("GET", "/v1/namespaces/default/invocations", {"items": []})
    monkeypatch.setenv("DAYFLY_OUTPUT", "json")
    monkeypatch.setenv("DAYFLY_TOKEN", "s3cret")
    monkeypatch.setenv("DAYFLY_INVOCATIONS_LIMIT", "7")
    assert run("ls").json[0]["name"] == "hello"
    assert stub.asked[-1].headers["authorization"] == "Bearer s3cret"
    run("invocations")
    assert stub.asked[-1].query["limit"] == "7"


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (404, "not-found", 4),
        (401, "unauthenticated", 5),
        (403, "forbidden", 5),
        (422, "build-failed", 6),
        (429, "throttled", 7),
        (503, "unavailable", 7),
        (504, "timed-out", 11),
        (502, "instance-died", 12),
        (499, "cancelled", 13),
        (409, "conflict", 1),
        (500, "internal", 1),
    ],
)
def test_problems_end_in_stable_exit_codes(run: Run, stub: Stub, status: int, kind: str, code: int) -> None:
    stub.refuse("GET", FUNCTIONS, status, kind, "it went wrong", hint="Do this.")
    ran = run("ls")
    assert ran.code == code
    assert ran.out == ""
    title = "" if kind in PLAIN else "Title: "
    assert ran.err == f"Error: {title}{'It' if kind in PLAIN else 'it'} went wrong.\nDo this.\n"


def test_an_error_message_cannot_steer_the_terminal(run: Run, stub: Stub) -> None:
    stub.refuse("GET", FUNCTIONS, 500, "internal", "\x1b]0;title\x07", hint="\x1b[2J", file="\x9b31m")
    ran = run("ls")
    assert "\x1b" not in ran.err
    assert "\x9b" not in ran.err


def test_a_reader_that_has_seen_enough_is_no_drama(stub: Stub) -> None:
    stub.give("GET", FUNCTIONS, {"items": [function(f"f{i}") for i in range(5000)]})
    pipeline = f"{shlex.quote(sys.executable)} -m dayfly ls | head -1"
    done = subprocess.run(["sh", "-c", pipeline], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("NAME")
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert ran.code == 0
    assert f"_DAYFLY_COMPLETE={shell}_complete" in ran.out


def complete(words: str, url: str) -> list[str]:
    import os

    environment = {
        **os.environ,
        "_DAYFLY_COMPLETE": "bash_complete",
        "COMP_WORDS": f"dayfly {words}",
        "COMP_CWORD": str(len(words.split(" "))),
        "DAYFLY_URL": url,
    }
    done = subprocess.run([sys.executable, "-m", "dayfly"], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return [line.split(",")[1] for line in done.stdout.splitlines() if line]


def test_completion_knows_commands_options_and_functions(stub: Stub) -> None:
    stub.give("GET", FUNCTIONS, {"items": [function("hello"), function("help-me")]})
    assert complete("rev", stub.url) == ["revisions"]
    assert "--memory" in complete("deploy --m", stub.url)
    assert complete("show hel", stub.url) == ["hello", "help-me"]
    assert stub.asked[-1].query == {"prefix": "hel", "limit": "100"}


def test_completion_without_a_server_is_silent() -> None:
    assert complete("show hel", "http://127.0.0.1:1") == []

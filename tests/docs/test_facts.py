"""What the pages claim beside their code blocks: links, commands, options, tables, limits, against what the source says."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from dayfly import errors
from dayfly.api import calls as api_calls
from dayfly.api.serve import MAX_PACKAGE
from dayfly.calls.admission import KEPT, WINDOW
from dayfly.calls.dispatcher import COLLECT
from dayfly.cli.main import cli
from dayfly.events import queue
from dayfly.gateway.limits import EdgeLimits
from dayfly.model.function import Config
from dayfly.model.profile import NATIVE
from dayfly.model.usage import PriceSheet
from dayfly.observe import logs, recorder
from dayfly.pool.pool import Limits
from dayfly.sandbox.frames import MAX_HEAD, MAX_PAYLOAD

from .snippets import PAGES, ROOT, blocks, steps

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE = re.compile(r"`([^`\n]+)`")
_OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z-]+|-[a-zA-Z])(?![\w-])")
EVERYWHERE = {"--help", "--version"}
# Of curl, draw.py, systemd-run and sam.
FOREIGN = {"--cw-log-group", "--data-binary", "--measure", "--stack-name", "--tail", "--user"}

MiB, KiB = 1 << 20, 1 << 10


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose header begins with this cell."""
    lines = iter((ROOT / page).read_text().splitlines())
    for line in lines:
        if line.startswith(f"| {first} |"):
            next(lines)
            found = []
            for row in lines:
                if not row.startswith("|"):
                    return found
                found.append([cell.strip().strip("`") for cell in row.removeprefix("|").removesuffix("|").split("|")])
            return found
    raise AssertionError(f"{page} has no table that begins with {first!r}")


def prose(page: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchor(heading: str) -> str:
    """As the usual renderers make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_resolve(page: Path) -> None:
    for link in _LINK.findall(prose(page)):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        if fragment:
            headings = [anchor(line.lstrip("#")) for line in target.read_text().splitlines() if line.startswith("#")]
            assert fragment in headings, f"{page.name}: {link}; there are: {headings}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert [
        page.name for page in (ROOT / "docs").glob("*.md") if page.name != "README.md" and f"({page.name})" not in index
    ] == []


def commands(page: Path) -> Iterator[str]:
    """Whatever on the page begins with `dayfly `: in code blocks and in the text."""
    for block in blocks(page):
        for step in steps(block) if block.language == "console" else ():
            yield from re.findall(r"\bdayfly [^\s|;&<>][^|;&<>\n]*", step.command.replace("\\\n", " "))
    yield from (code for code in _CODE.findall(prose(page)) if code.startswith("dayfly "))


def options_of(command: click.Command) -> set[str]:
    found = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | EVERYWHERE
    if isinstance(command, click.Group):
        with click.Context(command) as ctx:
            for name in command.list_commands(ctx):
                found |= options_of(command.get_command(ctx, name) or command)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    root = options_of(cli)
    with click.Context(cli) as ctx:
        for text in commands(page):
            name = text.split()[1].strip(".,:")
            if name.startswith("-") or not name.islower():
                used, known = text, root
            else:
                command = cli.get_command(ctx, name)
                assert command is not None, f"{page.name}: {text}: there is no command {name}"
                used, known = re.sub(r"'[^']*'|\"[^\"]*\"", "", text), options_of(command)
            unknown = {option for option in _OPTION.findall(used) if option not in known}
            assert not unknown, f"{page.name}: {text}: {name} has no {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_named_in_the_text_exist(page: Path) -> None:
    known = options_of(cli) | FOREIGN
    named = {option for code in _CODE.findall(prose(page)) for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", code)}
    assert named <= known, f"{page.name}: {named - known}"


def test_the_table_of_errors_is_the_tree() -> None:
    def below(base: type[errors.DayflyError]) -> Iterator[type[errors.DayflyError]]:
        for kind in base.__subclasses__():
            if kind.__module__ == errors.__name__:
                yield kind
                yield from below(kind)

    tree = {(kind.kind, str(kind.status), str(kind("").title)) for kind in below(errors.DayflyError)}
    table = [tuple(row[:3]) for row in rows("docs/calling.md", "kind")]
    assert sorted(table) == sorted(tree)
    assert [int(row[1]) for row in table] == sorted(int(row[1]) for row in table)


def test_the_table_of_configuration_is_the_config() -> None:
    table = {row[0]: row for row in rows("docs/deploying.md", "field")}
    fields = {field.name: field for field in msgspec.structs.fields(Config)}
    assert list(table) == list(fields)
    with click.Context(cli) as ctx:
        deploy = cli.get_command(ctx, "deploy")
    assert deploy is not None
    for name, field in fields.items():
        default = field.default if field.default is not msgspec.NODEFAULT else None
        shown = table[name][1]
        assert shown == ("none" if default in (None, {}, ()) else str(default)), name
        for option in re.findall(r"--[a-z-]+", table[name][2]):
            assert option in options_of(deploy), f"{name}: {option}"
        for bound in re.findall(r"(?:up to|to) (\d+)", table[name][3]):
            assert int(bound) == highest(field.type), f"{name} goes up to {highest(field.type)}"


def highest(annotated: object) -> float | None:
    """The upper bound in a field's type."""
    metas = [meta for meta in getattr(annotated, "__metadata__", ()) if isinstance(meta, msgspec.Meta)]
    return next((meta.le for meta in metas if meta.le is not None), None)


def test_the_table_of_settings_is_what_up_takes() -> None:
    with click.Context(cli) as ctx:
        up = cli.get_command(ctx, "up")
    assert up is not None
    named = {option for row in rows("docs/operating.md", "`dayfly up`") for option in re.findall(r"--[a-z-]+", row[0])}
    taken = {option for parameter in up.params if not getattr(parameter, "hidden", False) for option in parameter.opts}
    assert named == {option for option in taken if option.startswith("--")} - {"--detach", "--help"}


def test_every_header_is_in_the_tables() -> None:
    table = {row[0].partition(":")[0].lower() for first in ("request", "response") for row in rows("docs/calling.md", first)}
    source = inspect.getsource(api_calls) + inspect.getsource(importlib.import_module("dayfly.gateway.edge"))
    spoken = set(re.findall(r"\(?b?\"(dayfly-[a-z-]+[a-z])\"", source)) | {
        "prefer",
        "idempotency-key",
        "traceparent",
        "server-timing",
    }
    assert spoken <= table, spoken - table


def test_limits() -> None:
    edge, pool, config = EdgeLimits(), Limits(), Config()
    table = {row[0]: row[1] for row in rows("docs/calling.md", "what")}
    assert table == {
        "body of a call": f"{edge.body_bytes // MiB} MiB",
        "answer that is not streamed": f"none over HTTP; {COLLECT // MiB} MiB for asynchronous calls and idempotency keys",
        "URL; headers of a request": f"{edge.url_bytes // KiB} KiB; {edge.header_bytes // KiB} KiB and {edge.header_count}",
        "headers of an answer": "64 KiB and 200",
        "time to send the head; between two pieces of a body": f"{edge.head_timeout_s:g} s; {edge.body_timeout_s:g} s",
        "connection without a request": f"{edge.idle_timeout_s:g} s",
        "connections, from one address; requests in a row on one without waiting": f"{edge.connections:,}, {edge.peer_connections:,}; {edge.pipelined}",
        "calls that wait for an instance": f"{pool.queue_per_function:,} a revision, {pool.queue_timeout_s:g} s each",
        "instances of a function; of all": f"{config.max_instances}; {pool.instances:,}",
        "delay of an asynchronous call": "15 days",
        "package that is uploaded": f"{MAX_PACKAGE // MiB} MiB",
    }


@pytest.mark.parametrize(
    ("page", "claim"),
    [
        ("docs/calling.md", f"in memory, for {WINDOW / 60:g} minutes and {KEPT:,} calls"),
        ("docs/calling.md", f"tried twice more, after {NATIVE.async_delays[0]:g} and {NATIVE.async_delays[1]:g} seconds"),
        ("docs/calling.md", f"up to {NATIVE.async_max_age / 3600:g} hours"),
        ("docs/operating.md", f"kept for {recorder.KEEP_SECONDS / 86400:g} days, at most {recorder.KEEP_ROWS:,} records"),
        ("docs/operating.md", f"{logs.KEEP_BYTES // MiB} MiB of lines"),
        (
            "docs/operating.md",
            f"{PriceSheet().per_million_requests:.2f} USD per million requests and {PriceSheet().per_gb_second:.10f} USD",
        ),
        ("docs/scaling.md", f"At most {Limits().concurrent_starts} starts are under way"),
        ("docs/frames.md", f"at most {MAX_PAYLOAD // MiB} MiB"),
        ("docs/frames.md", f"at most {MAX_HEAD // KiB} KiB"),
    ],
)
def test_numbers_in_the_text(page: str, claim: str) -> None:
    assert claim in " ".join((ROOT / page).read_text().split()), claim


def test_numbers_in_words() -> None:
    """ "Twice more", "for a day", "for 7 days" of both records and logs."""
    assert NATIVE.async_retries == 2
    assert queue.KEEP_ENDED_S == queue.KEY_WINDOW == 86400
    assert logs.KEEP_SECONDS == recorder.KEEP_SECONDS


def test_the_folders_are_those_of_the_source() -> None:
    source = ROOT / "src" / "dayfly"
    there = {path.name + "/" for path in source.iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    there |= {path.name for path in source.glob("*.py") if not path.name.startswith("__")}
    told = {name for row in rows("ARCHITECTURE.md", "folder") for name in re.findall(r"[\w.]+\.py|\w+/", row[0])}
    assert told == there


def test_the_import_rules_are_those_that_are_checked() -> None:
    rules = {module for row in rows("ARCHITECTURE.md", "rule") for module in re.findall(r"\w+", row[0])}
    config = (ROOT / ".importlinter").read_text()
    sources = re.findall(r"source_modules =\n((?:    .+\n)+)", config)
    assert rules == {line.strip().removeprefix("dayfly.") for text in sources for line in text.splitlines()}


def test_the_example_dialect_is_the_tested_one() -> None:
    [example] = [block for block in blocks(ROOT / "docs" / "dialects.md") if block.file == "echo_dialect.py"]
    assert example.text == (ROOT / "tests" / "support" / "echo_dialect.py").read_text()


def test_nothing_of_this_machine_is_told() -> None:
    for page in PAGES:
        for place in (str(ROOT), "/root/", "/tmp/tmp", "/tmp/dayfly-"):
            named = re.search(rf"(?<![\w.]){re.escape(place)}", page.read_text())
            assert named is None, f"{page.name} names {place}"

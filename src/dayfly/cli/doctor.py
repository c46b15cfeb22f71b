"""`doctor`: what this machine offers.

Asks the machine, not the server: which protections a sandbox here would have, and which runtimes are found. With --security also what
settings add or take away, and whether a server for tenants who do not trust each other would start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from .errors import ExitCode
from .options import output_option
from .output import note, print_data, print_table
from .up import isolation_option

if TYPE_CHECKING:
    from ..config import Settings
    from ..sandbox.node.protections import Protection


@click.command(
    epilog="\b\nExamples:\n  dayfly doctor\n  dayfly doctor -o json\n  dayfly doctor --security\n"
    "  dayfly doctor --security --multi-tenant --without landlock"
)
@click.option("--security", is_flag=True, help="Every protection with the settings given, and what is missing.")
@isolation_option
@click.option("--host", default="127.0.0.1", metavar="H", help="Address that the server listens on.")
@click.option("--multi-tenant", is_flag=True, help="Judge as for tenants who do not trust each other.")
@click.option("--without", multiple=True, metavar="PROTECTION", help="Judge as if this one were not needed.")
@output_option
def doctor(output: str, security: bool, isolation: str, host: str, multi_tenant: bool, without: tuple[str, ...]) -> int:
    """Show what protections and runtimes this machine offers.

    Exit code 1 if a protection that isolation needs is off: then only `dayfly up --isolation process` works here, for
    code of your own. With --security and --multi-tenant: exit code 1 if a multi-tenant server would not start.
    """
    from pathlib import Path

    from ..config import Settings
    from ..security import missing_for, report

    given = Settings(data=Path(), isolation=isolation, host=host, multi_tenant=multi_tenant, without=without)
    if security:
        return _security(report(given), given, output)
    import msgspec

    from ..sandbox.node.interpreters import find
    from ..sandbox.node.protections import probe

    protections = probe()
    interpreters = find()
    missing = missing_for(protections, Settings(data=Path()))
    if output != "table":
        found = {"protections": protections, "interpreters": list(interpreters.values()), "isolation": not missing}
        print_data(msgspec.to_builtins(found), output)
        return ExitCode.FAILED if missing else ExitCode.OK
    print_table(("PROTECTION", "STATE", "WHY"), [(p.name, p.state, p.why) for p in protections])
    click.echo()
    if interpreters:
        runtimes = [(i.name, i.version, i.executable) for i in interpreters.values()]
        print_table(("RUNTIME", "VERSION", "FOUND AT"), runtimes)
    else:
        note("No interpreter was found: only functions with an executable `bootstrap` run here.")
    _advise(protections)
    if missing:
        note(
            f"This machine cannot isolate functions: {', '.join(p.name for p in missing)} off. For code of your own, "
            "and no other: dayfly up --isolation process"
        )
    return ExitCode.FAILED if missing else ExitCode.OK


def _security(found: Sequence[Protection], given: Settings, output: str) -> int:
    """Print every protection, whether it is needed, and the verdict."""
    import msgspec

    from ..security import handle, missing_for

    missing = missing_for(found, given)
    if output != "table":
        print_data({"protections": msgspec.to_builtins(found), "missing": [handle(p) for p in missing]}, output)
        return ExitCode.FAILED if missing else ExitCode.OK
    needed = {True: "always", False: ""}
    rows = [(handle(p), p.state, "tenants" if p.tenants and not p.required else needed[p.required], p.why) for p in found]
    print_table(("PROTECTION", "STATE", "NEEDED FOR", "WHY"), rows)
    _advise(found)
    what = "A multi-tenant server" if given.multi_tenant else "A server"
    if missing:
        note(f"{what} with these settings does not start here: {', '.join(handle(p) for p in missing)} off.")
        return ExitCode.FAILED
    note(f"{what} with these settings starts here.")
    return ExitCode.OK


def _advise(found: Sequence[Protection]) -> None:
    for protection in found:
        if protection.state != "on" and protection.todo:
            note(f"{protection.name}: {protection.todo}")

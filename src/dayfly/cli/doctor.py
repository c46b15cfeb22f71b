"""`doctor`: what this machine offers.

Asks the machine, not the server: which protections a sandbox here would have, and which runtimes are found.
"""

from __future__ import annotations

import click

from .errors import ExitCode
from .options import output_option
from .output import note, print_data, print_table


@click.command(epilog="\b\nExamples:\n  dayfly doctor\n  dayfly doctor -o json")
@output_option
def doctor(output: str) -> int:
    """Show what protections and runtimes this machine offers.

    Exit code 1 if a protection that isolation needs is off: then only `dayfly up --isolation process` works here, for
    code of your own.
    """
    import msgspec

    from ..sandbox.node.interpreters import find
    from ..sandbox.node.protections import probe

    protections = probe()
    interpreters = find()
    missing = [protection for protection in protections if protection.required and protection.state == "off"]
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
    for protection in protections:
        if protection.state != "on" and protection.todo:
            note(f"{protection.name}: {protection.todo}")
    if missing:
        note(
            f"This machine cannot isolate functions: {', '.join(p.name for p in missing)} off. For code of your own, "
            "and no other: dayfly up --isolation process"
        )
    return ExitCode.FAILED if missing else ExitCode.OK

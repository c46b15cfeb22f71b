"""`usage`: the ledger, and what it comes to."""

from __future__ import annotations

import click

from .options import Session, complete_functions, connected, output_option, since_option
from .output import moment, print_one


@click.command(epilog="\b\nExamples:\n  dayfly usage\n  dayfly usage hello --since 30d -o json")
@click.argument("name", default="", shell_complete=complete_functions)
@since_option("Only what came after: 90s, 15m, 1h, 7d, or a date.")
@output_option
@connected
def usage(session: Session, name: str, since: float, output: str) -> None:
    """Show what was used and what it costs.

    Of one function, or of the whole namespace. A call is billed for its run time, rounded up to a millisecond, times
    the memory configured; waiting and cold starts are free.
    """
    used = session.client.get(session.path("usage"), {"function": name, "since": since})
    print_one(
        used,
        output,
        (
            ("Namespace", lambda u: u["namespace"]),
            ("Function", lambda u: u["function"] or "all"),
            ("Since", lambda u: moment(u["since"]) or "the beginning"),
            ("Requests", lambda u: f"{u['requests']:,}"),
            ("  errors", lambda u: f"{u['errors']:,}"),
            ("  cold starts", lambda u: f"{u['cold_starts']:,}"),
            ("Billed time", lambda u: f"{u['billed_ms'] / 1000:,.3f} s"),
            ("Memory", lambda u: f"{u['gb_seconds']:,.6f} GB-s"),
            ("Processor", lambda u: f"{u['cpu_ms'] / 1000:,.3f} s"),
            ("Cost", lambda u: _price(u["cost_requests"] + u["cost_compute"], u["currency"])),
            ("  requests", lambda u: _price(u["cost_requests"], u["currency"])),
            ("  compute", lambda u: _price(u["cost_compute"], u["currency"])),
        ),
    )


def _price(amount: float, currency: str) -> str:
    """Cents where it is much, as many digits as it takes where it is little."""
    return f"{amount:,.2f} {currency}" if amount >= 1 else f"{amount:.8f}".rstrip("0").rstrip(".") + f" {currency}"

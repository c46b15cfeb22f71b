"""`publish`, `events`, `advance`: events in and events seen."""

from __future__ import annotations

import json
import sys
import time
import uuid
from typing import IO, Any

import click

from .options import UNITS, Session, connected, output_option, since_option
from .output import ago, json_text, moment, note, print_data, print_list
from .sse import read_events

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


@click.command(
    epilog="\b\nExamples:\n  dayfly publish order.placed -d '{\"total\": 3}'\n"
    "  dayfly publish user.left --subject 42 --broker audit --ext tenant=acme\n  generate-events | dayfly publish --file -"
)
@click.argument("type", default="")
@click.option("-d", "--data", default="", metavar="JSON", help="Data of the event: JSON, or text if it is none.")
@click.option("--broker", default="default", metavar="NAME", help="Broker that gets it.")
@click.option("--source", default="/cli", metavar="URI", help="Where it comes from.")
@click.option("--subject", default="", metavar="TEXT", help="What of the source it is about.")
@click.option("--id", "identifier", default="", metavar="ID", help="Its id; made if not given.")
@click.option("--ext", "extensions", multiple=True, metavar="NAME=VALUE", help="A further attribute; can be repeated.")
@click.option("--file", "file", type=click.File("rb"), help="Send events from a file: one in the JSON format, or a list.")
@output_option
@connected
def publish(
    session: Session,
    type: str,
    data: str,
    broker: str,
    source: str,
    subject: str,
    identifier: str,
    extensions: tuple[str, ...],
    file: IO[bytes] | None,
    output: str,
) -> None:
    """Publish an event; it is on disk when this comes back.

    Prints the deliveries that were scheduled, one a trigger. Where a trigger delivers one by one, the id is also that of
    the invocation: dayfly logs, result and replay take it.
    """
    if file is not None:
        body = file.read()
        media = BATCH if body.lstrip()[:1] == b"[" else STRUCTURED
    elif not type:
        raise click.UsageError("Name the event's type, or a --file with events.")
    else:
        body = json.dumps(event_of(type, data, source, subject, identifier, extensions)).encode()
        media = STRUCTURED
    from .client import segment

    path = f"/events/{segment(session.namespace)}/{segment(broker)}"
    published = session.client.request("POST", path, body=body, headers=(("content-type", media),))
    if output != "table":
        print_data(published, output)
        return
    rows = [(one, delivery) for one in published for delivery in one["deliveries"]]
    print_list(
        rows,
        output,
        (("EVENT", lambda r: r[0]["id"]), ("TRIGGER", lambda r: r[1]["trigger"]), ("DELIVERY", lambda r: r[1]["id"])),
    )
    duplicates = sum(one["duplicate"] for one in published)
    if duplicates:
        note(f"{duplicates} of {len(published)} were there already and changed nothing.")
    elif not rows:
        note(f"Accepted {len(published)}; no trigger of the broker {broker} wants it. See: dayfly trigger ls")


def event_of(type: str, data: str, source: str, subject: str, identifier: str, extensions: tuple[str, ...]) -> dict[str, Any]:
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": identifier or uuid.uuid4().hex,
        "source": source,
        "type": type,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if subject:
        event["subject"] = subject
    for extension in extensions:
        name, found, value = extension.partition("=")
        if not found:
            raise click.UsageError(f"--ext {extension!r} is not NAME=VALUE.")
        event[name] = value
    if data:
        try:
            event["data"] = json.loads(data)
            event["datacontenttype"] = "application/json"
        except ValueError:
            event["data"] = data
            event["datacontenttype"] = "text/plain"
    return event


@click.group()
def events() -> None:
    """List, show and follow accepted events, and the types that have passed."""


@events.command("ls", epilog="\b\nExamples:\n  dayfly events ls\n  dayfly events ls --type order.placed --since 1h")
@click.option("--broker", default="", metavar="NAME", help="Only of this broker.")
@click.option("--type", "type", default="", metavar="TYPE", help="Only of this type.")
@since_option("Only those accepted after: 90s, 15m, 1h, 7d, or a date.")
@click.option("--limit", type=click.IntRange(1), default=50, metavar="N", help="At most so many.")
@output_option
@connected
def list_events(session: Session, broker: str, type: str, since: float, limit: int, output: str) -> None:
    """List accepted events, newest first."""
    query = {"broker": broker, "type": type, "since": since}
    print_list(
        list(session.client.items(session.path("events"), query, limit=limit)),
        output,
        (
            ("ID", lambda e: e["event"]["id"]),
            ("TYPE", lambda e: e["event"]["type"]),
            ("SOURCE", lambda e: e["event"]["source"]),
            ("FROM", lambda e: e["broker"] or f"trigger {e['trigger']}"),
            ("ACCEPTED", lambda e: ago(e["received"])),
        ),
        empty="No events. Publish one: dayfly publish TYPE -d JSON",
    )


@events.command("show", epilog="\b\nExamples:\n  dayfly events show 1d6f")
@click.argument("id")
@click.option("--source", default="", metavar="URI", help="Of several with this id, the one from here.")
@output_option
@connected
def show_event(session: Session, id: str, source: str, output: str) -> None:
    """Show an accepted event."""
    found = session.client.get(session.path("events", id), {"source": source})
    print_data(found["event"] if output == "table" else found, "json" if output == "table" else output)


@events.command("tail", epilog="\b\nExamples:\n  dayfly events tail\n  dayfly events tail --type order.placed -o json")
@click.option("--broker", default="", metavar="NAME", help="Only of this broker.")
@click.option("--type", "type", default="", metavar="TYPE", help="Only of this type.")
@since_option("Begin with those accepted after: 90s, 15m, 1h, 7d, or a date.")
@output_option
@connected
def tail(session: Session, broker: str, type: str, since: float, output: str) -> None:
    """Print events as they are accepted, until ^C."""
    query = {"broker": broker, "type": type, "since": f"{since:.6f}" if since else "", "follow": "true"}
    headers = (("accept", "text/event-stream"),)
    with session.client.open("GET", session.path("events"), query=query, headers=headers, timeout=None) as answer:
        if answer.status >= 400:
            raise answer.problem()
        for event in read_events(answer.chunks()):
            if event.name == "event":
                _print(json.loads(event.data), output)


def _print(recorded: dict[str, Any], output: str) -> None:
    if output == "table":
        event = recorded["event"]
        told = [moment(recorded["received"]), json_text(event["type"], None)[1:-1], json_text(event["id"], None)[1:-1]]
        told += [json_text(event[name], None) for name in ("data", "data_base64") if name in event]
        click.echo("  ".join(told))
    elif output == "yaml":
        print_data([recorded], "yaml")
    else:
        click.echo(json_text(recorded, indent=None))
    sys.stdout.flush()


@events.command("types", epilog="\b\nExamples:\n  dayfly events types")
@click.option("--broker", default="", metavar="NAME", help="Only of this broker.")
@output_option
@connected
def types(session: Session, broker: str, output: str) -> None:
    """List the types of events that have passed."""
    print_list(
        list(session.client.items(session.path("eventtypes"), {"broker": broker})),
        output,
        (
            ("TYPE", lambda t: t["type"]),
            ("BROKER", lambda t: t["broker"]),
            ("COUNT", lambda t: t["count"]),
            ("LAST SOURCE", lambda t: t["source"]),
            ("LAST", lambda t: ago(t["last"])),
        ),
        empty="No event has passed yet.",
    )


@click.command(epilog="\b\nExamples:\n  dayfly advance 1h\n  dayfly advance 90s")
@click.argument("duration")
@output_option
@connected
def advance(session: Session, duration: str, output: str) -> None:
    """Put the time of a development server forward.

    Retries and timers that fall due on the way fire in their order, each at its own moment, and what they start ends
    before the next one. Where much happens on the way, it says every few seconds how far it is; Ctrl-C leaves the time
    where it is then. Only for a server started with `dayfly up --dev`.
    """
    unit = UNITS.get(duration[-1:], 0)
    try:
        seconds = float(duration[:-1]) * unit if unit else float(duration)
    except ValueError:
        raise click.UsageError(f"{duration!r} is not a duration: 90s, 15m, 1h, 7d.") from None
    fired = 0
    while True:
        advanced = session.client.request("POST", session.path("time", "advance"), send={"seconds": seconds}, timeout=600.0)
        fired += advanced["fired"]
        seconds = advanced["left"]
        if not seconds:
            break
        note(f"It is {moment(advanced['now'])}; {fired} timers have fired.")
    advanced["fired"] = fired
    if output != "table":
        print_data(advanced, output)
    else:
        note(f"It is {moment(advanced['now'])} now; {advanced['fired']} timers fired.")

"""`trigger` and `broker`: from events to what they start."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import click

from .events import event_of
from .options import Session, connected, output_option
from .output import ago, note, print_data, print_list, print_one

TELLING = (
    "queue",
    "schedule",
    "signature",
    "path",
    "stream",
    "topics",
    "table",
    "channel",
)  # settings that name what a source reads


@click.group()
def trigger() -> None:
    """Create, list, pause, fire and remove triggers.

    A trigger takes events from a broker (or a source of its own, such as a timer or a queue), keeps those that pass its
    filters, and delivers them to a function, queue, broker or URL.
    """


def destination(text: str) -> dict[str, Any]:
    """FUNCTION[@QUALIFIER], queue:NAME, broker:NAME, topic:NAME or a URL."""
    if text.startswith(("http://", "https://")):
        return {"kind": "http", "name": text}
    kind, found, name = text.partition(":")
    if not found:
        kind, name = "function", text
    if kind not in ("function", "queue", "broker", "topic") or not name:
        raise click.UsageError(f"{text!r} is no target: FUNCTION[@QUALIFIER], queue:NAME, broker:NAME or a URL.")
    if kind == "function":
        name, _, qualifier = name.partition("@")
        return {"kind": kind, "name": name, "qualifier": qualifier}
    return {"kind": kind, "name": name}


def settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value that is JSON is that value."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, given, value = pair.partition("=")
        if not given:
            raise click.UsageError(f"{pair!r} is not NAME=VALUE.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


@trigger.command(
    "create",
    epilog="\b\nExamples:\n  dayfly trigger create on-order --type order.placed --to ship\n"
    '  dayfly trigger create big --sql "vip = TRUE" --to queue:review\n'
    "  dayfly trigger create nightly --cron '0 3 * * *' --timezone Europe/Berlin --to report\n"
    "  dayfly trigger create push --source webhook --set signature=github --set secret=secret:github --to build\n"
    "  dayfly trigger create work --queue jobs --to worker --batch 10 --dead-letter queue:failed",
)
@click.argument("name")
@click.option("--to", "target", required=True, metavar="TARGET", help="FUNCTION[@QUALIFIER], queue:NAME, broker:NAME or URL.")
@click.option("--broker", default="", metavar="NAME", help="Broker whose events it takes; by default `default`.")
@click.option("--queue", default="", metavar="NAME", help="Take messages from this queue instead.")
@click.option(
    "--cron", default="", metavar="SCHEDULE", help="At these times instead: cron, @daily, rate(5 minutes), at(TIME)..."
)
@click.option("--timezone", default="", metavar="ZONE", help="Of --cron; by default UTC.")
@click.option("--source", default="", metavar="KIND", help="Take events from a source of its own instead.")
@click.option("--set", "source_settings", multiple=True, metavar="NAME=VALUE", help="A setting of the source.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only events of this type; can be repeated.")
@click.option("--filter", "filters", multiple=True, metavar="JSON", help='A filter, e.g. {"prefix": {"type": "order."}}.')
@click.option("--sql", default="", metavar="CESQL", help="Only events for which this expression is true.")
@click.option("--attempts", type=click.IntRange(1), metavar="N", help="Attempts at a delivery, the first included.")
@click.option("--backoff", type=click.Choice(("fixed", "linear", "exponential")), help="How the delay grows.")
@click.option("--delay", type=float, metavar="SECONDS", help="Before the first retry.")
@click.option("--max-age", type=float, metavar="SECONDS", help="Then an event is dead.")
@click.option("--concurrency", type=click.IntRange(1), metavar="N", help="Deliveries at the same time.")
@click.option("--order-by", metavar="ATTRIBUTE", help="Events equal in this attribute go in order, one at a time.")
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Events in one delivery, as a list.")
@click.option("--window", type=float, metavar="SECONDS", help="How long a batch may wait to fill.")
@click.option("--bisect", is_flag=True, help="Halve a batch that fails, until those that fail stand alone.")
@click.option("--once-in", type=float, metavar="SECONDS", help="Take an event (by source and id) once in this time.")
@click.option("--dead-letter", metavar="TARGET", help="Also gets what could not be delivered.")
@click.option("--on-success", metavar="TARGET", help="Gets a record of each success.")
@click.option("--on-failure", metavar="TARGET", help="Gets a record of each failure.")
@click.option("--reply", metavar="BROKER", help="Gets the events that functions answer with.")
@click.option("--origin", default="", metavar="NAME", help="Ask the URL for leave to post, under this DNS name of ours.")
@click.option("--shape", default="", metavar="NAME", help="How events become the input: cloudevents or data.")
@click.option("--paused", is_flag=True, help="Deliver nothing yet.")
@click.option("--skip-while-paused", is_flag=True, help="While it is paused, events pass it by rather than wait.")
@output_option
@connected
def create(session: Session, /, name: str, output: str, **given: Any) -> None:
    """Create a trigger, or replace the one of that name."""
    body = _trigger(given)
    made = session.client.request("PUT", session.path("triggers", name), send=body)
    if output != "table":
        print_data(made, output)
    else:
        note(f"{name}: {_from(made)} -> {_to(made['target'])}")


def _trigger(given: dict[str, Any]) -> dict[str, Any]:
    filters: list[Any] = []
    exact = [{"exact": {"type": one}} for one in given["types"]]
    if exact:
        filters.append(exact[0] if len(exact) == 1 else {"any": exact})
    for text in given["filters"]:
        try:
            filters.append(json.loads(text))
        except ValueError as error:
            raise click.UsageError(f"--filter {text!r} is not JSON: {error}") from None
    if given["sql"]:
        filters.append({"sql": given["sql"]})
    names = {
        "attempts": "max_attempts",
        "backoff": "backoff",
        "delay": "delay_s",
        "max_age": "max_age_s",
        "concurrency": "concurrency",
        "order_by": "order_by",
        "batch": "batch",
        "window": "batch_window_s",
        "once_in": "dedup_s",
        "reply": "reply",
    }
    delivery = {field: given[option] for option, field in names.items() if given[option] is not None}
    if given["bisect"]:
        delivery["bisect"] = True
    for option in ("dead_letter", "on_success", "on_failure"):
        if given[option]:
            delivery[option] = destination(given[option])
    body: dict[str, Any] = {
        "target": destination(given["target"]) | {name: given[name] for name in ("shape", "origin") if given[name]},
        "filters": filters,
        "delivery": delivery,
        "paused": given["paused"],
        "while_paused": "skip" if given["skip_while_paused"] else "wait",
    }
    if given["queue"]:
        body["source"] = {"kind": "queue", "settings": {"queue": given["queue"]}}
    elif given["cron"]:
        zone = {"timezone": given["timezone"]} if given["timezone"] else {}
        body["source"] = {
            "kind": "timer",
            "settings": {"schedule": given["cron"], **zone, **settings(given["source_settings"])},
        }
    elif given["source"]:
        body["source"] = {"kind": given["source"], "settings": settings(given["source_settings"])}
    else:
        body["broker"] = given["broker"]
    return body


def _from(trigger: dict[str, Any]) -> str:
    source = trigger.get("source")
    if source is None:
        return f"broker:{trigger['broker']}"
    telling = (source["settings"].get(name) for name in TELLING)
    return f"{source['kind']}:" + next((str(value) for value in telling if value), "")


def _to(target: dict[str, Any]) -> str:
    if target["kind"] == "http":
        return str(target["name"])
    qualifier = f"@{target['qualifier']}" if target.get("qualifier") else ""
    return f"{target['kind']}:{target['name']}{qualifier}"


@trigger.command("ls", epilog="\b\nExamples:\n  dayfly trigger ls")
@output_option
@connected
def list_triggers(session: Session, output: str) -> None:
    """List triggers."""
    print_list(
        list(session.client.items(session.path("triggers"))),
        output,
        (
            ("NAME", lambda t: t["name"]),
            ("FROM", _from),
            ("TO", lambda t: _to(t["target"])),
            ("FILTERS", lambda t: len(t["filters"])),
            ("STATE", lambda t: "paused" if t["paused"] else "on"),
            ("UPDATED", lambda t: ago(t["updated"])),
        ),
        empty="No triggers. Create one: dayfly trigger create NAME --to FUNCTION",
    )


@trigger.command("show", epilog="\b\nExamples:\n  dayfly trigger show on-order")
@click.argument("name")
@output_option
@connected
def show_trigger(session: Session, name: str, output: str) -> None:
    """Show a trigger and how far it is."""
    found = session.client.get(session.path("triggers", name))
    stats = session.client.get(session.path("triggers", name, "stats"))
    if output != "table":
        print_data(found | {"stats": stats}, output)
        return
    print_one(
        found,
        output,
        (
            ("Name", lambda t: t["name"]),
            ("From", _from),
            ("To", lambda t: _to(t["target"])),
            ("Filters", lambda t: json.dumps(t["filters"]) if t["filters"] else ""),
            ("Delivery", lambda t: ", ".join(f"{k}={v}" for k, v in t["delivery"].items() if v not in (None, "", [], False))),
            ("State", lambda t: "paused" if t["paused"] else "on"),
            ("Source", lambda _: _health(stats.get("source"))),
            ("Waiting", lambda _: stats["waiting"]),
            ("Oldest", lambda _: ago(stats["oldest"])),
            ("Running", lambda _: stats["running"]),
            ("Dead", lambda _: stats["dead"]),
        ),
    )


def _health(source: dict[str, Any] | None) -> str:
    """How the source of a trigger is, in a line; empty: it has none that runs."""
    if source is None:
        return ""
    if source["state"] == "failing":
        return f"failing, {source['failures']} times: {source['error']}"
    if source.get("next"):
        return f"{source['state']}, next at {datetime.fromtimestamp(source['next'], UTC):%Y-%m-%d %H:%M:%S} UTC"
    return str(source["state"])


@trigger.command("pause", epilog="\b\nExamples:\n  dayfly trigger pause on-order")
@click.argument("name")
@connected
def pause(session: Session, name: str) -> None:
    """Deliver nothing for now; what comes waits."""
    session.client.request("POST", session.path("triggers", name, "pause"))
    note(f"{name}: paused")


@trigger.command("resume", epilog="\b\nExamples:\n  dayfly trigger resume on-order")
@click.argument("name")
@connected
def resume(session: Session, name: str) -> None:
    """Go on delivering."""
    session.client.request("POST", session.path("triggers", name, "resume"))
    note(f"{name}: on")


@trigger.command("fire", epilog="\b\nExamples:\n  dayfly trigger fire on-order -d '{\"total\": 3}'")
@click.argument("name")
@click.option("--type", "type", default="dev.dayfly.fired", metavar="TYPE", help="Type of the event.")
@click.option("-d", "--data", default="", metavar="JSON", help="Data of the event: JSON, or text if it is none.")
@output_option
@connected
def fire(session: Session, name: str, type: str, data: str, output: str) -> None:
    """Deliver an event to the trigger's target now, whatever its filters; prints the id of the delivery."""
    body = {"events": [event_of(type, data, "/cli", "", "", ())]}
    fired = session.client.request("POST", session.path("triggers", name, "fire"), send=body)
    if output != "table":
        print_data(fired, output)
        return
    for one in fired:
        for delivery in one["deliveries"]:
            click.echo(delivery["id"])


@trigger.command("rm", epilog="\b\nExamples:\n  dayfly trigger rm on-order")
@click.argument("names", nargs=-1, required=True)
@connected
def remove(session: Session, names: tuple[str, ...]) -> None:
    """Remove triggers; what waits for their delivery is cancelled."""
    for name in names:
        session.client.request("DELETE", session.path("triggers", name))
        note(f"{name}: removed")


@click.group()
def broker() -> None:
    """Create, list and remove brokers. Every namespace has one called `default`."""


@broker.command("create", epilog="\b\nExamples:\n  dayfly broker create audit --keep 604800")
@click.argument("name")
@click.option("--keep", type=float, default=86400.0, metavar="SECONDS", help="How long events are kept.")
@click.option("--keep-bytes", type=int, default=1 << 30, metavar="BYTES", help="How much of them is kept.")
@click.option("--dedup", type=float, default=600.0, metavar="SECONDS", help="An id of one source counts once in this time.")
@click.option("--records", is_flag=True, help="Each event leaves a record: dayfly invocations broker:NAME.")
@connected
def create_broker(session: Session, name: str, keep: float, keep_bytes: int, dedup: float, records: bool) -> None:
    """Create or change a broker."""
    body = {"retention_s": keep, "retention_bytes": keep_bytes, "dedup_s": dedup, "records": records}
    session.client.request("PUT", session.path("brokers", name), send=body)
    note(f"{name}: publish to it with --broker {name}")


@broker.command("ls", epilog="\b\nExamples:\n  dayfly broker ls")
@output_option
@connected
def list_brokers(session: Session, output: str) -> None:
    """List brokers."""
    print_list(
        list(session.client.items(session.path("brokers"))),
        output,
        (
            ("NAME", lambda b: b["name"]),
            ("KEEPS", lambda b: f"{b['retention_s']:.0f} s"),
            ("AT MOST", lambda b: f"{b['retention_bytes'] >> 20} MiB"),
            ("DEDUP", lambda b: f"{b['dedup_s']:.0f} s"),
            ("RECORDS", lambda b: "yes" if b["records"] else "no"),
        ),
    )


@broker.command("rm", epilog="\b\nExamples:\n  dayfly broker rm audit")
@click.argument("name")
@connected
def remove_broker(session: Session, name: str) -> None:
    """Remove a broker that no trigger uses, with its events."""
    session.client.request("DELETE", session.path("brokers", name))
    note(f"{name}: removed")

"""`queue`: messages that wait until they are dealt with."""

from __future__ import annotations

import sys
from typing import Any

import click

from .options import Session, connected, output_option
from .output import ago, note, print_data, print_list, print_one
from .triggers import destination


@click.group()
def queue() -> None:
    """Create queues, send, receive and acknowledge messages."""


@queue.command(
    "create", epilog="\b\nExamples:\n  dayfly queue create jobs --max-receives 3 --dead-letter queue:failed\n"
    "  dayfly queue create orders --fifo",
)  # fmt: skip
@click.argument("name")
@click.option("--visibility", type=float, default=30.0, metavar="SECONDS", help="How long a receiver holds a message.")
@click.option("--delay", type=float, default=0.0, metavar="SECONDS", help="Messages cannot be received before.")
@click.option("--max-receives", type=click.IntRange(0), default=0, metavar="N", help="Then a message is dead; 0: never.")
@click.option("--dead-letter", default="", metavar="TARGET", help="Also gets what died.")
@click.option("--fifo", is_flag=True, help="Messages of a group in order, one at a time.")
@connected
def create(
    session: Session, name: str, visibility: float, delay: float, max_receives: int, dead_letter: str, fifo: bool
) -> None:
    """Create a queue or change it."""
    body: dict[str, Any] = {"visibility_s": visibility, "delay_s": delay, "max_receives": max_receives, "fifo": fifo}
    if dead_letter:
        body["dead_letter"] = destination(dead_letter)
    session.client.request("PUT", session.path("queues", name), send=body)
    note(f"{name}: send to it with: dayfly queue send {name} BODY")


@queue.command("ls", epilog="\b\nExamples:\n  dayfly queue ls")
@output_option
@connected
def list_queues(session: Session, output: str) -> None:
    """List queues."""
    print_list(
        list(session.client.items(session.path("queues"))),
        output,
        (
            ("NAME", lambda q: q["name"]),
            ("KIND", lambda q: "fifo" if q["fifo"] else "plain"),
            ("VISIBILITY", lambda q: f"{q['visibility_s']:g} s"),
            ("MAX RECEIVES", lambda q: q["max_receives"] or ""),
            ("UPDATED", lambda q: ago(q["updated"])),
        ),
        empty="No queues. Create one: dayfly queue create NAME",
    )


@queue.command("show", epilog="\b\nExamples:\n  dayfly queue show jobs")
@click.argument("name")
@output_option
@connected
def show(session: Session, name: str, output: str) -> None:
    """Show a queue and how full it is."""
    found = session.client.get(session.path("queues", name))
    stats = session.client.get(session.path("queues", name, "stats"))
    if output != "table":
        print_data(found | {"stats": stats}, output)
        return
    fields = ("waiting", "delayed", "held", "dead")
    print_one(
        found,
        output,
        (
            ("Name", lambda q: q["name"]),
            ("Kind", lambda q: "fifo" if q["fifo"] else "plain"),
            *((field.title(), lambda _, field=field: stats[field]) for field in fields),
            ("Oldest", lambda _: ago(stats["oldest"])),
        ),
    )


@queue.command("send", epilog="\b\nExamples:\n  dayfly queue send jobs '{\"n\": 1}'\n  dayfly queue send orders x --group ada")
@click.argument("name")
@click.argument("body", default="-")
@click.option("--delay", type=float, metavar="SECONDS", help="It cannot be received before.")
@click.option("--group", default="", metavar="TEXT", help="Of a fifo queue: what is kept in order.")
@click.option("--dedup", default="", metavar="TEXT", help="A second message with this text is the first.")
@connected
def send(session: Session, name: str, body: str, delay: float | None, group: str, dedup: str) -> None:
    """Send a message, `-` for stdin; prints its id."""
    text = sys.stdin.read() if body == "-" else body
    message = {"body": text, "group": group, "dedup": dedup, "delay_s": delay}
    [identifier] = session.client.request("POST", session.path("queues", name, "send"), send={"messages": [message]})
    click.echo(identifier)


@queue.command("receive", epilog="\b\nExamples:\n  dayfly queue receive jobs --wait 10\n  dayfly queue receive jobs --ack")
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 1000), default=1, metavar="N", help="At most so many.")
@click.option("--wait", type=click.FloatRange(0, 60), default=0.0, metavar="SECONDS", help="For the first one.")
@click.option("--ack", "acknowledge", is_flag=True, help="Acknowledge them once they are printed.")
@output_option
@connected
def receive(session: Session, name: str, limit: int, wait: float, acknowledge: bool, output: str) -> None:
    """Take messages and print their receipts and bodies."""
    body = {"limit": limit, "wait_s": wait}
    taken = session.client.request("POST", session.path("queues", name, "receive"), send=body, timeout=120.0)
    print_list(
        taken,
        output,
        (
            ("RECEIPT", lambda m: m["receipt"]),
            ("SENT", lambda m: ago(m["sent"])),
            ("RECEIVES", lambda m: m["receives"]),
            ("BODY", lambda m: m["body"]),
        ),
        empty="Nothing waits.",
    )
    if acknowledge and taken:
        sys.stdout.flush()
        receipts = [message["receipt"] for message in taken]
        session.client.request("POST", session.path("queues", name, "ack"), send={"receipts": receipts})


@queue.command("ack", epilog="\b\nExamples:\n  dayfly queue ack jobs 0192f3a4b5c67d8e9f00112233445566.1")
@click.argument("name")
@click.argument("receipts", nargs=-1, required=True)
@connected
def ack(session: Session, name: str, receipts: tuple[str, ...]) -> None:
    """Say that messages are dealt with."""
    done = session.client.request("POST", session.path("queues", name, "ack"), send={"receipts": receipts})
    note(f"{name}: {sum(done)} of {len(receipts)} acknowledged")


@queue.command("purge", epilog="\b\nExamples:\n  dayfly queue purge jobs")
@click.argument("name")
@connected
def purge(session: Session, name: str) -> None:
    """Drop all messages of a queue."""
    note(f"{name}: {session.client.request('POST', session.path('queues', name, 'purge'))['count']} dropped")


@queue.command("rm", epilog="\b\nExamples:\n  dayfly queue rm jobs")
@click.argument("name")
@connected
def remove(session: Session, name: str) -> None:
    """Remove a queue with its messages."""
    session.client.request("DELETE", session.path("queues", name))
    note(f"{name}: removed")

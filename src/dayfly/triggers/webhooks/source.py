"""Webhooks: requests from outside, under /hooks/NAMESPACE/TRIGGER, become events.

A request is answered with 202 once its event is on disk. One that is a CloudEvent already (see events.cloudevents) stays what it is.
There is no checkpoint: a sender that got no 2xx sends again. What is sent twice within the window is accepted once, which the store sees
to: it holds over a restart, and what could not be kept may be sent again.
"""

from __future__ import annotations

import asyncio

import msgspec

from ...errors import UnsupportedMedia
from ...events import cloudevents
from ...model.event import Event
from ...model.ids import new_id
from ..port import Context
from .signatures import Header, Proof, Settings, verify

__all__ = ["Settings", "Webhook", "source"]


class Webhook:
    """The source of one trigger; `receive` is called by the route."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self._context = context
        self._settings = settings
        self._stopped = asyncio.Event()

    async def start(self, checkpoint: bytes | None) -> None:
        self._context.ready()

    async def stop(self) -> bytes | None:
        self._stopped.set()
        return None

    async def wait(self) -> None:
        await self._stopped.wait()

    async def receive(self, header: Header, headers: list[tuple[str, str]], body: bytes) -> dict[str, object]:
        """Take a request; what to answer. Raises Unauthenticated, BadInput, Throttled..."""
        proof = verify(self._settings, header, body, self._context.clock.now())
        if self._settings.signature == "slack" and (challenge := _challenge(body)) is not None:
            return {"challenge": challenge}
        events = self._events(proof, header, headers, body)
        if await self._context.outlet.emit(events, once=proof.once, once_s=2 * self._settings.tolerance_s):
            return {"accepted": False, "duplicate": True}
        return {"accepted": True, "ids": [event.id for event in events]}

    def permits(self, origin: str) -> list[tuple[str, str]]:
        """The headers that let a sender of that name send; none if it may not."""
        if not origin or not {"*", origin.lower()} & set(self._settings.origins):
            return []
        return [("webhook-allowed-origin", origin), ("webhook-allowed-rate", "*")]

    def _events(self, proof: Proof, header: Header, headers: list[tuple[str, str]], body: bytes) -> list[Event]:
        try:
            return cloudevents.from_http(headers, body)
        except UnsupportedMedia:
            pass
        type_, id = _named(self._settings.signature, header, body)
        return [
            Event(
                id=proof.id or id or new_id(),
                source=self._context.source,
                type=self._settings.type or type_ or "dayfly.webhook.received",
                datacontenttype=header("content-type") or "application/octet-stream",
                data=body or None,
            )
        ]


def _named(sender: str, header: Header, body: bytes) -> tuple[str, str]:
    """What the sender calls the type of this event, and its id; empty where it does not say."""
    if sender == "github":
        return f"com.github.{header('x-github-event') or 'unknown'}", ""
    if sender in ("stripe", "slack"):
        document = _document(body)
        if sender == "stripe":
            return f"com.stripe.{_text(document.get('type'))}", _text(document.get("id"))
        event = document.get("event")
        inner = event.get("type") if isinstance(event, dict) else document.get("type")
        return f"com.slack.{_text(inner) or 'command'}", _text(document.get("event_id"))
    return "", ""


def _challenge(body: bytes) -> str | None:
    """What Slack wants to hear when an address is registered."""
    document = _document(body)
    return _text(document.get("challenge")) if document.get("type") == "url_verification" else None


def _document(body: bytes) -> dict[str, object]:
    try:
        return msgspec.json.decode(body, type=dict[str, object])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _text(value: object) -> str:
    return value[:256] if isinstance(value, str) and value.isprintable() else ""


def source(context: Context, settings: Settings) -> Webhook:
    return Webhook(context, settings)

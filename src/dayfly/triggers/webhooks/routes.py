"""The addresses of webhooks, /hooks/NAMESPACE/TRIGGER: mounted like a dialect, open to everybody, guarded by signatures alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from ...dialects.hook import Credentials, Dialect, Do, Head, Params, Reply, Route
from ...errors import BadInput, DayflyError, NotFound, Unavailable
from ...model.identity import ANONYMOUS, Identity
from ...model.profile import NATIVE
from ...model.trigger import Trigger
from ..port import Source
from .source import Webhook

PAUSED_RETRY: Final = 60.0  # seconds


def webhooks(
    trigger: Callable[[str, str], Trigger | None],
    source: Callable[[str, str], Source | None],
    fault: Callable[[Head, DayflyError], Reply],
) -> Dialect:
    """`trigger` and `source` find what belongs to a namespace and a name."""

    def webhook_of(params: Params) -> Webhook:
        namespace, name = params["namespace"], params["trigger"]
        found = trigger(namespace, name)
        if found is None or found.source is None or found.source.kind != "webhook":
            raise NotFound(
                "There is no such webhook.",
                hint="The address is /hooks/NAMESPACE/TRIGGER, of a trigger with the source webhook.",
            )
        webhook = source(namespace, name)
        if not isinstance(webhook, Webhook):
            raise Unavailable("The trigger is paused.", retry_after=PAUSED_RETRY)
        return webhook

    async def receive(head: Head, params: Params, body: bytes, do: Do) -> Reply:
        webhook = webhook_of(params)
        headers = _texts(head.headers)
        answer = await webhook.receive(
            lambda wanted: next((value for key, value in headers if key == wanted), ""), headers, body
        )
        status = 200 if "challenge" in answer or "duplicate" in answer else 202
        return Reply(status, [("content-type", "application/json")], msgspec.json.encode(answer))

    async def permit(head: Head, params: Params, body: bytes, do: Do) -> Reply:
        """A sender asks whether it may send (CloudEvents, http-webhook.md, section 4)."""
        granted = webhook_of(params).permits(head.get(b"webhook-request-origin"))
        return Reply(200, [("allow", "OPTIONS, POST"), *granted])

    def authenticate(head: Head, body: bytes | None, credentials: Credentials) -> Identity:
        return ANONYMOUS

    return Dialect(
        name="webhooks",
        profile=NATIVE,
        routes=(
            Route(method="POST", path="/{namespace}/{trigger...}", handle=receive),
            Route(method="OPTIONS", path="/{namespace}/{trigger...}", handle=permit),
        ),
        fault=fault,
        authenticate=authenticate,
    )


def _texts(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Headers as text; raises BadInput for what is no text."""
    try:
        return [(name.decode("ascii"), value.decode("utf-8")) for name, value in headers]
    except UnicodeDecodeError:
        raise BadInput("a header is no text in UTF-8") from None

"""A NATS JetStream stream, read through a durable pull consumer: a message is acknowledged once its event is on our disk.

There is no checkpoint: the consumer is one, in the stream. Headers of the message that make it a CloudEvent (`ce-*`) do so.
Source: docs.nats.io, "JetStream consumers"; bindings/nats-protocol-binding.md of CloudEvents.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import nats
import nats.errors
import nats.js.errors
from msgspec import Meta, Struct
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from ...errors import BadInput, UnsupportedMedia
from ...events import cloudevents
from ...model.event import Event
from ..port import MAX_BATCH, Context, Loop, SourceFailed, guessed

FETCH: Final = 5.0  # seconds that the server waits for messages


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    stream: Annotated[str, Meta(min_length=1, max_length=256, description="of JetStream; it must exist")]
    servers: Annotated[tuple[str, ...], Meta(min_length=1, max_length=16)] = ("nats://127.0.0.1:4222",)
    subject: Annotated[str, Meta(max_length=512, description="of these messages alone; may hold * and >")] = ""
    durable: Annotated[str, Meta(max_length=128, description="name of the consumer; empty: of the trigger's name")] = ""
    start: Annotated[str, Meta(pattern="^(all|new|last)$", description="where a new consumer begins")] = "all"
    ack_wait_s: Annotated[float, Meta(ge=1, le=3600, description="until a message that is not acknowledged comes again")] = 30.0
    token: Annotated[str, Meta(max_length=4096, description="best: secret:NAME")] = ""
    user: str = ""
    password: Annotated[str, Meta(max_length=4096, description="best: secret:NAME")] = ""
    batch: Annotated[int, Meta(ge=1, le=MAX_BATCH)] = MAX_BATCH


class JetStream(Loop):
    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context)
        self._settings = settings
        name = settings.durable or f"dayfly-{context.trigger.namespace}-{context.trigger.name}"
        self._durable = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)

    async def run(self) -> None:
        settings = self._settings
        login: dict[str, Any] = {}
        if settings.token:
            login["token"] = settings.token
        if settings.user:
            login |= {"user": settings.user, "password": settings.password}
        try:
            client = await nats.connect(
                list(settings.servers), allow_reconnect=False, connect_timeout=5, error_cb=_quiet, name="dayfly", **login
            )
        except (OSError, nats.errors.Error) as error:
            raise SourceFailed(f"NATS at {', '.join(settings.servers)}: {error}") from None
        try:
            await self._read(client)
        except (OSError, nats.errors.Error) as error:
            raise SourceFailed(f"NATS stream {settings.stream}: {error}") from None
        finally:
            await client.close()

    async def _read(self, client: Any) -> None:
        start = {"all": DeliverPolicy.ALL, "new": DeliverPolicy.NEW, "last": DeliverPolicy.LAST}[self._settings.start]
        config = ConsumerConfig(
            durable_name=self._durable,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._settings.ack_wait_s,
            deliver_policy=start,
            filter_subject=self._settings.subject or None,
            max_ack_pending=10 * MAX_BATCH,
        )
        subscription = await client.jetstream().pull_subscribe(
            self._settings.subject, durable=self._durable, stream=self._settings.stream, config=config
        )
        self.context.ready()
        while True:
            try:
                messages = await subscription.fetch(self._settings.batch, timeout=FETCH)
            except nats.errors.TimeoutError:
                continue

            async def confirm(messages: list[Any] = messages) -> None:
                for message in messages:
                    await message.ack()
                await client.flush()

            await self.deliver([self._event(message) for message in messages], confirm)

    def _event(self, message: Any) -> Event:
        headers = [(name.lower(), value) for name, value in (message.headers or {}).items()]
        try:
            [event] = cloudevents.from_http(headers, message.data)
            return event
        except (UnsupportedMedia, BadInput, ValueError):
            pass
        metadata = message.metadata
        content_type = next((value for name, value in headers if name == "content-type"), "")
        return Event(
            id=f"{metadata.stream}/{metadata.sequence.stream}",
            source=self.context.source,
            type="dayfly.nats.message",
            subject=message.subject,
            datacontenttype=content_type or guessed(message.data),
            data=message.data or None,
        )


async def _quiet(_: Exception) -> None:
    """The loop hears of errors by itself."""


def source(context: Context, settings: Settings) -> JetStream:
    return JetStream(context, settings)

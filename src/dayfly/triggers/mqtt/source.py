"""MQTT topics, through a session that the broker keeps: with QoS 1 a message is acknowledged once its event is on our disk.

While no server of ours runs, the broker keeps what comes (Mosquitto: `persistence`), for the client id that is the trigger's. There is no
checkpoint: the session is one. Acknowledgements are sent by hand, which is why this uses paho's client and not a wrapper around it.
Source: docs.oasis-open.org/mqtt/mqtt/v5.0, sections 3.1.2.11.2 (session) and 4.3.2 (QoS 1); mqtt-protocol-binding.md of CloudEvents.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Annotated, Any, Final

from msgspec import Meta, Struct
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from ...errors import BadInput
from ...events import cloudevents
from ...model.event import Event
from ..port import MAX_BATCH, Context, Loop, SourceFailed, guessed

KEEPALIVE: Final = 30  # seconds
SESSION: Final = 7 * 86400  # seconds that the broker keeps the session without us
CONNECT: Final = 10.0  # seconds


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topics: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100, description="may hold + and #")]
    host: Annotated[str, Meta(max_length=255)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 1883
    tls: bool = False
    qos: Annotated[int, Meta(ge=0, le=1)] = 1
    client_id: Annotated[str, Meta(max_length=128, description="of the session; empty: of the trigger's name")] = ""
    user: str = ""
    password: Annotated[str, Meta(max_length=4096, description="best: secret:NAME")] = ""


class Mqtt(Loop):
    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__(context)
        self._settings = settings
        self._waiting: deque[Any] = deque()  # bounded by the receive maximum that we give the broker
        self._news = asyncio.Event()
        self._lost = ""
        self._count = 0

    async def run(self) -> None:
        settings, trigger = self._settings, self.context.trigger
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=settings.client_id or f"dayfly-{trigger.namespace}-{trigger.name}",
            protocol=paho.MQTTv5,
            manual_ack=True,
        )
        if settings.user:
            client.username_pw_set(settings.user, settings.password)
        if settings.tls:
            client.tls_set()
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._arrived
        client.on_disconnect = self._disconnected
        pump = _Pump(client)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION
        properties.ReceiveMaximum = MAX_BATCH
        try:
            await asyncio.wait_for(
                asyncio.to_thread(
                    client.connect, settings.host, settings.port, KEEPALIVE, clean_start=False, properties=properties
                ),
                CONNECT,
            )
            pump.open()
            await self._serve(client)
        except (OSError, ValueError) as error:
            raise SourceFailed(f"MQTT at {settings.host}:{settings.port}: {error or type(error).__name__}") from None
        finally:
            client.disconnect()
            pump.close()
            client._reset_sockets()  # what its __del__ does, whenever that may be

    async def _serve(self, client: paho.Client) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), MAX_BATCH))]

                async def confirm(batch: list[Any] = batch) -> None:
                    for message in batch:
                        client.ack(message.mid, message.qos)

                await self.deliver([self._event(message) for message in batch], confirm)
            if self._lost:
                raise SourceFailed(f"MQTT at {self._settings.host}:{self._settings.port}: {self._lost}")

    # --- callbacks of the client, on the event loop -------------------------------------------------------------------

    def _connected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._lose(str(reason))
        else:
            client.subscribe([(topic, SubscribeOptions(qos=self._settings.qos)) for topic in self._settings.topics])

    def _subscribed(self, client: Any, userdata: Any, mid: int, reasons: list[Any], properties: Any) -> None:
        refused = [str(reason) for reason in reasons if reason.is_failure]
        if refused:
            self._lose(f"a subscription was refused: {refused[0]}")
        else:
            self.context.ready()

    def _arrived(self, client: Any, userdata: Any, message: Any) -> None:
        self._waiting.append(message)
        if message.qos == 0 and len(self._waiting) > 10 * MAX_BATCH:  # nobody holds these back, and nobody was promised them
            self._waiting.popleft()
        self._news.set()

    def _disconnected(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._lose(f"the connection ended: {reason}")

    def _lose(self, why: str) -> None:
        self._lost = self._lost or why
        self._news.set()

    def _event(self, message: Any) -> Event:
        properties = message.properties
        content_type = getattr(properties, "ContentType", "") if properties is not None else ""
        attributes = dict(getattr(properties, "UserProperty", ())) if properties is not None else {}
        try:
            if content_type.startswith(cloudevents.STRUCTURED):
                return cloudevents.from_json(message.payload)
            if "specversion" in attributes:
                return cloudevents.from_attributes(attributes, content_type, message.payload)
        except BadInput:
            pass  # it only looks like one
        self._count += 1
        moment = f"{self.context.clock.now():.6f}"
        return Event(
            id=f"{moment}-{message.mid}-{self._count}",  # MQTT gives messages no id that outlives their acknowledgement
            source=self.context.source,
            type="dayfly.mqtt.message",
            subject=message.topic,
            datacontenttype=content_type or guessed(message.payload),
            data=message.payload or None,
        )


class _Pump:
    """Lets the event loop read, write and keep alive for paho, which has no loop of its own then."""

    def __init__(self, client: paho.Client) -> None:
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._socket: Any = None
        self._misc: asyncio.TimerHandle | None = None
        client.on_socket_close = lambda *_: self._detach()
        client.on_socket_register_write = self._wants_to_write

    def open(self) -> None:
        found = self._client.socket()
        if found is None:
            raise OSError("the connection ended at once")
        self._socket = found
        self._loop.add_reader(found, self._client.loop_read)
        self._write_soon()
        self._tick()

    def close(self) -> None:
        self._detach()
        if self._misc is not None:
            self._misc.cancel()

    def _wants_to_write(self, *_: Any) -> None:
        self._loop.call_soon_threadsafe(self._write_soon)

    def _write_soon(self) -> None:
        if self._socket is not None:
            self._loop.add_writer(self._socket, self._write)

    def _write(self) -> None:
        self._client.loop_write()
        if self._socket is not None and not self._client.want_write():
            self._loop.remove_writer(self._socket)

    def _tick(self) -> None:
        self._client.loop_misc()
        self._misc = self._loop.call_later(1.0, self._tick)

    def _detach(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket = None


def source(context: Context, settings: Settings) -> Mqtt:
    return Mqtt(context, settings)

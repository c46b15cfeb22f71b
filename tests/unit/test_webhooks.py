"""Webhooks: who may send, what becomes of a request, what is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dayfly import actions as a
from dayfly.api.calls import NATIVE_CALLS
from dayfly.dialects.hook import Head, Reply
from dayfly.errors import BadInput, NotFound, Throttled, Unauthenticated, Unavailable
from dayfly.testing.clock import FakeClock
from dayfly.triggers.webhooks.routes import webhooks
from dayfly.triggers.webhooks.signatures import Settings, verify
from tests.support.sources import Sourced

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000.0
KEY = "a secret that is long"


def mac(text: bytes, key: bytes = KEY.encode(), algorithm: str = "sha256") -> bytes:
    return hmac.new(key, text, getattr(hashlib, algorithm)).digest()


class Sender:
    """Sends requests to the webhooks of a world."""

    def __init__(self, world: Sourced) -> None:
        routes = webhooks(world.eventing.catalog.find_trigger, world.runner.source, NATIVE_CALLS.fault).routes
        self.routes = {route.method: route for route in routes}

    async def __call__(self, body: bytes = b"{}", *, name: str = "t", method: str = "POST", **headers: str) -> Reply:
        fields = [(key.replace("_", "-").encode(), value.encode()) for key, value in headers.items()]
        head = Head(method, f"/default/{name}", "", fields)
        handle = self.routes[method].handle
        assert handle is not None
        return await handle(head, {"namespace": "default", "trigger": name}, body, None)  # type: ignore[arg-type]


async def test_github_is_believed_and_its_push_calls_the_function() -> None:
    async with Sourced(clock=FakeClock(NOW)) as world:
        world.secrets["github"] = KEY
        await world.trigger("webhook", signature="github", secret="secret:github")
        await world.running()
        send = Sender(world)
        body = b'{"ref":"refs/heads/main"}'
        good = {
            "x_hub_signature_256": "sha256=" + mac(body).hex(),
            "x_github_event": "push",
            "x_github_delivery": "d-1",
            "content_type": "application/json",
        }
        reply = await send(body, **good)
        assert (reply.status, json.loads(reply.body)) == (202, {"accepted": True, "ids": ["d-1"]})
        await world.until(lambda: world.calls)
        [event] = world.events
        assert (event.id, event.type, event.data) == ("d-1", "com.github.push", body)
        again = await send(body, **good)
        assert (again.status, json.loads(again.body)) == (200, {"accepted": False, "duplicate": True})
        with pytest.raises(Unauthenticated):
            await send(body + b" ", **good)
        assert len(await world.accepted()) == 1


async def test_a_request_that_could_not_be_kept_may_be_sent_again() -> None:
    async with Sourced(clock=FakeClock(NOW)) as world:
        world.secrets["github"] = KEY
        await world.trigger("webhook", signature="github", secret="secret:github")
        await world.running()
        send = Sender(world)
        good = {"x_hub_signature_256": "sha256=" + mac(b"{}").hex(), "x_github_delivery": "d-1"}
        admit = world.eventing.queue.admit

        async def full(size: int) -> None:
            raise Throttled("full", retry_after=3.0)

        world.eventing.queue.admit = full  # type: ignore[method-assign]
        with pytest.raises(Throttled):
            await send(b"{}", **good)
        world.eventing.queue.admit = admit  # type: ignore[method-assign]
        assert (await send(b"{}", **good)).status == 202


async def test_what_was_accepted_once_is_known_after_a_restart_and_forgotten_in_time(tmp_path: Path) -> None:
    clock = FakeClock(NOW)
    good = {"x_hub_signature_256": "sha256=" + mac(b"{}").hex(), "x_github_delivery": "d-1"}
    async with Sourced(tmp_path / "db", clock=clock) as world:
        world.secrets["github"] = KEY
        await world.trigger("webhook", signature="github", secret="secret:github", tolerance_s=300.0)
        await world.running()
        assert (await Sender(world)(b"{}", **good)).status == 202
    async with Sourced(tmp_path / "db", clock=clock) as world:
        world.secrets["github"] = KEY
        world.runner.secret_changed("default", "github")
        await world.running()
        assert json.loads((await Sender(world)(b"{}", **good)).body) == {"accepted": False, "duplicate": True}
        clock.advance(601.0)
        assert (await Sender(world)(b"{}", **good)).status == 202


async def test_slack_is_answered_its_challenge() -> None:
    async with Sourced(clock=FakeClock(NOW)) as world:
        world.secrets["slack"] = KEY
        await world.trigger("webhook", signature="slack", secret="secret:slack")
        await world.running()
        body = b'{"type":"url_verification","challenge":"abc"}'
        signed = "v0=" + mac(b"v0:1800000000:" + body).hex()
        reply = await Sender(world)(body, x_slack_request_timestamp="1800000000", x_slack_signature=signed)
        assert (reply.status, json.loads(reply.body)) == (200, {"challenge": "abc"})
        assert await world.accepted() == []


@pytest.mark.parametrize(("origins", "granted"), [(["*"], True), (["events.example"], True), (["other.example"], False)])
async def test_a_sender_that_asks_first_is_told_whether_it_may_send(origins: list[str], granted: bool) -> None:
    async with Sourced(clock=FakeClock(NOW)) as world:
        await world.trigger("webhook", signature="none", origins=origins)
        await world.running()
        reply = await Sender(world)(b"", method="OPTIONS", webhook_request_origin="events.example", webhook_request_rate="120")
        assert ("allow", "OPTIONS, POST") in reply.headers
        rights = {("webhook-allowed-origin", "events.example"), ("webhook-allowed-rate", "*")}
        assert (rights <= set(reply.headers)) is granted
        assert await world.accepted() == []
        nobody = await Sender(world)(b"", method="OPTIONS")
        assert nobody.headers == [("allow", "OPTIONS, POST")]


async def test_a_cloudevent_stays_what_it_is() -> None:
    async with Sourced(clock=FakeClock(NOW)) as world:
        await world.trigger("webhook", signature="none")
        await world.running()
        headers = {
            "ce_specversion": "1.0",
            "ce_id": "7",
            "ce_source": "/shop",
            "ce_type": "order.placed",
            "content_type": "application/json",
        }
        assert (await Sender(world)(b"{}", **headers)).status == 202
        [event] = await world.accepted()
        assert (event.id, event.source, event.type) == ("7", "/shop", "order.placed")


async def test_unknown_and_paused_triggers() -> None:
    async with Sourced(clock=FakeClock(NOW)) as world:
        await world.trigger("webhook", signature="none")
        await world.trigger("timer", "clock", schedule="@daily")
        await world.running()
        send = Sender(world)
        for name in ("other", "clock"):
            with pytest.raises(NotFound):
                await send(name=name)
        await world.perform(a.PauseTrigger(name="t"))
        with pytest.raises(Unavailable) as paused:
            await send()
        assert paused.value.retry_after == 60.0


def signed(scheme: str, body: bytes, key: str = KEY, at: float = NOW) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings, and the headers that they ask for."""
    time = str(int(at))
    stamped = time.encode()
    if scheme == "github":
        return {}, {"x-hub-signature-256": "sha256=" + mac(body, key.encode()).hex(), "x-github-delivery": "d"}
    if scheme == "stripe":
        return {}, {"stripe-signature": f"t={time},v1={'0' * 64},v1={mac(stamped + b'.' + body, key.encode()).hex()}"}
    if scheme == "slack":
        return {}, {
            "x-slack-request-timestamp": time,
            "x-slack-signature": "v0=" + mac(b"v0:" + stamped + b":" + body, key.encode()).hex(),
        }
    if scheme == "standard":
        digest = base64.b64encode(mac(b"m1." + stamped + b"." + body, key.encode())).decode()
        return {}, {"webhook-id": "m1", "webhook-timestamp": time, "webhook-signature": f"v1a,x v1,{digest}"}
    if scheme == "token":
        return {"header": "X-Gitlab-Token"}, {"x-gitlab-token": key}
    digest = base64.b64encode(mac(stamped + b"|" + body + b"|", key.encode(), "sha512")).decode()
    settings = {
        "header": "X-Sig",
        "prefix": "h=",
        "algorithm": "sha512",
        "encoding": "base64",
        "timestamp_header": "X-Time",
        "signed": "{timestamp}|{body}|",
    }
    return settings, {"x-sig": "h=" + digest, "x-time": time}


SCHEMES = ["github", "stripe", "slack", "standard", "token", "hmac"]
TIMED = ["stripe", "slack", "standard", "hmac"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_believes_the_right_secret_alone(scheme: str) -> None:
    body = b'{"a": 1}'
    more, headers = signed(scheme, body)
    settings = Settings(signature=scheme, secret=KEY, **more)  # type: ignore[arg-type]
    verify(settings, lambda name: headers.get(name, ""), body, NOW)
    rotated = Settings(signature=scheme, secret="the new one", previous_secret=KEY, **more)  # type: ignore[arg-type]
    verify(rotated, lambda name: headers.get(name, ""), body, NOW)
    for header, sent in [
        (signed(scheme, body, "another secret")[1], body),
        ({}, body),
        ({name: value[:-1] for name, value in headers.items()}, body),
        *([] if scheme == "token" else [(headers, body + b"x")]),
    ]:
        with pytest.raises(Unauthenticated):
            verify(settings, lambda name, header=header: header.get(name, ""), sent, NOW)  # type: ignore[misc]


@pytest.mark.parametrize("scheme", TIMED)
def test_a_signed_time_must_be_near(scheme: str) -> None:
    more, headers = signed(scheme, b"x")
    settings = Settings(signature=scheme, secret=KEY, tolerance_s=300, **more)  # type: ignore[arg-type]
    for off, good in [(299, True), (-299, True), (301, False), (-301, False)]:
        if good:
            assert verify(settings, lambda name: headers.get(name, ""), b"x", NOW + off).once
        else:
            with pytest.raises(Unauthenticated, match="time"):
                verify(settings, lambda name: headers.get(name, ""), b"x", NOW + off)


@given(
    st.sampled_from(SCHEMES),
    st.dictionaries(
        st.sampled_from(
            [
                "x-hub-signature-256",
                "stripe-signature",
                "x-slack-signature",
                "x-slack-request-timestamp",
                "webhook-signature",
                "webhook-timestamp",
                "x-sig",
                "x-time",
                "x-gitlab-token",
            ]
        ),
        st.text(max_size=80) | st.sampled_from(["t=1800000000,v1=é", "v1,", "1800000000", "v0="]),
    ),
)
def test_no_made_up_headers_get_in(scheme: str, headers: dict[str, str]) -> None:
    settings = Settings(signature=scheme, secret=KEY, **signed(scheme, b"")[0])  # type: ignore[arg-type]
    with pytest.raises(Unauthenticated):
        verify(settings, lambda name: headers.get(name, ""), b"{}", NOW)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "`signature`"),
        ({"signature": "github"}, "at least 8 characters"),
        ({"signature": "hmac", "secret": "secret:key"}, "needs `header`"),
        ({"signature": "hmac", "secret": "secret:key", "header": "x", "signed": "x"}, "must hold {body}"),
        ({"signature": "hmac", "secret": "secret:key", "header": "x", "timestamp_header": "y"}, "proves nothing"),
        ({"signature": "github", "secret": "secret:missing"}, "no secret 'missing'"),
        ({"signature": "github", "secret": KEY}, "holds a secret in plain text"),
    ],
)
async def test_settings_that_would_not_protect_are_refused(settings: dict[str, Any], message: str) -> None:
    async with Sourced(clock=FakeClock(NOW)) as world:
        world.secrets["key"] = KEY
        with pytest.raises(BadInput) as refused:
            await world.trigger("webhook", **settings)
        assert message in refused.value.detail

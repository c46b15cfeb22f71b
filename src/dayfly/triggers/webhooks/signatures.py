"""Who really sent a webhook: the signature schemes, as data and one comparison in constant time.

    github     X-Hub-Signature-256: sha256=HEX of the body
               docs.github.com/webhooks, "Validating webhook deliveries"
    stripe     Stripe-Signature: t=SECONDS,v1=HEX[,v1=HEX] of "SECONDS.BODY"
               docs.stripe.com/webhooks, "Verify webhook signatures manually"
    slack      X-Slack-Signature: v0=HEX of "v0:SECONDS:BODY", X-Slack-Request-Timestamp
               docs.slack.dev, "Verifying requests from Slack"
    standard   webhook-signature: v1,BASE64 [...] of "ID.SECONDS.BODY", webhook-id, webhook-timestamp
               standardwebhooks.com
    hmac       as the settings say
    token      a header that holds the secret itself (GitLab and others)
    none       whoever knows the address

All are HMAC over the body as it came. Where a time is signed, requests that are too old or too new are refused. What a signature covers
once is accepted once, where the sender gives it an id or a time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from ...errors import Unauthenticated

Header = Callable[[str], str]  # the first header of that lower-case name, or ""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    signature: Literal["github", "stripe", "slack", "standard", "hmac", "token", "none"]
    secret: Annotated[str, Meta(max_length=4096, description="better: secret:NAME")] = ""
    previous_secret: Annotated[str, Meta(max_length=4096, description="also good, while senders change over")] = ""
    tolerance_s: Annotated[float, Meta(gt=0, le=86400, description="of signed times, into the past and the future")] = 300.0
    type: Annotated[str, Meta(max_length=256, description="of the events; empty: what the sender calls them")] = ""
    origins: Annotated[
        tuple[Annotated[str, Meta(max_length=253, pattern=r"^[^A-Z\s]+\Z")], ...],
        Meta(max_length=100, description="senders that are let in when they ask first, by their DNS names; * is everybody"),
    ] = ("*",)
    # hmac and token:
    header: Annotated[str, Meta(max_length=128, description="that holds the signature or token")] = ""
    prefix: Annotated[str, Meta(max_length=64, description="before it")] = ""
    algorithm: Literal["sha256", "sha1", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    timestamp_header: Annotated[str, Meta(max_length=128, description="of the time, seconds since the epoch")] = ""
    id_header: Annotated[str, Meta(max_length=128, description="of the message's id")] = ""
    signed: Annotated[str, Meta(max_length=128, description="what is signed: {body}, {timestamp}, {id} and text between")] = (
        "{body}"
    )

    def __post_init__(self) -> None:
        if self.signature != "none" and len(self.secret) < 8:
            raise ValueError(
                "`secret` is at least 8 characters; best is secret:NAME, with the value in a secret of the namespace"
            )
        if self.signature in ("hmac", "token") and not self.header:
            raise ValueError(f"a {self.signature} signature needs `header`, the name of the header that holds it")
        if self.signature == "hmac" and "{body}" not in self.signed:
            raise ValueError("`signed` must hold {body}")
        if self.timestamp_header and "{timestamp}" not in self.signed:
            raise ValueError("a time that is not signed proves nothing: `signed` must hold {timestamp}")


class Proof(Struct, frozen=True):
    """What a good signature says. `once`: what is accepted once; empty: not known."""

    id: str = ""
    once: str = ""


def verify(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    """Raises Unauthenticated, without a word about what was expected."""
    return _SCHEMES[settings.signature](settings, header, body, now)


def _github(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    given = header("x-hub-signature-256")
    _require(settings, body, [given.removeprefix("sha256=")] if given.startswith("sha256=") else [])
    id = header("x-github-delivery")
    return Proof(id, id)


def _stripe(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    parts = [part.strip().partition("=") for part in header("stripe-signature").split(",")[:16]]
    time = next((value for name, _, value in parts if name == "t"), "")
    _fresh(time, settings, now)
    given = [value for name, _, value in parts if name == "v1"]
    good = _require(settings, time.encode() + b"." + body, given)
    return Proof("", good)


def _slack(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    time = header("x-slack-request-timestamp")
    _fresh(time, settings, now)
    given = header("x-slack-signature")
    good = _require(settings, b"v0:" + time.encode() + b":" + body, [given[3:]] if given.startswith("v0=") else [])
    return Proof("", good)


def _standard(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    time, id = header("webhook-timestamp"), header("webhook-id")
    _fresh(time, settings, now)
    given = [text[3:] for text in header("webhook-signature").split()[:16] if text.startswith("v1,")]
    _require(settings, b".".join([id.encode(), time.encode(), body]), given, base64_=True, key=_standard_key)
    return Proof(id, id)


def _standard_key(secret: str) -> bytes:
    """`whsec_` and base64; any other text is the key itself."""
    if secret.startswith("whsec_"):
        try:
            return base64.b64decode(secret[6:], validate=True)
        except binascii.Error:
            pass
    return secret.encode()


def _generic(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    time = header(settings.timestamp_header.lower()) if settings.timestamp_header else ""
    id = header(settings.id_header.lower()) if settings.id_header else ""
    if settings.timestamp_header:
        _fresh(time, settings, now)
    signed = settings.signed.encode()
    before, _, after = signed.partition(b"{body}")
    fill = {b"{timestamp}": time.encode(), b"{id}": id.encode()}
    for name, value in fill.items():
        before, after = before.replace(name, value), after.replace(name, value)
    given = header(settings.header.lower())
    texts = [given[len(settings.prefix) :]] if given.startswith(settings.prefix) else []
    good = _require(settings, before + body + after, texts, algorithm=settings.algorithm, base64_=settings.encoding == "base64")
    return Proof(id, id or (good if time else ""))


def _token(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    given = header(settings.header.lower())
    token = given[len(settings.prefix) :].encode() if given.startswith(settings.prefix) else b""
    good = [hmac.compare_digest(token, secret.encode()) for secret in _secrets(settings)]
    if True not in good:
        raise _refused()
    id = header(settings.id_header.lower()) if settings.id_header else ""
    return Proof(id, id)


def _none(settings: Settings, header: Header, body: bytes, now: float) -> Proof:
    return Proof()


_SCHEMES: Final[dict[str, Callable[[Settings, Header, bytes, float], Proof]]] = {
    "github": _github,
    "stripe": _stripe,
    "slack": _slack,
    "standard": _standard,
    "hmac": _generic,
    "token": _token,
    "none": _none,
}


def _secrets(settings: Settings) -> list[str]:
    return [secret for secret in (settings.secret, settings.previous_secret) if secret]


def _require(
    settings: Settings,
    signed: bytes,
    given: list[str],
    *,
    algorithm: str = "sha256",
    base64_: bool = False,
    key: Callable[[str], bytes] = str.encode,
) -> str:
    """The signature among those given that is good. Looks at all of them, whether or not one was good before."""
    found = ""
    for secret in _secrets(settings):
        digest = hmac.new(key(secret), signed, getattr(hashlib, algorithm)).digest()
        expected = base64.b64encode(digest) if base64_ else digest.hex().encode()
        for text in given:
            candidate = text if base64_ else text.lower()
            if hmac.compare_digest(candidate.encode("utf-8", "replace"), expected):
                found = text
    if not found:
        raise _refused()
    return found


def _fresh(time: str, settings: Settings, now: float) -> None:
    if not time.isascii() or not time.isdigit() or len(time) > 12 or abs(now - int(time)) > settings.tolerance_s:
        raise Unauthenticated("The signature's time is missing, too old or too far ahead.", hint="Is the sender's clock right?")


def _refused() -> Unauthenticated:
    return Unauthenticated("The signature is missing or wrong.", hint="Sender and trigger must hold the same secret.")

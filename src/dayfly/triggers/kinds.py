"""The kinds of sources. A kind's module is imported when a trigger first asks for it: most need a library of their own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from ..errors import BadInput
from ..model.trigger import Trigger
from .port import Context, Source

SECRET: Final = "secret:"  # a text that begins so in a setting stands for a secret of the namespace

PRIVATE: Final = ("secret", "previous_secret", "password", "token")  # settings that are secrets

Secrets = Callable[[str], str | None]  # the value of a secret by its name


class Kind(Struct, frozen=True):
    """`module` has a class `Settings` and a function `source(context, settings)`."""

    module: str
    extra: str = ""  # of the package, if it needs more than the base installation
    everywhere: bool = False  # in every cell, because it is called from outside; others in one


KINDS: Final[dict[str, Kind]] = {
    "timer": Kind("timers.source"),
    "webhook": Kind("webhooks.source", everywhere=True),
    "files": Kind("files.source"),
    "redis": Kind("redis.source", extra="redis"),
    "nats": Kind("nats.source", extra="nats"),
    "mqtt": Kind("mqtt.source", extra="mqtt"),
    "postgres": Kind("postgres.source", extra="postgres"),
    "kafka": Kind("kafka.source", extra="kafka"),
}


def settings_of(trigger: Trigger, secrets: Secrets) -> Any:
    """The settings of a trigger's source, checked. Raises BadInput with what is wrong and what there is."""
    assert trigger.source is not None
    kind, given = trigger.source.kind, trigger.source.settings
    cls = _module(kind).Settings
    try:
        return msgspec.convert(_resolve(given, secrets), type=cls)
    except (msgspec.ValidationError, ValueError) as error:
        fields = ", ".join(field.encode_name for field in msgspec.structs.fields(cls))
        raise BadInput(f"source {kind}: {error}", hint=f"Its settings: {fields}. See docs/triggers.md.") from None


def keep_secret(settings: dict[str, Any]) -> None:
    """Raises BadInput for a password that stands in the settings themselves: triggers are shown to who may look."""
    for name, value in settings.items():
        for text in value if isinstance(value, list) else [value]:
            user = urlsplit(text).netloc.rpartition("@")[0] if isinstance(text, str) and "://" in text else ""
            if (name in PRIVATE and text and not str(text).startswith(SECRET)) or ":" in user:
                raise BadInput(
                    f"the setting {name} holds a secret in plain text, which everybody who may look would see",
                    hint=f"Keep it in a secret: dayfly secret set NAME, then {name}={SECRET}NAME",
                )


def make(context: Context, secrets: Secrets) -> Source:
    """The source of a trigger, not started. Raises BadInput."""
    assert context.trigger.source is not None
    settings = settings_of(context.trigger, secrets)
    source: Source = _module(context.trigger.source.kind).source(context, settings)
    return source


def _module(name: str) -> Any:
    kind = KINDS.get(name)
    if kind is None:
        raise BadInput(f"there is no source {name[:64]!r}", hint=f"There are queue, {', '.join(sorted(KINDS))}.")
    try:
        return importlib.import_module(f"{__package__}.{kind.module}")
    except ModuleNotFoundError as error:
        if not kind.extra or (error.name or "").startswith("dayfly"):
            raise
        hint = f"Install it on the server: pip install 'dayfly[{kind.extra}]'"
        raise BadInput(f"source {name} needs {error.name}, which is not installed", hint=hint) from None


def _resolve(value: Any, secrets: Secrets) -> Any:
    """Settings with secrets in place of their names."""
    if isinstance(value, dict):
        return {key: _resolve(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list):
        return [_resolve(inner, secrets) for inner in value]
    if isinstance(value, str) and value.startswith(SECRET):
        name = value.removeprefix(SECRET)
        secret = secrets(name)
        if secret is None:
            raise BadInput(f"there is no secret {name[:100]!r}", hint=f"Store it first: dayfly secret set {name[:100]}")
        return secret
    return value

"""Defaults, limits, kinds and well-known names of OpenWhisk, as data.

Sources: common/scala/src/main/resources/application.conf, ansible/files/runtimes.json and ansible/files/auth.* of the project.
"""

from __future__ import annotations

import os
import sys

import msgspec
from msgspec import Struct

from ...model.function import MiB
from ...model.profile import Profile

SEGMENT = r"\w(?:[\w@ .&-]{0,254}[\w@.&-])?"  # of a name
PROFILE = Profile(
    name="openwhisk",
    timeout_s=60.0,
    memory_mb=256,
    name_pattern=rf"^{SEGMENT}(/{SEGMENT})?$",
    payload_limit=64 * MiB,  # of a request; that of a call is Limits.payload
    async_payload_limit=MiB,
    response_limit=MiB,
    async_retries=0,
    keep_answers=True,
)


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one may ask for. Times in milliseconds, memory and logs in MB, sizes in bytes.

    DAYFLY_OPENWHISK_LIMITS in the server's environment changes them: a JSON object of these members.
    """

    timeout: tuple[int, int, int] = (100, 60_000, 300_000)  # least, default, most
    memory: tuple[int, int, int] = (128, 256, 512)
    logs: tuple[int, int, int] = (0, 10, 10)
    concurrency: tuple[int, int, int] = (1, 1, 500)
    code: int = 48 * MiB
    parameters: int = MiB
    payload: int = MiB
    result: int = MiB
    sequence: int = 50
    wait: int = 60_000  # of a blocking call
    page: tuple[int, int] = (30, 200)  # default and most entries of a list
    invocations_per_minute: int = 60_000
    concurrent: int = 10_000
    fires_per_minute: int = 60_000


LIMITS = msgspec.json.decode(os.environ.get("DAYFLY_OPENWHISK_LIMITS") or "{}", type=Limits)

SYSTEM = "whisk.system"
GUEST = "guest"
_SECRET = "zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"
GUEST_KEY = f"23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123{_SECRET}"
# Everybody knows these two, so they open only a server that asks nobody for a login.
WELL_KNOWN = {GUEST_KEY: GUEST, f"789c46b1-71f6-4ed5-8c54-816aa4f8c502:abc{_SECRET}": SYSTEM}
KNOWN_KEYS = {namespace: key for key, namespace in WELL_KNOWN.items()}


class Kind(Struct, frozen=True):
    """A kind of action, and the runtime that runs it."""

    name: str
    runtime: str
    default: bool = False
    program: bool = False  # what is put is an executable for ActionLoop

    @property
    def family(self) -> str:
        return self.name.partition(":")[0]


_OURS = f"python3.{min(sys.version_info.minor, 13)}"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        *(Kind(f"nodejs:{version}", "nodejs", version == 20) for version in (18, 20, 22)),
        *(Kind(f"python:3.{minor}", f"python3.{minor}", f"python3.{minor}" == _OURS) for minor in range(8, 14)),
        Kind("python:3", _OURS),
        *(Kind(name, _OURS, True, True) for name in ("go:1.20", "rust:1.34", "swift:5.7")),
    )
}
BLACKBOX, SEQUENCE = "blackbox", "sequence"


def kind_of(name: str) -> Kind | None:
    """The kind of that name; FAMILY:default is the default of a family."""
    family, _, version = name.partition(":")
    if version == "default" or not version:
        return next((kind for kind in KINDS.values() if kind.family == family and kind.default), None)
    return KINDS.get(name)


def kind_of_runtime(runtime: str) -> str:
    """What OpenWhisk would call a function that was deployed in another way."""
    return next((kind.name for kind in KINDS.values() if kind.runtime == runtime and not kind.program), BLACKBOX)

"""How an attack is made: deploy the hostile function, call it, and look from outside while a neighbour goes on."""

from __future__ import annotations

import asyncio
import os
import textwrap
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.neighbour import neighbour
from tests.support.site import ISOLATION, Site

needs_jail = pytest.mark.skipif(ISOLATION == "process", reason="the sandbox is attacked as root: run as root on Linux")

OURS = ISOLATION == "namespace"  # or else a sandbox that another program makes: as tight, but not in every detail the same

OWN_KERNEL = ISOLATION == "runsc"  # what it answers to a call says nothing of what the machine's kernel lets happen
FORKS_MB = (
    512 if OWN_KERNEL else 64
)  # memory for 32 forks: gVisor copies on write 2 MiB at a time, and a fork of Python takes 13 MiB

HOST_SECRET = "h0st" + "-5ecret-of-the-operator"
TENANT_SECRET = "t3nant" + "-5ecret-in-the-environment"
TENANT_CODE = "t3nant" + "-5ecret-in-the-code"
TENANT_FILE = "t3nant" + "-5ecret-in-tmp"

# Every hostile function can use these; what they say is only ever checked for what it proves from outside, or for refusals.
PRELUDE = """
import ctypes, errno, os, socket, stat, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)

def attempt(function, *arguments):
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))

def call(*arguments):
    "A system call: its result, or the name of the error."
    ctypes.set_errno(0)
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = libc.syscall(*given)
    return errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()) if result == -1 else result

"""


class Victim:
    """The function of another tenant that holds secrets; the attacks look for them."""

    NAME = "victim-of-another-tenant"

    @classmethod
    async def move_in(cls, site: Site) -> None:
        source = f"""
import os
CODE = {TENANT_CODE!r}
def handler(event, context):
    open("/tmp/notes", "w").write({TENANT_FILE!r})
    return len(os.environ["SECRET"])
"""
        await site.deploy(cls.NAME, source, env={"SECRET": TENANT_SECRET})
        assert (await site.call(cls.NAME)).status_code == 200


async def attack(site: Site, name: str, code: str, event: Any = None, **config: Any) -> httpx2.Response:
    """Deploy, call once, and see that the neighbour is served before, meanwhile and after.

    `code` is the body of the handler, or whole functions if it defines `handler` itself.
    """
    code = textwrap.dedent(code).strip("\n")
    if "def handler" not in code:
        code = "def handler(event, context):\n" + textwrap.indent(code, "    ")
    config = {"memory_mb": 64, "tmp_mb": 16, "pids": 32, "timeout_s": 20, **config}
    await site.deploy(name, PRELUDE + code + "\n", **config)
    async with neighbour(site):
        return await site.call(name, event)


async def findings(site: Site, name: str, code: str, event: Any = None, **config: Any) -> Any:
    """What the hostile function brought back; it must have got through to its end."""
    answer = await attack(site, name, code, event, **config)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.headers["content-type"] == "application/json" else answer.text


async def end(site: Site, name: str) -> None:
    """End all instances of a function, and wait until nothing of them is left."""
    await site.api("DELETE", f"/functions/{name}")
    await site.server.pool.settle()


def processes(marker: str) -> list[int]:
    """Processes of this machine that carry a marker on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and marker.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:  # it ended while we looked
            continue
    return found


async def gone(marker: str) -> bool:
    """Whether all processes with the marker end."""
    async with asyncio.timeout(20):
        while processes(marker):
            await asyncio.sleep(0.02)
    return True

"""Which protections this machine offers to sandboxed functions, found out by trying, without side effects.

`runtime/python/rehearsal.py` enters a jail in a process of its own and tells step by step what the kernel refused. Here its answers, and
what a few control files say, are turned into lines for `dayfly doctor`: name, state, why, and what to do about it. The server, too, asks
before it takes on tenants who do not trust each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from ...runtime.python.seccomp import refuses_descriptors
from .cgroups import detect, trees
from .net.firewall import swallowing
from .net.router import rehearse

REHEARSAL_TIMEOUT = 20.0  # seconds
KERNEL = (5, 12)  # mount_setattr

_SCRIPT = Path(__file__).resolve().parents[2] / "runtime" / "python" / "rehearsal.py"

_USER_TODO = (
    "run Dayfly as root, or allow user namespaces: sysctl user.max_user_namespaces=65536 and, where it exists, "
    "kernel.unprivileged_userns_clone=1; on Ubuntu also kernel.apparmor_restrict_unprivileged_userns=0"
)
_CONTAINER_TODO = "inside a container, start it with --privileged, or run Dayfly on the host"

_NAMESPACES = {
    "mount": "functions see a file system of their own",
    "pid": "functions see and reach no process but their own, and all of them end together",
    "net": "functions see no interface, no port and no abstract socket of the host",
    "ipc": "System V and POSIX queues and shared memory are private",
    "uts": "the host name is private",
}


class Protection(Struct, frozen=True, kw_only=True):
    """One line of the report. `state`: on, off, or weaker (something else stands in, or a part is missing)."""

    name: str
    state: str
    why: str
    todo: str = ""  # what to do if it is not on
    required: bool = False  # isolation "namespace" does not work without it
    tenants: bool = False  # tenants who do not trust each other need it, too (`required` ones go without saying)


def probe(*, proc: Path = Path("/proc"), sysfs: Path = Path("/sys")) -> list[Protection]:
    """Try everything. Takes a fifth of a second, leaves nothing behind, raises nothing."""
    if sys.platform != "linux":
        why = f"isolation is built from Linux namespaces, and this is {sys.platform}"
        return [Protection(name="isolation", state="off", why=why, todo="use a Linux machine", required=True)]
    said = _rehearse()
    return [
        _kernel(os.uname().release),
        _user(said["user"], os.geteuid() == 0, proc / "sys"),
        *_namespaces(said),
        _jail(said["jail"]),
        _seccomp(said["seccomp"], said["jail"]),
        _no_new_privs(said["no_new_privs"]),
        _landlock(said["landlock"]),
        _descriptors(refuses_descriptors()),
        *_network(),
        *_cgroups(),
        _swap(proc),
        _core_dumps(proc / "sys"),
        _neighbours(sysfs),
        _processor(sysfs),
    ]


def _rehearse() -> dict[str, str]:
    command = [sys.executable, "-I", "-S", str(_SCRIPT)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=REHEARSAL_TIMEOUT, stdin=subprocess.DEVNULL)
        answers: dict[str, str] = json.loads(done.stdout)
        return answers
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        reason = f"the rehearsal did not end: {error}"
        return dict.fromkeys([*_NAMESPACES, "user", "cgroup", "jail", "seccomp", "no_new_privs", "landlock"], reason)


def _kernel(release: str) -> Protection:
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    wanted = ".".join(map(str, KERNEL))
    return Protection(
        name="kernel",
        state="on" if numbers >= KERNEL else "off",
        why=f"Linux {release}; {wanted} or newer is needed to make whole mount trees read-only",
        todo=f"boot a kernel of {wanted} or newer",
        required=True,
    )


def _user(refused: str, root: bool, sysctl: Path) -> Protection:
    if not refused:
        if root:
            why = "each instance is an unprivileged user of its own, in a user namespace of its own"
            return Protection(name="user namespace", state="on", why=why)
        why = "works, but without root all instances are the same user of the host: yours"
        return Protection(name="user namespace", state="weaker", why=why, todo="run Dayfly as root for a user each")
    reason = _user_reason(sysctl) or refused
    if root:
        why = f"{reason}; instances still are unprivileged users without capabilities"
        return Protection(
            name="user namespace", state="weaker", why=why, todo=_USER_TODO.replace("run Dayfly as root, or ", "")
        )
    return Protection(name="user namespace", state="off", why=reason, todo=_USER_TODO, required=True)


def _user_reason(sysctl: Path) -> str:
    if _text(sysctl / "user/max_user_namespaces") == "0":
        return "user.max_user_namespaces is 0"
    if _text(sysctl / "kernel/unprivileged_userns_clone") == "0":
        return "kernel.unprivileged_userns_clone is 0"
    if _text(sysctl / "kernel/apparmor_restrict_unprivileged_userns") == "1":
        return "AppArmor restricts user namespaces of unprivileged programs"
    return ""


def _namespaces(said: dict[str, str]) -> Iterator[Protection]:
    for kind, why in _NAMESPACES.items():
        refused = said[kind]
        yield Protection(
            name=f"{kind} namespace",
            state="off" if refused else "on",
            why=refused or why,
            todo=f"{_USER_TODO}; {_CONTAINER_TODO}" if refused else "",
            required=True,
        )


def _jail(refused: str) -> Protection:
    return Protection(
        name="read-only root",
        state="off" if refused else "on",
        why=refused or "a root of its own with a private /tmp and a masked /proc; the host's is detached",
        todo=_CONTAINER_TODO if refused else "",
        required=True,
    )


def _seccomp(refused: str, jail: str) -> Protection:
    return Protection(
        name="seccomp",
        state="off" if refused else "on",
        why=(jail and f"could not be tried: {jail}") or refused or "system calls outside the list are denied",
        todo="use a kernel with CONFIG_SECCOMP_FILTER on x86_64 or aarch64" if refused else "",
        required=True,
    )


def _no_new_privs(refused: str) -> Protection:
    why = refused or "programs with the setuid bit give nothing"
    return Protection(name="no-new-privs", state="off" if refused else "on", why=why, required=True)


def _landlock(refused: str) -> Protection:
    return Protection(
        name="landlock",
        state="off" if refused else "on",
        why=refused or "builds connect to the TCP ports of package indexes only, and not to this server",
        todo="boot a kernel of 6.7 or newer with lsm=landlock,...; until then, build only code you trust" if refused else "",
        tenants=True,
    )


def _descriptors(refused: bool) -> Protection:
    what = "the server takes no descriptor from an instance, which could block it when it lets go of it"
    if refused:
        return Protection(name="descriptors", state="on", why=what, tenants=True)
    why = "before Linux 6.16 the server cannot refuse them; functions are denied SO_LINGER, the one way known to make use of it"
    return Protection(name="descriptors", state="weaker", why=why, todo="boot a kernel of 6.16 or newer", tenants=True)


def _network() -> Iterator[Protection]:
    refused = rehearse()
    if not refused:
        why = (
            "functions reach the internet and nothing of this machine or its neighbours, by the rules of a router of their own"
        )
        yield Protection(name="network", state="on", why=why)
        with contextlib.suppress(OSError):
            found = firewalled(swallowing())
            if found is not None:
                yield found
        return
    why = f"functions have loopback alone, whatever they ask for: {refused}"
    todo = "run Dayfly as root with nftables' library (apt-get install libnftables1), on a kernel with veth and nf_tables"
    yield Protection(name="network", state="off", why=why, todo=todo)


def firewalled(chains: list[str]) -> Protection | None:
    """What is said of chains of this machine that drop what it forwards."""
    if not chains:
        return None
    why = f"what functions send out is dropped by this machine's own firewall: {', '.join(chains)}"
    todo = "let interfaces df+ through, both ways; with Docker: iptables -I DOCKER-USER -i df+ -j ACCEPT, and the same with -o"
    return Protection(name="firewall", state="weaker", why=why, todo=todo)


def _cgroups() -> Iterator[Protection]:
    cgroups = detect("doctor")
    found = trees()
    present = "version 1" if found.v1 else "version 2 without controllers" if found.v2 else "none"
    what = f"version {cgroups.version}" if cgroups else f"usable: {present}"
    todo = "run Dayfly as root, or under `systemd-run --user -p Delegate=yes`"
    controllers = cgroups.controllers if cgroups else frozenset()
    for controller, why, lost in (
        ("memory", "an instance over its limit is ended alone", "an instance can use up the machine's memory"),
        ("pids", "a fork bomb stops at the limit", "a fork bomb is bounded by the user's process limit only"),
        ("cpu", "shares and quotas hold", "a busy instance slows its neighbours down"),
    ):
        has = controller in controllers
        yield Protection(
            name=f"cgroup {controller}",
            state="on" if has else "off",
            why=f"{why} ({what})" if has else f"no such control group ({what}): {lost}",
            todo="" if has else todo,
            tenants=True,
        )


def _swap(proc: Path) -> Protection:
    swaps = _text(proc / "swaps").splitlines()[1:]
    if not swaps:
        return Protection(
            name="swap", state="on", why="no swap: a memory limit is a limit of memory, and no secret goes to disk"
        )
    cgroups = detect("doctor")
    if (
        cgroups
        and "memory" in cgroups.controllers
        and (cgroups.version == 2 or (trees().v1["memory"] / "memory.memsw.limit_in_bytes").exists())
    ):
        return Protection(name="swap", state="on", why="instances may not use it")
    why = "the kernel does not count swap in memory limits here, so an instance over its limit swaps instead of ending"
    return Protection(name="swap", state="weaker", why=why, todo="swapoff -a, or boot with swapaccount=1")


def _core_dumps(sysctl: Path) -> Protection:
    pattern = _text(sysctl / "kernel/core_pattern")
    what = f"kernel.core_pattern is {pattern!r}" if pattern else "the pattern is not readable"
    return Protection(name="core dumps", state="on", why=f"forbidden to instances, to files and to programs alike ({what})")


def _neighbours(sysfs: Path) -> Protection:
    """What lets one instance guess at another by timing: shared cores and merged pages."""
    open_ = []
    if _text(sysfs / "devices/system/cpu/smt/active") == "1":
        open_.append("two threads share a core (SMT)")
    if _text(sysfs / "kernel/mm/ksm/run") == "1":
        open_.append("equal pages are merged (KSM)")
    if not open_:
        return Protection(name="side channels", state="on", why="no shared cores (SMT off), no merged pages (KSM off)")
    why = f"{' and '.join(open_)}: a function may learn by timing what its neighbours do"
    todo = "for tenants who do not trust each other: echo off > /sys/devices/system/cpu/smt/control; echo 2 > /sys/kernel/mm/ksm/run"
    return Protection(name="side channels", state="weaker", why=why, todo=todo)


def _processor(sysfs: Path) -> Protection:
    """What the kernel says of the leaks it knows in this processor."""
    folder = sysfs / "devices/system/cpu/vulnerabilities"
    bare = sorted(file.name for file in folder.glob("*") if _text(file).startswith("Vulnerable"))
    if not bare:
        return Protection(
            name="processor leaks", state="on", why="the kernel mitigates all that it knows of (Spectre, MDS ...)"
        )
    why = f"not mitigated: {', '.join(bare)}"
    return Protection(
        name="processor leaks", state="weaker", why=why, todo="update kernel and microcode; boot without mitigations=off"
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""

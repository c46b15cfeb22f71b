"""Attacks that the list of forty does not have: what broke other sandboxes, and what was found here."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from tests.attacks.attack import OWN_KERNEL, Victim, attack, findings, needs_jail
from tests.attacks.test_state import FORGE
from tests.support.neighbour import neighbour
from tests.support.sandboxes import ask, place
from tests.support.site import Site
from tests.support.system_calls import here

pytestmark = [pytest.mark.anyio, needs_jail]

LINGERS = (
    FORGE.split("def handler")[0]
    + """
import array
def handler(event, context):
    server = socket.create_server(("127.0.0.1", 0))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    trap = socket.create_connection(server.getsockname())
    attempt(trap.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
    trap.setblocking(False)
    try:
        while True: trap.send(bytes(65536))
    except BlockingIOError: pass
    link = gateway()
    link.sendall(frame(3, 1, b"{}") + 20 * frame(2, 1, bytes(60000)))   # keeps it busy until our own copy is closed
    said = attempt(link.sendmsg, [frame(2, 1, b"x")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [trap.fileno()]))])
    if said is None: os.close(trap.detach())
    link.sendall(frame(2 | 0x80, 1, str(said).encode()))
    time.sleep(30)
"""
)


async def test_41_a_descriptor_whose_close_blocks_is_sent_to_the_server(site: Site) -> None:
    """The last close of a TCP socket with SO_LINGER and unsent data waits. If the server is made to do it, it answers nobody."""
    answer = await attack(site, "lingers", LINGERS, timeout_s=2)  # the neighbour would not be answered for an hour
    assert answer.status_code == 200
    assert answer.content.endswith((b"EPERM", b"x", b"EINVAL" if OWN_KERNEL else b"x")), answer.content[-20:]


async def test_42_filling_the_kernels_memory_for_filters(site: Site) -> None:
    """Compiled socket and seccomp filters share one bounded pool; once full, no instance can load its own filter and start."""
    code = """
    instructions = struct.pack("HBBI", 0x28, 0, 0, 0) * 500 + struct.pack("HBBI", 6, 0, 0, 0xFFFF)
    buffer = ctypes.create_string_buffer(instructions)
    program = struct.pack("HL", 501, ctypes.addressof(buffer))
    said = [attempt(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).setsockopt, socket.SOL_SOCKET, option, program) for option in (26, 51)]
    said += [attempt(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).setsockopt, socket.SOL_SOCKET, option, 0) for option in (50, 52)]
    kept = ctypes.create_string_buffer(program, 16)
    said.append("EINVAL" if libc.prctl(22, 2, kept) == -1 and ctypes.get_errno() == 22 else "loaded")
    said.append(call({"x86_64": 317, "aarch64": 277}[os.uname().machine], 1, 0, kept))
    return said
    """
    assert await findings(site, "fills-filters", code) == ["ENOPROTOOPT"] * 4 + ["EINVAL"] * 2
    await site.api("POST", f"/functions/{Victim.NAME}/recycle")
    assert (await site.call(Victim.NAME)).status_code == 200, "others still start"


async def test_43_a_control_group_with_a_release_agent(site: Site) -> None:
    """CVE-2022-0492: mount a version 1 tree, name a program, and the kernel runs it as the host's root."""
    code = f"""
    mount = {here("mount")[0]}
    os.makedirs("/tmp/c", exist_ok=True)
    said = [call(mount, b"none", b"/tmp/c", kind, 0, options) for kind, options in
            ((b"cgroup", b"none,name=x"), (b"cgroup2", None), (b"tmpfs", None), (b"overlay", b"lowerdir=/,upperdir=/tmp,workdir=/tmp"), (b"proc", None))]
    return [said, os.path.exists("/sys/fs/cgroup"), attempt(open, "/proc/sys/kernel/core_pattern", "w")]
    """
    said, seen, pattern = await findings(site, "releases", code)
    assert (said, seen) == (["EPERM"] * 5, OWN_KERNEL)  # which makes one up
    assert pattern in ("EROFS", "EACCES")


async def test_44_null_and_masked_files_are_swapped(site: Site) -> None:
    """CVE-2025-31133 and its siblings: what the runtime mounts over a file is replaced by a link while it does so."""
    code = f"""
    umount = {here("umount2")[0]}
    masks = [line.split()[4] for line in open("/proc/self/mountinfo") if line.split()[4].startswith("/proc/")]
    said = [attempt(os.unlink, "/dev/null"), attempt(os.rename, "/dev/null", "/dev/x"), attempt(os.symlink, "/proc/kallsyms", "/dev/y"),
            attempt(os.rmdir, "/var/empty"), attempt(os.mkdir, "/var/empty/x")]
    said += [call(umount, mask.encode(), 2) for mask in masks]
    return [sorted(set(said)), len(masks) > 5, stat.S_ISCHR(os.stat("/dev/null").st_mode)]
    """
    said, masks, null = await findings(site, "swaps", code)
    assert set(said) <= {"EROFS", "EACCES", "EPERM"}
    assert (masks, null) == (not OWN_KERNEL, True)  # which has nothing of the machine's to mask


async def test_45_links_in_the_package_where_the_sandbox_mounts(site: Site, data: Path) -> None:
    """CVE-2021-30465 and CVE-2024-42472: setup follows a link that the payload left, and writes or mounts on the host."""
    before = sorted(os.listdir("/etc"))
    code = """
    os.symlink("/etc", "/tmp/etc")
    os.symlink("/", "/tmp/root")
    return [attempt(open, "/tmp/etc/planted", "w"), attempt(open, "/tmp/root/planted", "w"), attempt(os.symlink, "/etc", "/var/task/x")]
    """
    assert set(await findings(site, "mounts-links", code)) <= {"EROFS", "EACCES"}
    assert sorted(os.listdir("/etc")) == before


async def test_46_no_filter_of_addresses_or_of_words_that_have_two_spellings(site: Site) -> None:
    """Calls of other architectures and with high halves set; a filter that compares only some bits lets them through."""
    code = f"""
    numbers = {here("mount", "ptrace", "bpf", "keyctl", "unshare")!r}
    said = {{call(number | 0x40000000, 0, 0, 0, 0, 0) for number in numbers}}
    libc.syscall.argtypes = None
    sock = {{"x86_64": 41, "aarch64": 198}}[os.uname().machine]
    said |= {{call(sock, family | 1 << 32, 3, 0) for family in (17, 38, 40)}}
    return sorted(map(str, said))
    """
    assert set(await findings(site, "spells", code)) <= {"EPERM", "EAFNOSUPPORT", "ENOSYS"}


async def test_47_kill_whatever_can_be_killed(site: Site) -> None:
    code = """
    said = [attempt(os.kill, number, 9) for number in (-1, 2, os.getppid() or 3, 99999)]
    said += [attempt(os.killpg, 3, 9)]
    os.kill(0, 18)
    return said
    """
    agent = site.server.sandbox.agent_pid
    assert set(await findings(site, "kills", code)) <= {"ESRCH", "EPERM"}
    assert os.path.exists(f"/proc/{agent}"), "the node agent lives"


async def test_48_an_instance_that_ends_again_and_again(site: Site) -> None:
    """Every call costs a start; starts are bounded, and the neighbour's come in between."""
    await attack(site, "ends", "os._exit(3)")
    async with neighbour(site):
        answers = await asyncio.gather(*(site.call("ends") for _ in range(30)))
        await site.api("POST", "/functions/neighbour/recycle")
    assert {answer.status_code for answer in answers} <= {502, 503, 429}


async def test_49_keys_that_collide_in_another_tenants_dictionaries() -> None:
    """Who knows the seed of Python's hashes can slow down whoever shares it: with `multi_tenant`, only one's own functions do."""
    async with place("namespace", tenants=True) as found:
        seeds = {}
        for namespace in ("one", "two"):
            boxes = [(await found.ready("hash_of", namespace=namespace))[0] for _ in range(2)]
            seeds[namespace] = {await ask(box, "a word") for box in boxes}
        assert len(seeds["one"]) == len(seeds["two"]) == 1
        assert seeds["one"] != seeds["two"]


async def test_50_long_turns_of_the_scheduler(site: Site) -> None:
    """A process may ask Linux for a slice of up to a tenth of a second (6.12 and newer), and its children inherit it."""
    code = """
    number = {"x86_64": 314, "aarch64": 274}[os.uname().machine]
    asked = struct.pack("IIQiIQQQ", 48, os.SCHED_OTHER, 0, 0, 0, 100_000_000, 0, 0)
    present = ctypes.create_string_buffer(48)
    call(number + 1 if number == 314 else 275, 0, present, 48, 0)
    return [call(number, 0, asked, 0), struct.unpack_from("Q", present, 24)[0]]
    """
    asked, turn = await findings(site, "long-turns", code)
    assert asked == "EPERM"
    assert turn in (0, 100_000), "what is called often and briefly has short ones, where the kernel has any"


async def test_51_huge_pages(site: Site) -> None:
    """A machine's pool of huge pages counts as nobody's memory: who takes them all leaves a database beside us without."""
    code = """
    import mmap
    libc.shmget.argtypes = [ctypes.c_int, ctypes.c_size_t, ctypes.c_int]
    shared = "EPERM" if libc.shmget(0, 2 << 20, 0o1600 | 0x800) == -1 and ctypes.get_errno() == errno.EPERM else "taken"
    return [attempt(mmap.mmap, -1, 2 << 20, 0x40022), attempt(libc_memfd, 4), shared, len(mmap.mmap(-1, 2 << 20))]

def libc_memfd(flags):
    if libc.memfd_create(b"x", flags) == -1:
        raise OSError(ctypes.get_errno(), "refused")
    """
    assert await findings(site, "huge-pages", "def handler(event, context):\n" + code.lstrip("\n")) == ["EPERM"] * 3 + [2 << 20]


async def test_52_a_core_for_oneself(site: Site) -> None:
    """Core scheduling: processes with a cookie of their own keep everybody else from the other thread of their core."""
    code = """
    said = "EPERM" if libc.prctl(62, 1, 0, 0, 0) == -1 and ctypes.get_errno() == errno.EPERM else "has it"
    return [said, libc.prctl(15, b"renamed", 0, 0, 0)]
    """
    assert await findings(site, "own-core", code) == ["EPERM", 0]


async def test_53_corners_of_sockets_with_long_lists_of_holes(site: Site) -> None:
    """Out-of-band data of Unix sockets (CVE-2025-38236), and the kernel's own TLS (CVE-2023-0461 and many more)."""
    code = """
    ours, theirs = socket.socketpair()
    said = [attempt(ours.send, b"x", socket.MSG_OOB), attempt(ours.sendmsg, [b"x"], [], socket.MSG_OOB)]
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    said += [attempt(client.setsockopt, socket.IPPROTO_TCP, 31, name) for name in (b"tls", b"smc", b"espintcp")]
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return [said, ours.send(b"plain")]
    """
    assert await findings(site, "corners", code) == [["ENOTSUP"] * 2 + ["ENOPROTOOPT"] * 3, 5]

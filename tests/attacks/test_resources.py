"""Attacks 1 to 13: take all there is."""

from __future__ import annotations

import asyncio
import ctypes
import mmap
import os
import signal
import subprocess
import uuid
from pathlib import Path

import pytest

from dayfly.sandbox.node.cgroup_tree import machine_share
from tests.attacks.attack import FORKS_MB, OURS, OWN_KERNEL, attack, end, findings, gone, needs_jail
from tests.support.neighbour import neighbour
from tests.support.sandboxes import groups
from tests.support.site import Site

pytestmark = [pytest.mark.anyio, needs_jail]

ENOSPC = 28


async def test_01_fork_bomb(site: Site) -> None:
    code = """
    forked = 0
    while True:
        try:
            if os.fork() == 0:
                time.sleep(600)
        except BlockingIOError:
            return forked
        forked += 1
    """
    assert await findings(site, "fork-bomb", code, memory_mb=FORKS_MB) < 32
    [group] = [g for g in site.server.pool.groups.values() if g.revision.function == "fork-bomb"]
    [instance] = group.instances.values()
    assert (await instance.box.stats()).pids <= (32 if not OWN_KERNEL else 2 * 32 + 64)
    await end(site, "fork-bomb")


async def test_01_fork_bomb_that_is_never_done(site: Site) -> None:
    """Each child forks as soon as it can, and what is killed is replaced at once."""
    code = """
    while True:
        try:
            os.fork()
        except BlockingIOError:
            pass
    """
    answer = await attack(site, "fork-storm", code, timeout_s=1, memory_mb=FORKS_MB)
    assert answer.status_code == 504 or (OWN_KERNEL and answer.status_code == 502), (
        answer.text
    )  # it gives up when it gets no thread
    await site.server.pool.settle()


async def test_02_thread_bomb(site: Site) -> None:
    code = """
    import threading
    started = 0
    try:
        while True:
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            started += 1
    except RuntimeError:
        return started
    """
    assert await findings(site, "thread-bomb", code) < 32
    await end(site, "thread-bomb")


EATERS = {
    "heap": "x = []\nwhile True: x.append(bytearray(b'x' * (1 << 20)))",
    "tmpfs": "f = open('/tmp/f', 'wb', 0)\nwhile True: f.write(bytes(1 << 20))",
    "shm": "f = open('/dev/shm/f', 'wb', 0)\nwhile True: f.write(bytes(1 << 20))",
    "memfd": "f = open(os.memfd_create('f'), 'wb', 0)\nwhile True: f.write(bytes(1 << 20))",
    "shared-mapping": "import mmap\nm = mmap.mmap(-1, 1 << 30)\nwhile True: m.write(bytes(1 << 20))",
    "system-v": """
libc.shmat.restype = ctypes.c_void_p
size = 1 << 30
where = libc.shmat(libc.shmget(0, ctypes.c_size_t(size), 0o1600), None, 0)
ctypes.memset(where, 1, size)
""",
}


@pytest.mark.parametrize("kind", EATERS)
async def test_03_and_04_memory_bomb(site: Site, kind: str) -> None:
    """Whatever the memory is called, the instance that takes too much is ended, alone."""
    answer = await attack(site, f"eats-{kind}", EATERS[kind], tmp_mb=1024)
    assert (answer.status_code, "out of memory" in answer.text) == (502, True), answer.text


async def test_04_memory_in_pipes_and_sockets(site: Site) -> None:
    """Buffers of the kernel count as the instance's memory, or there are few of them."""
    code = """
    import fcntl
    held, kept = 0, []
    chunk = bytes(1 << 16)
    try:
        while len(kept) < 2000:
            read, write = os.pipe()
            try: fcntl.fcntl(write, 1031, 1 << 20)
            except PermissionError: pass
            left, right = socket.socketpair()
            kept += [read, write, left, right]
            for writer in (write, left.fileno()):
                os.set_blocking(writer, False)
                try:
                    while True: held += os.write(writer, chunk)
                except BlockingIOError: pass
    except OSError:
        pass
    return held
    """
    answer = await attack(site, "eats-buffers", code)
    assert "out of memory" in answer.text if answer.status_code == 502 else answer.json() < 64 << 20, answer.text


async def test_05_disk_fill(site: Site, data: Path) -> None:
    code = """
    written = 0
    try:
        with open("/tmp/f", "wb", 0) as file:
            while True: written += file.write(bytes(1 << 20))
    except OSError as error:
        return [error.errno, written]
    """
    before = os.statvfs(data).f_bavail
    number, written = await findings(site, "fills-disk", code, memory_mb=256)
    assert (number, written) == (ENOSPC, 16 << 20)
    assert (before - os.statvfs(data).f_bavail) * os.statvfs(data).f_frsize < 16 << 20, "it took the host's disk"


async def test_06_inode_exhaustion(site: Site) -> None:
    code = """
    made = 0
    try:
        while True:
            os.close(os.open("/tmp/%d" % made, os.O_CREAT | os.O_WRONLY))
            made += 1
    except OSError as error:
        return [error.errno, made]
    """
    answer = await attack(site, "fills-inodes", code, tmp_mb=4)
    if answer.status_code == 502:
        assert not OURS  # where the number of files is not bounded, the memory that they take is
        assert "out of memory" in answer.text
    else:
        number, made = answer.json()
        assert number == ENOSPC
        assert made < 4 * 256


async def test_07_descriptor_exhaustion(site: Site) -> None:
    code = """
    import resource
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    try: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20)); raised = "raised"
    except (ValueError, OSError): raised = "refused"
    held = []
    try:
        while True: held.append(os.dup(0))
    except OSError as error:
        number = error.errno
    for fd in held: os.close(fd)
    return [raised, number, len(held)]
    """
    raised, number, held = await findings(site, "hoards-descriptors", code)
    assert (raised, number) == ("refused", 24)
    assert held < 4096


async def test_08_busy_past_the_timeout_and_deaf_to_signals(site: Site) -> None:
    marker = uuid.uuid4().hex
    code = f"""
    import signal, subprocess
    for number in range(1, 32):
        attempt(lambda: signal.signal(number, signal.SIG_IGN) if number not in (9, 17, 19) else None)
    subprocess.Popen(["/bin/sh", "-c", "trap '' TERM INT HUP; while :; do :; done", {marker!r}], start_new_session=True)
    while True: pass
    """
    answer = await attack(site, "never-ends", code, timeout_s=1)
    assert answer.status_code == 504, answer.text
    assert await gone(marker), "what it started went with it"


async def test_09_a_daemon_does_not_survive_its_instance(site: Site) -> None:
    marker = uuid.uuid4().hex
    code = f"""
    for _ in range(2):
        if os.fork(): return "daemon started" if _ == 0 else os._exit(0)
        os.setsid()
    os.execv("/bin/sh", ["sh", "-c", "trap '' TERM HUP; while :; do sleep 1; done", {marker!r}])
    """
    assert await findings(site, "daemon", code) == "daemon started"
    await site.api("POST", "/functions/daemon/recycle")
    assert await gone(marker)


async def test_09_per_invocation_it_does_not_even_survive_its_call(site: Site) -> None:
    marker = uuid.uuid4().hex
    code = f"""
    if os.fork() == 0:
        os.setsid()
        os.execv("/bin/sh", ["sh", "-c", "while :; do sleep 1; done", {marker!r}])
    time.sleep(0.05)
    return "daemon started"
    """
    assert await findings(site, "daemon-once", code, isolation="per-invocation") == "daemon started"
    assert await gone(marker)


async def test_10_log_flood(site: Site) -> None:
    code = """
    for _ in range(80): print("x" * (1 << 20))
    return "printed"
    """
    assert await findings(site, "floods-log", code) == "printed"
    page = await site.api("GET", "/logs", params={"function": "floods-log", "limit": 1000})
    assert sum(len(line["text"]) for line in page["items"]) < 64 << 20
    assert any("cut" in line["text"] or "dropped" in line["text"] for line in page["items"]), "nobody says what is missing"


async def test_11_core_dump(site: Site) -> None:
    code = """
    import resource
    try: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY,) * 2); said = "raised"
    except (ValueError, OSError): said = "refused"
    os.chdir("/tmp")
    pid = os.fork()
    if pid == 0:
        ballast = bytearray(b"x" * (20 << 20))
        os.kill(os.getpid(), 11)
    status = os.waitpid(pid, 0)[1]
    return [said, os.WTERMSIG(status), os.WCOREDUMP(status), os.listdir("/tmp")]
    """
    assert await findings(site, "dumps-core", code) == ["refused", signal.SIGSEGV, False, []]


async def test_12_processor_starvation(site: Site) -> None:
    """More busy processes than there are processors, at the best priority they can get. `bench neighbour` measures what is left."""
    code = """
    answers = {str(attempt(os.setpriority, os.PRIO_PROCESS, 0, -20)),
               str(attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(50)))}
    until = time.monotonic() + 1.0
    for _ in range(20):
        if os.fork() == 0:
            while time.monotonic() < until: pass
            os._exit(0)
    for _ in range(20): os.wait()
    return [sorted(answers), os.getpriority(os.PRIO_PROCESS, 0)]
    """
    answers, priority = await findings(site, "starves", code, memory_mb=FORKS_MB)
    if not OWN_KERNEL:
        assert set(answers) <= {"EACCES", "EPERM"}
        assert priority >= 0


async def test_13_storms_on_disk_and_cache(site: Site, tmp_path: Path) -> None:
    """There is no disk to write to, whole-machine flushes are denied, and nobody can throw out what others have read."""
    shared = max(Path("/usr/lib").rglob("libc.so.6"), key=lambda path: path.stat().st_size)
    shared.read_bytes()
    assert cached(shared) == 1.0
    code = f"""
    file = open({str(shared)!r}, "rb")
    said = [attempt(os.posix_fadvise, file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)]
    with open("/tmp/f", "wb", 0) as own:
        for _ in range(200):
            own.write(b"x")
            os.fsync(own.fileno())
    number = {{"x86_64": (162, 306), "aarch64": (81, 267)}}[os.uname().machine]
    return [*said, call(number[0]), call(number[1], file.fileno()), attempt(open, "/proc/sys/vm/drop_caches", "w")]
    """
    said = await findings(site, "storms", code)
    assert said[:3] == [None, "EPERM", "EPERM"]
    assert said[3] in ("EROFS", "EACCES")
    assert cached(shared) == 1.0


def cached(path: Path) -> float:
    """The share of a file that is in the page cache."""
    libc = ctypes.CDLL(None, use_errno=True)
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ | mmap.PROT_WRITE, flags=mmap.MAP_PRIVATE) as view,
    ):
        pages = (len(view) + mmap.PAGESIZE - 1) // mmap.PAGESIZE
        present = (ctypes.c_ubyte * pages)()
        address = ctypes.addressof(ctypes.c_char.from_buffer(view))
        assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(len(view)), present) == 0
        return sum(byte & 1 for byte in present) / pages


async def test_01_many_instances_together_are_bounded_too(site: Site) -> None:
    """A function that fills every instance it can get leaves process numbers for the rest of the machine."""
    code = """
    try:
        while True:
            if os.fork() == 0: time.sleep(600)
    except BlockingIOError:
        time.sleep(0.5)
        return True
    """
    await attack(site, "fork-bombs", code, max_instances=6, pids=24, memory_mb=4 * FORKS_MB)
    async with neighbour(site):
        answers = await asyncio.gather(*(site.call("fork-bombs") for _ in range(6)))
        assert subprocess.run(["/bin/true"], check=False).returncode == 0
    assert [answer.status_code for answer in answers] == [200] * 6
    ours = {at.parent for instance in site.server.pool.infos() for at in groups(instance.id)}
    bounds = {int((at / "pids.max").read_text()) for at in ours if (at / "pids.max").exists()}
    assert bounds == {machine_share()}
    await end(site, "fork-bombs")

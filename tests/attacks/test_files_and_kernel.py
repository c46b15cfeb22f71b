"""Attacks 14 to 27: read what is not yours, get at the kernel, get out."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

import dayfly.server
from tests.attacks.attack import (
    HOST_SECRET,
    OURS,
    OWN_KERNEL,
    TENANT_CODE,
    TENANT_FILE,
    Victim,
    attack,
    end,
    findings,
    needs_jail,
)
from tests.support.neighbour import neighbour
from tests.support.site import Site
from tests.support.system_calls import DENIED, here

MADE_UP = {"/sys/kernel", "tty", "ptmx", "fuse", "tun"} if OWN_KERNEL else set()  # files of its own, not of the machine

pytestmark = [pytest.mark.anyio, needs_jail]


async def test_14_read_the_hosts_files(site: Site, data: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(HOST_SECRET)
    wanted = ["/etc/shadow", "/etc/ssh", str(Path.home() / ".ssh"), "/var/lib", "/var/log", "/boot", "/sys/kernel", "/run/docker.sock",
              str(data), str(data / "dayfly.db"), str(secret), dayfly.server.__file__, str(Path(__file__))]  # fmt: skip
    code = f"""
    seen = [path for path in {wanted!r} if os.path.exists(path)]
    names = set()
    for folder, folders, files in os.walk("/"):
        if folder == "/":
            folders[:] = set(folders) - {{"proc", "usr"}}
        names.update(files)
    return [seen, sorted(names & {{"dayfly.db", "shadow", "node.sock"}}), os.listdir("/mnt")]
    """
    seen, *others = await findings(site, "reads-host", code)
    assert set(seen) <= MADE_UP
    assert others == [[], []]


async def test_15_read_another_tenants_code_files_and_socket(site: Site) -> None:
    """Everything that can be opened, searched for what the victim keeps in its code, its /tmp, and its environment."""
    code = f"""
    wanted = [secret.encode() for secret in (event["code"], event["file"])]
    found, looked = [], 0
    for top in ("/var", "/tmp", "/proc/1", "/proc/self", "/run", "/code", "/opt", "/mnt", "/dev/shm", "/build"):
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if name not in ("task", "map_files", "net") and folder.count("/") < 9]
            for name in files:
                path = os.path.join(folder, name)
                if name in ("mem", "pagemap", "kmsg", "clear_refs") or path.startswith("/var/task/handler"): continue
                try:
                    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
                    held = os.read(fd, 1 << 16)
                    os.close(fd)
                except OSError:
                    continue
                looked += 1
                found += [path for secret in wanted if secret in held]
    for base in ("/proc/1/root", "/proc/self/root", "/proc/1/cwd", "/var/task/../../../../..", "/proc/self/fd/3/.."):
        found += [base for name in ("packages", "run/i", "dayfly.db", "etc/shadow") if os.path.exists(base + "/" + name)]
    others = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != str(os.getpid())]
    sockets = [line for line in open("/proc/net/unix") if ".sock" in line and {Victim.NAME!r} in line]
    return [found, looked > 50, others, sockets]
    """
    event = {"code": TENANT_CODE, "file": TENANT_FILE}
    assert await findings(site, "reads-tenant", code, event) == [[], True, [], []]
    assert (await site.call(Victim.NAME)).status_code == 200


async def test_16_write_to_the_runtime_and_the_standard_library(site: Site) -> None:
    code = """
    import json
    places = {os.path.dirname(os.__file__), os.path.dirname(json.__file__), "/run/dayfly/python", "/var/task", "/usr/bin", "/usr/lib",
              "/etc", "/dev", "/", os.path.dirname(os.path.realpath(sys.executable or os.__file__))}
    new = {str(attempt(open, place + "/planted.py", "w")) for place in places}
    old = {str(attempt(open, path, "r+b")) for path in (os.__file__, json.__file__, "/var/task/handler.py", "/run/dayfly/python/zygote.py")}
    json.dumps = json.loads = lambda *a, **k: "planted"   # in its own memory it may do as it likes
    os.environ["PATH"] = "/tmp"
    return [sorted(new), sorted(old)]
    """
    answer = await attack(site, "plants", code)
    assert "None" not in answer.text
    assert set(answer.text.replace('"', " ").replace("[", " ").replace("]", " ").replace(",", " ").split()) <= {
        "EROFS", "EACCES", "ENOENT", "planted",
    }, answer.text  # fmt: skip
    async with neighbour(site):
        assert (await site.call(Victim.NAME)).status_code == 200


async def test_18_links_and_renames_across_mounts(site: Site) -> None:
    code = """
    open("/tmp/mine", "w").close()
    said = [attempt(os.link, "/tmp/mine", "/x"), attempt(os.rename, "/tmp/mine", "/x"), attempt(os.link, os.__file__, "/tmp/x"),
            attempt(os.rename, os.__file__, "/tmp/x"), attempt(os.link, "/var/task/handler.py", "/tmp/x"),
            attempt(os.link, "/dev/null", "/tmp/null"), attempt(os.rename, "/var/task", "/tmp/task")]
    os.symlink("/../../../../etc/shadow", "/tmp/up")
    return [*said, attempt(open, "/tmp/up")]
    """
    said = await findings(site, "links", code)
    assert set(said) <= {"EXDEV", "EROFS", "EPERM", "EBUSY", "ENOENT"}, said


async def test_19_mount_pivot_root_chroot(site: Site) -> None:
    """Also the old trick: keep a descriptor of the root, chroot below it, and walk up."""
    code = f"""
    root = os.open("/", os.O_RDONLY)
    os.makedirs("/tmp/jail", exist_ok=True)
    said = [attempt(os.chroot, "/tmp/jail")]
    os.fchdir(root)
    for _ in range(64): os.chdir("..")
    same = sorted(os.listdir(".")) == sorted(os.listdir("/"))
    numbers = {here("mount", "umount2", "pivot_root", "open_tree", "move_mount", "fsopen", "mount_setattr", "setns")!r}
    said += [call(number, 0, 0, 0, 0, 0) for number in numbers]
    return [said, same, os.path.exists("etc/shadow")]
    """
    said, same, shadow = await findings(site, "mounts", code)
    assert (set(said), same, shadow) == ({"EPERM"}, True, False)


async def test_20_a_user_namespace_of_ones_own(site: Site) -> None:
    code = f"""
    unshare, clone = {here("unshare", "clone")!r}
    flags = (0x10000000, 0x10020000, 0x20000, 0x40000000, 0x20000000, 0x80)
    said = [call(unshare, flag) for flag in flags] + [call(clone, flag | 17, 0, 0, 0, 0) for flag in flags[:5]]
    said.append(call(435, 0, 88))
    caps = {{line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")}}
    return [said, sorted(caps), open("/proc/self/uid_map").read().split()[2]]
    """
    said, caps, ids = await findings(site, "unshares", code)
    assert set(said) == {"EPERM", "ENOSYS"}
    assert caps == ["0000000000000000"]
    assert ids == "1" or not OURS


async def test_21_ptrace_and_the_memory_of_others(site: Site) -> None:
    code = f"""
    traceme = call({here("ptrace")[0]}, 0, 0, 0, 0)
    numbers = {here("process_vm_readv", "process_vm_writev", "pidfd_getfd", "kcmp")!r}
    said = [call(number, 1, 0, 0, 0, 0, 0) for number in numbers]
    others = [attempt(os.kill, pid, 0) for pid in range(2, 400)]
    return [traceme, said, sorted(set(map(str, others))), attempt(open, "/proc/2/mem", "rb"), attempt(open, "/proc/self/mem", "r+b")]
    """
    assert await findings(site, "traces", code) == ["EPERM", ["EPERM"] * 4, ["ESRCH"], "ENOENT", "EROFS"]


async def test_22_what_proc_tells(site: Site, data: Path) -> None:
    code = """
    held = b""
    for name in ("environ", "cmdline", "mountinfo", "maps", "cgroup", "status", "limits"):
        for pid in ("1", "self"):
            held += open("/proc/%s/%s" % (pid, name), "rb").read()
    masked = {name: attempt(lambda: len(open("/proc/" + name, "rb").read(100))) for name in
              ("kallsyms", "keys", "key-users", "timer_list", "kcore", "modules", "cmdline", "interrupts", "diskstats", "partitions", "kmsg")}
    listed = [name for name in ("bus", "fs", "irq", "pressure", "acpi", "scsi") if os.path.isdir("/proc/" + name) and os.listdir("/proc/" + name)]
    writes = [attempt(open, path, "w") for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches",
              "/proc/sys/kernel/hostname", "/proc/self/oom_score_adj", "/proc/self/uid_map", "/proc/self/attr/current", "/proc/1/comm")]
    return [held.decode("latin1"), masked, listed, writes, os.path.exists("/sys/kernel")]
    """
    held, masked, listed, writes, sysfs = await findings(site, "reads-proc", code)
    assert HOST_SECRET not in held
    assert Victim.NAME not in held
    assert OWN_KERNEL or set(masked.values()) <= {0, "ENOENT", "EACCES", "EPERM"}, masked
    assert (listed, sysfs) == ([], "/sys/kernel" in MADE_UP)
    assert set(writes) <= {"EROFS", "EACCES", "ENOENT"}, writes


async def test_23_devices_and_the_terminal(site: Site) -> None:
    code = """
    import fcntl
    made = [attempt(os.mknod, "/tmp/d%d" % kind, kind | 0o666, os.makedev(1, 1)) for kind in (stat.S_IFCHR, stat.S_IFBLK)]
    there = sorted(name for name in os.listdir("/dev") if stat.S_ISCHR(os.lstat("/dev/" + name).st_mode))
    opened = [str(attempt(open, "/dev/" + name)) for name in ("mem", "kmem", "kmsg", "port", "tty", "console", "ptmx", "fuse", "kvm", "vda", "sda")]
    ioctl = {"x86_64": 16, "aarch64": 29}[os.uname().machine]
    typed = [call(ioctl, 0, number, b"x") for number in (0x5412, 0x541C, 0x5412 | 1 << 32, 0x541C | 7 << 40)]
    return [made, there, sorted(set(opened)), typed, os.getsid(0) == os.getpgid(0)]
    """
    made, there, opened, typed, leader = await findings(site, "types", code)
    assert (made, set(there) - {"tty"} - MADE_UP) == (["EPERM"] * 2, {"full", "null", "random", "urandom", "zero"})
    assert "tty" not in there or not OURS  # nobody has one there, so it leads nowhere
    assert OWN_KERNEL or set(opened) <= ({"ENOENT"} if OURS else {"ENOENT", "ENXIO", "EACCES"})
    assert (typed, leader) == (["EPERM"] * 4, True)


async def test_24_dangerous_system_calls(site: Site) -> None:
    """keyctl, bpf, perf, userfaultfd, io_uring, kexec, modules, open_by_handle_at and the rest."""
    code = f"""
    numbers = {dict(zip(DENIED, here(*DENIED), strict=True))!r}
    return {{name: answer for name, number in numbers.items() if (answer := call(number, -1, 0, 0, 0, 0, 0)) != "EPERM"}}
    """
    assert await findings(site, "calls-kernel", code) == {}


async def test_25_setuid_programs(site: Site) -> None:
    code = """
    import subprocess
    open("/tmp/id", "wb").write(open("/usr/bin/id", "rb").read())
    os.chmod("/tmp/id", 0o6755)
    ran = [subprocess.run(["/tmp/id", "-u"], stdout=subprocess.PIPE).stdout.decode().strip()]
    for program, *arguments in (["/usr/bin/mount", "-t", "tmpfs", "x", "/tmp"], ["/usr/bin/newgrp", "root"]):
        if os.path.exists(program):
            done = subprocess.run([program, *arguments], input=b"id -u", stdout=subprocess.PIPE, stderr=-3, timeout=10)
            ran.append(done.stdout.decode().strip())
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    nosuid = all("nosuid" in line.split()[5].split(",") for line in open("/proc/self/mountinfo"))
    return [sorted(set(ran)), status["NoNewPrivs"].strip(), nosuid, [attempt(os.setuid, 0), attempt(os.setgid, 0), attempt(os.setgroups, [0])]]
    """
    ran, flag, nosuid, ids = await findings(site, "setuid", code, pids=64)
    assert "0" not in ran
    assert flag == "1"
    assert nosuid or not OURS
    assert ids == (["EINVAL", "EINVAL", "EPERM"] if OURS else ["EPERM"] * 3)


async def test_26_overwrite_the_program_that_runs_it(site: Site) -> None:
    """As CVE-2019-5736 did with runc: /proc/self/exe, also by way of a descriptor opened as a path, and once nobody runs it."""
    program = Path(os.path.realpath(f"/proc/{zygote_of(site)}/exe"))
    before = hashlib.sha256(program.read_bytes()).digest()
    code = """
    by_path = os.open("/proc/self/exe", os.O_PATH)
    said = [attempt(os.open, "/proc/self/exe", os.O_RDWR), attempt(os.open, "/proc/self/fd/%d" % by_path, os.O_WRONLY | os.O_TRUNC),
            attempt(os.truncate, "/proc/self/exe", 0), attempt(os.chmod, "/proc/self/exe", 0o777), attempt(os.unlink, os.readlink("/proc/self/exe"))]
    pid = os.fork()
    if pid == 0:
        time.sleep(0.1)
        os._exit(0 if attempt(os.open, "/proc/1/fd/%d" % by_path, os.O_WRONLY) in ("ETXTBSY", "EROFS", "EACCES", "ENOENT") else 1)
    return [said, os.waitpid(pid, 0)[1]]
    """
    said, status = await findings(site, "overwrites", code)
    assert set(said) <= {"ETXTBSY", "EROFS", "EACCES", "EPERM"}, said
    assert status == 0
    assert hashlib.sha256(program.read_bytes()).digest() == before
    await end(site, "overwrites")


def zygote_of(site: Site) -> int:
    """A process whose program all Python instances share: a child of the node agent."""
    agent = site.server.sandbox.agent_pid
    children = Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
    return next(int(pid) for pid in children if b"zygote.py" in Path(f"/proc/{pid}/cmdline").read_bytes())


async def test_27_inherited_descriptors(site: Site) -> None:
    """Only null, two pipes, the listening socket and the connection; no folder of the host to climb out of (CVE-2024-21626)."""
    code = """
    kinds = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try: kinds[name] = os.readlink("/proc/self/fd/" + name).split(":")[0]
        except OSError: pass   # of the listing itself
    folders = [fd for fd in kinds if os.path.isdir("/proc/self/fd/" + fd)]
    return [sorted(kinds.values()), folders, os.getcwd(), os.readlink("/proc/1/cwd")]
    """
    kinds, folders, where, first = await findings(site, "inherits", code)
    pipe = "host" if OWN_KERNEL else "pipe"
    assert sorted(kinds) == sorted(["/dev/null", pipe, pipe, "socket", "socket"])
    assert (folders, where, first) == ([], "/var/task", "/var/task")

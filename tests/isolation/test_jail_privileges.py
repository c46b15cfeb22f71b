"""What jailed code may ask of the kernel."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from jail_run import jailed, needs_root, says

from tests.support.system_calls import DENIED, here

pytestmark = needs_root


def test_denied_calls_are_denied() -> None:
    numbers = dict(zip(DENIED, here(*DENIED), strict=True))
    code = f"""
    import ctypes, errno
    call = ctypes.CDLL(None, use_errno=True).syscall
    for name, number in {numbers!r}.items():
        ctypes.set_errno(0)
        if call(number, -1, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != errno.EPERM:
            print(name, ctypes.get_errno())
    ctypes.set_errno(0)
    print(call(435, 0, 0), errno.errorcode[ctypes.get_errno()])
    """
    assert says(code) == ["-1 ENOSYS"]


@pytest.mark.parametrize("flag", ["NEWNS", "NEWCGROUP", "NEWUTS", "NEWIPC", "NEWUSER", "NEWPID", "NEWNET"])
def test_clone_cannot_make_namespaces(flag: str) -> None:
    flags = {
        "NEWNS": 0x20000, "NEWCGROUP": 0x2000000, "NEWUTS": 0x4000000, "NEWIPC": 0x8000000, "NEWUSER": 0x10000000,
        "NEWPID": 0x20000000, "NEWNET": 0x40000000,
    }[flag]  # fmt: skip
    code = f"""
    import ctypes, errno, platform
    libc = ctypes.CDLL(None, use_errno=True)
    number = {{"x86_64": 56, "aarch64": 220}}[platform.machine()]
    result = libc.syscall(number, {flags} | 17, 0, 0, 0, 0)
    if result == 0: os._exit(0)
    print(result, errno.errorcode.get(ctypes.get_errno()))
    """
    assert says(code) == ["-1 EPERM"]


def test_arguments_are_looked_at() -> None:
    code = """
    import ctypes, errno, fcntl, socket
    print(attempt(fcntl.ioctl, 0, 0x5412, b"x"), attempt(fcntl.ioctl, 0, 0x541C, b"x"))
    print(*(attempt(socket.socket, family, socket.SOCK_RAW if family == 17 else socket.SOCK_STREAM) for family in (17, 38, 40)))
    print(attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 132), attempt(socket.socket, socket.AF_NETLINK, 3, 12))
    print(attempt(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1))
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.personality(0x40000), errno.errorcode[ctypes.get_errno()], libc.personality(0xFFFFFFFF))
    """
    assert says(code) == [
        "EPERM EPERM",
        "EAFNOSUPPORT EAFNOSUPPORT EAFNOSUPPORT",
        "EPROTONOSUPPORT EPROTONOSUPPORT",
        "EPERM",
        "-1 EPERM 0",
    ]


@pytest.mark.skipif(os.uname().machine != "x86_64" or shutil.which("gcc") is None, reason="needs gcc on x86_64")
def test_the_same_calls_under_numbers_of_other_architectures_are_denied(tmp_path: Path) -> None:
    """A 64-bit program can reach the 32-bit table by `int 0x80`, and x32's by bit 30."""
    (tmp_path / "foreign.c").write_text(
        """
        #include <stdio.h>
        #include <unistd.h>
        #include <errno.h>
        #include <sys/syscall.h>
        int main(void) {
            long legacy;
            __asm__ volatile("int $0x80" : "=a"(legacy) : "a"(20) : "memory");       /* getpid */
            long x32 = syscall(0x40000000 | 39);
            printf("%ld %ld %d", legacy, x32, errno);
            return 0;
        }
        """
    )
    tmp_path.chmod(0o755)
    subprocess.run(["gcc", "-o", tmp_path / "foreign", tmp_path / "foreign.c"], check=True)
    options = {"template": {"sources": [str(tmp_path)]}, "plan": {"binds": [[str(tmp_path), "/code", "ro"]]}}
    assert says("os.execv('/code/foreign', ['foreign'])", **options) == ["-1 -1 1"]


def test_without_the_filter_the_other_walls_still_stand() -> None:
    """No wall leans on another: with the filter off, capabilities, mounts and limits refuse the same things."""
    code = """
    import ctypes, errno
    libc = ctypes.CDLL(None, use_errno=True)
    def refused(result): return errno.errorcode[ctypes.get_errno()] if result else "done"
    print(refused(libc.umount2(b"/proc/kallsyms", 2)), refused(libc.umount2(b"/tmp", 2)), refused(libc.umount2(b"/", 2)))
    print(refused(libc.mount(None, b"/", None, 0x1020, None)), refused(libc.mount(b"proc", b"/code", b"proc", 0, None)))
    print(refused(libc.unshare(0x10000000)), refused(libc.unshare(0x20000)), refused(libc.chroot(b"/tmp")))
    print(refused(libc.sethostname(b"x", 1)), attempt(os.mknod, "/tmp/mem", 0o020666, os.makedev(1, 1)))
    """
    unshared = "done" if os.statvfs("/proc/sys").f_flag & os.ST_RDONLY else "ENOSPC"  # containers may mount it read-only
    assert says(code, plan={"seccomp": False}) == ["EPERM EPERM EPERM", "EPERM EPERM", f"{unshared} EPERM EPERM", "EPERM EPERM"]


def test_where_user_namespaces_are_forbidden_the_rest_holds() -> None:
    code = """
    import ctypes, errno
    libc = ctypes.CDLL(None, use_errno=True)
    print(os.getresuid(), os.getresgid(), os.getgroups())
    print({line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")})
    print(libc.umount2(b"/tmp", 2), errno.errorcode[ctypes.get_errno()], attempt(os.setuid, 0), attempt(open, "/x", "w"))
    """
    uid = 234569
    assert says(code, plan={"uid": uid, "seccomp": False}, user_namespaces=False) == [
        f"{(uid, uid, uid)} {(uid, uid, uid)} []",
        "{'0000000000000000'}",
        "-1 EPERM EPERM EROFS",
    ]


def test_no_capability_of_any_kind() -> None:
    code = """
    status = dict(line.split(":\\t") for line in open("/proc/self/status").read().splitlines() if line.startswith(
        ("Cap", "NoNewPrivs", "Seccomp:", "Uid", "Gid", "Groups")))
    print({value for name, value in status.items() if name.startswith("Cap")}, status["NoNewPrivs"], status["Seccomp"])
    print(status["Uid"].split(), status["Gid"].split(), status["Groups"].split())
    print(open("/proc/self/uid_map").read().split()[2], open("/proc/self/setgroups").read().strip())
    """
    caps, ids, mapping = says(code)
    assert caps == "{'0000000000000000'} 1 2"
    assert ids in (f"{['1000'] * 4} {['1000'] * 4} []", f"{['1000'] * 4} {['1000'] * 4} ['65534']")
    assert mapping == "1 deny"


def test_identity_cannot_be_changed() -> None:
    code = """
    print(attempt(os.setuid, 0), attempt(os.setgid, 0), attempt(os.setgroups, [0]), attempt(os.seteuid, 1001))
    print(attempt(os.chown, "/tmp", 0, 0))
    """
    assert says(code) == ["EINVAL EINVAL EPERM EINVAL", "EINVAL"]


def test_each_instance_has_a_uid_of_its_own_on_the_host() -> None:
    seen = {says("print(open('/proc/self/uid_map').read().split()[1])", plan={"uid": uid})[0] for uid in (200001, 200002)}
    assert seen == {"200001", "200002"} or seen == {"0"}


def test_setuid_programs_give_nothing() -> None:
    """`su`, `passwd` or `mount` would run as root outside."""
    code = """
    import stat, subprocess
    programs = [p for p in ("/usr/bin/su", "/usr/bin/passwd", "/usr/bin/mount") if os.path.exists(p)]
    assert any(os.stat(p).st_mode & stat.S_ISUID for p in programs) or not programs
    mounts = [line.split() for line in open("/proc/self/mountinfo")]
    print(all("nosuid" in fields[5].split(",") for fields in mounts))
    open("/tmp/id", "wb").write(open("/usr/bin/id", "rb").read())
    os.chmod("/tmp/id", 0o6755)
    print(subprocess.run(["/tmp/id", "-u"], stdout=subprocess.PIPE).stdout.decode().strip())
    """
    assert says(code) == ["True", "1000"]


def test_the_terminal_is_out_of_reach() -> None:
    assert says("print(os.getsid(0) == os.getpid(), attempt(os.open, '/dev/tty', os.O_RDWR))") == ["True ENOENT"]


def test_limits_hold() -> None:
    code = """
    import resource as r
    print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE))
    def hoard():
        fds = []
        while True: fds.append(os.dup(0))
    print(attempt(hoard), attempt(lambda: r.setrlimit(r.RLIMIT_CORE, (1, 1))))
    """
    assert says(code, plan={"nofile": 100}) == ["(100, 400) (1, 1)", "EMFILE None"]


def test_processes_are_bounded_without_a_control_group() -> None:
    code = """
    import time
    def bomb():
        while True:
            if os.fork() == 0: time.sleep(600)
    print(attempt(bomb), len([name for name in os.listdir("/proc") if name.isdigit()]))
    """
    assert says(code, plan={"pids": 10, "uid": 234568}) == ["EAGAIN 10"]


def test_functions_go_first_when_the_machine_runs_out_of_memory() -> None:
    assert says("print(open('/proc/self/oom_score_adj').read().strip())") == ["500"]


def test_a_crash_leaves_no_core(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    options = {"template": {"sources": [str(tmp_path)]}, "plan": {"binds": [[str(tmp_path), "/build", "rw"]], "cwd": "/build"}}
    code = """
    import signal
    pid = os.fork()
    if pid == 0: os.kill(os.getpid(), signal.SIGSEGV)
    status = os.waitpid(pid, 0)[1]
    print(os.WTERMSIG(status), os.WCOREDUMP(status), os.listdir("."))
    """
    assert says(code, **options) == ["11 False []"]


def test_everything_dies_with_process_one() -> None:
    """Daemons (double fork, own session, all signals ignored) do not survive their instance."""
    marker = f"dayfly-daemon-{os.getpid()}"
    code = f"""
    import signal
    ready, done = os.pipe()
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork(): os._exit(0)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
            os.write(done, b"x")
            os.execv("/usr/bin/env", ["env", "-i", "sleep", "600", {marker!r}][:4])
    for _ in range(3): os.read(ready, 1)
    print(len([name for name in os.listdir("/proc") if name.isdigit()]) >= 4)
    """
    assert says(code, plan={"uid": 234567}) == ["True"]
    assert not [folder for folder in Path("/proc").glob("[0-9]*") if _owner(folder) == 234567]


def _owner(process: Path) -> int:
    try:
        return process.stat().st_uid
    except OSError:  # ended while we looked
        return -1


def test_isolation_process_limits_and_closes_but_does_not_hide() -> None:
    leaked = os.open("/", os.O_RDONLY)
    try:
        code = """
        import resource
        print(os.getsid(0) == os.getpid(), resource.getrlimit(resource.RLIMIT_NOFILE)[0], os.getpid() > 1)
        print(attempt(os.fstat, %d))
        """
        process = {"isolation": "process"}
        lines = says(code % leaked, plan={**process, "nofile": 77}, template=process, pass_fds=(leaked,))
    finally:
        os.close(leaked)
    assert lines == ["True 77 True", "EBADF"]


def test_a_plan_without_prepare_is_refused() -> None:
    result = jailed("print('in')", template={"isolation": "process"})
    assert result.returncode == 1
    assert "must come before namespaces" in result.stderr

"""The jail: what stands between user code and the machine.

One zygote (a process with a single thread, uid 0 at least in its own user namespace) starts all instances of an interpreter:

    prepare(template)             once, before the first fork
    before_fork()                 in the zygote: the next child is process 1 of a process-id namespace of its own
    pid = os.fork()
    after_fork()                  in the zygote: later children are ordinary ones again
    enter(plan, cgroup_fds)       in the child: after it returns, hostile code may run; execve is fine, too

What `enter` does, and in which order, because each step takes away what the next must not need:

 1. join the cgroups, become a session of its own (no terminal to type into);
 2. new mount, network, ipc, uts and cgroup namespaces (process ids came with the fork). The root is the zygote's, which is
    read-only already (mounts.py); add code, a bounded /tmp and a fresh read-only /proc, then detach the hidden part, and nothing
    of the host can be named any more;
 3. bring up loopback, set the host name (a network that was made ahead of need is entered instead: it is the machine's);
 4. take the instance's own uid, and then a new user namespace in which only this uid exists and which can hold no other. It owns
    none of the other namespaces, so even all capabilities inside it mean nothing for them. Drop those, too, to the last;
 5. close every descriptor but `keep_fds`, set resource limits;
 6. no-new-privs, seccomp.

An ordinary user's zygote cannot arrange process 1 before the fork; there `enter` forks once more, and the process in between guards
the inner one. All its instances are that user on the host, since there is only one uid to give.

Isolation "process" does 1 and 5 only (and enters a network and restricts TCP, if asked to): for machines that offer no more, chosen
knowingly, and for programs that make a sandbox.

Needs Linux 5.12 (mount_setattr) and x86_64 or aarch64. What the kernel refuses is an OSError that names the step, what a plan may not
say is a ValueError. After a failure in the child `os._exit` is the only safe way out.
"""

from __future__ import annotations

import fcntl
import os
import resource
import select
import signal
import socket
import struct

from . import landlock, mounts, seccomp
from . import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple, TypedDict

    class _Isolation(TypedDict):
        isolation: str  # "namespace" or "process"

    class Template(_Isolation, total=False):
        """What all children of a zygote share. JSON-able."""

        binds: "List[List[str]]"  # [host folder or file, path inside]: what functions see read-only: runtime files, node
        sources: "List[str]"  # host folders that hold what plans bind: packages, build folders. Not visible to functions
        targets: "List[str]"  # mount points for binds, besides mounts.TARGETS
        seccomp: bool  # default True

    class Plan(_Isolation, total=False):
        """What one child gets. JSON-able; every key but `isolation` has a default."""

        binds: "List[List[str]]"  # [source on the host, below Template.sources; mount point; "ro" or "rw"]
        tmp_mb: int  # size of /tmp (and /dev/shm, which is the same), MiB; default 64
        tmp_inodes: int  # files and folders in it; default 256 a MiB
        hostname: str  # default "dayfly"
        uid: int  # of the host, root only: one per instance, e.g. 200000 + slot. "rw" sources must belong to it; default 200000
        gid: int  # of the host; default: the uid
        network: str  # "none": loopback alone (default); "host": for build jobs
        tcp_ports: "List[int]"  # with "host": connect to these ports only (landlock.py). Default: to all
        keep_fds: "List[int]"  # everything else is closed; 0 to 2 become /dev/null unless listed. Default [0, 1, 2]
        nofile: int  # open files: soft limit; hard is four times this; default 1024
        pids: int  # processes and threads of the uid, as a resource limit: for machines without a control group for it
        cwd: str  # default "/tmp"
        seccomp: bool  # default True
        die_with_zygote: bool  # default False


FUNCTION_ID = 1000  # uid and gid of user code as it sees itself
FIRST_UID = 200000

_SIOCSIFFLAGS = 0x8914
_LO_UP = struct.pack("16sh22x", b"lo", 0x1 | 0x8 | 0x40)  # struct ifreq: IFF_UP | IFF_LOOPBACK | IFF_RUNNING
# Readable by all, and none of a function's business: the kernel's addresses and command line, key rings, what the machine has, and
# how busy its neighbours keep it. What is left of /proc belongs to the host's root, which no child is, and it is read-only.
MASKED = ("kallsyms", "kcore", "keys", "key-users", "modules", "timer_list", "sched_debug", "cmdline", "interrupts", "softirqs",
           "diskstats", "partitions", "latency_stats", "acpi", "asound", "scsi", "bus", "fs", "irq", "pressure")  # fmt: skip
# gVisor's kernel refuses to change these, also downwards, which Linux never does
_LINUX_ALONE = (resource.RLIMIT_SIGPENDING, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO)
_NAMESPACES = sys_.CLONE_NEWNS | sys_.CLONE_NEWIPC | sys_.CLONE_NEWUTS | sys_.CLONE_NEWCGROUP


class _Prepared:
    """What `prepare` found out and made for the children."""

    def __init__(self) -> None:
        self.rootless = False
        self.user_namespace = True
        self.pid_namespace = -1  # descriptor of the zygote's own; -1: the zygote may not return to it
        self.masked: List[Tuple[str, str]] = []  # (what stands over it, path)
        self.last_capability = 40
        self.landlock = 0  # its version
        self.filter: Optional[sys_.Filter] = None


_prepared: Optional[_Prepared] = None


def prepare(template: Template) -> None:
    """Turn this process into a jailer: build the root, leave the host's file system, assemble the filter.

    Afterwards the process sees what functions see (with the template's `binds` and `sources`), so modules it needs later must be
    below its prefix or a bind. Not root: it first enters a user namespace in which it is. Call once, with a single thread.
    """
    global _prepared
    if template["isolation"] != "namespace":
        return
    state = _Prepared()
    if os.geteuid() != 0:
        enter_user_namespace()
    state.rootless = is_rootless()
    state.user_namespace = _can_nest_users(state.rootless)
    state.pid_namespace = _own_pid_namespace()
    with open("/proc/sys/kernel/cap_last_cap") as file:
        state.last_capability = int(file.read())
    state.landlock = landlock.abi()
    state.masked = [
        (mounts.EMPTY if os.path.isdir(path) else "/dev/null", path)
        for path in map("/proc/".__add__, MASKED)
        if os.path.exists(path)
    ]
    if template.get("seccomp", True):
        state.filter = sys_.Filter(seccomp.program(linger=seccomp.refuses_descriptors()))
    visible = [(folder, folder) for folder in mounts.interpreter_folders()]
    visible += [(source, target) for source, target in template.get("binds", [])]
    mounts.build(visible, template.get("sources", []), template.get("targets", []), state.rootless)
    _prepared = state


def before_fork() -> None:
    """In the zygote: make the next child process 1 of a new process-id namespace. When it ends, all its descendants do."""
    if _state().pid_namespace >= 0:
        sys_.setns(_state().pid_namespace, sys_.CLONE_NEWPID)  # a second unshare without it is EINVAL
        sys_.unshare(sys_.CLONE_NEWPID)


def after_fork() -> None:
    """In the zygote, also when the fork failed: later children are in its own namespace again."""
    if _state().pid_namespace >= 0:
        sys_.setns(_state().pid_namespace, sys_.CLONE_NEWPID)


def enter(plan: Plan, cgroup_fds: Sequence[int] = (), network_fd: int = -1) -> None:
    """In the child: shut the door. `cgroup_fds` are open `cgroup.procs` files of the groups to join; `network_fd` is a network
    namespace that was made for it."""
    for fd in cgroup_fds:
        _put(fd, b"0", "join a control group")
    os.setsid()
    os.umask(0o022)
    if plan["isolation"] != "namespace":
        if network_fd >= 0:
            sys_.setns(network_fd, sys_.CLONE_NEWNET)
        _close_others(plan)
        _limit(plan)
        os.chdir(plan.get("cwd", "/tmp"))
        version = landlock.abi()
        if "tcp_ports" in plan and version >= landlock.ABI_PORTS:
            sys_.prctl(sys_.PR_SET_NO_NEW_PRIVS, 1)
            landlock.restrict_network(version, plan["tcp_ports"])
        return
    state = _state()
    guardian = _fork_again() if state.pid_namespace < 0 else -1
    isolated = plan.get("network", "none") != "host"
    made = network_fd >= 0
    if made:
        sys_.setns(network_fd, sys_.CLONE_NEWNET)
    sys_.unshare(_NAMESPACES | (sys_.CLONE_NEWNET if isolated and not made else 0))
    process = os.open(mounts.PROC + "/self", os.O_PATH | os.O_DIRECTORY)
    _write(mounts.PROC + "/self/oom_score_adj", b"500")  # if the machine runs out, functions go before the server
    _mount(plan, state, isolated)
    if isolated and not made:
        _loopback_up()
    sys_.sethostname(plan.get("hostname", "dayfly"))
    _become(plan, state, process)
    _close_others(plan, guardian)
    _limit(plan)
    os.chdir(plan.get("cwd", "/tmp"))
    sys_.prctl(sys_.PR_SET_DUMPABLE, 1)  # lost with the uid; without it /proc/self would belong to root
    if plan.get("die_with_zygote", False) or guardian >= 0:
        sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGKILL)
    if guardian >= 0:
        _check_guardian(guardian)
    sys_.prctl(sys_.PR_SET_NO_NEW_PRIVS, 1)
    if not isolated and "tcp_ports" in plan and state.landlock >= landlock.ABI_PORTS:
        landlock.restrict_network(state.landlock, plan["tcp_ports"])
    if state.filter is not None and plan.get("seccomp", True):
        state.filter.load()


def shut(plan: Plan) -> None:
    """The last steps alone, in a sandbox that another program made: become nobody, limits, no-new-privs, seccomp.

    Of the plan: uid and gid (without them the user is the right one already), keep_fds, nofile, network, tcp_ports, seccomp.
    """
    _close_others(plan)
    _limit(plan)
    if "uid" in plan:
        with open("/proc/sys/kernel/cap_last_cap") as file:
            sys_.drop_bounding_set(int(file.read()))
        gid = plan.get("gid", plan["uid"])
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(plan["uid"], plan["uid"], plan["uid"])
    sys_.drop_capabilities()
    sys_.prctl(sys_.PR_SET_DUMPABLE, 1)
    sys_.prctl(sys_.PR_SET_PDEATHSIG, signal.SIGKILL)
    sys_.prctl(sys_.PR_SET_NO_NEW_PRIVS, 1)
    version = landlock.abi()
    if plan.get("network") == "host" and "tcp_ports" in plan and version >= landlock.ABI_PORTS:
        landlock.restrict_network(version, plan["tcp_ports"])
    if plan.get("seccomp", True):
        sys_.Filter(seccomp.program(linger=seccomp.refuses_descriptors())).load()


def _state() -> _Prepared:
    if _prepared is None:
        raise RuntimeError('jail.prepare({"isolation": "namespace", ...}) must come before namespaces are used')
    return _prepared


def enter_user_namespace() -> None:
    """Become uid 0 of a new user namespace: what an ordinary user needs before `prepare`."""
    uid, gid = os.geteuid(), os.getegid()
    sys_.unshare(sys_.CLONE_NEWUSER)
    _map("/proc/self", 0, uid, 0, gid)


def _map(process: str, uid: int, host_uid: int, gid: int, host_gid: int) -> None:
    for name, text in (
        ("setgroups", b"deny"),  # or else gid_map asks for privileges over the outer namespace
        ("uid_map", b"%d %d 1" % (uid, host_uid)),
        ("gid_map", b"%d %d 1" % (gid, host_gid)),
    ):
        _write(process + "/" + name, text)


def _write(path: str, text: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    _put(fd, text, "write " + path)
    os.close(fd)


def _put(fd: int, text: bytes, doing: str) -> None:
    try:
        os.write(fd, text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, doing) from None


def is_rootless() -> bool:
    """Whether uid 0 here is not that of the machine."""
    with open("/proc/self/uid_map") as file:
        return file.read().split() != ["0", "0", "4294967295"]


def _can_nest_users(rootless: bool) -> bool:
    """Whether a child may make a user namespace: sysctls and security modules forbid it here and there."""
    pid = os.fork()
    if pid == 0:
        try:
            try_user_namespace(rootless)
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(pid, 0)[1] == 0


def try_user_namespace(rootless: bool) -> None:
    """Do what `enter` does about users, in a process that ends soon; raises OSError. With `/proc` of the host.

    Just unsharing as root would not tell: AppArmor lets an unprivileged user make the namespace, and then denies what is in it.
    """
    if not rootless:
        os.setresgid(FIRST_UID, FIRST_UID, FIRST_UID)
        os.setresuid(FIRST_UID, FIRST_UID, FIRST_UID)
        sys_.prctl(sys_.PR_SET_DUMPABLE, 1)
    uid, gid = os.geteuid(), os.getegid()
    sys_.unshare(sys_.CLONE_NEWUSER)
    _map("/proc/self", FUNCTION_ID, uid, FUNCTION_ID, gid)
    sys_.drop_bounding_set(0)


def _own_pid_namespace() -> int:
    """A way back to it for after a fork; -1 if it belongs to somebody else, as an ordinary user's does."""
    fd = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        sys_.setns(fd, sys_.CLONE_NEWPID)
    except PermissionError:
        os.close(fd)
        return -1
    return fd


def _fork_again() -> int:
    """Become process 1 of a new namespace where the zygote could not arrange it: in a child of the child.

    The process in between, which the zygote knows, stays as guardian: it dies with us, and we with it. Returns a descriptor that
    tells whether it is still there.
    """
    alive, hold = os.pipe()
    sys_.unshare(sys_.CLONE_NEWPID)
    pid = os.fork()
    if pid == 0:
        os.close(hold)
        return alive
    status = 0x100  # as of exit(1)
    try:
        _close_others({"isolation": "namespace", "keep_fds": []}, hold)
        status = os.waitpid(pid, 0)[1]
        if os.WIFSIGNALED(status):
            _set_limit(resource.RLIMIT_CORE, 1, 1)
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
            os.kill(os.getpid(), os.WTERMSIG(status))
    finally:
        os._exit(os.WEXITSTATUS(status))


def _check_guardian(alive: int) -> None:
    """It may have died before we asked for a signal when it does."""
    poll = select.poll()
    poll.register(alive, 0)
    if poll.poll(0):
        os._exit(1)
    os.close(alive)


def _mount(plan: Plan, state: _Prepared, isolated: bool) -> None:
    megabytes = plan.get("tmp_mb", 64)
    inodes = plan.get("tmp_inodes", 256 * megabytes)
    options = "mode=1777,size=%dm,nr_inodes=%d" % (megabytes, inodes)
    sys_.mount("tmpfs", "/tmp", "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, options)
    flags = sys_.MS_RDONLY | sys_.MS_NOSUID | sys_.MS_NODEV | sys_.MS_NOEXEC
    sys_.mount("proc", "/proc", "proc", flags)
    for cover, path in state.masked:
        sys_.mount(cover, path, flags=sys_.MS_BIND)
    if not isolated:
        sys_.mount(mounts.RESOLVER, "/etc/resolv.conf", flags=sys_.MS_BIND)
    for source, target, mode in plan.get("binds", []):
        _bind(source, target, mode)
    sys_.unmount(mounts.HIDDEN)
    if os.listdir(mounts.HIDDEN):
        raise RuntimeError("the host's folders are still in sight: something is mounted over " + mounts.HIDDEN)


def _bind(source: str, target: str, mode: str) -> None:
    inside = mounts.source(source)
    if target.startswith("/tmp/"):
        os.makedirs(target, exist_ok=True)
    mounts.refuse_links(target)
    if (target + "/").startswith(mounts.HIDDEN + "/"):
        raise ValueError("nothing can be mounted on " + mounts.HIDDEN)
    sys_.bind(inside, target, 0 if mode == "rw" else sys_.MOUNT_ATTR_RDONLY)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, _LO_UP)


def _become(plan: Plan, state: _Prepared, process: int) -> None:
    """Turn into an unprivileged user without any capability. `process`: descriptor of this process' folder of /proc."""
    if not state.user_namespace:
        sys_.drop_bounding_set(state.last_capability)
    if not state.rootless:
        uid = plan.get("uid", FIRST_UID)
        gid = plan.get("gid", uid)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if state.user_namespace:
        uid, gid = os.geteuid(), os.getegid()
        sys_.prctl(sys_.PR_SET_DUMPABLE, 1)
        sys_.unshare(sys_.CLONE_NEWUSER)
        folder = "/proc/self/fd/%d" % process
        _map(folder, FUNCTION_ID, uid, FUNCTION_ID, gid)
        try:
            _write(folder + "/../sys/user/max_user_namespaces", b"0")  # of this namespace: none within it, filter or not
        except OSError:
            pass  # read-only where we run in a container; the filter denies it anyway
        sys_.drop_bounding_set(state.last_capability)
    sys_.drop_capabilities()


def _close_others(plan: Plan, also: int = -1) -> None:
    """Close what is not in `keep_fds`, nor `also`."""
    keep = sorted({*plan.get("keep_fds", [0, 1, 2]), also} - {-1})
    first = 0
    for fd in keep:
        if fd > first:
            sys_.close_range(first, fd - 1)
        first = fd + 1
    sys_.close_range(first, 0xFFFFFFFF)
    for fd in range(3):
        if fd not in keep:
            os.open("/dev/null", os.O_RDWR)  # takes the lowest free number: this one
            os.set_inheritable(fd, True)


def _limit(plan: Plan) -> None:
    files = plan.get("nofile", 1024)
    _set_limit(resource.RLIMIT_NOFILE, files, 4 * files)
    if "pids" in plan:
        _set_limit(resource.RLIMIT_NPROC, plan["pids"], plan["pids"])
    # 1, not 0: a core_pattern that pipes into a program of the host ignores 0 and is stopped by 1 only. core(5).
    _set_limit(resource.RLIMIT_CORE, 1, 1)
    _set_limit(resource.RLIMIT_MEMLOCK, 64 << 10, 64 << 10)
    _set_limit(resource.RLIMIT_SIGPENDING, 1024, 1024)
    _set_limit(resource.RLIMIT_MSGQUEUE, 64 << 10, 64 << 10)
    for which in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):  # what the server may, a function may not
        _set_limit(which, 0, 0)
    sys_.take_short_turns()


def _set_limit(which: int, soft: int, hard: int) -> None:
    """Lower a limit; where the present one is lower already, it stays."""
    present = resource.getrlimit(which)[1]
    if present != resource.RLIM_INFINITY:
        hard = min(hard, present)
    try:
        resource.setrlimit(which, (min(soft, hard), hard))
    except ValueError:
        if which not in _LINUX_ALONE:
            raise

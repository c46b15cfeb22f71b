"""The zygote: a small process with the runtime already imported, of which every instance is a fork.

Started by the node agent as `pythonX.Y -I -S -B zygote.py FD`, where FD is a Unix stream socket to the agent. Each message is a u32
length (little-endian) and JSON; descriptors travel with the length of their message:

    to the zygote     {"op": "open", "template": {...} | null, "modules": [...], "path": [...]}
                          once, first: the jail (null: this machine has none), and what of the runtime to import; `path`: further
                          folders where libraries are found while that is imported
                      {"op": "start", "id", "kind", "cgroups": n, "networks": 0 | 1}
                          descriptors: work ({"task", "plan": {...} | null}), listening socket, stdout, stderr, then n of cgroups
                              (files to write 0 to, or the folder of a version 2 group), then a network namespace if one was
                              made for it, then the input of exec, if any
                      {"op": "graft", "id"}
                          descriptors: work ({"input", "binds": [[source, target], ...], "hostname"}), and the child's input to write
                              it to; a child that cannot be grafted is killed
                      {"op": "kill", "id"}
    to the agent      {"id", "pid"}, or {"id", "error"}              the answer to start
                      {"id", "status", "cpu_us", "peak_kb"}          it has ended; status as of wait(2)

`kind` says what the child becomes: worker (a Python function), bridge (a foreign server behind our frames) or exec (another
program; it finds its listening socket as descriptor 3, and its `input` as a file that is descriptor 4). Everything of a tenant is in
`work`, a file only the child reads: no code, environment or secret, not even a name, is ever in the memory of the zygote, so none is in
the next child.

The zygote has one thread, and is the parent that reaps. It ends when the agent does: the socket closes, and the kernel is told
to kill it (PR_SET_PDEATHSIG); its children end with it in the same way. Without a jail nothing below a child would notice,
so there the zygote outlives the agent for the moment it takes to kill what it started.

Standard library only, Python 3.8 and later.
"""

from __future__ import annotations

import array
import ctypes
import errno
import gc
import importlib
import json
import os
import select
import signal
import socket
import stat
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PACKAGE = "_dayfly"  # the runtime's folder as a package, without opening it to plain imports
CONTROL_FD = 3  # of the zygote; keeps the number taken that a child needs
LISTEN_FD = 3  # of a child
INPUT_FD = 4  # of a child, if it has input; kept taken in the zygote
HIGHEST = 1024  # descriptors the zygote may ever have open
MAX_MESSAGE = 64 << 20

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Zygote:
    def __init__(self, control: socket.socket, package: Any) -> None:
        self.control = control
        self.package = package
        self.jail: Any = None
        self.jailed = False
        self.clone: Any = None  # the module that forks into a control group, where that works
        self.children: dict[int, str] = {}
        self.pids: dict[str, int] = {}
        self.helpers: dict[int, str] = {}
        self.wake_r, self.wake_w = os.pipe()
        for fd in (self.wake_r, self.wake_w):
            os.set_blocking(fd, False)

    def run(self) -> None:
        """Serve the agent until it is gone."""
        signal.set_wakeup_fd(self.wake_w, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        poll.register(self.wake_r, select.POLLIN)
        while True:
            for fd, _ in poll.poll():
                if fd == self.wake_r:
                    self.reap()
                elif not self.serve():
                    self.kill_everything()
                    return

    def serve(self) -> bool:
        """One message of the agent. False if it is gone."""
        received = receive(self.control)
        if received is None:
            return False
        message, fds = received
        try:
            op = message["op"]
            if op == "start":
                self.start(message, fds)
            elif op == "graft":
                self.graft(message, fds)
            elif op == "kill":
                self.kill(message["id"])
            elif op == "open":
                self.open(message["template"], message["modules"], message["path"])
        finally:
            for fd in fds:
                os.close(fd)
        return True

    def open(self, template: dict[str, Any] | None, modules: list[str], path: list[str]) -> None:
        before = list(sys.path)
        sys.path += path
        for name in modules:
            importlib.import_module(PACKAGE + "." + name)
        sys.path[:] = before
        self.jailed = template is not None and template["isolation"] == "namespace"
        if self.jailed:
            die_with_parent()
        else:
            adopt_orphans()
        if template is not None:
            self.jail = importlib.import_module(PACKAGE + ".jail")
            self.clone = importlib.import_module(PACKAGE + ".clone")
            self.jail.prepare(template)
            self.package.__path__ = [template["runtime"]]  # where the folder is to be found from now on
        gc.collect()
        gc.freeze()

    def start(self, message: dict[str, Any], fds: list[int]) -> None:
        name = message["id"]
        pid = -1
        try:
            if self.jailed:
                self.jail.before_fork()
            try:
                pid, groups = self.fork(fds[4 : 4 + message["cgroups"]])
            finally:
                if self.jailed and pid:
                    self.jail.after_fork()
        except OSError as error:
            self.tell({"id": name, "error": "it cannot be forked: %s" % error})
            return
        if pid == 0:
            self.become(message, fds, groups)
        self.children[pid] = name
        self.pids[name] = pid
        self.tell({"id": name, "pid": pid})

    def fork(self, groups: list[int]) -> tuple[int, list[int]]:
        """A child, born in its control group if that is a folder (version 2); and the files by which it has yet to join."""
        folders = [fd for fd in groups if stat.S_ISDIR(os.fstat(fd).st_mode)]
        files = [fd for fd in groups if fd not in folders]
        if folders and self.clone is not None:
            try:
                return self.clone.fork_into(folders[0]), files
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOMEM):
                    raise
                self.clone = None  # this kernel cannot
        opened = [os.open("cgroup.procs", os.O_WRONLY, dir_fd=folder) for folder in folders]
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid:
                for fd in opened:
                    os.close(fd)
        return pid, files + opened

    def become(self, message: dict[str, Any], fds: list[int], groups: list[int]) -> None:
        """In the child: enter the jail, then run what it is for. Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self.children, self.pids, self.helpers = {}, {}, {}  # none of the child's business
            work, listen, out, err = fds[:4]
            given = read_all(work)
            task, plan = given["task"], given["plan"]
            os.dup2(out, 1)
            os.dup2(err, 2)
            os.dup2(listen, LISTEN_FD)  # over the zygote's end of its conversation
            networks = 4 + message["cgroups"]
            network = fds[networks] if message["networks"] else -1
            with_input = "input" in task
            if with_input:
                os.dup2(anonymous_file(task["input"].encode()), INPUT_FD)
            elif len(fds) > networks + message["networks"]:
                with_input = True
                os.dup2(fds[-1], INPUT_FD)
            if plan is not None:
                self.jail.enter(plan, groups, network)
            else:
                os.setsid()
                os.closerange(INPUT_FD + with_input, HIGHEST)
            gc.enable()
            if message["kind"] == "exec":
                os.chdir(task["cwd"])
                os.execve(task["argv"][0], task["argv"], task["env"])
            os.set_inheritable(LISTEN_FD, False)
            importlib.import_module(PACKAGE + "." + message["kind"]).main(task, LISTEN_FD)
            status = 0
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        except BaseException as error:
            os.write(2, ("dayfly: the instance cannot start: %s: %s\n" % (type(error).__name__, error)).encode())
        finally:
            os._exit(status & 0xFF)

    def graft(self, message: dict[str, Any], fds: list[int]) -> None:
        """Turn a child that waits into an instance. A child of its own does it: only there is the work ever in memory."""
        pid = self.pids.get(message["id"])
        if pid is None:
            return
        helper = os.fork()
        if helper == 0:
            try:
                given = read_all(fds[0])
                if given["binds"]:
                    importlib.import_module(PACKAGE + ".graft").graft(pid, given["binds"], given["hostname"])
                with open(fds[1], "wb", closefd=False) as target:
                    target.write(given["input"].encode())
                os._exit(0)
            except BaseException as error:
                os.write(2, ("dayfly: an instance gets no package: %s\n" % error).encode())
            finally:
                os._exit(1)
        self.helpers[helper] = message["id"]

    def kill(self, name: str) -> None:
        pid = self.pids.get(name)
        if pid is not None:  # not reaped yet, so the number is still its own
            self.kill_pid(pid)

    def kill_pid(self, pid: int) -> None:
        if not self.jailed:
            kill_quietly(-pid)
        kill_quietly(pid)

    def reap(self) -> None:
        try:
            while os.read(self.wake_r, 4096):
                pass
        except BlockingIOError:
            pass
        while self.children or self.helpers:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            helped = self.helpers.pop(pid, None)
            if helped is not None and status:
                self.kill(helped)
            name = self.children.pop(pid, None)
            if name is None:
                continue
            del self.pids[name]
            if not self.jailed:
                kill_quietly(-pid)
                self.kill_orphans()
            cpu = int((usage.ru_utime + usage.ru_stime) * 1e6)
            self.tell({"id": name, "status": status, "cpu_us": cpu, "peak_kb": usage.ru_maxrss})

    def kill_orphans(self) -> None:
        """Without a jail: what instances left behind has become a child of ours. End it, and what it leaves in turn."""
        while True:
            orphans = [pid for pid in children_of(os.getpid()) if pid not in self.children and pid not in self.helpers]
            if not orphans:
                return
            for pid in orphans:
                kill_quietly(pid)
                try:
                    os.waitpid(pid, 0)
                except ChildProcessError:
                    pass

    def kill_everything(self) -> None:
        for pid in list(self.children):
            self.kill_pid(pid)
        if not self.jailed:
            self.children = {}
            self.kill_orphans()

    def tell(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        try:
            self.control.sendall(struct.pack("<I", len(data)) + data)
        except OSError:
            pass  # the agent is gone: the next read says so


def receive(control: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """One message and its descriptors; None at the end."""
    ints = array.array("i")
    try:
        head, ancillary, _, _ = control.recvmsg(4, socket.CMSG_SPACE(32 * ints.itemsize), MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                ints.frombytes(data[: len(data) - len(data) % ints.itemsize])
        head += read_exactly(control, 4 - len(head)) if head else b""
        if len(head) < 4:
            return None
        (length,) = struct.unpack("<I", head)
        if length > MAX_MESSAGE:
            return None
        return json.loads(read_exactly(control, length)), list(ints)
    except (OSError, EOFError):
        return None


MSG_CMSG_CLOEXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)


def read_exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = control.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data


def read_all(fd: int) -> dict[str, Any]:
    task: dict[str, Any] = json.loads(read_all_bytes(fd))
    return task


def read_all_bytes(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    data = b""
    while len(data) < size:
        data += os.pread(fd, size - len(data), len(data))
    return data


def anonymous_file(data: bytes) -> int:
    """A file without a name that holds this, to be read from its start."""
    fd = os.memfd_create("input")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def kill_quietly(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


def children_of(pid: int) -> list[int]:
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            return [int(word) for word in file.read().split()]
    except OSError:
        return []


def prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)


def adopt_orphans() -> None:
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the parent ends. Changing the user id undoes this, so it comes after that."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def move(source: int, target: int) -> None:
    """Give a descriptor another number."""
    if source != target:
        os.dup2(source, target)
        os.close(source)
    os.set_inheritable(target, False)


def main() -> None:
    move(int(sys.argv.pop()), CONTROL_FD)
    move(os.open(os.devnull, os.O_RDONLY), INPUT_FD)
    package: Any = type(sys)(PACKAGE)
    package.__path__ = [os.path.dirname(os.path.abspath(__file__))]
    sys.modules[PACKAGE] = package
    gc.disable()
    Zygote(socket.socket(fileno=CONTROL_FD), package).run()


if __name__ == "__main__":
    main()

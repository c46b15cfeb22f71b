"""The file system that functions see: built once by the zygote, shared read-only by all its children.

The zygote leaves the host's file system for good: it builds a small root, pivots into it and detaches the old one. What a child
inherits is then already almost what user code may see, so that a cold start adds four mounts instead of twenty:

    /               tmpfs, read-only: the skeleton
    /usr /bin ...   the host's, read-only (links where the host has links)
    PREFIX          the interpreter, at the path it has on the host; of its parent folders nothing but the name
    /etc            copies of the few files that programs need; users, hosts and resolver made up
    /dev            null, zero, full, random, urandom; /dev/shm is /tmp
    /tmp /proc      empty; each child mounts its own
    /mnt            HIDDEN: the sources of the children's binds and a view of the host's processes. A child detaches it

Everything is nosuid; everything but /dev is nodev.
"""

from __future__ import annotations

import os
import sys

from . import syscalls as sys_

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, List, Tuple

HIDDEN = "/mnt"
PROC = HIDDEN + "/proc"
SOURCES = HIDDEN + "/src"
EMPTY = "/var/empty"  # a folder without anything in it
RESOLVER = HIDDEN + "/resolv.conf"

# Mount points every root has, for binds of children: code, dependencies, build folders, and what other contracts expect.
TARGETS = (
    "/build", "/var/task", "/var/deps", "/var/node_modules", "/var/runtime", "/opt", "/code", "/deps", "/cache", "/app", "/layers",
    "/home/function",
)  # fmt: skip

_STAGE = "/sys"  # a folder every machine has, that nothing here reads, and that functions do not get
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SHARED = sys_.MOUNT_ATTR_RDONLY | sys_.MOUNT_ATTR_NOSUID | sys_.MOUNT_ATTR_NODEV
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}

# Of /etc: what the dynamic linker, time zones, TLS, and the usual runtimes read. No users, no hosts, no keys.
_ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "os-release", "debian_version",
    "mime.types", "protocols", "services", "gai.conf", "locale.alias", "ssl/openssl.cnf", "ssl/certs", "ca-certificates",
    "ca-certificates.conf", "pki/tls/certs", "pki/tls/cert.pem", "pki/ca-trust/extracted", "crypto-policies", "fonts",
    "java-17-openjdk", "java-21-openjdk", "java-11-openjdk", "java",
)  # fmt: skip
_MADE_UP = {
    "passwd": "root:x:0:0::/root:/bin/sh\nfunction:x:1000:1000::/tmp:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "group": "root:x:0:\nfunction:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost sandbox.localdomain sandbox\n::1 localhost\n",
    "resolv.conf": "nameserver 169.254.1.1\noptions timeout:3\n",  # the node's; out of reach for who has no network
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nnetworks: files\nservices: files\nprotocols: files\n",
    "host.conf": "multi on\n",
}


def interpreter_folders() -> "List[str]":
    """The folders this interpreter needs, as it names them and as they really are, system folders left out."""
    named = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix, os.path.dirname(os.path.dirname(os.__file__))}
    named.add(os.path.dirname(os.path.dirname(os.path.realpath(sys.executable))))
    folders = named | {os.path.realpath(folder) for folder in named}
    return [f for f in outermost(folders) if not f.startswith(("/usr/", "/lib", "/bin/")) and f not in ("/usr", "/")]


def outermost(folders: "Iterable[str]") -> "List[str]":
    """The folders without those that lie within another one."""
    kept: List[str] = []
    for folder in sorted(os.path.normpath(f) for f in folders):
        if not any(folder == k or folder.startswith(k.rstrip("/") + "/") for k in kept):
            kept.append(folder)
    return kept


def source(path: str) -> str:
    """Where a zygote and its children, before they let go of the hidden part, find a folder of the host. Raises ValueError."""
    if not path.startswith("/") or os.path.normpath(path) != path:
        raise ValueError("the source of a bind must be a normal absolute path, not " + repr(path))
    refuse_links(SOURCES + path)
    return SOURCES + path


def refuse_links(path: str) -> None:
    """A build, which is hostile, may have left a link where a folder is expected: to somebody else's package, or to HIDDEN."""
    if os.path.realpath(path) != path:
        raise ValueError("a bind must not go through links: " + path)


def build(visible: "Iterable[Tuple[str, str]]", sources: "Iterable[str]", targets: "Iterable[str]", rootless: bool) -> None:
    """Give this process a mount namespace whose root is the functions' root, and leave the host's.

    `visible`: (host folder or file, path inside) that functions see, read-only. `sources`: host folders below which the
    children's binds may start. `targets`: mount points to make besides TARGETS. Rootless, device nodes are bound, not made.
    """
    sys_.unshare(sys_.CLONE_NEWNS)
    sys_.mount("none", "/", flags=sys_.MS_REC | sys_.MS_PRIVATE)
    sys_.mount("tmpfs", _STAGE, "tmpfs", sys_.MS_NOSUID, "mode=0755,size=32m")
    for source, target in furnish(_STAGE, targets):
        _bind(source, _STAGE + target, _SHARED)
    _dev(rootless)
    for source, target in visible:
        if not rootless:
            _check_readable(source)
        _bind(source, _STAGE + target, _SHARED)
    _hidden(outermost(sources))
    _protect_root()
    sys_.pivot_root(_STAGE)


def furnish(root: str, targets: "Iterable[str]") -> "List[Tuple[str, str]]":
    """Make links, folders and /etc of a root. Returns the system's folders that are to be mounted there."""
    folders = [folder for folder in _SYSTEM if os.path.isdir(folder) and not os.path.islink(folder)]
    for folder in (*TARGETS, *targets, EMPTY, "/root", "/run", "/var", "/mnt", "/proc", "/tmp", "/dev", *folders):
        os.makedirs(root + folder, exist_ok=True)
    for folder in _SYSTEM:
        if os.path.islink(folder):
            os.symlink(os.readlink(folder), root + folder)
    _etc(root + "/etc")
    os.symlink("/tmp", root + "/var/tmp")
    _streams(root + "/dev")
    return [(folder, folder) for folder in folders]


def _check_readable(path: str) -> None:
    """Functions are not root, whatever the zygote is: better to learn it here than from an import that fails."""
    needed = 0o005 if os.path.isdir(path) else 0o004
    if os.path.exists(path) and os.stat(path).st_mode & needed != needed:
        raise PermissionError(13, "functions run as another user and cannot read this: chmod -R o+rX", path)


def _protect_root() -> None:
    # Of the skeleton alone: what is mounted below has its own flags, and /mnt must stay writable for build folders.
    sys_.mount("none", _STAGE, flags=sys_.MS_REMOUNT | sys_.MS_BIND | sys_.MS_RDONLY | sys_.MS_NOSUID | sys_.MS_NODEV)


def _bind(source: str, target: str, attributes: int) -> None:
    if not os.path.exists(source):
        raise FileNotFoundError(2, "no such file or folder to show to functions", source)
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "a"):
            pass
    sys_.bind(source, target, attributes)


def _etc(etc: str) -> None:
    os.mkdir(etc)
    for name in _ETC:
        os.makedirs(os.path.dirname(etc + "/" + name), exist_ok=True)
        _copy(os.path.realpath("/etc/" + name), etc + "/" + name)
    for name, text in _MADE_UP.items():
        with open(os.path.join(etc, name), "w") as file:
            file.write(text)


def _copy(source: str, target: str) -> None:
    """Copy a file, a link or a whole folder. What this user cannot read, functions do without."""
    try:
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        elif os.path.isdir(source):
            os.makedirs(target, exist_ok=True)
            for name in os.listdir(source):
                _copy(os.path.join(source, name), os.path.join(target, name))
        elif os.path.isfile(source):
            with open(source, "rb") as original, open(target, "wb") as copy:
                copy.write(original.read())
            os.chmod(target, os.stat(source).st_mode & 0o777)
    except OSError:
        pass


def _dev(rootless: bool) -> None:
    dev = _STAGE + "/dev"
    sys_.mount("tmpfs", dev, "tmpfs", sys_.MS_NOSUID | sys_.MS_NOEXEC, "mode=0755,size=64k")
    for name, (major, minor) in _DEVICES.items():
        path = os.path.join(dev, name)
        if rootless:
            _bind("/dev/" + name, path, sys_.MOUNT_ATTR_NOSUID)
        else:
            os.mknod(path, 0o020666, os.makedev(major, minor))
            os.chmod(path, 0o666)
    _streams(dev)
    sys_.mount("none", dev, flags=sys_.MS_REMOUNT | sys_.MS_BIND | sys_.MS_RDONLY | sys_.MS_NOSUID | sys_.MS_NOEXEC)


def _streams(dev: str) -> None:
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink("/proc/self/fd" + target, os.path.join(dev, name))
    os.symlink("/tmp", os.path.join(dev, "shm"))


def _hidden(sources: "Iterable[str]") -> None:
    hidden = _STAGE + HIDDEN
    sys_.mount("tmpfs", hidden, "tmpfs", sys_.MS_NOSUID | sys_.MS_NODEV, "mode=0700,size=1m")
    os.mkdir(_STAGE + PROC)
    sys_.bind("/proc", _STAGE + PROC, 0)
    open(_STAGE + RESOLVER, "w").close()  # there must be one to bind, even where the host has none
    _copy(os.path.realpath("/etc/resolv.conf"), _STAGE + RESOLVER)  # for jobs with the host's network
    for source in sources:
        _bind(source, _STAGE + SOURCES + source, sys_.MOUNT_ATTR_NOSUID | sys_.MOUNT_ATTR_NODEV)

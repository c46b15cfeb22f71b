"""The seccomp filter: which system calls a function may make, as a classic BPF program assembled here.

The list is one of permission: what it does not name fails with EPERM, so that a call which a future kernel adds is denied until
somebody has thought about it. Left out on purpose, and why:

    mount, umount2, pivot_root, chroot, open_tree, move_mount, fs*, mount_setattr   would rebuild the file system view
    unshare, setns, clone with CLONE_NEW*        a new user namespace gives back capabilities inside it, and with them kernel code
    clone3                                       its flags are behind a pointer, unseen by BPF: ENOSYS, so that libc falls back
    ptrace, process_vm_*, process_madvise, pidfd_getfd, kcmp    look into or take from other processes
    bpf, perf_event_open, userfaultfd, io_uring_*, io_*, vmsplice, fanotify_*    much kernel code, long lists of CVEs, little use
    add_key, request_key, keyctl                 key rings are not namespaced
    kexec_*, *_module, reboot, swap*, acct, quotactl, syslog, iopl, ioperm, modify_ldt, *sethostname, vhangup    the machine itself
    settimeofday, clock_settime, clock_adjtime, adjtimex    the clock is everybody's
    name_to_handle_at, open_by_handle_at         open files by number, past every mount ("Shocker")
    mbind, set_mempolicy, move_pages, migrate_pages, memfd_secret    place or pin memory outside what the cgroup controls well
    sync, syncfs                                 flush the whole machine's disks: a storm for the neighbours
    fadvise64 with POSIX_FADV_DONTNEED           throws files out of the cache that everybody reads; advice, so it is "taken" and ignored
    sched_setattr                                asks for a long slice, for which its neighbours would wait
    cachestat                                    tells which files of the machine others have read lately
    setsockopt SO_ATTACH_*, seccomp and prctl that load a filter    the kernel has one bounded pool of memory for compiled filters:
                                                 whoever fills it keeps everybody's instances from starting
    setsockopt SO_LINGER                         before Linux 6.16 only: makes the close of a socket block, also in the server that it
                                                 was sent to (channel.py)
    mmap, memfd_create, shmget of huge pages     the machine has a bounded pool of them, and no instance's memory limit counts them
    prctl PR_SCHED_CORE                          keeps everybody else off the core whose other thread it runs on
    send* with MSG_OOB                           little used, and on Unix sockets freed memory was read by it (CVE-2025-38236)
    setsockopt TCP_ULP                           kernel TLS and its kind: much kernel code, a long list of CVEs; OpenSSL does without
    ioctl TIOCSTI, TIOCLINUX                     type into the terminal of whoever started the server (CVE-2017-5226)
    socket families but unix, inet, inet6, netlink for routes    vsock reaches the hypervisor, packet the wire, alg kernel cryptography
    inet protocols but tcp, udp, icmp            asking for sctp or dccp would load their kernel modules; mptcp evades Landlock
    send* with MSG_FASTOPEN                      connects without asking Landlock; callers fall back to connect
    personality but Linux with fixed values      switches address randomisation off
    prctl PR_SET_PDEATHSIG but with SIGKILL      would let an instance outlive the process that guards it
    other architectures (i386, x32, 32-bit arm)  the same calls under other numbers

The set is searched as a binary tree over ranges of numbers, not as a list: loading is cheaper (the kernel walks the program once for
each number when it builds its table of always-allowed calls) and so is every call that must be checked.
"""

from __future__ import annotations

import os
import socket
import struct

from .syscall_table import ALLOWED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Sequence, Tuple

    Code = List[Tuple[int, int, int, int]]  # instructions: code, jump if true, jump if false, operand

_LOAD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JUMP_EQ = 0x15
_JUMP_GE = 0x35
_JUMP_SET = 0x45
_AND = 0x54
_RETURN = 0x06

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_EPERM = _ERRNO | 1
_ENOSYS = _ERRNO | 38
_EPROTONOSUPPORT = _ERRNO | 93
_EAFNOSUPPORT = _ERRNO | 97
_EOPNOTSUPP = _ERRNO | 95
_EINVAL = _ERRNO | 22
_ENOPROTOOPT = _ERRNO | 92
_IGNORED = _ERRNO  # says that it worked

_NR, _ARCH, _ARGS = 0, 4, 16  # offsets in struct seccomp_data; an argument has 8 bytes, the lower half first

# machine: (AUDIT_ARCH_*, column in the table)
_MACHINES = {"x86_64": (0xC000003E, 1), "aarch64": (0xC00000B7, 2)}

_CLONE_NEW = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_CLONE3 = 435
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_MSG_OOB, _MSG_FASTOPEN = 1, 0x20000000
_MAP_HUGETLB, _MFD_HUGETLB, _SHM_HUGETLB = 0x40000, 4, 0x800
_PR_SET_PDEATHSIG, _SIGKILL = 1, 9
_PR_SET_SECCOMP, _SECCOMP_SET_MODE_FILTER = 22, 1
_PR_SCHED_CORE = 62
_IPPROTO_TCP, _TCP_ULP = 6, 31
_FADV_DONTNEED = 4
_SOL_SOCKET, _SO_LINGER = 1, 13
_SO_ATTACH = (26, 50, 51, 52)  # SO_ATTACH_FILTER, _BPF, _REUSEPORT_CBPF, _REUSEPORT_EBPF
SO_PASSRIGHTS = 83
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16  # address families
_TYPES = (1, 2, 3)  # SOCK_STREAM, SOCK_DGRAM, SOCK_RAW (for which the kernel wants a capability)
_PROTOCOLS = (0, 1, 6, 17, 58)  # by type, ICMP (ping), TCP, UDP, ICMPv6
_PERSONALITIES = (0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)  # Linux, 32-bit Linux, the same with UNAME26, and "just ask"


def _argument(index: int) -> "Tuple[int, int, int, int]":
    """Load the lower half of an argument."""
    return (_LOAD, 0, 0, _ARGS + 8 * index)


def _if_one_of(values: "Sequence[int]", match: "Code", other: "Code") -> "Code":
    """Go on with `match` if the accumulator is one of the values, else with `other`; neither may run past its end."""
    tests = [(_JUMP_EQ, len(values) - 1 - i + len(other), 0, value) for i, value in enumerate(values)]
    return [*tests, *other, *match]


def _if_set(flags: int, match: "Code", other: "Code") -> "Code":
    """Go on with `match` if the accumulator has one of the flags, else with `other`; neither may run past its end."""
    return [(_JUMP_SET, 0, len(match), flags), *match, *other]


def _answer(value: int) -> "Code":
    return [(_RETURN, 0, 0, value)]


def refuses_descriptors() -> bool:
    """Whether this kernel lets the server refuse descriptors (Linux 6.16)."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 0)
        except OSError:
            return False
    return True


def _checks(linger: bool) -> "dict[str, Code]":
    """Calls whose arguments decide."""
    allow, deny = _answer(_ALLOW), _answer(_EPERM)
    family, protocol = _answer(_EAFNOSUPPORT), _answer(_EPROTONOSUPPORT)
    inet = [_argument(2), *_if_one_of(_PROTOCOLS, allow, protocol)]
    inet = [_argument(1), (_AND, 0, 0, 0xF), *_if_one_of(_TYPES, inet, protocol)]
    netlink = [_argument(2), *_if_one_of((0,), allow, protocol)]  # NETLINK_ROUTE: getaddrinfo and Go ask it for interfaces
    others = _if_one_of((_UNIX,), allow, family)
    options = _SO_ATTACH if linger else (*_SO_ATTACH, _SO_LINGER)
    send = _if_set(_MSG_OOB | _MSG_FASTOPEN, _answer(_EOPNOTSUPP), allow)
    socket_option = [_argument(2), *_if_one_of(options, _answer(_ENOPROTOOPT), allow)]
    tcp_option = [_argument(2), *_if_one_of((_TCP_ULP,), _answer(_ENOPROTOOPT), allow)]
    return {
        "clone": [_argument(0), *_if_set(_CLONE_NEW, deny, allow)],
        "ioctl": [_argument(1), *_if_one_of((_TIOCSTI, _TIOCLINUX), deny, allow)],
        "socket": [_argument(0), *_if_one_of((_INET, _INET6), inet, _if_one_of((_NETLINK,), netlink, others))],
        "sendto": [_argument(3), *send],
        "sendmsg": [_argument(2), *send],
        "sendmmsg": [_argument(3), *send],
        "socketpair": [_argument(0), *_if_one_of((_UNIX,), allow, family)],
        "prctl": [
            _argument(0),
            *_if_one_of(
                (_PR_SET_PDEATHSIG,),
                [_argument(1), *_if_one_of((_SIGKILL,), allow, deny)],
                _if_one_of((_PR_SET_SECCOMP,), _answer(_EINVAL), _if_one_of((_PR_SCHED_CORE,), deny, allow)),
            ),
        ],
        "seccomp": [_argument(0), *_if_one_of((_SECCOMP_SET_MODE_FILTER,), _answer(_EINVAL), allow)],
        "setsockopt": [
            _argument(1),
            *_if_one_of((_SOL_SOCKET,), socket_option, _if_one_of((_IPPROTO_TCP,), tcp_option, allow)),
        ],
        "mmap": [_argument(3), *_if_set(_MAP_HUGETLB, deny, allow)],
        "memfd_create": [_argument(1), *_if_set(_MFD_HUGETLB, deny, allow)],
        "shmget": [_argument(2), *_if_set(_SHM_HUGETLB, deny, allow)],
        "fadvise64": [_argument(3), *_if_one_of((_FADV_DONTNEED,), _answer(_IGNORED), allow)],
        "personality": [_argument(0), *_if_one_of(_PERSONALITIES, allow, deny)],
    }


def numbers(machine: str) -> "dict[str, int]":
    """Name and number of every call that is allowed, at least with some arguments, on "x86_64" or "aarch64"."""
    column = _MACHINES[machine][1]
    rows = (row.split() for row in ALLOWED.replace(",", "\n").splitlines())
    return {row[0]: int(row[column]) for row in rows if row and row[column] != "-"}


def _ranges(machine: str, linger: bool) -> "List[Tuple[int, Code]]":
    """(first number, what to do) in order; each holds up to the next."""
    deny: Code = [(_RETURN, 0, 0, _EPERM)]
    allow: Code = [(_RETURN, 0, 0, _ALLOW)]
    checks = _checks(linger)
    actions = {number: checks.get(name, allow) for name, number in numbers(machine).items()}
    actions[_CLONE3] = [(_RETURN, 0, 0, _ENOSYS)]
    ranges = [(0, deny)]
    for number, action in sorted(actions.items()):
        last, previous = ranges[-1]
        if last == number:
            ranges.pop()
            previous = ranges[-1][1] if ranges else []
        if action is not previous:
            ranges.append((number, action))
        ranges.append((number + 1, deny))
    return ranges


def _tree(ranges: "List[Tuple[int, Code]]") -> "Code":
    """Binary search for the range that holds the accumulator."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    low, high = _tree(ranges[:middle]), _tree(ranges[middle:])
    pivot = ranges[middle][0]
    if len(low) <= 255:  # a conditional jump reaches that far
        return [(_JUMP_GE, len(low), 0, pivot), *low, *high]
    return [(_JUMP_GE, 0, 1, pivot), (_JUMP, 0, 0, len(low)), *low, *high]


def program(machine: str = "", *, linger: bool = False) -> bytes:
    """The filter for a machine ("x86_64", "aarch64"; default: this one) as an array of struct sock_filter.

    `linger`: allow SO_LINGER, because the server refuses descriptors (`refuses_descriptors`).

    Raises NotImplementedError for any other architecture: a filter with wrong numbers would be none.
    """
    machine = machine or os.uname().machine
    if machine not in _MACHINES:
        raise NotImplementedError(
            "no seccomp table for %s; isolation needs x86_64 or aarch64 (or switch seccomp off, knowingly)" % machine
        )
    code: Code = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQ, 1, 0, _MACHINES[machine][0]),
        (_RETURN, 0, 0, _EPERM),
        (_LOAD, 0, 0, _NR),
        *_tree(_ranges(machine, linger)),  # x32 calls have bit 30 set: above every range that allows
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)

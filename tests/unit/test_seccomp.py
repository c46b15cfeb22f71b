"""The seccomp filter, interpreted: what the kernel would answer to every call, on both architectures."""

from __future__ import annotations

import struct

import pytest

from dayfly.runtime.python import seccomp

ALLOW, EPERM, ENOSYS, NO_FAMILY, NO_PROTOCOL = 0x7FFF0000, 0x00050001, 0x00050026, 0x00050061, 0x0005005D
NO_OPERATION, NO_OPTION, BAD_ARGUMENT, TAKEN = 0x0005005F, 0x0005005C, 0x00050016, 0x00050000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
I386, ARM = 0x40000003, 0x40000028


def run(program: bytes, arch: int, number: int, *args: int) -> int:
    """A classic BPF machine with the instructions that the filter uses; anything else fails the test."""
    data = struct.pack("=iIQ6Q", number, arch, 0, *[*args, 0, 0, 0, 0, 0, 0][:6])
    code = list(struct.iter_unpack("=HBBI", program))
    accumulator, at = 0, 0
    while True:
        op, true, false, k = code[at]
        at += 1
        match op:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, k)
            case 0x06:
                return int(k)
            case 0x05:
                at += k
            case 0x15:
                at += true if accumulator == k else false
            case 0x35:
                at += true if accumulator >= k else false
            case 0x54:
                accumulator &= k
            case 0x45:
                at += true if accumulator & k else false
            case _:
                pytest.fail(f"unknown instruction {op:#x}")


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_every_number_gets_the_answer_of_the_table(machine: str) -> None:
    program, numbers = seccomp.program(machine), seccomp.numbers(machine)
    names = {number: name for name, number in numbers.items()}
    assert len(names) == len(numbers), "one number, two names"
    for number in (*range(1024), 0x3FFFFFFF, 0x7FFFFFFF):
        name = names.get(number)
        args = (1, 1) if name in ("socket", "socketpair") else ()  # a Unix stream; all others are fine with zeros
        expected = ALLOW if name else ENOSYS if number == 435 else EPERM
        assert run(program, ARCHITECTURES[machine], number, *args) == expected, (number, name)


def test_the_table_is_sorted_and_complete() -> None:
    rows = [row.split() for row in seccomp.ALLOWED.replace(",", "\n").splitlines() if row.strip()]
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert all(len(row) == 3 for row in rows)
    shared = [row for row in rows if row[1].isdigit() and int(row[1]) >= 424]
    assert all(row[1] == row[2] for row in shared), "from 424 on, numbers are the same everywhere"


def test_clone_threads_but_no_namespaces(machine: str) -> None:
    program, clone = seccomp.program(machine), seccomp.numbers(machine)["clone"]
    threads = 0x3D0F00  # what a C library passes to start a thread
    assert run(program, ARCHITECTURES[machine], clone, threads) == ALLOW
    assert run(program, ARCHITECTURES[machine], clone, 17) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert run(program, ARCHITECTURES[machine], clone, threads | flag) == EPERM


@pytest.mark.parametrize(
    ("call", "args", "answer"),
    [
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), EPERM),
        ("ioctl", (0, 0x1_0000_5412), EPERM),  # the kernel, too, looks at the lower half only
        ("ioctl", (0, 0x541C), EPERM),
        ("socket", (1, 5), ALLOW),
        ("socket", (2, 1, 6), ALLOW),
        ("socket", (2, 1 | 0x80000 | 0x800), ALLOW),  # SOCK_STREAM, SOCK_CLOEXEC, SOCK_NONBLOCK
        ("socket", (10, 2, 17), ALLOW),
        ("socket", (2, 2, 1), ALLOW),  # ping
        ("socket", (2, 1, 262), NO_PROTOCOL),  # MPTCP: Go asks for it first, and falls back
        ("socket", (2, 1, 132), NO_PROTOCOL),  # SCTP
        ("socket", (2, 5), NO_PROTOCOL),
        ("socket", (10, 6 | 0x80000), NO_PROTOCOL),  # DCCP
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 12), NO_PROTOCOL),  # netfilter
        ("socket", (17, 3), NO_FAMILY),
        ("socket", (40, 1), NO_FAMILY),
        ("sendto", (3, 0, 0, 0x4000), ALLOW),  # MSG_NOSIGNAL
        ("sendto", (3, 0, 0, 0x20004000), NO_OPERATION),  # MSG_FASTOPEN
        ("sendto", (3, 0, 0, 0x4001), NO_OPERATION),  # MSG_OOB
        ("sendmsg", (3, 0, 0x4000), ALLOW),
        ("sendmsg", (3, 0, 1), NO_OPERATION),
        ("sendmsg", (3, 0, 0x20000000), NO_OPERATION),
        ("sendmmsg", (3, 0, 1, 0x4000), ALLOW),
        ("sendmmsg", (3, 0, 1, 0x20000000), NO_OPERATION),
        ("socketpair", (1, 1), ALLOW),
        ("socketpair", (38, 1), NO_FAMILY),
        ("prctl", (15, 0), ALLOW),  # PR_SET_NAME
        ("prctl", (1, 9), ALLOW),
        ("prctl", (1, 0), EPERM),
        ("prctl", (1, 15), EPERM),
        ("prctl", (22, 2), BAD_ARGUMENT),  # PR_SET_SECCOMP
        ("prctl", (62, 1), EPERM),  # PR_SCHED_CORE
        ("seccomp", (1,), BAD_ARGUMENT),
        ("seccomp", (2,), ALLOW),  # what there is, it may ask
        ("setsockopt", (3, 1, 2), ALLOW),  # SO_REUSEADDR
        ("setsockopt", (3, 1, 26), NO_OPTION),  # SO_ATTACH_FILTER
        ("setsockopt", (3, 1, 52), NO_OPTION),
        ("setsockopt", (3, 6, 26), ALLOW),  # the same number of TCP
        ("setsockopt", (3, 6, 31), NO_OPTION),  # TCP_ULP
        ("setsockopt", (3, 1, 31), ALLOW),  # the same number of sockets
        ("mmap", (0, 4096, 3, 0x22), ALLOW),
        ("mmap", (0, 4096, 3, 0x40022), EPERM),  # MAP_HUGETLB
        ("memfd_create", (0, 1), ALLOW),
        ("memfd_create", (0, 5), EPERM),
        ("shmget", (0, 4096, 0o1600), ALLOW),
        ("shmget", (0, 4096, 0o1600 | 0x800), EPERM),
        ("setsockopt", (3, 1, 13), NO_OPTION),  # SO_LINGER
        ("fadvise64", (3, 0, 0, 2), ALLOW),
        ("fadvise64", (3, 0, 0, 4), TAKEN),  # POSIX_FADV_DONTNEED
        ("personality", (0xFFFFFFFF,), ALLOW),
        ("personality", (0x0040000,), EPERM),
    ],
)
def test_arguments(machine: str, call: str, args: tuple[int, ...], answer: int) -> None:
    assert run(seccomp.program(machine), ARCHITECTURES[machine], seccomp.numbers(machine)[call], *args) == answer


def test_a_socket_may_linger_where_the_server_refuses_descriptors(machine: str) -> None:
    program = seccomp.program(machine, linger=True)
    option = seccomp.numbers(machine)["setsockopt"]
    assert run(program, ARCHITECTURES[machine], option, 3, 1, 13) == ALLOW
    assert run(program, ARCHITECTURES[machine], option, 3, 1, 50) == NO_OPTION


def test_other_architectures_and_x32_are_denied() -> None:
    x86 = seccomp.program("x86_64")
    assert run(x86, I386, 4) == EPERM
    assert run(x86, ARCHITECTURES["x86_64"], 0x40000000 | 1) == EPERM
    assert run(seccomp.program("aarch64"), ARM, 4) == EPERM


def test_it_is_short_and_an_unknown_machine_is_refused(machine: str) -> None:
    assert len(seccomp.program(machine)) // 8 < 288
    with pytest.raises(NotImplementedError, match="riscv64"):
        seccomp.program("riscv64")

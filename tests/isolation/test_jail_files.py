"""What jailed code can see and change of the machine's files and processes."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from jail_run import find_python, jailed, needs_root, says

from dayfly.runtime.python import landlock

pytestmark = needs_root


def test_of_the_host_only_programs_can_be_seen(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    code = f"""
    for path in ("/etc/shadow", "/etc/hostname", "/root" "/.bashrc", "/sys", "/boot", "/var/lib", "/var/log", "/home/user",
                 {str(secret)!r}, {str(Path(__file__))!r}):
        print(os.path.exists(path) and os.listdir(path) if os.path.isdir(path) else os.path.exists(path))
    """
    assert set(says(code, template={"sources": [str(tmp_path)]})) == {"False"}
    assert says("print(sorted(os.listdir('/mnt')), os.listdir('/run'))") == ["[] []"]


def test_a_folder_that_functions_could_not_read_is_refused_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    result = jailed("print('in')", template={"binds": [[str(tmp_path), "/opt/tools"]]})
    assert result.returncode == 1
    assert "chmod -R o+rX" in result.stderr
    tmp_path.chmod(0o755)
    (tmp_path / "tool").write_text("x")
    assert says("print(os.listdir('/opt/tools'))", template={"binds": [[str(tmp_path), "/opt/tools"]]}) == ["['tool']"]


def test_of_the_interpreters_parents_only_the_name_appears() -> None:
    prefix = Path(find_python()).parents[1]
    if prefix.is_relative_to("/usr"):
        pytest.skip("the interpreter is the system's own")
    parent, name = prefix.parent, prefix.name
    assert says(f"print(os.listdir({str(parent)!r}))") == [str([name])]


def test_other_users_do_not_exist() -> None:
    assert says("print(open('/etc/passwd').read().count(':/'), open('/etc/hosts').read().split()[:2])") == [
        "6 ['127.0.0.1', 'localhost']"
    ]


@pytest.mark.parametrize("path", ["/x", "/usr/x", "/etc/passwd", "/etc/x", "/dev/x", "/code/x", "/mnt/x", "/proc/x", "/var/x"])
def test_nothing_but_tmp_can_be_written(path: str, tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text("")
    tmp_path.chmod(0o777)  # so that it is the mount that refuses
    code = f"print(attempt(open, {path!r}, 'a'))"
    options = {"template": {"sources": [str(tmp_path)]}, "plan": {"binds": [[str(tmp_path), "/code", "ro"]]}}
    assert says(code, **options)[0] in ("EROFS", "EACCES", "ENOENT")
    assert says("print(open('/code/f.py').read() == '')", **options) == ["True"]


def test_the_interpreter_itself_cannot_be_overwritten() -> None:
    """A container escape of 2019 wrote over /proc/self/exe (CVE-2019-5736)."""
    code = """
    print(attempt(open, "/proc/self/exe", "r+b"), attempt(open, os.__file__, "a"), attempt(os.chmod, os.__file__, 0o777))
    print(attempt(os.unlink, os.__file__), attempt(os.rename, "/usr/bin/env", "/usr/bin/env2"))
    """
    first, second = says(code)
    assert set(first.split()) <= {"ETXTBSY", "EROFS", "EACCES"}
    assert set(second.split()) == {"EROFS"}


def test_a_writable_bind_is_writable_for_its_owner_alone(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    other.mkdir(mode=0o755)
    os.chown(mine, 200007, 200007)
    code = "print(attempt(open, '/build/out', 'w')); print(attempt(open, '/cache/out', 'w'))"
    plan = {"uid": 200007, "binds": [[str(mine), "/build", "rw"], [str(other), "/cache", "rw"]]}
    first, second = says(code, template={"sources": [str(tmp_path)]}, plan=plan)
    assert "/build/out" in first
    assert second == "EACCES"
    assert (mine / "out").stat().st_uid == 200007


@pytest.mark.parametrize("source", ["/../etc", "{}/../../etc", "relative"])
def test_a_bind_cannot_leave_its_sources(source: str, tmp_path: Path) -> None:
    plan = {"binds": [[source.format(tmp_path), "/code", "ro"]]}
    result = jailed("print('in')", template={"sources": [str(tmp_path)]}, plan=plan)
    assert result.returncode == 1
    assert "normal absolute path" in result.stderr


def test_a_bind_from_outside_the_sources_says_what_is_wrong(tmp_path: Path) -> None:
    result = jailed("print('in')", template={"sources": [str(tmp_path)]}, plan={"binds": [["/var/log", "/code", "ro"]]})
    assert result.returncode == 1
    assert "bind /mnt/src/var/log on /code" in result.stderr


def test_a_link_in_a_package_leads_nowhere(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "out").symlink_to("/etc/shadow")
    (tmp_path / "up").symlink_to("../../../../../../../../root")
    code = "print(attempt(open, '/code/out')); print(os.path.exists('/code/up/.bashrc'))"
    options = {"template": {"sources": [str(tmp_path)]}, "plan": {"binds": [[str(tmp_path), "/code", "ro"]]}}
    assert says(code, **options) == ["ENOENT", "False"]


@pytest.mark.parametrize(
    ("source", "target"), [("link", "/code"), ("real", "/build/link"), ("real", "/mnt"), ("real", "/mnt/src")]
)
def test_a_bind_through_a_link_or_over_the_hidden_part_is_refused(tmp_path: Path, source: str, target: str) -> None:
    """A hostile build may leave a link in its folder, and the next jail is asked to mount what it points to."""
    (tmp_path / "real").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("other")
    (tmp_path / "real" / "link").symlink_to("/mnt")
    binds = [[str(tmp_path / "real"), "/build", "ro"], [str(tmp_path / source), target, "ro"]]
    result = jailed("print('in')", template={"sources": [str(tmp_path)]}, plan={"binds": binds})
    assert (result.returncode, result.stdout) == (1, "")
    assert "must not go through links" in result.stderr or "nothing can be mounted on /mnt" in result.stderr


def test_no_hard_link_nor_rename_out_of_tmp() -> None:
    code = "open('/tmp/a', 'w'); print(attempt(os.link, '/tmp/a', '/x'), attempt(os.rename, '/tmp/a', '/x'))"
    assert set(says(code)[0].split()) <= {"EXDEV", "EROFS"}


def test_tmp_is_bounded_in_bytes() -> None:
    code = """
    def fill(path):
        with open(path, "wb", 0) as file:
            while True: file.write(bytes(1 << 20))
    print(attempt(fill, "/tmp/a"), os.path.getsize("/tmp/a") >> 20)
    print(attempt(fill, "/dev/shm/b"), os.path.getsize("/tmp/b") >> 20)
    """
    assert says(code, plan={"tmp_mb": 8}) == ["ENOSPC 8", "ENOSPC 0"]


def test_tmp_is_bounded_in_files() -> None:
    code = """
    def fill():
        for i in range(10_000): open("/tmp/%d" % i, "w").close()
    print(attempt(fill), 900 < len(os.listdir("/tmp")) < 1000)
    """
    assert says(code, plan={"tmp_mb": 64, "tmp_inodes": 1000}) == ["ENOSPC True"]


def test_tmp_is_private(tmp_path: Path) -> None:
    assert says("open('/tmp/left', 'w'); print(os.listdir('/tmp'))") == ["['left']"]
    assert says("print(os.listdir('/tmp'))") == ["[]"]


def test_devices_are_the_harmless_ones() -> None:
    code = """
    import stat
    print(*sorted(name for name in os.listdir("/dev") if stat.S_ISCHR(os.lstat("/dev/" + name).st_mode)))
    print(attempt(os.mknod, "/tmp/mem", 0o020666, os.makedev(1, 1)), attempt(os.mknod, "/tmp/disk", 0o060666, os.makedev(254, 0)))
    print(attempt(open, "/dev/tty"), len(open("/dev/urandom", "rb", 0).read(8)), open("/dev/null", "w").write("x"))
    """
    assert says(code) == ["full null random urandom zero", "EPERM EPERM", "ENOENT 8 1"]


def test_dangerous_parts_of_proc_are_masked_and_all_is_read_only() -> None:
    code = """
    for name in ("kallsyms", "keys", "key-users", "timer_list", "kcore", "modules", "sched_debug", "cmdline", "interrupts", "diskstats"):
        path = "/proc/" + name
        print(name, attempt(lambda: len(open(path, "rb").read(100))) if os.path.exists(path) else "absent")
    for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/proc/self/mem",
                 "/proc/self/oom_score_adj", "/proc/self/uid_map", "/proc/sys/kernel/hostname", "/proc/1/comm"):
        print(path, attempt(open, path, "r+") if os.path.exists(path) else "absent")
    """
    lines = dict(line.split() for line in says(code))
    reading = {name: answer for name, answer in lines.items() if not name.startswith("/")}
    writing = {name: answer for name, answer in lines.items() if name.startswith("/")}
    assert set(reading.values()) <= {"0", "absent", "EACCES", "EPERM"}, reading
    assert set(writing.values()) <= {"EROFS", "EACCES", "absent"}, writing


def test_no_other_process_can_be_seen() -> None:
    code = """
    print(os.getpid(), os.getppid(), sorted(name for name in os.listdir("/proc") if name.isdigit()))
    print(attempt(os.kill, 2, 0), attempt(os.kill, -1, 0))
    print(open("/proc/1/environ").read() == open("/proc/self/environ").read())
    """
    assert says(code) == ["1 0 ['1']", "ESRCH ESRCH", "True"]


def test_the_old_root_is_gone_for_good() -> None:
    code = """
    print(attempt(os.chroot, "/tmp"))
    os.chdir("/")
    for _ in range(64): os.chdir("..")
    print(sorted(os.listdir(".")) == sorted(os.listdir("/")), os.path.exists("proc/1/root/etc/shadow"))
    mounts = [line.split()[4] for line in open("/proc/self/mountinfo")]
    print(any(mount.startswith(("/mnt", "/sys")) for mount in mounts))
    """
    assert says(code) == ["EPERM", "True False", "False"]


def test_no_inherited_descriptor_but_the_listed_ones(tmp_path: Path) -> None:
    leaked = os.open(tmp_path, os.O_RDONLY)  # a folder of the host: CVE-2024-21626
    kept, theirs = os.pipe()
    try:
        code = "print(*(fd for fd in range(4096) if attempt(os.fstat, fd) != 'EBADF'))"
        plan = {"keep_fds": [0, 1, 2, theirs]}
        assert says(code, plan=plan, pass_fds=(leaked, theirs)) == [f"0 1 2 {theirs}"]
    finally:
        for fd in (leaked, kept, theirs):
            os.close(fd)


def test_standard_streams_that_are_not_kept_become_null() -> None:
    result = jailed("print('unheard'); os.write(2, os.readlink('/proc/self/fd/0').encode())", plan={"keep_fds": [2]})
    assert (result.stdout, result.stderr, result.returncode) == ("", "/dev/null", 0)


def test_host_sockets_are_out_of_reach() -> None:
    abstract = f"\0dayfly-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server, socket.create_server(("127.0.0.1", 0)) as tcp:
        server.bind(abstract)
        server.listen()
        code = f"""
        import socket
        print(attempt(socket.socket(socket.AF_UNIX).connect, {abstract!r}))
        print(attempt(socket.create_connection, {tcp.getsockname()!r}))
        print(attempt(socket.create_connection, ("169.254.169.254", 80)))
        print(*(name for _, name in socket.if_nameindex()))
        with socket.create_server(("127.0.0.1", 0)) as own:
            print(socket.create_connection(own.getsockname()).getpeername() == own.getsockname())
        """
        answers = says(code)
    assert answers[:3] == ["ECONNREFUSED", "ECONNREFUSED", "ENETUNREACH"]
    assert answers[4] == "True"
    interfaces = set(answers[3].split())
    assert "lo" in interfaces
    assert interfaces <= {"lo", "tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}


def test_a_build_job_reaches_the_ports_of_its_index_only() -> None:
    """With the host's network, a hostile build script must not talk to what trusts loopback."""
    version = landlock.abi()
    if version < landlock.ABI_PORTS:
        pytest.skip("no Landlock for TCP in this kernel (Linux 6.7)")
    abstract = f"\0dayfly-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as index,
        socket.create_server(("127.0.0.1", 0)) as control,
        socket.socket(socket.AF_UNIX) as local,
    ):
        local.bind(abstract)
        local.listen()
        code = f"""
        import socket
        print(attempt(lambda: socket.create_connection({index.getsockname()!r}).getpeername()[1]))
        print(attempt(socket.create_connection, {control.getsockname()!r}))
        print(attempt(socket.create_server, ("127.0.0.1", 0)), attempt(socket.socket, socket.AF_INET, socket.SOCK_STREAM, 262))
        print(attempt(socket.socket(socket.AF_UNIX).connect, {abstract!r}))
        print(attempt(socket.socket().sendto, b"x", socket.MSG_FASTOPEN, {control.getsockname()!r}))
        """
        port = index.getsockname()[1]
        answers = says(code, plan={"network": "host", "tcp_ports": [port]})
    assert answers[:3] == [str(port), "EACCES", "EACCES EPROTONOSUPPORT"]
    assert answers[3] == ("EPERM" if version >= landlock.ABI_SCOPES else "None")
    assert answers[4] == "ENOTSUP"  # TCP Fast Open would connect past Landlock


def test_the_host_name_is_private() -> None:
    before = socket.gethostname()
    assert says("import socket; print(socket.gethostname())", plan={"hostname": "box"}) == ["box"]
    assert says("import socket; print(attempt(socket.sethostname, 'x'))") == ["EPERM"]
    assert socket.gethostname() == before


def test_a_neighbour_of_the_same_zygote_is_a_stranger() -> None:
    """Files, processes, sockets, shared memory and descriptors of one instance do not exist for the next."""
    neighbour = """
    import ctypes, socket, time
    open("/tmp/secret", "w").write("s3cret")
    server = socket.socket(socket.AF_UNIX); server.bind("\\0neighbour"); server.listen()
    tcp = socket.create_server(("127.0.0.1", 7777))
    assert ctypes.CDLL(None).shmget(4242, 4096, 0o1666) >= 0
    os.write(%d, b"x")
    time.sleep(600)
    """
    code = """
    import ctypes, errno, socket
    print(os.listdir("/tmp"), [name for name in os.listdir("/proc") if name.isdigit()])
    print(attempt(socket.socket(socket.AF_UNIX).connect, "\\0neighbour"), attempt(socket.create_connection, ("127.0.0.1", 7777)))
    libc = ctypes.CDLL(None, use_errno=True)
    print(libc.shmget(4242, 4096, 0o666), errno.errorcode[ctypes.get_errno()])
    print(attempt(os.kill, -1, 9), [attempt(os.kill, pid, 9) for pid in range(2, 2000)] == ["ESRCH"] * 1998)
    """
    assert says(code, neighbour=neighbour) == [
        "[] ['1']",
        "ECONNREFUSED ECONNREFUSED",
        "-1 ENOENT",
        "ESRCH True",
    ]

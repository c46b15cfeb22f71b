"""Real runtimes work in the jail: every Python on this machine, Node, and what Go, Rust or Java compile to."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from jail_run import JAILER, RUNTIME, jailed, needs_root, says

from dayfly.sandbox.node.interpreters import find
from tests.support.machine import needs_node

PYTHONS = {name: found for name, found in find().items() if name.startswith("python")}

ORDINARY = """
import asyncio, ctypes, hashlib, multiprocessing, pwd, socket, sqlite3, ssl, subprocess, tempfile, threading
os.chdir("/tmp")
print(pwd.getpwuid(os.getuid()).pw_name, os.path.expanduser("~") and len(os.sched_getaffinity(0)) > 0)
print(subprocess.run(["sh", "-c", "echo $((40 + 2))"], stdout=subprocess.PIPE).stdout.decode().strip())
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, 2]))
with tempfile.NamedTemporaryFile() as file:
    print(file.name.startswith("/tmp/"))
print(sqlite3.connect("/tmp/x.db").execute("select 1").fetchone())
async def echo():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "localhost", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    got = await reader.read()
    writer.close()
    process = await asyncio.create_subprocess_exec("true")
    return got, await process.wait()
print(asyncio.run(echo()))
print(len(ssl.create_default_context().get_ca_certs()) > 0 or not os.path.exists("/etc/ssl/certs/ca-certificates.crt"))
"""
ANSWERS = ["function True", "42", "[1, 2]", "True", "(1,)", "(b'', 0)", "True"]


@needs_root
@pytest.mark.parametrize("name", PYTHONS)
def test_every_python_works_inside(name: str) -> None:
    result = jailed(ORDINARY, python=PYTHONS[name].executable)
    assert result.stdout.splitlines() == ANSWERS, result.stderr


@needs_root
@needs_node
def test_node_works_inside() -> None:
    node = find()["node"]
    script = """
    const {Worker} = require('worker_threads'), http = require('http'), fs = require('fs')
    fs.writeFileSync('/tmp/a', 'b')
    new WebAssembly.Memory({initial: 1})
    const server = http.createServer((q, r) => r.end('over http')).listen(0, () => {
      http.get({port: server.address().port}, r => r.on('data', d => console.log('' + d)).on('end', () => {
        server.close()
        new Worker('console.log("worker")', {eval: true}).on('exit', () =>
          console.log(require('child_process').execSync('echo child').toString().trim(), require('os').userInfo().username))
      }))
    })
    """
    code = f"os.execve({node.executable!r}, ['node', '-e', {script!r}], {{'PATH': '/usr/bin:/bin', 'HOME': '/tmp'}})"
    binds = [] if node.prefix.startswith("/usr") else [[node.prefix, node.prefix]]
    assert says(code, template={"binds": binds}) == ["over http", "worker", "child function"]


GO = """
package main

import ("fmt"; "io"; "net"; "net/http"; "os"; "os/exec")

func main() {
    listener, err := net.Listen("tcp", "127.0.0.1:0")
    if err != nil { fmt.Println(err); os.Exit(1) }
    go http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "over http") }))
    answer, err := http.Get("http://" + listener.Addr().String())
    if err != nil { fmt.Println(err); os.Exit(1) }
    body, _ := io.ReadAll(answer.Body)
    child, err := exec.Command("echo", "child").Output()
    interfaces, _ := net.Interfaces()
    fmt.Print(string(body), " ", string(child), len(interfaces) > 0, err)
}
"""

JAVA = """
public class Hello {
    public static void main(String[] arguments) throws Exception {
        Thread thread = new Thread(() -> System.out.print("thread "));
        thread.start();
        thread.join();
        new java.net.ServerSocket(0).close();
        System.gc();
        System.out.println(System.getProperty("user.name"));
    }
}
"""

RUST = """
use std::{fs, net::TcpListener, process::Command, thread};
fn main() {
    thread::spawn(|| print!("thread ")).join().unwrap();
    TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write("/tmp/x", b"y").unwrap();
    println!("{}", Command::new("echo").output().unwrap().status.success());
}
"""

COMPILED = {
    "go": (
        "main.go",
        GO,
        ["go", "build", "-o", "bootstrap", "main.go"],
        ["/code/bootstrap"],
        ["over http child", "true <nil>"],
    ),
    "rustc": ("main.rs", RUST, ["rustc", "-o", "bootstrap", "main.rs"], ["/code/bootstrap"], ["thread true"]),
    "javac": ("Hello.java", JAVA, ["javac", "Hello.java"], ["/usr/bin/java", "-cp", "/code", "Hello"], ["thread function"]),
}


@needs_root
@pytest.mark.parametrize("compiler", COMPILED)
def test_compiled_programs_work_inside(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler} on this machine")
    name, source, build, argv, answer = COMPILED[compiler]
    (tmp_path / name).write_text(source)
    subprocess.run(build, cwd=tmp_path, check=True, env={**os.environ, "CGO_ENABLED": "0"})
    tmp_path.chmod(0o755)
    code = f"os.execve({argv[0]!r}, {argv!r}, {{'PATH': '/usr/bin:/bin'}})"
    options = {"template": {"sources": [str(tmp_path)]}, "plan": {"binds": [[str(tmp_path), "/code", "ro"]]}}
    assert says(code, **options) == answer


# An ordinary user ------------------------------------------------------------------------------------------------------------------


def as_nobody(code: str) -> subprocess.CompletedProcess[str]:
    """The same jail, begun by a user without any privilege."""
    system = "/usr/bin/python3"
    if not os.path.exists(system):
        pytest.skip("needs a Python that any user may run")
    become = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups")
    with tempfile.TemporaryDirectory(prefix="dayfly-") as name:  # pytest's own folders are for one user alone
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copytree(RUNTIME, folder / "runtime", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(JAILER, folder / "jailer.py")
        return jailed(code, python=system, prefix=become, runtime=folder / "runtime", jailer=folder / "jailer.py")


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to become an ordinary user")
def test_an_ordinary_user_gets_the_same_jail() -> None:
    code = """
    import socket
    print(os.getpid(), sorted(name for name in os.listdir("/proc") if name.isdigit()), os.listdir("/tmp"))
    print({line.split()[1] for line in open("/proc/self/status") if line.startswith("Cap")})
    print(attempt(open, "/x", "w"), attempt(socket.sethostname, "x"), os.path.exists("/etc/shadow"))
    print(attempt(socket.create_connection, ("169.254.169.254", 80)))
    """
    result = as_nobody(code)
    if "unshare(0x10000000)" in result.stderr:
        pytest.skip("this machine forbids user namespaces to ordinary users")
    assert result.stdout.splitlines() == [
        "1 ['1'] []",
        "{'0000000000000000'}",
        "EROFS EPERM False",
        "ENETUNREACH",
    ], result.stderr


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv to become an ordinary user")
@pytest.mark.parametrize(("ending", "status"), [("os._exit(7)", 7), ("os.kill(1, 9); os._exit(0)", 0), ("1 / 0", 1)])
def test_an_ordinary_users_instance_ends_as_its_code_does(ending: str, status: int) -> None:
    """The guardian in between passes on how process 1 ended; process 1 cannot kill itself, the kernel shields it."""
    result = as_nobody(ending)
    if "unshare(0x10000000)" in result.stderr:
        pytest.skip("this machine forbids user namespaces to ordinary users")
    assert result.returncode == status, result.stderr

"""The command line as a user has it: processes of its own, a real server, real sandboxes."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

HANDLER = """
import sys
import tempfile

def handler(event, context):
    print("called with", event)
    print("\\x1b[31mred", file=sys.stderr)
    if "fail" in event:
        raise ValueError(event["fail"])
    return {"hello": event.get("name", "world"), "version": 1}
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


class CommandLine:
    """Runs `dayfly` against one server with a data folder of its own."""

    def __init__(self, data: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data = data
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("DAYFLY_")}
        self.environment |= {
            "DAYFLY_URL": f"http://127.0.0.1:{self.port}",
            "DAYFLY_DATA": str(data),
            "DAYFLY_UP_PORT": str(self.port),
        }

    def __call__(self, *arguments: str, stdin: str = "") -> Done:
        command = [sys.executable, "-m", "dayfly", *arguments]
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=self.environment, timeout=100, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dayfly", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
        )


@pytest.fixture(scope="module")
def dayfly() -> Iterator[CommandLine]:
    """A server started by `dayfly up --detach` and stopped by `dayfly down`."""
    with tempfile.TemporaryDirectory(prefix="dayfly-") as short:  # pytest's own folders are too long for sockets
        run = CommandLine(Path(short) / "data")
        up = run("up", "--detach")
        assert up.code == 0, up.err
        yield run
        assert run("down").code == 0


@pytest.fixture
def data() -> Iterator[Path]:
    """The data folder of another server."""
    with tempfile.TemporaryDirectory(prefix="dayfly-") as short:
        yield Path(short) / "data"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hello.py"
    path.write_text(HANDLER)
    return path


@pytest.fixture
def hello(dayfly: CommandLine, source: Path) -> Iterator[CommandLine]:
    """The function `hello`, deployed."""
    deployed = dayfly("deploy", str(source), "--name", "hello")
    assert deployed.code == 0, deployed.err
    yield dayfly
    dayfly("rm", "hello", "--missing-ok")


def test_the_first_five_minutes(hello: CommandLine, source: Path) -> None:
    # Given a deployed function, when it is called, then stdout is its answer and nothing else.
    assert hello("invoke", "hello", "-d", '{"name": "Ada"}') == (0, '{"hello":"Ada","version":1}', "")
    assert json.loads(hello("invoke", "hello", "-d", "-", stdin="{}").out) == {"hello": "world", "version": 1}

    # When the same is deployed again, then there is no new revision.
    assert "1 (unchanged" in hello("deploy", str(source), "--name", "hello").out

    # When it is changed, then the new revision answers; after a rollback, the old one.
    source.write_text(HANDLER.replace('"version": 1', '"version": 2'))
    assert re.search(r"^Revision +2$", hello("deploy", str(source), "--name", "hello").out, re.MULTILINE)
    assert json.loads(hello("invoke", "hello").out)["version"] == 2
    assert json.loads(hello("invoke", "hello@1").out)["version"] == 1
    assert hello("rollback", "hello").err == "hello: calls go to revision 1\n"
    assert json.loads(hello("invoke", "hello").out)["version"] == 1

    # When calls are split, then both get theirs, and an alias stays where it points.
    assert hello("traffic", "hello", "1=50", "2=50:canary").code == 0
    assert json.loads(hello("invoke", "hello@canary").out)["version"] == 2
    assert hello("alias", "set", "hello", "stable", "1").code == 0
    assert json.loads(hello("invoke", "hello@stable").out)["version"] == 1
    assert [row["number"] for row in json.loads(hello("revisions", "hello", "-o", "json").out)] == [2, 1]


def test_a_cold_call_after_recycle_says_so(hello: CommandLine) -> None:
    hello("invoke", "hello")
    assert "dayfly-cold: false" in hello("invoke", "hello", "-i").err
    assert hello("recycle", "hello").code == 0
    told = hello("invoke", "hello", "-i").err
    assert "dayfly-cold: true" in told
    assert "server-timing: " in told


def test_an_error_of_the_function_has_type_message_trace_and_code_10(hello: CommandLine) -> None:
    done = hello("invoke", "hello", "-d", '{"fail": "on purpose"}')
    assert (done.code, done.out) == (10, "")
    assert done.err.startswith("ValueError: on purpose\n")
    assert "hello.py" in done.err
    identifier = re.search(r"--invocation ([0-9a-f]{32})", done.err)
    assert identifier is not None
    listed = json.loads(hello("invocations", "hello", "--status", "error", "-o", "json").out)
    assert identifier[1] in [record["id"] for record in listed]


def test_code_that_does_not_load_names_the_place_and_the_old_revision_serves(hello: CommandLine, source: Path) -> None:
    source.write_text("def handler(event, context):\n    return 1 +\n")
    done = hello("deploy", str(source), "--name", "hello", "--handler", "hello.handler")
    assert done.code == 6
    assert "hello.py:2: " in done.err
    assert hello("invoke", "hello").code == 0


def test_an_asynchronous_call_and_its_logs(hello: CommandLine) -> None:
    accepted = hello("invoke", "hello", "--async", "-d", '{"name": "later"}')
    identifier = accepted.out.strip()
    assert re.fullmatch("[0-9a-f]{32}", identifier)
    # Its log line is followed until it comes: then the call has run.
    with hello.start("logs", "hello", "-f", "--since", "1m", "-o", "json") as following:
        assert following.stdout is not None
        for text in following.stdout:
            line = json.loads(text)
            if line["invocation"] == identifier and line["stream"] == "stderr":
                break
        following.terminate()
    assert line["text"] == "\x1b[31mred"
    assert json.loads(hello("result", "--wait", identifier).out) == {"hello": "later", "version": 1}


def test_logs_cannot_steer_the_terminal(hello: CommandLine) -> None:
    hello("invoke", "hello")
    with hello.start("logs", "hello", "-f", "--since", "1m") as following:
        assert following.stdout is not None
        lines = [next(following.stdout), next(following.stdout)]
        following.terminate()
    assert any(line.endswith(" ! \\x1b[31mred\n") for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_secrets_reach_the_function_and_nobody_else(dayfly: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "peek.py"
    path.write_text("import os\ndef handler(event, context):\n    return len(os.environ['KEY'])\n")
    assert dayfly("secret", "set", "api-key", stdin="s3cret\n").code == 0
    deployed = dayfly("deploy", str(path), "--name", "peek", "--secret", "KEY=api-key")
    assert deployed.code == 0, deployed.err
    assert dayfly("invoke", "peek").out == "6"
    for command in (["secret", "ls", "-o", "json"], ["show", "peek", "-o", "json"]):
        assert "s3cret" not in dayfly(*command).out
    assert dayfly("rm", "peek").code == 0
    assert dayfly("secret", "rm", "api-key").code == 0


def test_status_usage_and_top(hello: CommandLine) -> None:
    hello("invoke", "hello")
    status = json.loads(hello("status", "-o", "json").out)
    assert (status["status"], status["functions"]) == ("ok", 1)
    assert json.loads(hello("usage", "-o", "json").out)["currency"] == "USD"
    assert [row["function"] for row in json.loads(hello("top", "-o", "json").out)][:1] == ["hello"]


def test_a_second_up_on_the_same_data_is_the_same_server(dayfly: CommandLine) -> None:
    again = dayfly("up", "--detach")
    assert (again.code, again.out) == (0, "")
    assert "runs already" in again.err
    other = dayfly("up", "--port", "1")
    assert other.code == 1
    assert f"dayfly down --data {dayfly.data}" in other.err


def test_a_port_that_is_taken_is_told_from_the_log(dayfly: CommandLine, data: Path) -> None:
    done = dayfly("up", "--detach", "--data", str(data))
    assert done.code == 1
    assert "Dayfly did not start" in done.err
    assert str(dayfly.port) in done.err
    assert dayfly("down", "--data", str(data)).code == 0


def test_a_server_in_the_foreground_ends_with_ctrl_c_and_leaves_nothing(data: Path) -> None:
    run = CommandLine(data)
    with run.start("up") as server:
        assert server.stderr is not None
        for line in server.stderr:
            if "listens" in line:
                break
        assert run("status").code == 0
        server.send_signal(signal.SIGINT)
        server.stderr.read()
    assert server.returncode == 0
    assert run("status").code == 3
    assert not (data / "run" / "server.pid").exists()


def test_down_after_the_server_was_killed_leaves_no_process(data: Path) -> None:
    run = CommandLine(data)
    assert run("up", "--detach").code == 0
    os.kill(json.loads((data / "run" / "server.pid").read_text())["pid"], signal.SIGKILL)
    assert run("down").code == 0
    assert not of_folder(data)


def test_dev_brings_its_own_server_and_takes_it_along(data: Path, source: Path) -> None:
    run = CommandLine(data)
    with run.start("dev", str(source)) as session:
        assert session.stderr is not None
        assert session.stdout is not None
        try:
            for line in session.stderr:
                if "revision 1 is live" in line:
                    break
            assert run("invoke", "hello", "-d", '{"name": "dev"}').out == '{"hello":"dev","version":1}'
            assert "called with {'name': 'dev'}" in session.stdout.readline()
        finally:
            session.send_signal(signal.SIGINT)
        session.stderr.read()
    assert session.returncode == 0
    assert run("status").code == 3
    assert not of_folder(data)


def test_a_call_that_failed_is_looked_into_on_the_own_machine(hello: CommandLine, source: Path) -> None:
    """Given a call that went wrong, when it is replayed here, then the debugger stands at the handler's first line with its input."""
    failed = re.search(r"[0-9a-f]{32}", hello("invoke", "hello", "-d", '{"fail": "on purpose"}').err)
    assert failed is not None
    identifier = failed[0]
    while hello("replay", identifier, "--show").code != 0:  # inputs are written behind the answer
        pass
    here = hello("replay", identifier, "--here", str(source))
    assert here.code == 1
    assert "ValueError: on purpose" in here.err

    with Terminal(hello, "replay", identifier, "--here", str(source), "--debug") as terminal:
        terminal.until(b'-> print("called with", event)')  # the handler's first line
        terminal.until(b"(Pdb) ")
        terminal.send("p event, context.invocation_id")
        assert f"({{'fail': 'on purpose'}}, '{identifier}')" in terminal.until(b"(Pdb) ")
        terminal.send("event.clear()")
        terminal.until(b"(Pdb) ")
        terminal.send("continue")
        terminal.until(b'"hello": "world"')
        assert terminal.process.wait(20) == 0


class Terminal:
    """A command on a terminal of its own, as somebody at a keyboard has it."""

    def __init__(self, run: CommandLine, *arguments: str) -> None:
        self._master, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dayfly", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=run.environment | {"TERM": "dumb", "PYTHON_COLORS": "0", "NO_COLOR": "1"},
            start_new_session=True,
        )
        os.close(theirs)

    def send(self, line: str) -> None:
        os.write(self._master, line.encode() + b"\n")

    def until(self, mark: bytes) -> str:
        """What was printed up to there. Raises OSError when the command ends before."""
        seen = b""
        while mark not in seen:
            seen += os.read(self._master, 1)
        return seen.decode()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


def of_folder(data: Path) -> list[str]:
    """Command lines of the processes that name the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:  # ended meanwhile
            continue
        if os.fsencode(data) in words:
            found.append(b" ".join(words).decode())
    return found

"""Commands against the real control API, over a platform of dictionaries: the wire shapes are the API's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from dayfly import actions as a
from dayfly.errors import BuildFailed
from dayfly.model.call import FunctionError, Invocation, Mode, Result, Status, Timings
from dayfly.model.function import Target
from dayfly.model.log import LogLine
from tests.support.cli import Run, api, no_settings, platform, run
from tests.support.fake_platform import NOW, FakePlatform

__all__ = ["api", "no_settings", "platform", "run"]

ID = "018bcfe568007000800000000000000a"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "hello.py"
    path.write_text("def handler(event, context):\n    return event\n")
    return path


@pytest.fixture
def hello(platform: FakePlatform, run: Run, source: Path) -> FakePlatform:
    """A platform where `hello` has two revisions."""
    assert run("deploy", str(source), "--name", "hello").code == 0
    assert run("deploy", str(source), "--name", "hello", "--memory", "512").code == 0
    return platform


def test_deploy_says_where_the_function_is(platform: FakePlatform, run: Run, source: Path) -> None:
    ran = run("deploy", str(source), "--name", "hello", "--env", "A=1", "--env", "B=x=y", "--timeout", "2.5", "--http")
    assert ran.code == 0
    lines = dict(line.split(maxsplit=1) for line in ran.out.replace("Built in", "Built").splitlines())
    assert lines["Function"] == "hello"
    assert lines["Revision"] == "1"
    assert lines["URL"].endswith("/fn/default/hello")
    assert ran.err == "Call it: dayfly invoke hello\n"
    action = platform.last
    assert isinstance(action, a.PutFunction)
    assert action.config.handler == "hello.handler"
    assert action.config.runtime.startswith("python3.")
    assert action.config.flavour == "http"
    assert action.config.env == {"A": "1", "B": "x=y"}
    assert action.config.timeout_s == 2.5
    assert action.config.memory_mb == 256
    assert action.publish


def test_deploying_the_same_again_says_so(platform: FakePlatform, run: Run, source: Path) -> None:
    run("deploy", str(source), "--name", "hello")
    ran = run("deploy", str(source), "--name", "hello")
    assert "1 (unchanged: same code, same configuration)" in ran.out


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_deploy_takes_folders_and_zips(platform: FakePlatform, run: Run, tmp_path: Path, kind: str) -> None:
    import shutil

    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "index.js").write_text("exports.handler = async (event) => event\n")
    (folder / "package.json").write_text("{}")
    path = str(folder) if kind == "folder" else shutil.make_archive(str(tmp_path / "shop"), "zip", folder)
    assert run("deploy", path, "--name", "shop", "--no-traffic", "--label", "team=web").code == 0
    action = platform.last
    assert isinstance(action, a.PutFunction)
    assert (action.config.runtime, action.config.handler) == ("nodejs", "index.handler")
    assert action.labels == {"team": "web"}
    assert not action.publish


def test_deploy_keep_changes_only_what_is_given(hello: FakePlatform, run: Run, source: Path) -> None:
    run("deploy", str(source), "--name", "hello", "--keep", "--timeout", "9", "--label", "a=b")
    run("deploy", str(source), "--name", "hello", "--keep", "--env", "X=1")
    action = hello.last
    assert isinstance(action, a.PutFunction)
    assert (action.config.memory_mb, action.config.timeout_s, action.config.env) == (512, 9, {"X": "1"})
    assert action.labels == {"a": "b"}


def test_a_build_that_fails_names_file_and_line(platform: FakePlatform, run: Run, source: Path) -> None:
    def fail(action: a.PutFunction) -> None:
        raise BuildFailed("invalid syntax", hint="Mend it.", file="hello.py", line=3)

    platform.PutFunction = fail  # type: ignore[method-assign, assignment]
    ran = run("deploy", str(source), "--name", "hello")
    assert ran.code == 6
    assert ran.out == ""
    assert ran.err == ("Error: The function does not build: invalid syntax.\n  in hello.py, line 3\nMend it.\n")


@pytest.mark.parametrize(
    ("content", "arguments", "code", "message"),
    [
        ("import json\n", [], 6, "no function could be the handler"),
        ("def a(e, c): ...\ndef b(e, c): ...\n", [], 6, "several functions could be the handler: hello.a, hello.b"),
        ("x", ["--env", "NOVALUE"], 2, "'NOVALUE' is not K=V"),
        ("def handler(event, context): ...\n", ["--memory", "3"], 1, "memory_mb"),
    ],
)
def test_deploy_refuses_with_the_reason(
    platform: FakePlatform, run: Run, source: Path, content: str, arguments: list[str], code: int, message: str
) -> None:
    source.write_text(content)
    ran = run("deploy", str(source), "--name", "hello", *arguments)
    assert ran.code == code, ran.err
    assert message in ran.err
    assert ran.out == ""


def test_deploying_what_is_not_there(platform: FakePlatform, run: Run) -> None:
    ran = run("deploy", "/no/such/thing.py", "--name", "hello")
    assert ran.code == 4
    assert "/no/such/thing.py" in ran.err


def test_ls(hello: FakePlatform, run: Run) -> None:
    lines = run("ls").out.splitlines()
    assert lines[0].split() == ["NAME", "LATEST", "CALLS", "GO", "TO", "UPDATED", "URL"]
    assert lines[1].split()[:3] == ["hello", "2", "2"]
    assert [item["name"] for item in run("ls", "-o", "json").json] == ["hello"]
    assert run("ls", "nothing", "-o", "yaml").out == "[]\n"


def test_ls_of_an_empty_namespace_says_what_to_do(platform: FakePlatform, run: Run) -> None:
    ran = run("ls")
    assert (ran.code, ran.out) == (0, "")
    assert "dayfly deploy" in ran.err


def test_show(hello: FakePlatform, run: Run) -> None:
    out = run("show", "hello").out
    assert "Memory       512 MiB\n" in out
    assert "Concurrency  1 call at a time per instance\n" in out
    shown = yaml.safe_load(run("show", "hello", "-o", "yaml").out)
    assert shown["live"]["config"]["memory_mb"] == 512
    assert shown == run("show", "hello", "-o", "json").json


def test_show_of_nothing(platform: FakePlatform, run: Run) -> None:
    ran = run("show", "nothing")
    assert (ran.code, ran.out) == (4, "")
    assert "There is no function 'nothing'." in ran.err


def test_revisions(hello: FakePlatform, run: Run) -> None:
    run("traffic", "hello", "1=1", "2=3")
    rows = [line.split() for line in run("revisions", "hello").out.splitlines()]
    assert [row[:2] for row in rows] == [["REVISION", "CALLS"], ["2", "75%"], ["1", "25%"]]


def test_traffic_rollback_and_aliases(hello: FakePlatform, run: Run) -> None:
    out = run("traffic", "hello", "1=90", "2=10:canary").out.splitlines()
    assert hello.functions["default/hello"].traffic == (Target(1, 90), Target(2, 10, "canary"))
    assert out[2].split() == ["2", "10", "10%", "canary", "dayfly", "invoke", "hello@canary"]
    assert run("traffic", "hello", "-o", "json").json[0]["weight"] == 90
    assert run("rollback", "hello", "1").err == "hello: calls go to revision 1\n"
    assert hello.functions["default/hello"].traffic == (Target(1),)
    assert run("alias", "set", "hello", "stable", "1").code == 0
    assert run("alias", "set", "hello", "beta", "1=50", "2=50").err == "hello@beta: calls go to revision 1: 50%, 2: 50%\n"
    assert run("alias", "ls", "hello").out.splitlines()[2].split()[:2] == ["stable", "1"]
    assert set(run("alias", "ls", "hello", "-o", "json").json) == {"stable", "beta"}
    assert run("alias", "rm", "hello", "beta").code == 0
    assert set(hello.functions["default/hello"].aliases) == {"stable"}


@pytest.mark.parametrize("target", ["x", "0=1", "1=-5", "1=nan", "1=ninety", "1=inf"])
def test_targets_that_mean_nothing(hello: FakePlatform, run: Run, target: str) -> None:
    before = len(hello.performed)
    ran = run("traffic", "hello", target)
    assert ran.code == 2
    assert repr(target) in ran.err
    assert len(hello.performed) == before


def test_recycle_and_rm(hello: FakePlatform, run: Run) -> None:
    assert run("recycle", "hello").err == "hello: 3 instances retired\n"
    assert run("rm", "hello").code == 0
    assert hello.functions == {}
    assert run("rm", "hello").code == 4
    assert run("rm", "hello", "--missing-ok") == (0, "", "")


def test_namespaces(platform: FakePlatform, run: Run) -> None:
    assert run("namespace", "create", "shop").code == 0
    assert [item["name"] for item in run("namespace", "ls", "-o", "json").json] == ["default", "shop"]
    assert run("namespace", "rm", "shop").code == 0
    assert set(platform.namespaces) == {"default"}
    assert run("namespace", "create", "NOT VALID").code == 1


def test_secrets_come_from_files_and_pipes_never_from_arguments(
    platform: FakePlatform, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "value"
    path.write_text("s3cret\n")
    assert run("secret", "set", "db", "--file", str(path)).code == 0
    assert platform.last == a.PutSecret(name="db", value="s3cret\n")
    with path.open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        assert run("secret", "set", "db").code == 0
    assert platform.last == a.PutSecret(name="db", value="s3cret")
    assert run("secret", "ls").out.splitlines()[1].split()[0] == "db"
    assert run("secret", "set", "db", "s3cret").code == 2
    assert run("secret", "rm", "db").code == 0
    assert platform.secrets == {}


def test_an_empty_or_binary_secret_is_refused(platform: FakePlatform, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "value"
    for content in (b"", b"\xff\xfe"):
        path.write_bytes(content)
        assert run("secret", "set", "db", "--file", str(path)).code == 2
    assert platform.secrets == {}


def record(**changes: Any) -> Invocation:
    fields: dict[str, Any] = {
        "id": ID,
        "namespace": "default",
        "function": "hello",
        "revision": 2,
        "mode": Mode.SYNC,
        "status": Status.ERROR,
        "cold": True,
        "started": NOW,
        "timings": Timings(0.0, 0.012, 0.005, 1.5),
        "billed_ms": 1500,
        "memory_mb": 256,
        "error_type": "ValueError",
        "error_message": "bad\x1b[2J",
    }
    return Invocation(**(fields | changes))


def test_invocations(hello: FakePlatform, run: Run) -> None:
    hello.invocations[ID] = record()
    row = run("invocations", "hello", "--status", "error", "--since", "1h").out.splitlines()[1]
    assert row.startswith(f"{ID}  hello@2")
    assert row.endswith("error   cold          12 ms  1.5 s  1500 ms        ValueError: bad\\x1b[2J") or "12 ms" in row
    assert "\x1b" not in row
    action = hello.last
    assert isinstance(action, a.ListInvocations)
    assert action.status is Status.ERROR
    assert action.since > NOW
    assert action.limit == 50
    assert run("invocations", "-o", "json").json[0]["error_message"] == "bad\x1b[2J"


def test_of_a_call_that_waits_nothing_is_said_that_is_not_known(hello: FakePlatform, run: Run) -> None:
    hello.invocations[ID] = record(
        status=Status.QUEUED, revision=0, timings=Timings(), billed_ms=0, cold=False, error_type="", error_message=""
    )
    head, row = run("invocations").out.splitlines()
    assert [*row.split()][:2] == [ID, "hello"]
    assert row.endswith("queued")
    assert "warm" not in row
    assert "START" in head


def test_result_prints_what_invoke_would_have(hello: FakePlatform, run: Run) -> None:
    hello.record(ID)
    hello.results[ID] = Result(invocation=ID, body=b"\xff\x00", headers=(("content-type", "image/x"),))
    assert run("result", ID) == (0, "\udcff\x00", "")
    hello.results[ID] = Result(invocation=ID, body=b'{"a":1}')
    assert run("result", ID).out == '{"a":1}'
    assert run("result", ID, "-o", "json").json["body"] == '{"a":1}'
    hello.results[ID] = Result(
        invocation=ID, status=500, error=FunctionError(type="ValueError", message="no", trace=("a.py:3",))
    )
    ran = run("result", ID)
    assert (ran.code, ran.out) == (10, "")
    assert ran.err == f"ValueError: no\n  a.py:3\nIts logs: dayfly logs --invocation {ID}\n"


def test_cancel(hello: FakePlatform, run: Run) -> None:
    hello.invocations[ID] = record(status=Status.RUNNING)
    ran = run("cancel", ID)
    assert ran.code == 0, ran.err
    assert isinstance(hello.last, a.CancelInvocation)


def test_usage(hello: FakePlatform, run: Run) -> None:
    out = run("usage", "hello", "--since", "30d").out
    assert "Function" in out
    action = hello.last
    assert isinstance(action, a.GetUsage)
    assert action.function == "hello"
    assert json.loads(run("usage", "-o", "json").out)["currency"] == "USD"


def test_logs_are_read_and_the_last_lines_kept(hello: FakePlatform, run: Run) -> None:
    hello.lines = [
        LogLine(
            time=NOW + i / 10,
            namespace="default",
            function="hello",
            revision=1,
            instance="i",
            invocation=ID,
            stream="stderr" if i % 2 else "stdout",
            text=f"line {i}\x1b[31m",
        )
        for i in range(5)
    ]
    lines = run("logs", "hello", "--limit", "2").out.splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines] == [
        "0000000a ! line 3\\x1b[31m",
        "0000000a   line 4\\x1b[31m",
    ]
    found = [json.loads(line) for line in run("logs", "hello", "-o", "json").out.splitlines()]
    assert [line["text"] for line in found] == [f"line {i}\x1b[31m" for i in range(5)]
    assert len(yaml.safe_load(run("logs", "hello", "-o", "yaml").out)) == 5


def test_following_logs_prints_them_as_they_come_and_ends_with_the_stream(hello: FakePlatform, run: Run) -> None:
    hello.lines = [
        LogLine(
            time=NOW,
            namespace="default",
            function="hello",
            revision=1,
            instance="i",
            invocation="",
            stream="platform",
            text="hi",
        )
    ]
    ran = run("logs", "-f", "--since", "1")
    assert ran.code == 0
    assert ran.out.endswith(" loading  hello * hi\n")


def test_status(hello: FakePlatform, run: Run) -> None:
    ran = run("status")
    assert ran.code == 0, ran.err
    assert "Status      ok\n" in ran.out
    assert run("status", "-o", "json").json["functions"] == 1


def test_top_once(hello: FakePlatform, run: Run) -> None:
    ran = run("top", "--once")
    assert ran.out.splitlines()[0].split()[:3] == ["FUNCTION", "INSTANCES", "BUSY"]
    assert run("top", "-o", "json").json[0]["function"] == "hello"
